import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import { PAGE_BYTES, pagesSpanned } from '../base/units.ts';
import { BvecTable } from '../bvec/bvec-table.ts';
import { type AddressSpace, MappedSpace } from '../memory/address-space.ts';
import { Arena } from '../memory/arena.ts';
import { HoldKind, pinCount, refCount, releaseHold } from '../memory/holds.ts';
import { IovIter, IterDirection } from './iov-iter.ts';
import { Iovec } from './iovec.ts';
import { EXTRACT_ALL, extract } from './iter-extract.ts';

/** Six pages before the end of a leaf of the page table. */
const FIRST = 512 - 6;
const PAGES = 24;

const arena = new Arena({ maxBytes: 256 * PAGE_BYTES, label: 'extract runs', places: false });

/** The same memory from a space that knows only pages. */
function pagesOnly(space: AddressSpace): AddressSpace {
  return {
    pageAt: (addr, access) => space.pageAt(addr, access),
    holdPages: (addr, count, access, hold, out, at) =>
      space.holdPages(addr, count, access, hold, out, at),
    whenReady: (wake) => space.whenReady(wake),
  };
}

/** Which folio, from which page of it on, how many pages, and whether a hole follows. */
const stretchArb = fc.record({
  folio: fc.nat(5),
  from: fc.nat(7),
  pages: fc.integer({ min: 1, max: 9 }),
  hasHole: fc.constantFrom(false, false, false, true),
});
const askArb = fc.record({
  ranges: fc.array(fc.tuple(fc.nat(PAGES * PAGE_BYTES), fc.nat(12 * PAGE_BYTES)), {
    minLength: 1,
    maxLength: 3,
  }),
  rowsMax: fc.constantFrom(1, 1, 2, 3, 30),
  bytesMax: fc.oneof(fc.constant(2 ** 31), fc.nat(20 * PAGE_BYTES)),
  pagesMax: fc.oneof(fc.constant(Number.POSITIVE_INFINITY), fc.integer({ min: 1, max: 9 })),
  hold: fc.constantFrom(HoldKind.PINNED, HoldKind.REFERENCED),
  crossSegments: fc.boolean(),
});
type Ask = typeof askArb extends fc.Arbitrary<infer T> ? T : never;

/** Everything that calls of `extract` leave behind, until nothing more comes. */
function rowsOf(space: AddressSpace, ask: Ask, heads: readonly number[]): unknown[] {
  const iovec = new Iovec();
  const bases = ask.ranges.map(([at]) => FIRST * PAGE_BYTES + at);
  iovec.importRanges(
    bases,
    ask.ranges.map(([, len]) => len),
    bases.length,
  );
  const iter = new IovIter();
  iter.initUser(IterDirection.DEST, space, iovec);
  const table = new BvecTable(40);
  const { crossSegments, pagesMax, hold } = ask;
  const options = { ...EXTRACT_ALL, crossSegments, pagesMax, hold };
  const seen: unknown[] = [];
  for (;;) {
    const bytes = extract(iter, table, 4, ask.rowsMax, ask.bytesMax, options);
    const rows = Array.from({ length: iter.rowsOut }, (_, i) => [
      table.page[4 + i] as number,
      table.offset[4 + i] as number,
      table.len[4 + i] as number,
      table.hold[4 + i] as HoldKind,
    ]);
    const counts = heads.map((head) => [pinCount(head), refCount(head)]);
    const behind = [...table.page.subarray(4 + ask.rowsMax)].every((page) => page === 0);
    assert.ok(behind, 'rows of others are as they were');
    seen.push({ bytes, rows, counts, index: iter.index, offset: iter.offset, count: iter.count });
    for (const [page = 0, offset = 0, len = 0] of rows) {
      releaseHold(hold, page, pagesSpanned(offset, len));
    }
    if (bytes <= 0) return seen;
  }
}

test('rows are the same from runs and from pages, over folios, leaves, holes and limits', () => {
  const heads = [0, 1, 2, 3, 3, 0].map((order) => arena.getFolio(order));
  const sizes = [1, 2, 4, 8, 8, 1];
  fc.assert(
    fc.property(fc.array(stretchArb, { minLength: 1, maxLength: 8 }), askArb, (stretches, ask) => {
      const space = new MappedSpace();
      let page = 0;
      for (const { folio, from, pages, hasHole } of stretches) {
        const size = sizes[folio] as number;
        for (let i = from % size; i < Math.min(size, (from % size) + pages); i++) {
          space.map((FIRST + page++) * PAGE_BYTES, (heads[folio] as number) + i);
        }
        if (hasHole) page++;
      }
      const before = heads.map((head) => [pinCount(head), refCount(head)]);
      assert.deepEqual(rowsOf(space, ask, heads), rowsOf(pagesOnly(space), ask, heads));
      assert.deepEqual(
        heads.map((head) => [pinCount(head), refCount(head)]),
        before,
      );
    }),
    RUNS,
  );
  for (const head of heads) arena.putFolio(head);
  arena.assertNothingOutstanding();
});
