import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../base/errno.ts';
import { RUNS } from '../base/runs.fuzz.ts';
import { MIB } from '../base/units.ts';
import { Arena } from './arena.ts';
import {
  folioHead,
  getPages,
  HOLDS_MAX,
  isDirty,
  isZeroPage,
  maybePinned,
  pinAgain,
  pinCount,
  pinPages,
  pinTotals,
  putList,
  putPages,
  refCount,
  runInFolio,
  unpinFolio,
  unpinList,
  unpinPages,
} from './holds.ts';

/** Folios of orders 0, 2 and 3 of two arenas, so of two regions. */
function takePages(arenas: readonly Arena[]): number[] {
  const pages: number[] = [];
  for (const arena of arenas) {
    for (const order of [0, 2, 0, 3]) {
      const head = arena.getFolio(order);
      for (let i = 0; i < 2 ** order; i++) pages.push(head + i);
    }
  }
  return pages;
}

test('a list is released entry by entry, whatever lies beside what', () => {
  using one = new Arena({ maxBytes: MIB });
  using two = new Arena({ maxBytes: MIB });
  const pages = takePages([one, two]);
  const picks = fc.array(fc.nat(pages.length - 1), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(picks, fc.boolean(), fc.nat(5), fc.nat(5), (chosen, isPin, before, after) => {
      const list = new Uint32Array(before + chosen.length + after).fill(0xffffffff);
      const expected = new Map<number, number>();
      for (const [i, pick] of chosen.entries()) {
        const page = pages[pick] as number;
        list[before + i] = page;
        expected.set(folioHead(page), (expected.get(folioHead(page)) ?? 0) + 1);
        assert.equal((isPin ? pinPages : getPages)(page, 1), 1);
      }
      // Released in two parts, so that runs are cut anywhere.
      const cut = after % (chosen.length + 1);
      const total = pinTotals.released;
      (isPin ? unpinList : putList)(list, before, cut);
      for (let i = 0; i < cut; i++) {
        const head = folioHead(pages[chosen[i] as number] as number);
        expected.set(head, (expected.get(head) as number) - 1);
      }
      for (const [head, count] of expected) {
        assert.equal(isPin ? pinCount(head) : refCount(head) - 1, count);
      }
      assert.equal(pinTotals.released - total, isPin ? cut : 0);
      (isPin ? unpinList : putList)(list, before + cut, chosen.length - cut);
      for (const page of pages) assert.ok(pinCount(page) === 0 && refCount(page) === 1);
      assert.equal(one.stats().pinnedPages + two.stats().pinnedPages, 0);
    }),
    RUNS,
  );
  for (const arena of [one, two]) {
    for (const page of pages) {
      const isHead = folioHead(page) === page && page - arena.region.firstPage >= 0;
      if (isHead && page - arena.region.firstPage < arena.region.frames) arena.putFolio(page);
    }
    arena.assertNothingOutstanding();
  }
});

test('the last pin of a list gives the memory back, in the middle of it as well', () => {
  using arena = new Arena({ maxBytes: MIB });
  const pages = Uint32Array.from({ length: 3 }, () => arena.getFolio(0));
  for (const page of pages) {
    pinPages(page, 1);
    arena.putFolio(page);
  }
  assert.equal(arena.stats().usedBytes, 3 * 4096);
  unpinList(pages, 0, 2);
  assert.equal(arena.stats().usedBytes, 4096);
  assert.equal(arena.stats().pinnedPages, 1);
  unpinList(pages, 2, 1);
  arena.assertNothingOutstanding();
});

test('the last pins of adopted memory let its frame numbers go', () => {
  using arena = new Arena({ maxBytes: MIB });
  const adopted = arena.adopt(new SharedArrayBuffer(2 * 4096));
  const own = arena.getFolio(0);
  const list = Uint32Array.of(own, adopted.page, adopted.page + 1, own);
  for (const page of list) assert.equal(pinPages(page, 1), 1);
  const page = adopted.page;
  adopted.release();
  unpinList(list, 0, 4);
  assert.throws(() => pinCount(page), /no region/);
  arena.putFolio(own);
  arena.assertNothingOutstanding();
});

test('a list that names more than was taken is a bug', () => {
  using arena = new Arena({ maxBytes: MIB });
  const page = arena.getFolio(1);
  pinPages(page, 1);
  assert.throws(() => unpinList(Uint32Array.of(page, page + 1), 0, 2), /more pages than were/);
  assert.throws(() => putList(Uint32Array.of(page, page), 0, 2), /more references than were/);
  assert.throws(() => unpinList(Uint32Array.of(page), 0, 2), /outside the list/);
  assert.throws(() => putList(Uint32Array.of(page), 1, 1), /outside the list/);
  assert.throws(() => unpinList(Uint32Array.of(page), -1, 1), /outside the list/);
  assert.equal(pinCount(page), 1, 'a refused release changes nothing');
  unpinPages(page, 1);
  arena.putFolio(page);
  arena.assertNothingOutstanding();
});

