import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../base/errno.ts';
import { RUNS as BASE } from '../base/runs.fuzz.ts';
import { BioOp } from '../bio/bio-op.ts';
import { BioPool } from '../bio/bio-pool.ts';
import { IovIter, IterDirection } from '../iter/iov-iter.ts';
import { Iovec } from '../iter/iovec.ts';
import type { Limits } from '../limits/limits.ts';
import { validateLimits } from '../limits/validate.ts';
import { Arena } from '../memory/arena.ts';
import { folioPages } from '../memory/holds.ts';
import { BOUNCE_BYTES_MAX, bounceOrder, fillBounce, freeBounce, orderFor } from './bounce.ts';
import { BounceReserve } from './bounce-reserve.ts';
import { pinForCopy, unpinAfterCopy } from './user-pins.ts';

const RUNS = BASE.numRuns;

const limitsCases: fc.Arbitrary<Limits> = fc
  .record({
    logical_block_size: fc.constantFrom(512, 4096, 16384, 65536),
    max_segment_size: fc.oneof(fc.integer({ min: 4096, max: 300_000 }), fc.constant(2 ** 32 - 1)),
    seg_boundary_mask: fc.constantFrom(4095, 16383, 65535, Number.MAX_SAFE_INTEGER),
    virt_boundary_mask: fc.constantFrom(0, 4095, 16383, 65535),
  })
  .map((input) => validateLimits({ max_hw_sectors: 1024, ...input }));

