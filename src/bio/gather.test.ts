import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../base/errno.ts';
import { RUNS } from '../base/runs.fuzz.ts';
import { MIB, PAGE_BYTES } from '../base/units.ts';
import { BvecTable } from '../bvec/bvec-table.ts';
import { IovIter, IterDirection } from '../iter/iov-iter.ts';
import { Iovec } from '../iter/iovec.ts';
import { DEFAULT_PROFILE, LINUX_6_1, LINUX_6_12 } from '../limits/profile.ts';
import { MappedSpace } from '../memory/address-space.ts';
import { Arena } from '../memory/arena.ts';
import { folioHead, HoldKind, pinCount } from '../memory/holds.ts';
import type { Bio } from './bio.ts';
import { releasePages, trimBio } from './bio-add.ts';
import { pagesOf } from './bio-bytes.fuzz.ts';
import { BioOp } from './bio-op.ts';
import { BioPool } from './bio-pool.ts';
import { gatherBio } from './gather.ts';

const PAGES = 32;
const BASE = 64 * PAGE_BYTES;
const arena = new Arena({ maxBytes: MIB, places: false });
const pool = new BioPool({ bios: 2, rows: 1024 });

/** Frames of one run in folios of orders 0, 1, 2, so that neighbours may lie in two folios. */
const frames: number[] = [];
for (let frame = 0; frame < PAGES; ) {
  const order = frame % 8 === 4 ? 2 : frame % 8 === 2 ? 1 : 0;
  assert.ok(arena.claimFolio(frame, order));
  for (let i = 0; i < 2 ** order; i++) frames.push(frame + i);
  frame += 2 ** order;
}

/** -1: absent. */
const mapArb = fc.array(fc.oneof(fc.nat(PAGES - 1), fc.constant(-2), fc.constant(-2)), {
  minLength: 20,
  maxLength: 20,
});
const rangeArb = fc.record({
  at: fc.nat(18 * PAGE_BYTES),
  len: fc.oneof(fc.constantFrom(0, 512, 4000, 4096, 192), fc.nat(3 * PAGE_BYTES)),
  follows: fc.boolean(),
});
const caseArb = fc.record({
  map: mapArb,
  absent: fc.option(fc.nat(19)),
  ranges: fc.array(rangeArb, { minLength: 1, maxLength: 6 }),
  vecs: fc.constantFrom(1, 5, 17),
  block: fc.constantFrom(512, 1024, 4096),
  writes: fc.boolean(),
});

interface Memory {
  readonly iter: IovIter;
  /** Physical address of each byte of the iterator; the first -1 is a fault. */
  readonly bytes: number[];
}

type Case = typeof caseArb extends fc.Arbitrary<infer T> ? T : never;

function memoryOf({ map, absent, ranges, writes }: Case): Memory {
  const space = new MappedSpace();
  const where: number[] = [];
  for (const [i, wish] of map.entries()) {
    // -2: the frame after the last one.
    const frame = wish >= 0 ? wish : ((where[i - 1] ?? 0) + 1) % PAGES;
    where.push(i === absent ? -1 : frame);
    if (i !== absent) space.map(BASE + i * PAGE_BYTES, arena.region.firstPage + frame);
  }
  const bases: number[] = [];
  const lens: number[] = [];
  const bytes: number[] = [];
  let end = BASE;
  for (const { at, len, follows } of ranges) {
    const base = follows && end + len < BASE + 20 * PAGE_BYTES ? end : BASE + at;
    const fits = Math.min(len, BASE + 20 * PAGE_BYTES - base);
    end = base + fits;
    bases.push(base);
    lens.push(fits);
    for (let i = 0; i < fits; i++) {
      const addr = base - BASE + i;
      const frame = where[Math.floor(addr / PAGE_BYTES)] as number;
      const page = arena.region.firstPage + frame;
      bytes.push(frame < 0 ? -1 : page * PAGE_BYTES + (addr % PAGE_BYTES));
    }
  }
  const iovec = new Iovec(bases.length);
  iovec.importRanges(bases, lens, bases.length);
  const iter = new IovIter();
  iter.initUser(writes ? IterDirection.SOURCE : IterDirection.DEST, space, iovec);
  return { iter, bytes };
}

