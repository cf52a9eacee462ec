import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import type { Bio } from '../bio/bio.ts';
import { BioFlag, BioOp } from '../bio/bio-op.ts';
import { BioPool } from '../bio/bio-pool.ts';
import type { LimitsInput } from '../limits/limits.ts';
import { DEFAULT_PROFILE, LINUX_6_12, type Profile } from '../limits/profile.ts';
import { validateLimits } from '../limits/validate.ts';
import { Arena } from '../memory/arena.ts';
import { HoldKind } from '../memory/holds.ts';
import { alignRowBases, heldPagesOf, pagesOf, zeroRows } from './bio-rows.ts';
import { BounceReserve } from './bounce-reserve.ts';
import type { MapContext } from './map-context.ts';
import { MapCounters } from './map-counters.ts';
import { freeOwnPages, takeOwnPages } from './own-pages.ts';
import { Piece } from './piece.ts';

const arena = new Arena({ maxBytes: 256 * 4096, label: 'own rows' });
const pool = new BioPool({ bios: 4, rows: 1024 });
afterEach(() => {
  assert.equal(pool.busyCount, 0);
  arena.assertNothingOutstanding();
});

/** A bio with the rows [page, offset, len] of `hold`, given back at the end of the block. */
class Rows implements Disposable {
  readonly bio: Bio;

  constructor(rows: readonly (readonly number[])[], hold: HoldKind = HoldKind.OWNED, vecs = 16) {
    const bio = pool.acquire(BioOp.READ, 0, vecs);
    assert.ok(bio !== null);
    this.bio = bio;
    for (const [page = 0, offset = 0, len = 0] of rows) {
      bio.table.set(bio.first + bio.vcnt, page, offset, len, hold);
      bio.vcnt++;
      bio.size += len;
    }
  }

  list(): number[][] {
    const { first, table, vcnt } = this.bio;
    return Array.from({ length: vcnt }, (_, i) => [
      table.page[first + i] ?? -1,
      table.offset[first + i] ?? -1,
      table.len[first + i] ?? -1,
    ]);
  }

  [Symbol.dispose](): void {
    this.bio.vcnt = 0;
    this.bio.size = 0;
    this.bio.flags &= ~BioFlag.CLONED;
    pool.release(this.bio);
  }
}

test('zeros go to exactly the bytes asked for, whichever rows they lie in', () => {
  using memory = arena.alloc(3 * 4096);
  // 60 bytes in three rows, the middle one in another order of pages than the others.
  const at = [2 * 4096 + 100, 500, 4096 + 7];
  const lens = [10, 30, 20];
  const place = (byte: number): number => {
    if (byte < 10) return (at[0] ?? 0) + byte;
    return byte < 40 ? (at[1] ?? 0) + byte - 10 : (at[2] ?? 0) + byte - 40;
  };
  using rows = new Rows(
    at.map((start, i) => [memory.page + Math.floor(start / 4096), start % 4096, lens[i] ?? 0]),
  );
  for (let from = 0; from <= 60; from += 5) {
    for (let end = from; end <= 60; end += 5) {
      memory.bytes.fill(0xee);
      const expected = new Uint8Array(memory.bytes.length).fill(0xee);
      for (let byte = from; byte < end; byte++) expected[place(byte)] = 0;
      zeroRows(rows.bio, from, end);
      assert.ok(Buffer.from(memory.bytes).equals(expected), `zeros [${from}, ${end})`);
    }
  }
});

describe('bases of rows on a virtual boundary', () => {
  test('a row names the page on the boundary, and keeps its bytes', () => {
    // 16 KiB: page 7 is 3 pages behind page 4; page 8 is on it.
    using rows = new Rows([
      [7, 512, 4096],
      [8, 0, 4096],
      [9, 100, 50],
    ]);
    assert.equal(alignRowBases(rows.bio, 16383), true);
    assert.deepEqual(rows.list(), [
      [4, 3 * 4096 + 512, 4096],
      [8, 0, 4096],
      [8, 4096 + 100, 50],
    ]);
  });

  test('up to a page every row is on it, also a borrowed one', () => {
    using rows = new Rows([[7, 512, 4096]], HoldKind.BORROWED);
    rows.bio.flags |= BioFlag.CLONED;
    for (const mask of [0, 511, 4095]) assert.equal(alignRowBases(rows.bio, mask), true);
    assert.deepEqual(rows.list(), [[7, 512, 4096]]);
  });

  test('rows of another owner stay as they are: false where one would have to change', () => {
    using rows = new Rows([
      [8, 0, 4096],
      [7, 512, 4096],
    ]);
    rows.bio.flags |= BioFlag.CLONED;
    assert.equal(alignRowBases(rows.bio, 8191), false);
    assert.deepEqual(rows.list(), [
      [8, 0, 4096],
      [7, 512, 4096],
    ]);
    rows.bio.vcnt = 1;
    assert.equal(alignRowBases(rows.bio, 8191), true);
  });
});