test('runInFolio counts neighbours of one folio, before and behind it nothing', () => {
  const pages = Uint32Array.of(8, 9, 9, 11, 12, 8, 7, 8);
  assert.equal(runInFolio(pages, 0, 8, 8, 4), 4);
  assert.equal(runInFolio(pages, 0, 2, 8, 4), 2);
  assert.equal(runInFolio(pages, 4, 8, 12, 1), 1);
  assert.equal(runInFolio(pages, 5, 8, 8, 4), 1, 'page 7 lies before');
  assert.equal(runInFolio(pages, 7, 8, 8, 1), 1);
});

// 2^30 pins of a folio of 2^10 pages are 2^20 calls.
test('the 2^30th hold is the last: beyond it nothing is had, and nothing wraps', () => {
  using arena = new Arena({ maxBytes: 8 * MIB });
  const head = arena.getFolio(10);
  for (let i = 0; i < 2 ** 20 - 1; i++) pinPages(head, 1024);
  assert.equal(pinPages(head, 1000), 1000);
  assert.equal(pinPages(head, 1024), 24, 'as many as there is room for');
  assert.equal(pinCount(head), HOLDS_MAX);
  assert.equal(pinPages(head + 5, 1), 0);
  assert.equal(pinAgain(head, 1), -Errno.ENOMEM);
  assert.equal(pinCount(head), HOLDS_MAX);
  assert.equal(arena.stats().pinnedPages, HOLDS_MAX);
  assert.equal(getPages(head, 1024), 1024, 'references have a count of their own');
  putPages(head, 1024);
  unpinFolio(head, HOLDS_MAX);
  for (let i = 0; i < 2 ** 20 - 1; i++) getPages(head, 1024);
  assert.equal(getPages(head, 1024), 1023, 'one reference is the allocator’s');
  assert.equal(getPages(head, 1), 0);
  assert.equal(refCount(head), HOLDS_MAX);
  for (let i = 0; i < 2 ** 20 - 1; i++) putPages(head, 1024);
  putPages(head, 1023);
  arena.putFolio(head);
  arena.assertNothingOutstanding();
});

test('pinAgain: more pins on a pinned folio, each page counts', () => {
  using arena = new Arena({ maxBytes: MIB });
  const head = arena.getFolio(2);
  const before = { ...pinTotals };
  assert.throws(() => pinAgain(head, 1), /not pinned/);
  pinPages(head + 1, 2);
  assert.equal(pinAgain(head + 3, 5), 0);
  assert.equal(pinCount(head), 7);
  unpinFolio(head + 2, 5);
  assert.equal(pinCount(head), 2);
  assert.throws(() => unpinFolio(head, 3), /more pages than were pinned/);
  arena.putFolio(head);
  assert.ok(maybePinned(head), 'the pins keep the folio');
  unpinFolio(head, 2);
  assert.equal(pinTotals.acquired - before.acquired, 7);
  assert.equal(pinTotals.released - before.released, 7);
  arena.assertNothingOutstanding();
});

test('3: the zero page is pinned and unpinned without a count', () => {
  using arena = new Arena({ maxBytes: MIB });
  const pages = [arena.getFolio(0), arena.getFolio(0), arena.getFolio(0)].sort((a, b) => a - b);
  const [before, zero, after] = pages as [number, number, number];
  assert.deepEqual([zero - before, after - zero], [1, 1], 'three frames in a row');
  arena.region.zeroFrame = zero - arena.region.firstPage;
  const totals = { ...pinTotals };
  assert.ok(isZeroPage(zero) && !isZeroPage(before));
  assert.equal(pinPages(zero, 1), 1);
  assert.equal(pinPages(before, 3), 3, 'in the middle of a range');
  assert.deepEqual(pages.map(pinCount), [1, 0, 1]);
  assert.equal(arena.stats().pinnedPages, 2);
  assert.equal(pinAgain(zero, 3), 0);
  unpinFolio(zero, 3);
  unpinPages(before, 3);
  unpinPages(zero, 1);
  unpinList(Uint32Array.of(zero, zero), 0, 2);
  assert.deepEqual(pages.map(pinCount), [0, 0, 0]);
  assert.deepEqual(pages.map(refCount), [1, 1, 1]);
  assert.equal(maybePinned(zero), false);
  assert.equal(pinTotals.acquired - totals.acquired, 2);
  assert.equal(pinTotals.released - totals.released, 2);
  assert.equal(isDirty(zero), false);
  arena.region.zeroFrame = -1;
  for (const page of pages) arena.putFolio(page);
  arena.assertNothingOutstanding();
});
