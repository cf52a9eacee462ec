import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { NOT_NOW } from './dma-status.ts';
import { SgList, SgMark, SgPool } from './sg-list.ts';
import { sgAppendPages, sgFromPages } from './sg-pages.ts';

type Row = readonly [page: number, offset: number, len: number];
const ANY = 2 ** 32 - 1;
const REGION_PAGES = 2 ** 20;

/** By the columns and marks, without the cursor. */
function rowsOf(list: SgList): Row[] {
  const { pool } = list;
  const rows: Row[] = [];
  for (let row = list.first; ; row++) {
    if (pool.mark[row] === SgMark.CHAIN) row = pool.page[row];
    rows.push([pool.page[row], pool.offset[row], pool.len[row]]);
    if (pool.mark[row] === SgMark.END) return rows;
  }
}

function range(pages: readonly number[], offset: number, bytes: number) {
  return { pages: Uint32Array.from(pages), first: 0, offset, bytes };
}

/** Frames, offset, bytes, largest segment; the entries. */
const EXAMPLES: [number[], number, number, number, Row[]][] = [
  // Reference 8.1.
  [
    [10, 11, 12, 20],
    256,
    13000,
    ANY,
    [
      [10, 256, 12032],
      [20, 0, 968],
    ],
  ],
  // A segment of 8 KiB cuts the run of three.
  [
    [10, 11, 12, 20],
    256,
    13000,
    8192,
    [
      [10, 256, 7936],
      [12, 0, 4096],
      [20, 0, 968],
    ],
  ],
  // 8191 is rounded down to a page.
  [
    [10, 11],
    0,
    8192,
    8191,
    [
      [10, 0, 4096],
      [11, 0, 4096],
    ],
  ],
  [[7], 4095, 1, 4096, [[7, 4095, 1]]],
  // Pages behind the last byte are not looked at.
  [[7, 8, 9], 0, 100, ANY, [[7, 0, 100]]],
  // Neighbours in number, but of two regions: other memory.
  [
    [REGION_PAGES - 1, REGION_PAGES],
    0,
    8192,
    ANY,
    [
      [REGION_PAGES - 1, 0, 4096],
      [REGION_PAGES, 0, 4096],
    ],
  ],
  // Backwards is scattered.
  [
    [5, 4],
    8,
    5000,
    ANY,
    [
      [5, 8, 4088],
      [4, 0, 912],
    ],
  ],
];

test('tables from pages: the examples', () => {
  const pool = new SgPool({ chunks: 4, chunkEntries: 4 });
  for (const [pages, offset, bytes, most, rows] of EXAMPLES) {
    const list = new SgList(pool);
    assert.equal(sgFromPages(list, range(pages, offset, bytes), most), 0);
    assert.deepEqual(rowsOf(list), rows);
    assert.deepEqual([list.nents, list.origNents], [rows.length, rows.length]);
    list.release();
  }
  assert.equal(pool.busyCount, 0);
});

test('tables from pages: what is refused', () => {
  const pool = new SgPool({ chunks: 1, chunkEntries: 2 });
  const list = new SgList(pool);
  assert.equal(sgFromPages(list, range([1], 0, 100), 4095), -22, 'a segment below a page');
  assert.equal(sgFromPages(list, range([1], 0, 0), ANY), -22, 'no bytes');
  assert.equal(sgFromPages(list, range([1], 4096, 1), ANY), -22, 'offset beyond the page');
  assert.equal(sgFromPages(list, range([1], 1, 4096), ANY), -22, 'fewer pages than bytes');
  assert.equal(sgFromPages(list, range([1, 3, 5], 0, 3 * 4096), ANY), -12, 'three entries of two');
  assert.equal(list.first, -1);
  assert.equal(pool.busyCount, 0);
});

test('append: the last entry grows while frames go on and fit, and errors change nothing', () => {
  const pool = new SgPool({ chunks: 3, chunkEntries: 2 });
  const list = new SgList(pool);
  assert.equal(sgFromPages(list, range([10], 256, 3840), 3 * 4096), 0);
  // 3840 + two pages is 12032; a third would pass 12288.
  assert.equal(sgAppendPages(list, range([11, 12, 13, 14], 0, 4 * 4096), 3 * 4096), 0);
  const rows: Row[] = [
    [10, 256, 12032],
    [13, 0, 8192],
  ];
  assert.deepEqual(rowsOf(list), rows);
  // Into the last entry alone.
  assert.equal(sgAppendPages(list, range([15], 0, 100), 3 * 4096), 0);
  assert.deepEqual(rowsOf(list), [rows[0], [13, 0, 8292]]);
  // It ends inside a page now: the next frame starts an entry, and so does what is scattered.
  assert.equal(sgAppendPages(list, range([16, 30], 0, 8192), 3 * 4096), 0);
  const grown: Row[] = [rows[0], [13, 0, 8292], [16, 0, 4096], [30, 0, 4096]];
  assert.deepEqual(rowsOf(list), grown);
  assert.equal(sgAppendPages(list, range([31, 40, 50], 0, 12288), ANY), -12, 'the pool is small');
  assert.equal(sgAppendPages(list, range([31], 1, 100), ANY), -22, 'not at a page');
  assert.equal(sgAppendPages(list, range([31], 0, 100), 100), -22);
  assert.deepEqual(rowsOf(list), grown);
  list.release();
  assert.equal(pool.busyCount, 0);
});

