import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../../src/base/runs.fuzz.ts';
import { BvecTable } from '../../src/bvec/bvec-table.ts';
import { IovIter, IterDirection, IterKind } from '../../src/iter/iov-iter.ts';
import { Iovec } from '../../src/iter/iovec.ts';
import { hasOutside } from '../../src/iter/iter-align.ts';
import { SavedIter } from '../../src/map/passthrough/saved-iter.ts';
import { MappedSpace } from '../../src/memory/address-space.ts';
import { Arena } from '../../src/memory/arena.ts';
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

test('every kind stays what it is, in its direction', () => {
  const space = new MappedSpace();
  const saved = new SavedIter();
  const ranges = new Iovec();
  ranges.importRange(0x1000, 512);
  const views = new Iovec();
  views.importViews([new Uint8Array(0), new Uint8Array(16)]);
  const table = new BvecTable(1);
  table.set(0, 7, 0, 512, HoldKind.BORROWED);
  for (const direction of [IterDirection.DEST, IterDirection.SOURCE]) {
    const arms: Readonly<Record<IterKind, (iter: IovIter) => void>> = {
      [IterKind.BYTES]: (iter) => iter.initBytes(direction, views),
      [IterKind.USER]: (iter) => iter.initUser(direction, space, ranges),
      [IterKind.KERNEL]: (iter) => iter.initKernel(direction, space, ranges),
      [IterKind.BVEC]: (iter) => iter.initBvec(direction, table, 0, 1, 0, 512),
      [IterKind.PAGES]: (iter) => iter.initPages(direction, { pageAt: () => 7 }, 512, 1024),
      [IterKind.DISCARD]: (iter) => iter.initDiscard(512),
    };
    for (const arm of Object.values(arms)) {
      const iter = new IovIter();
      arm(iter);
      assert.ok(saved.take(iter));
      const { kind, count, space: of, source, position } = saved.iter;
      const expected = [iter.kind, iter.count, iter.space, iter.source, iter.position];
      assert.deepEqual([kind, count, of, source, position], expected);
      assert.equal(saved.iter.direction, iter.direction);
      saved.clear();
    }
  }
});

test('arrays of the outside stay so; an empty one is no memory of anybody', () => {
  const saved = new SavedIter();
  const take = (views: readonly Uint8Array[]): IovIter => {
    const iovec = new Iovec(views.length);
    iovec.importViews(views);
    const iter = new IovIter();
    iter.initBytes(IterDirection.SOURCE, iovec);
    assert.ok(saved.take(iter));
    assert.equal(hasOutside(saved.iter), hasOutside(iter));
    assert.equal(saved.iter.iovec.outsideRows, iovec.outsideRows);
    return saved.iter;
  };
  using arena = new Arena({ maxBytes: 2 ** 20, label: 'saved' });
  using buffer = arena.alloc(4096);
  assert.ok(hasOutside(take([new Uint8Array(8)])));
  assert.ok(!hasOutside(take([buffer.bytes, new Uint8Array(0)])));
  assert.ok(hasOutside(take([buffer.bytes, new Uint8Array(1), new Uint8Array(2)])));
  assert.ok(!hasOutside(take([buffer.bytes])), 'the outside of the call before is not counted');
});

test('cleared, it keeps no object of the program alive', () => {
  const saved = new SavedIter();
  const iovec = new Iovec(1);
  iovec.importViews([new Uint8Array(8)]);
  const iter = new IovIter();
  iter.initBytes(IterDirection.SOURCE, iovec);
  assert.ok(saved.take(iter));
  const kept = saved.iter.iovec;
  assert.ok(kept.views[0] instanceof Uint8Array);
  saved.clear();
  assert.deepEqual([kept.views[0] ?? null, kept.rows, saved.iter.count], [null, 0, 0]);
  iovec.importRange(0x1000, 8);
  iter.initUser(IterDirection.SOURCE, new MappedSpace(), iovec);
  assert.ok(saved.take(iter));
  saved.clear();
  assert.equal(saved.iter.space, null);
});
