import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../base/errno.ts';
import { PAGE_BYTES, pagesSpanned } from '../base/units.ts';
import { BvecTable } from '../bvec/bvec-table.ts';
import { MappedSpace } from '../memory/address-space.ts';
import { Arena } from '../memory/arena.ts';
import { folioHead, HoldKind, pinCount, releaseHold } from '../memory/holds.ts';
import { IovIter, IterDirection, IterKind } from './iov-iter.ts';
import { Iovec } from './iovec.ts';
import { everyCase, FAULT, IterWorld, RUNS } from './iter-cases.fuzz.ts';
import { EXTRACT_ALL, type ExtractOptions, extract, holdOf, willPin } from './iter-extract.ts';

const { SOURCE, DEST } = IterDirection;

interface Row {
  readonly page: number;
  readonly offset: number;
  len: number;
}

interface Limits {
  readonly rowsMax: number;
  readonly bytesMax: number;
}

/** What one call must give, from a translation of byte after byte. */
function expectedRows(world: IterWorld, limits: Limits, options: ExtractOptions): Row[] {
  const rows: Row[] = [];
  const { addr, seg, place } = world;
  const inFolio = options.base === 'folio';
  let pages = 0;
  for (let at = place; at < addr.length && at - place < limits.bytesMax; at++) {
    const here = addr[at] as number;
    if (here < 0) break; // A fault, or the outside.
    const before = at === place ? Number.NaN : (addr[at - 1] as number);
    if (!options.crossSegments && at > place && seg[at] !== seg[at - 1]) {
      if (world.iter.kind !== IterKind.BVEC) break;
      if ((before + 1) % PAGE_BYTES !== 0 || here % PAGE_BYTES !== 0) break;
    }
    const page = Math.floor(here / PAGE_BYTES);
    const head = folioHead(page);
    const joins =
      here === before + 1 && (!inFolio || head === folioHead(Math.floor(before / PAGE_BYTES)));
    if (!joins && rows.length === limits.rowsMax) break;
    if (!joins || here % PAGE_BYTES === 0) {
      if (pages === options.pagesMax) break;
      pages++;
    }
    const base = inFolio ? head : page;
    if (joins) (rows.at(-1) as Row).len++;
    else rows.push({ page: base, offset: here - base * PAGE_BYTES, len: 1 });
  }
  return rows;
}

function rowsOf(table: BvecTable, first: number, count: number): Row[] {
  return Array.from({ length: count }, (_, i) => ({
    page: table.page[first + i] as number,
    offset: table.offset[first + i] as number,
    len: table.len[first + i] as number,
  }));
}

/** Pages of the kernel's own ranges have no references that anybody may take. */
function isRefused({ iter }: IterWorld, hold: HoldKind): boolean {
  return iter.kind === IterKind.KERNEL && hold === HoldKind.REFERENCED;
}

/** Every page under a row, once for each row. */
function pagesUnder(rows: readonly Row[]): number[] {
  return rows.flatMap(({ page, offset, len }) =>
    Array.from(
      { length: pagesSpanned(offset, len) },
      (_, i) => page + Math.floor(offset / PAGE_BYTES) + i,
    ),
  );
}

const optionCases: fc.Arbitrary<ExtractOptions> = fc.record({
  crossSegments: fc.boolean(),
  pagesMax: fc.constantFrom(1, 2, 3, 5, Number.POSITIVE_INFINITY),
  base: fc.constantFrom('page', 'folio'),
  hold: fc.constantFrom(HoldKind.PINNED, HoldKind.REFERENCED, HoldKind.BORROWED),
});
const limitCases: fc.Arbitrary<Limits> = fc.record({
  rowsMax: fc.constantFrom(1, 2, 3, 64),
  bytesMax: fc.oneof(fc.nat(9000), fc.constant(2 ** 31)),
});

