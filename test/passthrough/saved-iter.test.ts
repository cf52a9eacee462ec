import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../../src/base/runs.fuzz.ts';
import { BvecTable } from '../../src/bvec/bvec-table.ts';
import { IovIter, IterDirection } from '../../src/iter/iov-iter.ts';
import { Iovec } from '../../src/iter/iovec.ts';
import { SavedIter } from '../../src/map/passthrough/saved-iter.ts';
import { MappedSpace } from '../../src/memory/address-space.ts';
import { HoldKind } from '../../src/memory/holds.ts';

/** What is left, segment by segment: start and bytes. */
function rest(iter: IovIter): [number, number][] {
  const out: [number, number][] = [];
  let left = iter.count;
  let done = iter.offset;
  for (let i = iter.index; left > 0; i++, done = 0) {
    const len = Math.min(iter.segmentBytes(i) - done, left);
    const base = iter.table === null ? iter.iovec.base[i] : iter.table.offset[i];
    if (len > 0) out.push([base + done, len]);
    left -= len;
  }
  return out;
}

const segments = fc.array(fc.tuple(fc.nat(10000), fc.integer({ min: 1, max: 5000 })), {
  minLength: 1,
  maxLength: 12,
});

test('a saved iterator stands where the other stood, and stays when that is armed again', () => {
  const saved = new SavedIter(); // One for all, as in a pool.
  const space = new MappedSpace();
  fc.assert(
    fc.property(segments, fc.boolean(), fc.nat(1000), fc.nat(1000), (list, isRows, behind, cut) => {
      const iter = new IovIter();
      const total = list.reduce((sum, [, len]) => sum + len, 0);
      const iovec = new Iovec(list.length);
      const table = new BvecTable(list.length);
      if (isRows) {
        list.forEach(([at, len], i) => void table.set(i, 7, at, len, HoldKind.BORROWED));
        iter.initBvec(IterDirection.DEST, table, 0, list.length, 0, total);
      } else {
        const bases = list.map(([at]) => at);
        const lens = list.map(([, len]) => len);
        iovec.importRanges(bases, lens, list.length);
        iter.initUser(IterDirection.DEST, space, iovec);
      }
      iter.advance(Math.floor((total * behind) / 1000));
      iter.truncate(Math.floor((iter.count * cut) / 1000));
      const expected = rest(iter);
      assert.ok(saved.take(iter));
      iovec.importRanges([1], [1], 1);
      table.len.fill(1);
      assert.deepEqual(rest(saved.iter), expected);
      saved.clear();
    }),
    RUNS,
  );
});

test('more than 1024 segments are not taken', () => {
  const table = new BvecTable(1025);
  for (let i = 0; i < 1025; i++) table.set(i, 7, 0, 1, HoldKind.BORROWED);
  const iter = new IovIter();
  iter.initBvec(IterDirection.DEST, table, 0, 1025, 0, 1025);
  assert.ok(!new SavedIter().take(iter));
  iter.advance(1);
  assert.ok(new SavedIter().take(iter));
});
