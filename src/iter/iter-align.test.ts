import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BvecTable } from '../bvec/bvec-table.ts';
import { gapBetween } from '../bvec/contiguity.ts';
import { MappedSpace } from '../memory/address-space.ts';
import { Arena } from '../memory/arena.ts';
import { IovIter, IterDirection, IterKind } from './iov-iter.ts';
import { Iovec } from './iovec.ts';
import {
  ALL_ONES,
  alignment,
  gapAlignment,
  hasOutside,
  isAligned,
  npages,
  singleSegCount,
} from './iter-align.ts';
import { everyCase, IterWorld, OUTSIDE_TOP, RUNS } from './iter-cases.fuzz.ts';
import { EXTRACT_ALL, extract } from './iter-extract.ts';

const space = new MappedSpace();

function userIter(segments: readonly (readonly [number, number])[]): IovIter {
  const iovec = new Iovec();
  const bases = segments.map(([base]) => base);
  const lens = segments.map(([, len]) => len);
  iovec.importRanges(bases, lens, segments.length);
  const iter = new IovIter();
  iter.initUser(IterDirection.SOURCE, space, iovec);
  return iter;
}

interface Part {
  readonly start: number;
  readonly len: number;
}

/** Kinds whose segments start somewhere else than in physical memory. */
const ADDRESSED: readonly IterKind[] = [IterKind.USER, IterKind.KERNEL, IterKind.BVEC];

/** Start and clipped length of each non-empty segment of the rest, from the bytes. */
function partsOf(world: IterWorld): Part[] {
  const parts: { start: number; len: number }[] = [];
  for (let at = world.start; at < world.addr.length; at++) {
    if (at > world.start && world.seg[at] === world.seg[at - 1]) {
      (parts.at(-1) as { len: number }).len++;
      continue;
    }
    const { iter } = world;
    const address = world.addr[at] ?? 0;
    let start = address;
    if (address <= OUTSIDE_TOP) start = ALL_ONES;
    if (iter.kind === IterKind.PAGES) start = iter.position + at;
    if (ADDRESSED.includes(iter.kind)) {
      let before = 0;
      while (at - before > 0 && world.seg[at - before - 1] === world.seg[at]) before++;
      const index = world.seg[at] as number;
      start = (iter.table?.offset[index] ?? iter.iovec.base[index] ?? 0) + before;
    }
    parts.push({ start, len: 1 });
  }
  return parts;
}

const low = (value: number): number => value % 2 ** 32;

test('worked examples of the reference', () => {
  const three = userIter([
    [0x1200, 0xe00],
    [0x5000, 0x1000],
    [0x9000, 0x10],
  ]);
  assert.equal(alignment(three), 0xde10);
  assert.equal(gapAlignment(three), 0xf000);
  const two = userIter([
    [0x1000, 0x800],
    [0x5000, 0x800],
  ]);
  assert.equal(gapAlignment(two), 0x5800);
  const range = new IovIter();
  range.initUserRange(IterDirection.SOURCE, space, 0x1fff, 2);
  assert.equal(npages(range, 256), 2);
  assert.equal(npages(range, 1), 1);
  assert.equal(gapAlignment(range), 0);
});

test('H4: what is behind of the first segment does not hide the last joint', () => {
  // 0x800 of the first 0x1000 are behind; the rest, 0x1000 bytes, is as long as the first was.
  const iter = userIter([
    [0x1000, 0x1000],
    [0x5200, 0x800],
  ]);
  iter.advance(0x800);
  assert.equal(iter.count, 0x1000);
  assert.equal(gapAlignment(iter), 0x7200);
  assert.equal(upstreamGapAlignment(iter), 0, 'upstream sees no joint here');
  iter.advance(0x800);
  assert.equal(gapAlignment(iter), 0, 'one segment is left, without a joint');
});

/** As in Linux 7.1, to show that the test above can tell the difference. */
function upstreamGapAlignment(iter: IovIter): number {
  let bits = 0;
  let end = 0;
  let size = iter.count;
  for (let i = iter.index; i < iter.index + iter.nrSegs; i++) {
    const [base = 0, len = 0] = [iter.iovec.base[i], iter.iovec.len[i]];
    if (len === 0) continue;
    if (end !== 0) bits |= base | end;
    end = base + len;
    if (size <= len) break;
    size -= len;
  }
  return bits;
}

