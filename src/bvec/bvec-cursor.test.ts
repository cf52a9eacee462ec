import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { BvecCursor } from './bvec-cursor.ts';
import { BvecTable } from './bvec-table.ts';

interface Row {
  readonly page: number;
  readonly offset: number;
  readonly len: number;
}

const rowArb: fc.Arbitrary<Row> = fc.record({
  page: fc.nat(2 ** 20),
  offset: fc.oneof(fc.constantFrom(0, 512, 4095, 4096, 10_000), fc.nat(3 * PAGE_BYTES)),
  len: fc.oneof(fc.constantFrom(1, 512, 4096, 4097), fc.integer({ min: 1, max: 9000 })),
});

function tableOf(rows: readonly Row[]): BvecTable {
  const table = new BvecTable(rows.length + 1);
  rows.forEach(({ page, offset, len }, i) => {
    table.set(i + 1, page, offset, len, 0);
  });
  return table;
}

/** The address of every byte under the rows: the second opinion. */
function addresses(rows: readonly Row[]): number[] {
  return rows.flatMap(({ page, offset, len }) =>
    Array.from({ length: len }, (_, i) => page * PAGE_BYTES + offset + i),
  );
}

function walk(cursor: BvecCursor, view: 'multi' | 'single'): number[] {
  const out: number[] = [];
  while (view === 'multi' ? cursor.multi() : cursor.single()) {
    const { page, offset, len } = cursor;
    assert.ok(len > 0 && len <= cursor.size);
    if (view === 'single') assert.ok(offset + len <= PAGE_BYTES, 'a piece leaves its page');
    for (let i = 0; i < len; i++) out.push(page * PAGE_BYTES + offset + i);
    assert.ok(cursor.advance(len));
  }
  return out;
}

const places = fc
  .tuple(fc.array(rowArb, { minLength: 1, maxLength: 6 }), fc.nat(1000), fc.nat(1000))
  .map(([rows, behind, cut]) => {
    const total = rows.reduce((sum, { len }) => sum + len, 0);
    const skip = Math.floor((total * behind) / 1000);
    const size = total - skip - Math.floor(((total - skip) * cut) / 1000);
    return { rows, skip, size };
  });

test('22: both views enumerate the same bytes, from any place to any end', () => {
  fc.assert(
    fc.property(places, fc.constantFrom('multi', 'single'), ({ rows, skip, size }, view) => {
      const cursor = new BvecCursor();
      cursor.start(tableOf(rows), 1, 0, skip + size);
      assert.ok(cursor.advance(skip));
      assert.deepEqual(walk(cursor, view), addresses(rows).slice(skip, skip + size));
      assert.equal(cursor.size, 0);
      assert.ok(!cursor.multi() && !cursor.single(), 'the end stays the end');
    }),
    RUNS,
  );
});

test('22: advance commutes with enumeration, in any steps', () => {
  fc.assert(
    fc.property(places, fc.array(fc.nat(5000)), ({ rows, skip, size }, steps) => {
      const bytes = addresses(rows).slice(0, skip + size);
      const cursor = new BvecCursor();
      cursor.start(tableOf(rows), 1, 0, skip + size);
      let at = 0;
      for (const step of steps) {
        if (at + step > bytes.length) break;
        assert.ok(cursor.advance(step));
        at += step;
        assert.equal(cursor.size, bytes.length - at);
        assert.equal(cursor.single(), at < bytes.length);
        if (at < bytes.length) {
          assert.equal(cursor.page * PAGE_BYTES + cursor.offset, bytes[at]);
        }
      }
      assert.deepEqual(walk(cursor, 'single'), bytes.slice(at));
    }),
    RUNS,
  );
});

test('beyond the end: nothing is left, and the place stays', () => {
  const cursor = new BvecCursor();
  cursor.start(tableOf([{ page: 5, offset: 100, len: 1000 }]), 1, 300, 700);
  assert.ok(!cursor.advance(701));
  assert.equal(cursor.size, 0);
  assert.equal(cursor.row, 1);
  assert.equal(cursor.done, 300);
  assert.ok(!cursor.multi());
});

test('reference 2.1: an entry of 6000 bytes at 3000 has pieces of 1096, 4096 and 808', () => {
  const table = tableOf([{ page: 40, offset: 3000, len: 6000 }]);
  const cursor = new BvecCursor();
  cursor.start(table, 1, 0, 6000);
  const pieces: number[][] = [];
  while (cursor.single()) {
    pieces.push([cursor.page, cursor.offset, cursor.len]);
    cursor.advance(cursor.len);
  }
  assert.deepEqual(pieces, [
    [40, 3000, 1096],
    [41, 0, 4096],
    [42, 0, 808],
  ]);
  cursor.start(table, 1, 0, 6000);
  cursor.advance(5000);
  assert.ok(cursor.multi());
  assert.deepEqual([cursor.page, cursor.offset, cursor.len], [40, 8000, 1000]);
  assert.ok(cursor.single());
  assert.deepEqual([cursor.page, cursor.offset, cursor.len], [41, 3904, 192]);
  cursor.advance(192);
  assert.ok(cursor.single());
  assert.deepEqual([cursor.page, cursor.offset, cursor.len], [42, 0, 808]);
});

test('a cursor without rows is at its end', () => {
  const cursor = new BvecCursor();
  assert.ok(!cursor.multi() && !cursor.single());
  assert.ok(cursor.advance(0) || cursor.size === 0);
});
