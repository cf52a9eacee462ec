import assert from 'node:assert/strict';
import { test } from 'node:test';
import { modelCrc16, modelCrc64 } from '../pi-model.fuzz.ts';
import { CRC16_DISTANCES, CRC64_DISTANCES, type Distances } from './sparse-multiples.ts';

/** Polynomials as they are written, with their highest terms; bit i is x^i. */
const KINDS = [
  { name: 'CRC16', polynomial: 0x18bb7n, distances: CRC16_DISTANCES },
  { name: 'CRC64', polynomial: 0x1ad93d23594c93659n, distances: CRC64_DISTANCES },
] as const;

/** What is left of `dividend`, by long division. */
function remainder(dividend: bigint, divisor: bigint): bigint {
  const degree = (value: bigint): number => value.toString(2).length - 1;
  let left = dividend;
  while (left !== 0n && degree(left) >= degree(divisor)) {
    left ^= divisor << BigInt(degree(left) - degree(divisor));
  }
  return left;
}

/** 1 and x^-8d for each distance, times x to the last one's power, so that none is negative. */
function multipleOf(distances: Distances): bigint {
  const last = Math.max(...distances);
  return [0, ...distances].reduce((sum, d) => sum ^ (1n << BigInt(8 * (last - d))), 0n);
}

for (const { name, polynomial, distances } of KINDS) {
  test(`the distances of ${name} make a multiple of its polynomial`, () => {
    assert.equal(remainder(multipleOf(distances), polynomial), 0n);
    for (const changed of distances) {
      const others = distances.map((d) => (d === changed ? d - 1 : d));
      assert.notEqual(remainder(multipleOf(others), polynomial), 0n);
    }
    assert.deepEqual(
      distances,
      [...new Set(distances)].sort((a, b) => a - b),
    );
    assert.ok((distances[0] as number) >= 112);
  });
}

test('a byte and the same byte at each distance behind it leave no trace', () => {
  for (const byte of [0x01, 0x80, 0xa7]) {
    for (const zeros of [0, 1, 33]) {
      const message = (distances: Distances): Uint8Array => {
        const bytes = new Uint8Array(Math.max(...distances) + 1 + zeros);
        for (const d of [0, ...distances]) bytes[d] = byte;
        return bytes;
      };
      assert.equal(modelCrc16(message(CRC16_DISTANCES)), 0);
      const wide = message(CRC64_DISTANCES);
      assert.equal(modelCrc64(wide), modelCrc64(new Uint8Array(wide.length)));
    }
  }
});