test('pages of a bio, and those that it holds', () => {
  const spans = [
    [3, 4000, 200],
    [9, 0, 8192],
  ];
  using held = new Rows(spans, HoldKind.PINNED);
  assert.deepEqual([pagesOf(held.bio), heldPagesOf(held.bio)], [4, 4]);
  held.bio.flags |= BioFlag.CLONED;
  assert.deepEqual([pagesOf(held.bio), heldPagesOf(held.bio)], [4, 0]);
  using borrowed = new Rows(spans, HoldKind.BORROWED);
  assert.deepEqual([pagesOf(borrowed.bio), heldPagesOf(borrowed.bio)], [4, 0]);
});

function contextOf(
  input: LimitsInput,
  from: Arena,
  profile: Profile = DEFAULT_PROFILE,
): MapContext {
  const limits = validateLimits(input);
  return {
    limits,
    profile,
    arena: from,
    reserve: new BounceReserve(from, limits),
    counters: new MapCounters(),
    blockBytes: limits.logical_block_size,
  };
}

/** An arena with `free` pages left, none beside another, after the reserve of `context`. */
function crowd(from: Arena, free: number): number[] {
  const heads: number[] = [];
  for (let page = from.getFolio(0); page >= 0; page = from.getFolio(0)) heads.push(page);
  const loose = heads.filter((page) => page % 2 === 0).slice(0, free);
  for (const page of loose) from.putFolio(page);
  return heads.filter((page) => !loose.includes(page));
}

