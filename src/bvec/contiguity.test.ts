import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import { BvecTable } from './bvec-table.ts';
import { boundaryLeft, gapBetween, physicalAddress, physMergeable } from './contiguity.ts';

/** Masks in exact integers, up to the 2^53 - 1 that means "none". */
const maskArb = fc.integer({ min: 12, max: 53 }).map((k) => 2 ** k - 1);
const addrArb = fc.oneof(
  fc.nat(2 ** 20),
  fc.nat({ max: 2 ** 44 }),
  fc
    .tuple(fc.integer({ min: 0, max: 2 ** 12 }), fc.integer({ min: -600, max: 600 }))
    .map(([window, near]) => Math.max(window * 2 ** 32 + near, 0)),
);
const lenArb = fc.integer({ min: 1, max: 2 ** 20 });

/** A region has 4 GiB of frame numbers, and what follows is other memory. */
const REGION_WINDOW = 2n ** 32n;

function windowOf(mask: number): bigint {
  const window = BigInt(mask) + 1n;
  return window < REGION_WINDOW ? window : REGION_WINDOW;
}

test('boundaryLeft counts to the next multiple, and never past a region', () => {
  fc.assert(
    fc.property(addrArb, maskArb, (addr, mask) => {
      const window = windowOf(mask);
      assert.equal(BigInt(boundaryLeft(addr, mask)), window - (BigInt(addr) % window));
    }),
    RUNS,
  );
  assert.equal(boundaryLeft(0x1f000, 0xffff), 4096); // Reference 5.3.
});

test('request merge: the ranges touch, and first and last byte lie in one window', () => {
  const shift = fc.oneof(fc.constant(0), fc.integer({ min: -2, max: 2 }));
  fc.assert(
    fc.property(addrArb, lenArb, lenArb, shift, maskArb, (addr1, len1, len2, off, mask) => {
      const addr2 = Math.max(addr1 + len1 + off, 0);
      const wide = windowOf(mask) - 1n;
      const last2 = BigInt(addr2 + len2 - 1);
      const oneWindow = (BigInt(addr1) | wide) === (last2 | wide);
      const expected = addr1 + len1 === addr2 && oneWindow;
      assert.equal(physMergeable(addr1, len1, addr2, len2, mask), expected);
    }),
    RUNS,
  );
});

test('a gap: the edge before or the edge after is off the virtual boundary', () => {
  const edge = fc.oneof(fc.constantFrom(0, 512, 4096, 8192), fc.nat(20_000));
  const virtual = fc.constantFrom(0, 511, 4095, 65535);
  fc.assert(
    fc.property(edge, fc.integer({ min: 1, max: 9000 }), edge, virtual, (prev, len, next, mask) => {
      const unit = mask + 1;
      const expected = mask !== 0 && (next % unit !== 0 || (prev + len) % unit !== 0);
      assert.equal(gapBetween(prev, len, next, mask), expected);
    }),
    RUNS,
  );
});

test('the physical address is a double, beyond 32 bits', () => {
  const table = new BvecTable(1);
  table.set(0, 2 ** 32 - 1, 5000, 1, 0);
  assert.equal(physicalAddress(table, 0), (2 ** 32 - 1) * 4096 + 5000);
});