/** Bytes before the first fault that fit in `rows` contiguous ranges. */
function reachable(bytes: readonly number[], rows: number): number {
  let used = 0;
  for (let at = 0; at < bytes.length; at++) {
    if (bytes[at] === -1) return at;
    if (at === 0 || bytes[at] !== (bytes[at - 1] as number) + 1) used++;
    if (used > rows) return at;
  }
  return bytes.length;
}

function checkBuilt(bio: Bio, bytes: readonly number[]): void {
  const { page, offset, len, hold } = bio.table;
  const pins = new Map<number, number>();
  let at = 0;
  for (let row = bio.first; row < bio.first + bio.vcnt; row++) {
    assert.equal(hold[row], HoldKind.PINNED);
    const touched = new Set<number>();
    for (let i = 0; i < len[row]; i++, at++) {
      assert.equal(page[row] * PAGE_BYTES + offset[row] + i, bytes[at], `byte ${at}`);
      touched.add(Math.floor((page[row] * PAGE_BYTES + offset[row] + i) / PAGE_BYTES));
    }
    for (const one of touched) {
      const head = folioHead(one);
      pins.set(head, (pins.get(head) ?? 0) + 1);
    }
  }
  assert.equal(at, bio.size);
  for (const frame of frames) {
    const head = folioHead(arena.region.firstPage + frame);
    assert.equal(pinCount(head), pins.get(head) ?? 0);
  }
  assert.equal(arena.region.pinnedPages, pagesOf(bio));
}

function end(bio: Bio): void {
  releasePages(bio, false);
  pool.release(bio);
  arena.assertNothingOutstanding({ buffers: false });
  assert.equal(arena.region.pinnedPages, 0);
  assert.equal(pool.busyCount, 0);
  assert.equal(pool.runs.rowsUsed, 0);
}

test('24, 23: whole blocks, as much as fits, the iterator moved by exactly that', () => {
  let built = 0;
  let failed = 0;
  fc.assert(
    fc.property(caseArb, (given) => {
      const { iter, bytes } = memoryOf(given);
      const total = iter.count;
      const bio = pool.acquire(given.writes ? BioOp.WRITE : BioOp.READ, 0, given.vecs) as Bio;
      const most = reachable(bytes, bio.maxVecs);
      const expected = most - (most % given.block);
      const result = gatherBio(bio, iter, given.block, DEFAULT_PROFILE);
      assert.equal(result, expected > 0 ? 0 : -Errno.EFAULT);
      assert.equal(bio.size, expected);
      assert.equal(iter.count, total - expected);
      checkBuilt(bio, bytes);
      if (result === 0) built++;
      else failed++;
      end(bio);
    }),
    RUNS,
  );
  assert.ok(built > 100 && failed > 50, `${built} built, ${failed} failed`);
});

test('24, 23: the same holds under the profiles of Linux, in their own steps', () => {
  fc.assert(
    fc.property(caseArb, fc.constantFrom(LINUX_6_1, LINUX_6_12), (given, profile) => {
      const { iter, bytes } = memoryOf(given);
      const total = iter.count;
      const bio = pool.acquire(given.writes ? BioOp.WRITE : BioOp.READ, 0, given.vecs) as Bio;
      const result = gatherBio(bio, iter, given.block, profile);
      assert.equal(result === 0, bio.size > 0);
      assert.ok(result === 0 || result === -Errno.EFAULT);
      assert.equal(bio.size % given.block, 0);
      assert.ok(bio.size <= reachable(bytes, bio.maxVecs));
      assert.equal(iter.count, total - bio.size);
      checkBuilt(bio, bytes);
      end(bio);
    }),
    RUNS,
  );
});