test('rows, bytes, holds and place are what a byte-wise translation says', () => {
  fc.assert(
    fc.property(everyCase(), limitCases, optionCases, (given, limits, options) => {
      using world = new IterWorld(given);
      const { iter } = world;
      const table = new BvecTable(80);
      const hold = holdOf(iter, options.hold);
      const held: Row[] = [];
      for (let call = 0; call < 6; call++) {
        const place = world.place;
        const expected = isRefused(world, hold) ? [] : expectedRows(world, limits, options);
        const bytes = expected.reduce((sum, { len }) => sum + len, 0);
        const isOver = limits.bytesMax === 0 || world.left === 0;
        const answer = extract(iter, table, 7, limits.rowsMax, limits.bytesMax, options);
        assert.equal(answer, bytes > 0 || isOver ? bytes : world.errorAt(place));
        const rows = rowsOf(table, 7, iter.rowsOut);
        assert.deepEqual(rows, expected);
        assert.equal(world.place, place + bytes);
        assert.equal(iter.count, world.addr.length - place - bytes);
        for (let i = 0; i < rows.length; i++) assert.equal(table.hold[7 + i], hold);
        held.push(...rows);
      }
      const taken = hold === HoldKind.BORROWED ? [] : pagesUnder(held);
      const counts = world.holdsOf(taken);
      const none = world.holdsOf([]);
      const { pins, refs } = world.holds();
      assert.deepEqual(pins, hold === HoldKind.PINNED ? counts : none);
      assert.deepEqual(refs, hold === HoldKind.REFERENCED ? counts : none);
      for (const page of taken) releaseHold(hold, page, 1);
    }),
    { numRuns: RUNS.numRuns * 3 },
  );
});

test('without a fault the calls together give everything', () => {
  const cases = everyCase({ faults: false, outside: false });
  fc.assert(
    fc.property(cases, limitCases, optionCases, (given, limits, options) => {
      fc.pre(limits.bytesMax > 0);
      using world = new IterWorld(given);
      const { iter } = world;
      const table = new BvecTable(64);
      const hold = holdOf(iter, options.hold);
      fc.pre(!isRefused(world, hold));
      const want = iter.count;
      let total = 0;
      while (iter.count > 0 && total < 40_000) {
        const bytes = extract(iter, table, 0, limits.rowsMax, limits.bytesMax, options);
        assert.ok(bytes > 0);
        const rows = rowsOf(table, 0, iter.rowsOut);
        const pages = pagesUnder(rows);
        if (!options.crossSegments && iter.kind === IterKind.USER) {
          // One segment: the pages of the call are as many as an array of pages would hold.
          assert.equal(pages.length, pagesSpanned(rows[0]?.offset ?? 0, bytes));
        }
        if (hold !== HoldKind.BORROWED) for (const page of pages) releaseHold(hold, page, 1);
        total += bytes;
        if (limits.bytesMax < 100 && total > 2000) return;
      }
      if (total < 40_000) assert.equal(total, want);
    }),
    RUNS,
  );
});

test('only the memory of programs is pinned', () => {
  fc.assert(
    fc.property(everyCase(), (given) => {
      using world = new IterWorld(given);
      assert.equal(willPin(world.iter), world.iter.isUserBacked);
    }),
    { numRuns: 100 },
  );
});

const arena = new Arena({ maxBytes: 16 * 2 ** 20, label: 'extract' });

/** Virtual pages from 0x10000 on, mapped to the given frames. */
function spaceOf(pages: readonly number[]): MappedSpace {
  const space = new MappedSpace();
  for (const [i, page] of pages.entries()) {
    if (page !== FAULT) space.map(0x10000 + i * PAGE_BYTES, page);
  }
  return space;
}

function releaseRows(table: BvecTable, count: number): void {
  for (let row = 0; row < count; row++) {
    const page = (table.page[row] as number) + Math.floor((table.offset[row] as number) / 4096);
    const pages = pagesSpanned(table.offset[row] as number, table.len[row] as number);
    releaseHold(table.hold[row] as HoldKind, page, pages);
  }
}

