import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import { BvecRuns, BvecTable, bvecClassRows } from './bvec-table.ts';

const CLASSES = [4, 16, 64, 128, 256];

test('a request for rows is rounded up to the next of five sizes', () => {
  for (let rows = 1; rows <= 256; rows++) {
    assert.equal(
      bvecClassRows(rows),
      CLASSES.find((size) => size >= rows),
    );
  }
});

test('rows keep what was set, over the whole range of the columns', () => {
  const max = 2 ** 32 - 1;
  const table = new BvecTable(3);
  table.set(1, max, max, max, 3);
  table.copyRow(2, table, 1);
  for (const row of [1, 2]) {
    assert.equal(table.page[row], max);
    assert.equal(table.offset[row], max);
    assert.equal(table.len[row], max);
    assert.equal(table.hold[row], 3);
  }
  assert.equal(table.len[0], 0);
});

test('an empty segment and a row outside are bugs, not silent stores', () => {
  const table = new BvecTable(2);
  assert.throws(() => table.set(0, 1, 0, 0, 0), /empty segment/);
  for (const row of [-1, 2]) assert.throws(() => table.set(row, 1, 0, 1, 0), /outside/);
  assert.throws(() => new BvecTable(0), /no rows/);
});

interface Run {
  readonly first: number;
  readonly size: number;
}

test('random runs never overlap, stay in the table, and the reserve is kept back', () => {
  const step = fc.record({
    kind: fc.constantFrom('acquire', 'acquire', 'reserve', 'release'),
    size: fc.constantFrom(...CLASSES),
    pick: fc.nat(1000),
  });
  fc.assert(
    fc.property(fc.nat(700), fc.array(step, { maxLength: 60 }), (rows, steps) => {
      const runs = new BvecRuns(rows + 1, 2);
      const live: Run[] = [];
      const used = new Set<number>();
      let reserveOut = 0;
      const take = (first: number, size: number): void => {
        for (let row = first; row < first + size; row++) {
          assert.ok(row >= 0 && row < runs.table.rows && !used.has(row), `row ${row}`);
          used.add(row);
        }
        live.push({ first, size });
      };
      const drop = ({ first, size }: Run): void => {
        runs.release(first, size);
        if (first > rows) reserveOut--;
        for (let row = first; row < first + size; row++) used.delete(row);
      };
      for (const { kind, size, pick } of steps) {
        if (kind === 'acquire') {
          const first = runs.acquire(size);
          if (first >= 0) {
            assert.ok(first + size <= rows + 1, 'a plain run lies in the reserve');
            take(first, size);
          }
        } else if (kind === 'reserve') {
          const first = runs.acquireReserve();
          assert.equal(first < 0, reserveOut === 2);
          if (first >= 0) {
            reserveOut++;
            take(first, 256);
          }
        } else if (live.length > 0) {
          drop(live.splice(pick % live.length, 1)[0] as Run);
        }
        assert.equal(runs.rowsUsed, used.size);
      }
      live.splice(0).forEach(drop);
      assert.equal(runs.rowsUsed, 0);
      assert.ok(runs.acquireReserve() >= 0 && runs.acquireReserve() >= 0, 'the reserve is whole');
    }),
    RUNS,
  );
});

test('freed runs serve their size again', () => {
  const runs = new BvecRuns(8, 0);
  const [a, b] = [runs.acquire(4), runs.acquire(4)];
  assert.equal(runs.acquire(4), -1);
  runs.release(a, 4);
  assert.equal(runs.acquire(4), a);
  runs.release(a, 4);
  runs.release(b, 4);
  assert.equal(runs.rowsUsed, 0);
  assert.throws(() => runs.release(b, 4), /released twice/);
});