test('what was gathered can be asked for piece by piece until all is through', () => {
  fc.assert(
    fc.property(caseArb, (given) => {
      const { iter, bytes } = memoryOf({ ...given, absent: null });
      let at = 0;
      for (;;) {
        const bio = pool.acquire(given.writes ? BioOp.WRITE : BioOp.READ, 0, given.vecs) as Bio;
        const result = gatherBio(bio, iter, given.block, DEFAULT_PROFILE);
        checkBuilt(bio, bytes.slice(at));
        at += bio.size;
        end(bio);
        if (result !== 0) break;
      }
      assert.equal(iter.count, bytes.length - at);
      const rows = given.vecs === 1 ? 4 : given.vecs === 5 ? 16 : 64;
      assert.ok(reachable(bytes.slice(at), rows) < given.block, 'a block was left behind');
    }),
    RUNS,
  );
});

test('reference 4.3: three arrays of 4000, 4000 and 192 bytes are 8192, without a trim', () => {
  const space = new MappedSpace();
  for (const [i, frame] of [9, 5, 1].entries()) {
    space.map(BASE + i * 2 * PAGE_BYTES, arena.region.firstPage + frame);
  }
  const iovec = new Iovec(3);
  const bases = [BASE, BASE + 2 * PAGE_BYTES, BASE + 4 * PAGE_BYTES];
  iovec.importRanges(bases, [4000, 4000, 192], 3);
  const iter = new IovIter();
  iter.initUser(IterDirection.SOURCE, space, iovec);
  const bio = pool.acquire(BioOp.WRITE, 0, 3) as Bio;
  assert.equal(gatherBio(bio, iter, 512, DEFAULT_PROFILE), 0);
  assert.deepEqual([bio.size, bio.vcnt, iter.count], [8192, 3, 0]);
  // Room for one row alone: 4000 bytes are 3584 in whole sectors, and 416 go back.
  trimBio(bio, 8192);
  bio.maxVecs = 1;
  iter.revert(8192);
  assert.equal(gatherBio(bio, iter, 512, DEFAULT_PROFILE), 0);
  assert.deepEqual([bio.size, bio.vcnt, iter.count], [3584, 1, 8192 - 3584]);
  assert.equal(arena.region.pinnedPages, 1);
  bio.maxVecs = 4; // As acquired, so that the pool gets its rows back.
  end(bio);
});

test('an array that goes on where the one before ended shares its row; others move up', () => {
  const space = new MappedSpace();
  for (const [i, frame] of [5, 6, 1].entries()) {
    space.map(BASE + i * PAGE_BYTES, arena.region.firstPage + frame);
  }
  const iovec = new Iovec(2);
  iovec.importRanges([BASE, BASE + PAGE_BYTES], [PAGE_BYTES, 2 * PAGE_BYTES], 2);
  for (const profile of [LINUX_6_1, LINUX_6_12, DEFAULT_PROFILE]) {
    const iter = new IovIter();
    iter.initUser(IterDirection.SOURCE, space, iovec);
    const bio = pool.acquire(BioOp.WRITE, 0, 4) as Bio;
    assert.equal(gatherBio(bio, iter, 512, profile), 0);
    assert.equal(bio.vcnt, 2, profile.name);
    const { page, len } = bio.table;
    const rows = [0, 1].map((row) => [page[bio.first + row], len[bio.first + row]]);
    const { firstPage } = arena.region;
    assert.deepEqual(rows, [
      [firstPage + 5, 2 * PAGE_BYTES],
      [firstPage + 1, PAGE_BYTES],
    ]);
    end(bio);
  }
});

test('24: the rows of a BVEC iterator are taken whole, from where it stands, and not held', () => {
  const table = new BvecTable(8);
  table.set(2, 10, 0, 4096, HoldKind.BORROWED);
  table.set(3, 20, 100, 5000, HoldKind.BORROWED);
  const iter = new IovIter();
  iter.initBvec(IterDirection.SOURCE, table, 2, 2, 1000, 8000);
  const bio = pool.acquire(BioOp.WRITE, 0, 0) as Bio;
  assert.equal(gatherBio(bio, iter, 4096, DEFAULT_PROFILE), 0);
  assert.deepEqual([bio.size, bio.row, bio.done, bio.vcnt], [8000, 2, 1000, 2]);
  assert.equal(bio.table, table, 'no copy');
  assert.equal(iter.count, 0);
  end(bio);
  assert.notEqual(bio.table, table, 'a free bio keeps no table alive');
});