test('a page that two joined fragments share has one pin', () => {
  const head = arena.getFolio(0);
  const space = spaceOf([head]);
  const iovec = new Iovec();
  iovec.importRanges([0x10000, 0x10400, 0x10900], [0x400, 0x400, 0x100], 3);
  const iter = new IovIter();
  iter.initUser(DEST, space, iovec);
  const table = new BvecTable(4);
  assert.equal(extract(iter, table, 0, 4, 8192, EXTRACT_ALL), 0x900);
  assert.equal(iter.rowsOut, 2);
  assert.equal(pinCount(head), 2, 'one for the joined two, one for the third');
  releaseRows(table, 2);
  arena.putFolio(head);
  arena.assertNothingOutstanding();
});

test('pagesMax cuts a segment as an array of pages does: pagesMax * 4096 - offset0', () => {
  const head = arena.getFolio(3);
  const space = spaceOf([0, 1, 2, 3, 4, 5].map((i) => head + i));
  const iter = new IovIter();
  const table = new BvecTable(4);
  const options = { ...EXTRACT_ALL, crossSegments: false, pagesMax: 3 };
  assert.equal(iter.initUserRange(SOURCE, space, 0x10064, 20_000), 20_000);
  assert.equal(extract(iter, table, 0, 1, 2 ** 31, options), 3 * PAGE_BYTES - 0x64);
  assert.equal(iter.rowsOut, 1, 'three pages, and room for one row was enough');
  releaseRows(table, 1);
  arena.putFolio(head);
  arena.assertNothingOutstanding();
});

test('the estimate does not walk past bytesMax: one byte of a large range pins one page', () => {
  const head = arena.getFolio(3);
  const space = spaceOf([0, 1, 2, 3, 4, 5, 6, 7].map((i) => head + i));
  const iter = new IovIter();
  const table = new BvecTable(4);
  iter.initUserRange(SOURCE, space, 0x10fff, 4 * PAGE_BYTES);
  assert.equal(extract(iter, table, 0, 4, 1, EXTRACT_ALL), 1);
  assert.equal(pinCount(head), 1);
  assert.equal(iter.count, 4 * PAGE_BYTES - 1);
  releaseRows(table, 1);
  arena.putFolio(head);
  arena.assertNothingOutstanding();
});

test('a fault after progress gives the bytes, asking again the error, and nothing is held', () => {
  const head = arena.getFolio(1);
  const space = spaceOf([head, FAULT, head + 1]);
  const iter = new IovIter();
  const table = new BvecTable(4);
  iter.initUserRange(SOURCE, space, 0x10800, 0x2000);
  assert.equal(extract(iter, table, 0, 4, 2 ** 31, EXTRACT_ALL), 0x800);
  assert.equal(extract(iter, table, 1, 3, 2 ** 31, EXTRACT_ALL), -Errno.EFAULT);
  assert.equal(iter.rowsOut, 0);
  assert.equal(iter.count, 0x1800);
  releaseRows(table, 1);
  arena.putFolio(head);
  arena.assertNothingOutstanding();
});

test('memory that the program released before the call is EFAULT', () => {
  const first = arena.alloc(PAGE_BYTES);
  const second = arena.alloc(PAGE_BYTES);
  const iovec = new Iovec();
  iovec.importViews([first.bytes, second.bytes]);
  const iter = new IovIter();
  iter.initBytes(SOURCE, iovec);
  second.release();
  const table = new BvecTable(4);
  assert.equal(extract(iter, table, 0, 4, 2 ** 31, EXTRACT_ALL), PAGE_BYTES);
  assert.equal(extract(iter, table, 1, 3, 2 ** 31, EXTRACT_ALL), -Errno.EFAULT);
  first.release();
  assert.equal(arena.region.pinnedPages, 1, 'in flight: the frame stays out of the pool');
  releaseRows(table, 1);
  arena.assertNothingOutstanding();
});