test('alignment, npages and singleSegCount are what the bytes say', () => {
  fc.assert(
    fc.property(everyCase(), fc.integer({ min: 1, max: 8 }), (given, max) => {
      using world = new IterWorld(given);
      const { iter } = world;
      const parts = partsOf(world);
      let bits = 0;
      let pages = 0;
      for (const { start, len } of parts) {
        bits |= low(start) | len;
        const inPage = start === ALL_ONES ? 0 : start % 4096;
        pages += Math.ceil((inPage + len) / 4096);
      }
      assert.equal(alignment(iter), bits >>> 0);
      assert.equal(npages(iter, 1000), pages);
      assert.equal(npages(iter, max), Math.min(max, pages));
      assert.equal(singleSegCount(iter), parts[0]?.len ?? 0);
      const outside = parts.some(({ start }) => start === ALL_ONES);
      assert.equal(hasOutside(iter), outside);
    }),
    RUNS,
  );
});

test('alignment & m = 0 exactly when every segment starts and ends on m + 1', () => {
  const masks = fc.constantFrom(1, 3, 511, 4095);
  fc.assert(
    fc.property(everyCase(), masks, (given, mask) => {
      using world = new IterWorld(given);
      const parts = partsOf(world);
      const isGood = parts.every(({ start, len }) => ((low(start) | len) & mask) === 0);
      assert.equal((alignment(world.iter) & mask) === 0, isGood);
      // isAligned also asks segments of no length, so it may only be stricter.
      if (isAligned(world.iter, mask, mask)) assert.ok(isGood);
      const hasEmpty = given.segments.some(({ len }) => len === 0) || world.left === 0;
      const clips = given.cut > 0 || given.behind > 0;
      if (isGood && !hasEmpty && !clips) assert.ok(isAligned(world.iter, mask, mask));
    }),
    RUNS,
  );
});

test('gapAlignment is the OR over the interior joints of what is left', () => {
  const kinds = [IterKind.BYTES, IterKind.USER];
  fc.assert(
    fc.property(everyCase({ kinds }), fc.constantFrom(511, 1023, 4095), (given, mask) => {
      using world = new IterWorld(given);
      const { iter } = world;
      const parts = partsOf(world);
      let bits = 0;
      let gap = false;
      for (let i = 1; i < parts.length; i++) {
        const prev = parts[i - 1] as Part;
        const next = parts[i] as Part;
        const end = prev.start === ALL_ONES ? ALL_ONES : prev.start + prev.len;
        bits |= low(end) | low(next.start);
        gap ||= gapBetween(low(prev.start), prev.len, low(next.start), mask);
      }
      assert.equal(gapAlignment(iter), bits >>> 0);
      if ((gapAlignment(iter) & mask) === 0) assert.equal(gap, false);
    }),
    RUNS,
  );
});

test('the converse fails: an unaligned joint that is contiguous is no gap on the device', () => {
  const arena = new Arena({ maxBytes: 16 * 2 ** 20 });
  {
    using buffer = arena.alloc(8192);
    const iovec = new Iovec();
    iovec.importViews([buffer.bytes.subarray(0, 1000), buffer.bytes.subarray(1000, 8192)]);
    const iter = new IovIter();
    iter.initBytes(IterDirection.SOURCE, iovec);
    assert.notEqual(gapAlignment(iter) & 4095, 0);
    const table = new BvecTable(4);
    assert.equal(extract(iter, table, 0, 4, 8192, { ...EXTRACT_ALL, hold: 0 }), 8192);
    assert.equal(iter.rowsOut, 1, 'one row, so no joint');
  }
  arena.assertNothingOutstanding();
});

test('npages is at least the rows of any coalescing, and equal for scattered single pages', () => {
  fc.assert(
    fc.property(everyCase({ faults: false, outside: false }), (given) => {
      using world = new IterWorld(given);
      const estimate = npages(world.iter, 1000);
      const table = new BvecTable(64);
      const want = world.left;
      const all = { ...EXTRACT_ALL, hold: 0 } as const;
      assert.equal(extract(world.iter, table, 0, 64, 2 ** 31, all), want);
      assert.ok(estimate >= world.iter.rowsOut);
    }),
    RUNS,
  );
  const arena = new Arena({ maxBytes: 16 * 2 ** 20 });
  const pages = Array.from({ length: 8 }, () => arena.getFolio(0));
  const scattered = new MappedSpace();
  // Every second frame, backwards: no two of them are neighbours.
  const order = [6, 4, 2, 0].map((i) => pages[i] as number);
  for (const [i, page] of order.entries()) scattered.map(i * 4096, page);
  const iter = new IovIter();
  iter.initUserRange(IterDirection.SOURCE, scattered, 100, 3 * 4096);
  const table = new BvecTable(8);
  assert.equal(npages(iter, 100), 4);
  assert.equal(extract(iter, table, 0, 8, 2 ** 31, { ...EXTRACT_ALL, hold: 0 }), 3 * 4096);
  assert.equal(iter.rowsOut, 4);
  for (const page of pages) arena.putFolio(page);
  arena.assertNothingOutstanding();
});

