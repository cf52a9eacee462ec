import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import { NOT_NOW } from './dma-status.ts';
import { SgCursor, SgList, SgMark, SgPool, sgChunksFor } from './sg-list.ts';

/** Entries of each chunk of `list`, read from the marks alone. */
function chunkSizes(list: SgList): number[] {
  const { pool } = list;
  const sizes: number[] = [];
  let row = list.first;
  for (let size = 0; ; row++) {
    if (pool.mark[row] === SgMark.CHAIN) {
      sizes.push(size);
      size = 0;
      row = pool.page[row] - 1;
      continue;
    }
    size++;
    if (pool.mark[row] === SgMark.END) return [...sizes, size];
  }
}

function fill(list: SgList, from: number): void {
  let row = list.first;
  for (let i = 0; i < list.nents; i++) {
    if (i > 0) row = list.pool.slotAfter(row);
    list.set(row, from + i, 0, 4096);
  }
}

function pagesOf(list: SgList): number[] {
  const cursor = new SgCursor();
  const out: number[] = [];
  cursor.start(list);
  while (cursor.next()) out.push(cursor.page);
  assert.ok(!cursor.next(), 'the end stays the end');
  return out;
}

test('a table is made of chunks, of which all but the last lose a slot to the chain', () => {
  const cases: [number, number[]][] = [
    [1, [1]],
    [127, [127]],
    [128, [128]],
    [129, [127, 2]],
    [200, [127, 73]],
    [254, [127, 127]],
    [255, [127, 128]],
    [256, [127, 127, 2]],
    [510, [127, 127, 127, 127, 2]],
  ];
  const pool = new SgPool({ chunks: 8 });
  for (const [entries, sizes] of cases) {
    const list = new SgList(pool);
    assert.equal(list.acquire(entries), 0);
    assert.deepEqual(chunkSizes(list), sizes);
    assert.equal(pool.busyCount, sizes.length);
    assert.equal(sgChunksFor(entries, 128), sizes.length);
    list.release();
    assert.equal(pool.busyCount, 0);
  }
});

test('errors leave nothing: no entries, more than the pool has, more than is free', () => {
  const pool = new SgPool({ chunks: 3, chunkEntries: 4 });
  const [a, b] = [new SgList(pool), new SgList(pool)];
  assert.equal(a.acquire(0), -22);
  assert.equal(a.acquire(-1), -22);
  assert.equal(a.acquire(11), -12, '3 + 3 + 4 is the most');
  assert.equal(b.acquire(5), 0);
  assert.equal(a.acquire(5), NOT_NOW);
  assert.equal(pool.busyCount, 2);
  assert.equal(a.acquire(4), 0);
  a.release();
  b.release();
  assert.equal(a.acquire(10), 0);
  a.release();
  assert.equal(pool.busyCount, 0);
});

test('a list is released exactly once, and not while a device or a pin has it', () => {
  const pool = new SgPool({ chunks: 2, chunkEntries: 4 });
  const list = new SgList(pool);
  const cursor = new SgCursor();
  assert.throws(() => list.release(), /released twice/);
  list.acquire(2);
  assert.throws(() => list.acquire(2), /acquired twice/);
  list.mappings = 1;
  assert.throws(() => list.release(), /while a device/);
  list.mappings = 0;
  list.isPinned = true;
  assert.throws(() => list.release(), /pins/);
  list.isPinned = false;
  fill(list, 1);
  cursor.start(list);
  list.release();
  assert.throws(() => list.release(), /released twice/);
  assert.throws(() => cursor.next(), /empty entry/, 'a walk left behind');
  assert.throws(() => cursor.start(list), /no table/);
  assert.throws(() => list.set(0, 0, 0, 0), /empty entry/);
  assert.equal(pool.busyCount, 0);
  assert.throws(() => pool.giveChunk(0), /twice/);
});

test('the end mark says how many entries of a table are in use', () => {
  const pool = new SgPool({ chunks: 4, chunkEntries: 4 });
  const list = new SgList(pool);
  list.acquire(9);
  fill(list, 100);
  assert.deepEqual(pagesOf(list), [100, 101, 102, 103, 104, 105, 106, 107, 108]);
  const second = list.pool.slotAfter(list.first);
  list.use(2, second);
  assert.deepEqual(pagesOf(list), [100, 101]);
  assert.deepEqual([list.nents, list.origNents], [2, 9]);
  list.useNone();
  assert.deepEqual(pagesOf(list), []);
  assert.throws(() => list.use(10, second), /more entries/);
  list.release();
  assert.equal(pool.busyCount, 0);
  assert.equal(
    pool.mark.some((mark) => mark !== SgMark.NONE),
    false,
    'marks do not stay behind',
  );
});

test('49: any mix of lists, growth and release visits each entry once', () => {
  const action = fc.record({ which: fc.nat(3), count: fc.integer({ min: 1, max: 9 }) });
  fc.assert(
    fc.property(fc.array(action, { maxLength: 40 }), fc.integer({ min: 2, max: 6 }), (acts, n) => {
      const pool = new SgPool({ chunks: 12, chunkEntries: n });
      const lists = [0, 1, 2, 3].map(() => new SgList(pool));
      const model: number[][] = [[], [], [], []];
      let stamp = 1;
      const chunks = (count: number): number => {
        let left = count;
        let used = 1;
        for (; left > n; left -= n - 1) used++;
        return used;
      };
      for (const { which, count } of acts) {
        const list = lists[which];
        const pages = model[which];
        const busy = model.reduce((sum, one) => sum + (one.length > 0 ? chunks(one.length) : 0), 0);
        assert.equal(pool.busyCount, busy);
        if (pages.length > 20) {
          list.release();
          model[which] = [];
          continue;
        }
        const isNew = pages.length === 0;
        const more = chunks(pages.length + count) - (isNew ? 0 : chunks(pages.length));
        const result = isNew ? list.acquire(count) : list.grow(count);
        const isNever = chunks(pages.length + count) > 12;
        assert.equal(result, isNever ? -12 : busy + more > 12 ? NOT_NOW : 0);
        if (result === 0) {
          let row = isNew ? list.first : list.end;
          for (let i = 0; i < count; i++) {
            if (!isNew || i > 0) row = pool.slotAfter(row);
            list.set(row, stamp, 0, 1);
            pages.push(stamp++);
          }
          list.use(pages.length, row);
        }
        lists.forEach((one, i) => {
          if (model[i].length > 0) assert.deepEqual(pagesOf(one), model[i]);
        });
      }
      lists.forEach((one, i) => {
        if (model[i].length > 0) one.release();
      });
      assert.equal(pool.busyCount, 0);
    }),
    RUNS,
  );
});