/** A buffer whose second of two folios is gone: half of a segment can be pinned. */
test('a segment that is only partly alive gives the living part', () => {
  const whole = arena.alloc(3 * PAGE_BYTES); // Two folios: 2 + 1 pages.
  const tail = whole.page + 2;
  const iter = new IovIter();
  iter.initView(SOURCE, whole.bytes.subarray(100));
  releaseHold(HoldKind.REFERENCED, tail, 1);
  const table = new BvecTable(4);
  assert.equal(extract(iter, table, 0, 4, 2 ** 31, EXTRACT_ALL), 2 * PAGE_BYTES - 100);
  assert.equal(extract(iter, table, 1, 3, 2 ** 31, EXTRACT_ALL), -Errno.EFAULT);
  releaseRows(table, 1);
  assert.equal(arena.claimFolio(tail - arena.region.firstPage, 0), true);
  whole.release();
  arena.assertNothingOutstanding();
});

test('H8: only the first row of a file range has an offset; a hole gives no negative bytes', () => {
  const pages = [arena.getFolio(0), arena.getFolio(0), arena.getFolio(0)];
  const [a = 0, b = 0, c = 0] = pages;
  const mapped = new Map([
    [4, c],
    [5, a],
    [6, b],
  ]);
  const iter = new IovIter();
  const table = new BvecTable(4);
  const source = { pageAt: (index: number): number => mapped.get(index) ?? -1 };
  iter.initPages(DEST, source, 4 * PAGE_BYTES + 100, 3 * PAGE_BYTES - 200);
  const each = { ...EXTRACT_ALL, base: 'folio' } as const;
  assert.equal(extract(iter, table, 0, 4, 2 ** 31, each), 3 * PAGE_BYTES - 200);
  const rows = rowsOf(table, 0, iter.rowsOut);
  assert.deepEqual(rows, [
    { page: c, offset: 100, len: PAGE_BYTES - 100 },
    { page: a, offset: 0, len: PAGE_BYTES },
    { page: b, offset: 0, len: PAGE_BYTES - 100 },
  ]);
  // Upstream's XARRAY → sg used the first offset for every folio.
  assert.notDeepEqual(
    rows.map(({ offset }) => offset),
    [100, 100, 100],
  );
  mapped.delete(5);
  iter.initPages(DEST, source, 4 * PAGE_BYTES + 100, 2 * PAGE_BYTES);
  assert.equal(extract(iter, table, 0, 4, 2 ** 31, each), PAGE_BYTES - 100);
  // A hole at the start, with an offset: upstream computed 0 pages * 4096 - offset bytes.
  assert.equal(extract(iter, table, 0, 4, 2 ** 31, each), -Errno.EFAULT);
  iter.initPages(DEST, source, 5 * PAGE_BYTES + 100, 200);
  assert.equal(extract(iter, table, 0, 4, 2 ** 31, each), -Errno.EFAULT);
  assert.equal(iter.count, 200);
  for (const page of pages) arena.putFolio(page);
  arena.assertNothingOutstanding();
});

test('frames of two regions are never one row, though their numbers touch', () => {
  // The last frame of a full 4 GiB region and the first of the next have neighbouring numbers.
  const table = new BvecTable(2);
  const iter = new IovIter();
  const rows = new BvecTable(2);
  rows.set(0, 2 ** 20 - 1, 0, PAGE_BYTES, HoldKind.BORROWED);
  rows.set(1, 2 ** 20, 0, PAGE_BYTES, HoldKind.BORROWED);
  iter.initBvec(SOURCE, rows, 0, 2, 0, 2 * PAGE_BYTES);
  assert.equal(extract(iter, table, 0, 2, 2 ** 31, EXTRACT_ALL), 2 * PAGE_BYTES);
  assert.equal(iter.rowsOut, 2);
});

test('a sink and the outside have no pages', () => {
  const iter = new IovIter();
  const table = new BvecTable(1);
  iter.initDiscard(10);
  assert.equal(extract(iter, table, 0, 1, 10, EXTRACT_ALL), -Errno.EFAULT);
  iter.initView(SOURCE, new Uint8Array(10));
  assert.equal(extract(iter, table, 0, 1, 10, EXTRACT_ALL), -Errno.EFAULT);
  assert.equal(extract(iter, table, 0, 1, 0, EXTRACT_ALL), 0);
  assert.equal(iter.count, 10);
});