test('memory without page frames is no memory of a bio', () => {
  const iter = new IovIter();
  iter.initView(IterDirection.SOURCE, new Uint8Array(8192));
  const bio = pool.acquire(BioOp.WRITE, 0, 4) as Bio;
  assert.equal(gatherBio(bio, iter, 512, DEFAULT_PROFILE), -Errno.EFAULT);
  assert.deepEqual([bio.size, bio.vcnt, iter.count], [0, 0, 8192]);
  end(bio);
});

test('the direction of the iterator is that of the bio', () => {
  const iter = new IovIter();
  iter.initView(IterDirection.SOURCE, new Uint8Array(512));
  const bio = pool.acquire(BioOp.READ, 0, 4) as Bio;
  assert.throws(() => gatherBio(bio, iter, 512, DEFAULT_PROFILE), /the other way/);
  end(bio);
});

const rangeCases = fc.record({
  at: fc.oneof(
    fc.nat(PAGES * PAGE_BYTES),
    fc.nat(PAGES).map((page) => page * PAGE_BYTES),
  ),
  len: fc.oneof(
    fc.nat(9 * PAGE_BYTES),
    fc.nat(72).map((sectors) => sectors * 512),
  ),
  behind: fc.oneof(fc.constant(0), fc.nat(2 * PAGE_BYTES)),
  block: fc.constantFrom(1, 512, 1024, 4096),
  vecs: fc.constantFrom(0, 1, 4),
  reads: fc.boolean(),
});

test('one array is gathered as it is beside an empty one, which goes the general way', () => {
  const other = new Arena({ maxBytes: PAGES * PAGE_BYTES, places: false });
  other.region.grow(PAGES);
  const { region } = other;
  // Memory with holes: every fifth frame is free, and frame 8 on lies in a folio of 4.
  for (let frame = 0; frame < PAGES; frame++) {
    if (frame % 5 === 4 || (frame >= 8 && frame < 12)) continue;
    assert.ok(other.claimFolio(frame, 0));
  }
  assert.ok(other.claimFolio(8, 2));
  const outcome = (
    c: typeof rangeCases extends fc.Arbitrary<infer T> ? T : never,
    one: boolean,
  ) => {
    const end = Math.min(c.at + c.len, region.u8.length);
    const view = region.u8.subarray(c.at, end);
    const iovec = new Iovec(2);
    iovec.importViews(one ? [view] : [view, view.subarray(0, 0)]);
    const iter = new IovIter();
    iter.initBytes(c.reads ? IterDirection.DEST : IterDirection.SOURCE, iovec);
    iter.advance(c.behind);
    const count = iter.count;
    const bio = pool.acquire(c.reads ? BioOp.READ : BioOp.WRITE, 0, c.vecs) as Bio;
    const result = gatherBio(bio, iter, c.block, DEFAULT_PROFILE);
    const { page, offset, len, hold } = bio.table;
    const rows = Array.from({ length: bio.vcnt }, (_, i) => {
      const row = bio.first + i;
      return [page[row], offset[row], len[row], hold[row]];
    });
    const pins = Array.from({ length: PAGES }, (_, i) => pinCount(region.firstPage + i));
    const { size } = bio;
    assert.equal(count - iter.count, size);
    releasePages(bio, false);
    pool.release(bio);
    return { result, size, rows, pins };
  };
  let mapped = 0;
  fc.assert(
    fc.property(rangeCases, (c) => {
      const one = outcome(c, true);
      assert.deepEqual(one, outcome(c, false));
      assert.equal(region.pinnedPages, 0);
      if (one.size > 0) mapped++;
    }),
    { numRuns: RUNS.numRuns },
  );
  assert.ok(mapped > 0, 'nothing was there');
});
