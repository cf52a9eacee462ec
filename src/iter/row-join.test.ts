import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PAGE_BYTES } from '../base/units.ts';
import { BvecTable } from '../bvec/bvec-table.ts';
import { Arena } from '../memory/arena.ts';
import { HoldKind } from '../memory/holds.ts';
import { rowJoins, rowJoinsInFolio } from './row-join.ts';

const { PINNED, BORROWED } = HoldKind;

test('a fragment joins at the next byte, kept in the same way, in the same region', () => {
  const table = new BvecTable(1);
  table.set(0, 10, 5000, 1000, PINNED); // Bytes 45960 … 46960 of the region: in page 11.
  assert.equal(rowJoins(table, 0, 11, 6000 - PAGE_BYTES, PINNED), true);
  assert.equal(rowJoins(table, 0, 10, 6000, PINNED), true, 'a raw offset names the same byte');
  assert.equal(rowJoins(table, 0, 11, 6001 - PAGE_BYTES, PINNED), false);
  assert.equal(rowJoins(table, 0, 11, 6000 - PAGE_BYTES, BORROWED), false);
  table.set(0, 2 ** 20 - 1, 0, PAGE_BYTES, PINNED);
  assert.equal(rowJoins(table, 0, 2 ** 20, 0, PINNED), false, 'another region');
});

test('in a folio: the next byte counts only in the folio where the row began', () => {
  const arena = new Arena({ maxBytes: 16 * 2 ** 20 });
  const first = arena.getFolio(1);
  const second = arena.getFolio(1);
  assert.equal(second, first + 2, 'two folios side by side');
  const table = new BvecTable(1);
  table.set(0, first, 0, PAGE_BYTES, PINNED);
  assert.equal(rowJoinsInFolio(table, 0, first + 1, 0, PINNED), true);
  table.set(0, first, 0, 2 * PAGE_BYTES, PINNED);
  assert.equal(rowJoins(table, 0, second, 0, PINNED), true);
  assert.equal(rowJoinsInFolio(table, 0, second, 0, PINNED), false);
  // A raw row: named by a page of the first folio, lying in the second.
  table.set(0, first, 2 * PAGE_BYTES, PAGE_BYTES, PINNED);
  assert.equal(rowJoinsInFolio(table, 0, second + 1, 0, PINNED), true);
  arena.putFolio(first);
  arena.putFolio(second);
  arena.assertNothingOutstanding();
});