test('append waits when the pool is empty', () => {
  const pool = new SgPool({ chunks: 2, chunkEntries: 2 });
  const [list, other] = [new SgList(pool), new SgList(pool)];
  assert.equal(sgFromPages(list, range([1, 3], 0, 8192), ANY), 0);
  other.acquire(1);
  assert.equal(sgAppendPages(list, range([4, 9], 0, 8192), ANY), NOT_NOW);
  assert.deepEqual(rowsOf(list), [
    [1, 0, 4096],
    [3, 0, 4096],
  ]);
  other.release();
  assert.equal(sgAppendPages(list, range([4, 9], 0, 8192), ANY), 0);
  assert.deepEqual(rowsOf(list), [
    [1, 0, 4096],
    [3, 0, 8192],
    [9, 0, 4096],
  ]);
  list.release();
  assert.equal(pool.busyCount, 0);
});

const pagesArb = fc
  .array(fc.record({ start: fc.nat(60), run: fc.integer({ min: 1, max: 7 }) }), {
    minLength: 1,
    maxLength: 8,
  })
  .map((runs) =>
    runs.flatMap(({ start, run }) => Array.from({ length: run }, (_, i) => start + i)),
  );
const segArb = fc.oneof(
  fc.constantFrom(4096, 8192, ANY),
  fc.integer({ min: 4096, max: 7 * PAGE_BYTES }),
);

/** Every byte of the range by its physical address. */
function addresses(pages: readonly number[], offset: number, bytes: number): number[] {
  return Array.from({ length: Math.ceil(bytes / 64) }, (_, i) => {
    const at = offset + i * 64;
    return pages[Math.floor(at / PAGE_BYTES)] * PAGE_BYTES + (at % PAGE_BYTES);
  });
}

function addressesOfRows(rows: readonly Row[]): number[] {
  const all: number[] = [];
  let skip = 0;
  for (const [page, offset, len] of rows) {
    let at = skip;
    for (; at < len; at += 64) all.push(page * PAGE_BYTES + offset + at);
    skip = at - len;
  }
  return all;
}

test('49: bytes and order are kept, entries <= pages, none above the largest segment', () => {
  fc.assert(
    fc.property(pagesArb, fc.nat(4095), fc.nat(999), segArb, (pages, offset, share, most) => {
      const pool = new SgPool({ chunks: 40, chunkEntries: 3 });
      const list = new SgList(pool);
      const bytes = 1 + Math.floor(((pages.length * PAGE_BYTES - offset - 1) * share) / 1000);
      assert.equal(sgFromPages(list, range(pages, offset, bytes), most), 0);
      const rows = rowsOf(list);
      const used = Math.ceil((offset + bytes) / PAGE_BYTES);
      assert.equal(
        rows.reduce((sum, [, , len]) => sum + len, 0),
        bytes,
      );
      assert.ok(rows.length <= used && rows.length === list.nents);
      assert.ok(rows.every(([, , len]) => len > 0 && len <= most));
      assert.deepEqual(addressesOfRows(rows), addresses(pages, offset, bytes));
      // Entries that could have been one are at the size of a segment.
      const whole = Math.floor(most / PAGE_BYTES) * PAGE_BYTES;
      rows.slice(1).forEach(([page], i) => {
        const [before, at, len] = rows[i];
        const touches = before * PAGE_BYTES + at + len === page * PAGE_BYTES;
        if (touches) assert.equal((at % PAGE_BYTES) + len, whole);
      });
      list.release();
      assert.equal(pool.busyCount, 0);
    }),
    RUNS,
  );
});

test('49: appending page after page gives the same bytes', () => {
  fc.assert(
    fc.property(pagesArb, fc.array(fc.integer({ min: 1, max: 6 })), segArb, (pages, cuts, most) => {
      const pool = new SgPool({ chunks: 60, chunkEntries: 3 });
      const list = new SgList(pool);
      let at = 0;
      for (const cut of [...cuts, pages.length]) {
        const part = pages.slice(at, at + cut);
        at += part.length;
        if (part.length === 0) break;
        const piece = range(part, 0, part.length * PAGE_BYTES);
        const add = list.first < 0 ? sgFromPages : sgAppendPages;
        assert.equal(add(list, piece, most), 0);
      }
      const rows = rowsOf(list);
      assert.equal(rows.length, list.nents);
      assert.ok(rows.every(([, , len]) => len <= most));
      const bytes = pages.length * PAGE_BYTES;
      assert.deepEqual(addressesOfRows(rows), addresses(pages, 0, bytes));
      list.release();
      assert.equal(pool.busyCount, 0);
    }),
    RUNS,
  );
});
