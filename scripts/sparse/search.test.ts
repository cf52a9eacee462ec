import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CRC16_DISTANCES } from '../../src/integrity/guards/sparse-multiples.ts';
import { Search, type SearchOptions } from './search.ts';

function search(options: SearchOptions): { slices: number; found: string[] } {
  const all = new Search(options);
  const found = new Set<string>();
  for (let slice = 0; slice < all.slices; slice++) {
    for (const distances of all.multiplesIn(slice)) found.add(distances.join(' '));
  }
  return { slices: all.slices, found: [...found].sort() };
}

/**
 * All multiples of a polynomial of up to 32 bits: x^8(to - d) modulo the polynomial for each
 * distance, and every sum of `taps - 2` of them beside a table of those of two.
 */
function everyMultiple({ polynomial, taps, from, to }: SearchOptions): string[] {
  const degree = BigInt(polynomial.toString(2).length - 1);
  const powers: number[] = [];
  for (let i = 0, power = 1n; i <= to; i++) {
    powers.push(Number(power));
    for (let bit = 0; bit < 8; bit++) {
      power <<= 1n;
      if (power >> degree !== 0n) power ^= polynomial;
    }
  }
  const value = (d: number): number => powers[to - d] as number;
  const pairs = new Map<number, number[][]>();
  for (let a = from; a <= to; a++) {
    for (let b = a + 1; b <= to; b++) {
      const sum = (value(a) ^ value(b)) >>> 0;
      const known = pairs.get(sum);
      if (known === undefined) pairs.set(sum, [[a, b]]);
      else known.push([a, b]);
    }
  }
  const found = new Set<string>();
  const deeper = (chosen: readonly number[], sum: number): void => {
    const last = chosen[chosen.length - 1] ?? from - 1;
    if (chosen.length < taps - 2) {
      for (let d = last + 1; d <= to; d++) deeper([...chosen, d], sum ^ value(d));
      return;
    }
    for (const pair of pairs.get(sum >>> 0) ?? []) {
      if ((pair[0] as number) > last) found.add([...chosen, ...pair].join(' '));
    }
  };
  deeper([], value(0));
  return [...found].sort();
}

test('the pair of CRC16 that is used is the only one', () => {
  const { found } = search({ polynomial: 0x18bb7n, taps: 2, from: 112, to: 600 });
  assert.deepEqual(found, [CRC16_DISTANCES.join(' ')]);
});

for (const options of [
  { polynomial: 0x18bb7n, taps: 3, from: 60, to: 250 },
  { polynomial: 0x18bb7n, taps: 4, from: 20, to: 60 },
  { polynomial: 0x18bb7n, taps: 9, from: 1, to: 22 },
  { polynomial: 0x18bb7n, taps: 10, from: 1, to: 22 },
  { polynomial: 0x18bb7n, taps: 12, from: 3, to: 24 },
  { polynomial: 0x104c11db7n, taps: 5, from: 1, to: 220 },
]) {
  const { polynomial, taps } = options;
  test(`multiples of ${polynomial.toString(16)} with ${taps} distances: all, and no others`, () => {
    const every = everyMultiple(options);
    assert.ok(every.length > 0);
    assert.deepEqual(search(options).found, every);
  });
}

test('slices find different multiples, and all of them together', () => {
  const options = { polynomial: 0x104c11db7n, taps: 4, from: 1, to: 800 };
  const every = everyMultiple(options);
  assert.deepEqual(search(options).found, every);
  const all = new Search(options);
  const counts = Array.from({ length: all.slices }, (_, i) => all.multiplesIn(i).length);
  assert.ok(Math.min(...counts) < every.length, String(counts));
});

test('more distances than parts of three terms have are refused', () => {
  const base = { polynomial: 0x18bb7n, from: 112, to: 200 };
  assert.throws(() => new Search({ ...base, taps: 13 }), /2 to 12/);
  assert.throws(() => new Search({ ...base, taps: 1 }), /2 to 12/);
});