describe('own pages when memory is short', () => {
  const small = (): Arena => new Arena({ maxBytes: 64 * 4096, label: 'small', places: false });

  test('whole blocks of what there is, from the arena first', () => {
    using from = small();
    // Blocks of 16 KiB in single pages: 6 pages are one block and a half.
    const context = contextOf({ logical_block_size: 16384, max_segment_size: 4096 }, from);
    const taken = crowd(from, 6);
    using rows = new Rows([]);
    const piece = new Piece();
    piece.bytes = 65536;
    assert.equal(takeOwnPages(context, rows.bio, piece), 16384);
    assert.deepEqual([rows.bio.size, rows.bio.vcnt, piece.usesReserve], [16384, 6, false]);
    assert.equal(context.reserve.isTaken, false);
    assert.deepEqual([context.counters.bouncePages, context.counters.bouncePagesMost], [6, 6]);
    freeOwnPages(context, rows.bio, piece);
    assert.deepEqual([context.counters.bouncePages, context.counters.bouncePagesMost], [0, 6]);
    assert.equal(rows.bio.vcnt, 0);
    for (const page of taken) from.putFolio(page);
    context.reserve.release();
    from.assertNothingOutstanding();
  });

  test('exactly one block of the arena is enough: the reserve stays for who has none', () => {
    using from = small();
    const context = contextOf({ logical_block_size: 16384, max_segment_size: 4096 }, from);
    const taken = crowd(from, 4);
    using rows = new Rows([]);
    const piece = new Piece();
    piece.bytes = 65536;
    assert.equal(takeOwnPages(context, rows.bio, piece), 16384);
    assert.deepEqual(
      [rows.bio.vcnt, piece.usesReserve, context.reserve.isTaken],
      [4, false, false],
    );
    freeOwnPages(context, rows.bio, piece);
    for (const page of taken) from.putFolio(page);
    context.reserve.release();
    from.assertNothingOutstanding();
  });

  test('less than a block: one bio has the reserve, the next has nothing', () => {
    using from = small();
    const context = contextOf({ logical_block_size: 16384, max_segment_size: 4096 }, from);
    const taken = crowd(from, 3);
    using first = new Rows([]);
    using second = new Rows([]);
    const [one, two] = [new Piece(), new Piece()];
    one.bytes = 65536;
    two.bytes = 16384;
    assert.equal(context.reserve.isTaken, false);
    assert.equal(takeOwnPages(context, first.bio, one), 16384); // One block: 4 rows of a page.
    assert.deepEqual([one.usesReserve, context.reserve.isTaken], [true, true]);
    assert.equal(first.list().length, 4);
    assert.equal(first.list()[3]?.[0], context.reserve.page + 3);
    assert.equal(takeOwnPages(context, second.bio, two), 0);
    assert.deepEqual([two.usesReserve, second.bio.vcnt, second.bio.size], [false, 0, 0]);
    assert.equal(context.counters.bouncePages, 4);
    freeOwnPages(context, first.bio, one);
    assert.deepEqual([one.usesReserve, context.reserve.isTaken], [false, false]);
    assert.equal(context.counters.bouncePages, 0);
    for (const page of taken) from.putFolio(page);
    context.reserve.release();
    from.assertNothingOutstanding();
  });

  test('a part of a block at the end is not less than a block', () => {
    using from = small();
    const context = contextOf({ logical_block_size: 16384, max_segment_size: 4096 }, from);
    const taken = crowd(from, 1);
    using rows = new Rows([]);
    const piece = new Piece();
    piece.bytes = 3000; // A file that counts in bytes ends here.
    assert.equal(takeOwnPages(context, rows.bio, piece), 3000);
    assert.equal(piece.usesReserve, false);
    freeOwnPages(context, rows.bio, piece);
    for (const page of taken) from.putFolio(page);
    context.reserve.release();
    from.assertNothingOutstanding();
  });

  test('the reserve gives no more rows than the bio has', () => {
    using from = small();
    const limits = validateLimits({ logical_block_size: 65536, max_segment_size: 4096 });
    const reserve = new BounceReserve(from, limits);
    using rows = new Rows([], HoldKind.OWNED, 3);
    assert.equal(reserve.bytes, 65536);
    assert.ok(rows.bio.maxVecs < 16);
    assert.equal(reserve.take(rows.bio, 65536), rows.bio.maxVecs * 4096);
    assert.equal(rows.bio.vcnt, rows.bio.maxVecs);
    reserve.giveBack(rows.bio);
    assert.equal(reserve.take(rows.bio, 5000), 5000);
    assert.deepEqual(rows.list(), [
      [reserve.page, 0, 4096],
      [reserve.page + 1, 0, 904],
    ]);
    reserve.giveBack(rows.bio);
    reserve.release();
    from.assertNothingOutstanding();
  });
});

test('own rows name the boundary where the queue splits strictly, else their pages', () => {
  // Segments end with each page, gaps are told at 16 KiB: no folio is as large as the boundary.
  const input = { virt_boundary_mask: 16383, seg_boundary_mask: 4095 };
  for (const profile of [DEFAULT_PROFILE, LINUX_6_12]) {
    const context = contextOf(input, arena, profile);
    using rows = new Rows([]);
    const piece = new Piece();
    piece.bytes = 5 * 4096;
    assert.equal(takeOwnPages(context, rows.bio, piece), 5 * 4096);
    const bases = rows.list().map(([page = 0, offset = 0]) => [page % 4, offset]);
    assert.equal(bases.length, 5);
    for (const [page = 0, offset = 0] of bases) {
      if (profile === DEFAULT_PROFILE) assert.equal(page, 0);
      else assert.equal(offset, 0);
    }
    // Five pages are never all on a boundary of four.
    const isMoved = bases.some(([page = 0, offset = 0]) => page + offset > 0);
    assert.equal(isMoved, true);
    assert.equal(context.counters.bouncePages, 5);
    freeOwnPages(context, rows.bio, piece);
    context.reserve.release();
  }
});

test('the most pages that were ever held stay in the counters', () => {
  const counters = new MapCounters();
  for (const pages of [3, 4, -6, 2]) counters.hold(pages);
  assert.deepEqual([counters.pagesHeld, counters.pagesHeldMost], [3, 7]);
  for (const pages of [2, -2, 1]) counters.bounce(pages);
  assert.deepEqual([counters.bouncePages, counters.bouncePagesMost], [1, 2]);
});