describe('own pages', () => {
  test('rows: one segment each, inside its boundary window, edges on the virtual boundary', () => {
    const pool = new BioPool({ bios: 1, rows: 1024 });
    const bytesCases = fc.oneof(fc.integer({ min: 1, max: 3 * 2 ** 20 }), fc.constant(4096));
    const taken = fc.array(fc.nat(511), { maxLength: 300 });
    fc.assert(
      fc.property(limitsCases, bytesCases, taken, (limits, bytes, frames) => {
        using arena = new Arena({ maxBytes: 512 * 4096, places: false });
        const claimed = frames.filter((frame) => arena.claimFolio(frame, 0));
        const bio = pool.acquire(BioOp.WRITE, 0, 256);
        assert.ok(bio !== null);
        const got = fillBounce(bio, bytes, limits, arena);
        const window = Math.min(limits.seg_boundary_mask + 1, BOUNCE_BYTES_MAX);
        const granule = Math.min(limits.virt_boundary_mask + 1, 2 ** bounceOrder(limits) * 4096);
        const { page, offset, len } = bio.table;
        let sum = 0;
        for (let row = bio.first; row < bio.first + bio.vcnt; row++) {
          const addr = page[row] * 4096 + offset[row];
          assert.ok(len[row] <= limits.max_segment_size, 'larger than a segment');
          assert.equal(Math.floor(addr / window), Math.floor((addr + len[row] - 1) / window));
          const isLast: boolean = row === bio.first + bio.vcnt - 1;
          assert.ok(addr % granule === 0 && (isLast || len[row] % granule === 0), 'a gap');
          sum += len[row];
        }
        assert.deepEqual([sum, bio.size], [got, got]);
        assert.ok(got <= Math.min(bytes, BOUNCE_BYTES_MAX));
        freeBounce(bio, arena);
        pool.release(bio);
        for (const frame of claimed) arena.putFolio(arena.region.firstPage + frame);
        arena.assertNothingOutstanding();
      }),
      { numRuns: RUNS },
    );
  });

  test('a fragmented arena gives smaller folios, down to the boundary and as many as rows', () => {
    for (const [virt_boundary_mask, bytes, lens] of [
      [0, 65536, [16384, 16384, 16384, 16384]],
      [0, 20000, [16384, 3616]],
      [16383, 65536, [16384, 16384, 16384, 16384]],
      [32767, 65536, []],
    ] as const) {
      using arena = new Arena({ maxBytes: 512 * 4096, places: false });
      const pool = new BioPool({ bios: 1, rows: 64 });
      // Every eighth page is taken, so no folio has more than four.
      const odd = Array.from({ length: 64 }, (_, i) => i * 8);
      for (const frame of odd) assert.ok(arena.claimFolio(frame, 0));
      const bio = pool.acquire(BioOp.WRITE, 0, 4);
      assert.ok(bio !== null);
      assert.equal(bio.maxVecs, 4);
      const limits = validateLimits({ virt_boundary_mask, max_segment_size: 65536 });
      const got = lens.reduce((sum: number, len) => sum + len, 0);
      assert.equal(fillBounce(bio, bytes, limits, arena), got);
      assert.deepEqual([...bio.table.len.subarray(bio.first, bio.first + bio.vcnt)], lens);
      freeBounce(bio, arena);
      // More bytes than four rows have: the rest is another bio.
      assert.equal(fillBounce(bio, 2 ** 20, limits, arena), lens.length === 0 ? 0 : 65536);
      freeBounce(bio, arena);
      pool.release(bio);
      for (const frame of odd) arena.putFolio(arena.region.firstPage + frame);
      arena.assertNothingOutstanding();
    }
  });

  test('the last folio is as large as what is left', () => {
    using arena = new Arena({ maxBytes: 512 * 4096, places: false });
    const pool = new BioPool({ bios: 1, rows: 64 });
    const bio = pool.acquire(BioOp.WRITE, 0, 16);
    assert.ok(bio !== null);
    assert.equal(fillBounce(bio, 64 * 1024 + 5000, validateLimits({}), arena), 64 * 1024 + 5000);
    const { page, len } = bio.table;
    const rows = [0, 1].map((i) => [len[bio.first + i], folioPages(page[bio.first + i])]);
    assert.deepEqual(rows, [
      [65536, 16],
      [5000, 2],
    ]);
    freeBounce(bio, arena);
    pool.release(bio);
    arena.assertNothingOutstanding();
  });

  test('orders: 4096 is 0, 4097 is 1', () => {
    assert.deepEqual([1, 4096, 4097, 8192, 65536].map(orderFor), [0, 0, 1, 1, 4]);
    const orderOf = (max_segment_size: number): number =>
      bounceOrder(validateLimits({ max_segment_size }));
    assert.deepEqual([4096, 8191, 8192, 65536, 2 ** 32 - 1].map(orderOf), [0, 0, 1, 4, 8]);
  });

  test('the reserve: one taker at a time, a whole block in rows that are segments', () => {
    using arena = new Arena({ maxBytes: 2 ** 20 });
    const pool = new BioPool({ bios: 2, rows: 512 });
    const limits = validateLimits({ logical_block_size: 65536, max_segment_size: 5000 });
    const reserve = new BounceReserve(arena, limits);
    const [bio, other] = [0, 1].map(() => pool.acquire(BioOp.WRITE, 0, 16));
    assert.ok(bio != null && other != null);
    assert.equal(reserve.take(bio, 10 ** 6), 65536);
    assert.equal(bio.vcnt, 16);
    assert.equal(reserve.take(other, 512), 0);
    assert.throws(() => reserve.release(), /released while/);
    reserve.giveBack(bio);
    assert.throws(() => reserve.giveBack(bio), /given back twice/);
    assert.equal(reserve.take(other, 5000), 5000);
    assert.deepEqual([other.vcnt, other.table.len[other.first]], [2, 4096]);
    reserve.giveBack(other);
    pool.release(bio);
    pool.release(other);
    reserve.release();
    arena.assertNothingOutstanding();
  });

  test('no room for the reserve is ENOMEM at once, with the bytes', () => {
    using arena = new Arena({ maxBytes: 65536, label: 'small' });
    using buffer = arena.alloc(4096);
    assert.throws(() => new BounceReserve(arena, validateLimits({})), {
      code: 'ENOMEM',
      errno: -Errno.ENOMEM,
      reason: "arena 'small' has no 65536 bytes for a device's reserve",
    });
    assert.equal(buffer.length, 4096);
  });
});

describe('pins of copied transfers', () => {
  test('every page under the bytes, once for each piece, and all of it back', () => {
    using arena = new Arena({ maxBytes: 2 ** 20 });
    using buffer = arena.alloc(65536);
    const spans = fc.array(fc.record({ start: fc.nat(60000), len: fc.nat(5000) }), {
      maxLength: 9,
    });
    fc.assert(
      fc.property(spans, fc.nat(20000), (ranges, skip) => {
        const views = ranges.map(({ start, len }) => buffer.bytes.subarray(start, start + len));
        const iovec = new Iovec(16);
        iovec.importViews(views);
        const iter = new IovIter();
        iter.initBytes(IterDirection.SOURCE, iovec);
        iter.advance(skip);
        const count = iter.count;
        const again = new IovIter();
        again.assign(iter);
        const pins = pinForCopy(iter, count);
        assert.equal(arena.stats().pinnedPages, pins);
        assert.equal(iter.count, 0);
        assert.equal(unpinAfterCopy(again, count), pins);
        assert.equal(arena.stats().pinnedPages, 0);
      }),
      { numRuns: RUNS },
    );
  });
});