test('isAligned asks every segment by itself, also those of no length', () => {
  assert.equal(isAligned(userIter([[0x1200, 0x400]]), 511, 511), true);
  assert.equal(isAligned(userIter([[0x1200, 0x400]]), 1023, 511), false);
  const halves = userIter([
    [0x1000, 0x100],
    [0x5000, 0x100],
  ]);
  assert.equal(isAligned(halves, 511, 511), false, 'the total is a multiple, the parts are not');
  const empty = userIter([
    [0x1000, 0x200],
    [0x5001, 0],
    [0x6000, 0x200],
  ]);
  assert.equal(isAligned(empty, 511, 511), false);
  empty.truncate(0x200);
  assert.equal(isAligned(empty, 511, 511), true, 'the walk ends with count');
  empty.reexpand(0x400);
  empty.advance(0x200);
  assert.equal(isAligned(empty, 511, 511), true, 'and does not look back');
  assert.equal(isAligned(userIter([[0x5001, 0]]), 511, 511), false, 'the first always counts');
  assert.equal(isAligned(userIter([]), 511, 511), true);
  assert.equal(isAligned(userIter([[2 ** 40 + 1, 512]]), 511, 511), false);
});

test('the outside has no address: misaligned under every mask, unless it is empty', () => {
  const arena = new Arena({ maxBytes: 16 * 2 ** 20 });
  const buffer = arena.alloc(4096);
  const iovec = new Iovec();
  iovec.importViews([new Uint8Array(0), new Uint8Array(4096)]);
  const iter = new IovIter();
  iter.initBytes(IterDirection.SOURCE, iovec);
  assert.equal(alignment(iter), ALL_ONES);
  assert.equal(isAligned(iter, 1, 511), false);
  assert.equal(isAligned(iter, 0, 511), true);
  assert.equal(hasOutside(iter), true);
  assert.equal(npages(iter, 10), 1);
  iter.advance(4096);
  assert.equal(hasOutside(iter), false);
  const own = buffer.bytes.subarray(0, 512);
  iovec.importViews([own, new Uint8Array(0), own, new Uint8Array(8)]);
  iter.initBytes(IterDirection.SOURCE, iovec);
  assert.equal(hasOutside(iter), true);
  iter.truncate(1024);
  assert.equal(hasOutside(iter), false, 'an empty array, and one behind the end');
  iovec.importViews([new Uint8Array(0)]);
  iter.initBytes(IterDirection.SOURCE, iovec);
  assert.equal(isAligned(iter, 511, 511), true);
  buffer.release();
  arena.assertNothingOutstanding();
});

test('at the end of a segment the next one is asked, not the one behind', () => {
  const table = new BvecTable(2);
  table.set(0, 5, 0, 100, 0);
  table.set(1, 7, 512, 512, 0);
  const iter = new IovIter();
  iter.initBvec(IterDirection.SOURCE, table, 0, 2, 100, 512);
  assert.equal(isAligned(iter, 511, 511), true);
  assert.equal(alignment(iter), 512);
  assert.equal(singleSegCount(iter), 512);
  assert.equal(npages(iter, 10), 1);
});

test('rows count inside the entry, files by position, a sink not at all', () => {
  const table = new BvecTable(1);
  table.set(0, 5, 512, 8192, 0);
  const iter = new IovIter();
  iter.initBvec(IterDirection.SOURCE, table, 0, 1, 1024, 4096);
  assert.equal(alignment(iter), 0x1600, 'offset 512 + 1024, length 4096; the page does not count');
  assert.equal(gapAlignment(iter), ALL_ONES);
  iter.initPages(IterDirection.DEST, { pageAt: () => -1 }, 0x3200, 0x400);
  iter.advance(0x200);
  assert.equal(alignment(iter), 0x3600);
  assert.equal(isAligned(iter, 511, 511), true);
  assert.equal(isAligned(iter, 1023, 511), true);
  assert.equal(isAligned(iter, 2047, 511), false);
  iter.initDiscard(77);
  assert.equal(alignment(iter), 0);
  assert.equal(isAligned(iter, 511, 511), true);
  assert.equal(npages(iter, 10), 0);
  assert.equal(singleSegCount(iter), 77);
});
