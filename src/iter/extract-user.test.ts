import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { Errno } from '../base/errno.ts';
import { PAGE_BYTES, pagesSpanned } from '../base/units.ts';
import { BvecTable } from '../bvec/bvec-table.ts';
import { Access, type AddressSpace } from '../memory/address-space.ts';
import { Arena } from '../memory/arena.ts';
import { HoldKind, pinCount, refCount, releaseHold } from '../memory/holds.ts';
import { REGION_FRAMES } from '../memory/region.unsafe.ts';
import { FaultSpace } from './fault-space.fuzz.ts';
import { EACH_PAGE_PINNED, ForEachPageResult, forEachPage, Verdict } from './for-each-page.ts';
import { IovIter, IterDirection } from './iov-iter.ts';
import { Iovec } from './iovec.ts';
import { gapAlignment } from './iter-align.ts';
import { EXTRACT_ALL, extract, willPin } from './iter-extract.ts';
import { userBatch } from './user-batch.ts';

const { SOURCE, DEST } = IterDirection;
const BASE = 0x10000;
const arena = new Arena({ maxBytes: 16 * 2 ** 20, label: 'extract user' });
const heads: number[] = [];

afterEach(() => {
  for (const head of heads.splice(0)) arena.putFolio(head);
  arena.assertNothingOutstanding();
  assert.equal(userBatch.first, 0);
});

function frame(order = 0): number {
  const head = arena.getFolio(order);
  assert.ok(head >= 0);
  heads.push(head);
  return head;
}

/** Frames that are no neighbours, so that each page is a row. */
function scattered(count: number): number[] {
  const all = Array.from({ length: 2 * count }, () => frame());
  return all.filter((_, i) => i % 2 === 1);
}

function spaceOf(frames: readonly number[]): FaultSpace {
  const space = new FaultSpace();
  for (const [i, one] of frames.entries()) space.map(BASE + i * PAGE_BYTES, { frame: one });
  return space;
}

function over(space: FaultSpace, pages: number, direction: IterDirection = DEST): IovIter {
  const iter = new IovIter();
  iter.initUserRange(direction, space, BASE, pages * PAGE_BYTES);
  return iter;
}

function releaseRows(table: BvecTable, first: number, rows: number): void {
  for (let row = first; row < first + rows; row++) {
    const pages = pagesSpanned(table.offset[row] as number, table.len[row] as number);
    releaseHold(table.hold[row] as HoldKind, table.page[row] as number, pages);
  }
}

test('a row ends where a region does, though the next frame has the next number', () => {
  const last = REGION_FRAMES - 1;
  // Frames alone: nothing is there, so nothing is held and nothing is let go.
  const space: AddressSpace = {
    pageAt: () => -Errno.EFAULT,
    holdPages(_addr, count, _access, _hold, out, at) {
      for (let i = 0; i < count; i++) out[at + i] = last - 1 + i;
      return count;
    },
    whenReady: () => assert.fail('nothing to wait for'),
  };
  const iter = new IovIter();
  iter.initUserRange(DEST, space, BASE, 4 * PAGE_BYTES);
  const table = new BvecTable(4);
  assert.equal(extract(iter, table, 0, 4, 2 ** 31, EXTRACT_ALL), 4 * PAGE_BYTES);
  assert.equal(iter.rowsOut, 2);
  assert.deepEqual([...table.page.subarray(0, 2)], [last - 1, last + 1]);
  assert.deepEqual([...table.len.subarray(0, 2)], [2 * PAGE_BYTES, 2 * PAGE_BYTES]);
});

test('holds are taken by the space, many at once; what is borrowed is only looked up', () => {
  const frames = scattered(300);
  const space = spaceOf(frames);
  const table = new BvecTable(300);
  const iter = over(space, 300);
  assert.equal(extract(iter, table, 0, 300, 2 ** 31, EXTRACT_ALL), 300 * PAGE_BYTES);
  assert.deepEqual([space.holdCalls, space.pageCalls], [1, 0]);
  assert.deepEqual([...table.page.subarray(0, 300)], frames);
  assert.ok(frames.every((one) => pinCount(one) === 1));
  releaseRows(table, 0, 300);

  iter.revert(300 * PAGE_BYTES);
  const borrow = { ...EXTRACT_ALL, hold: HoldKind.BORROWED };
  assert.equal(extract(iter, table, 0, 300, 2 ** 31, borrow), 300 * PAGE_BYTES);
  assert.deepEqual([space.holdCalls, space.pageCalls], [1, 300]);
  assert.ok(frames.every((one) => pinCount(one) === 0 && refCount(one) === 1));
});

test('forEachPage asks for one batch after the other', () => {
  const space = spaceOf(scattered(100));
  const iter = over(space, 100);
  const result = new ForEachPageResult();
  forEachPage(iter, 2 ** 31, () => Verdict.DROP, null, EACH_PAGE_PINNED, result);
  assert.deepEqual([result.bytes, result.error], [100 * PAGE_BYTES, 0]);
  assert.deepEqual([space.holdCalls, space.pageCalls], [2, 0]);
});

test('a wait in the middle: the pages before it, then EAGAIN, and after it the rest', () => {
  const frames = scattered(6);
  const space = spaceOf(frames);
  space.map(BASE + 4 * PAGE_BYTES, { frame: frames[4] as number, waits: 3 });
  const table = new BvecTable(8);
  const iter = over(space, 6);
  assert.equal(extract(iter, table, 0, 8, 2 ** 31, EXTRACT_ALL), 4 * PAGE_BYTES);
  assert.equal(extract(iter, table, 4, 4, 2 ** 31, EXTRACT_ALL), -Errno.EAGAIN);
  assert.deepEqual([iter.rowsOut, iter.count], [0, 2 * PAGE_BYTES]);
  space.ready();
  assert.equal(extract(iter, table, 4, 4, 2 ** 31, EXTRACT_ALL), 2 * PAGE_BYTES);
  releaseRows(table, 0, 6);
});

test('forEachPage: what was had is handed out before the wait is told', () => {
  const frames = scattered(5);
  const space = spaceOf(frames);
  const waiting = { frame: frames[3] as number, waits: Number.POSITIVE_INFINITY };
  space.map(BASE + 3 * PAGE_BYTES, waiting);
  const iter = over(space, 5);
  const seen: number[] = [];
  const note = (page: number): number => {
    seen.push(page);
    return Verdict.DROP;
  };
  const result = forEachPage(iter, 2 ** 31, note, null, EACH_PAGE_PINNED, new ForEachPageResult());
  assert.deepEqual([result.bytes, result.error], [3 * PAGE_BYTES, -Errno.EAGAIN]);
  assert.deepEqual(seen, frames.slice(0, 3));
  forEachPage(iter, 2 ** 31, note, null, EACH_PAGE_PINNED, result);
  assert.deepEqual([result.bytes, result.error], [0, -Errno.EAGAIN]);
});

test('errors of the space are told as they are', () => {
  const [a = 0] = scattered(1);
  const space = spaceOf([a]);
  space.map(BASE + PAGE_BYTES, { frame: a, error: -Errno.ENOMEM });
  const table = new BvecTable(2);
  const iter = over(space, 2);
  assert.equal(extract(iter, table, 0, 2, 2 ** 31, EXTRACT_ALL), PAGE_BYTES);
  assert.equal(extract(iter, table, 1, 1, 2 ** 31, EXTRACT_ALL), -Errno.ENOMEM);
  releaseRows(table, 0, 1);
});

test('a pin to read unshares, a reference to read does not', () => {
  const [shared = 0, copyTo = 0] = scattered(2);
  const table = new BvecTable(2);
  for (const hold of [HoldKind.REFERENCED, HoldKind.PINNED]) {
    const space = spaceOf([]);
    space.map(BASE, { frame: shared, copyTo });
    const iter = over(space, 1, SOURCE);
    assert.equal(extract(iter, table, 0, 2, 2 ** 31, { ...EXTRACT_ALL, hold }), PAGE_BYTES);
    assert.equal(table.page[0], hold === HoldKind.PINNED ? copyTo : shared);
    releaseRows(table, 0, 1);
  }
});

test('full rows: the next page is taken if it joins the last, and let go if it does not', () => {
  const run = frame(2);
  const [stray = 0] = scattered(1);
  const space = spaceOf([stray, run, run + 1, run + 2, stray]);
  const table = new BvecTable(2);
  const iter = over(space, 5);
  assert.equal(extract(iter, table, 0, 2, 2 ** 31, EXTRACT_ALL), 4 * PAGE_BYTES);
  assert.deepEqual([...table.page], [stray, run]);
  assert.deepEqual([...table.len], [PAGE_BYTES, 3 * PAGE_BYTES]);
  assert.deepEqual([pinCount(stray), pinCount(run)], [1, 3]);
  releaseRows(table, 0, 2);
});

test('folio runs do not depend on how many pages the space gives at once', () => {
  const run = frame(3);
  for (const atOnceMost of [1, 2, 3, 100]) {
    const space = spaceOf([0, 1, 2, 3, 4, 5, 6, 7].map((i) => run + i));
    space.atOnceMost = atOnceMost;
    const iter = over(space, 8);
    const lens: number[] = [];
    const note = (_page: number, _offset: number, len: number): number => {
      lens.push(len);
      return Verdict.DROP;
    };
    const options = { ...EACH_PAGE_PINNED, folioRuns: true, batch: 1 };
    forEachPage(iter, 2 ** 31, note, null, options, new ForEachPageResult());
    assert.deepEqual(lens, [8 * PAGE_BYTES]);
  }
});

test('a fault handler may extract into rows of its own while others are being filled', () => {
  const outer = scattered(20);
  const inner = scattered(20);
  const space = spaceOf(outer);
  const other = spaceOf(inner);
  const table = new BvecTable(40);
  space.onFault = (addr) => {
    if (addr !== BASE + 10 * PAGE_BYTES) return;
    assert.equal(extract(over(other, 20), table, 20, 20, 2 ** 31, EXTRACT_ALL), 20 * PAGE_BYTES);
  };
  assert.equal(extract(over(space, 20), table, 0, 20, 2 ** 31, EXTRACT_ALL), 20 * PAGE_BYTES);
  assert.deepEqual([...table.page], [...outer, ...inner]);
  releaseRows(table, 0, 40);
});

test('a fault handler may walk an iterator of its own while a batch is being taken', () => {
  // Confirmed: without the mark in `take` the inner walk overwrites the first frames of the outer.
  const outer = scattered(20);
  const inner = scattered(20);
  const space = spaceOf(outer);
  const other = spaceOf(inner);
  const seen: number[] = [];
  const note = (page: number): number => {
    seen.push(page);
    return Verdict.DROP;
  };
  let depth = 0;
  const walk = (which: FaultSpace): void => {
    const result = new ForEachPageResult();
    forEachPage(over(which, 20), 2 ** 31, note, null, EACH_PAGE_PINNED, result);
    assert.deepEqual([result.bytes, result.error], [20 * PAGE_BYTES, 0]);
  };
  space.onFault = (addr) => {
    if (addr !== BASE + 10 * PAGE_BYTES) return;
    depth = userBatch.first;
    walk(other);
  };
  walk(space);
  assert.equal(depth, 20, 'the batch was in hand');
  assert.deepEqual(seen, [...inner, ...outer]);
});

test('a space that throws leaves no batch in hand', () => {
  const space = spaceOf(scattered(2));
  space.onFault = () => {
    throw new Error('a bug in a handler');
  };
  const result = new ForEachPageResult();
  const walk = (): unknown =>
    forEachPage(over(space, 2), 2 ** 31, () => 0, null, EACH_PAGE_PINNED, result);
  assert.throws(walk, /a bug/);
  assert.equal(userBatch.first, 0);
});

test('KERNEL: contiguous addresses over scattered pages, listed and not held', () => {
  const frames = scattered(4);
  const space = spaceOf(frames);
  const iovec = new Iovec();
  iovec.importRanges([BASE + 100, BASE + PAGE_BYTES + 100], [PAGE_BYTES, 2 * PAGE_BYTES], 2);
  const iter = new IovIter();
  iter.initKernel(SOURCE, space, iovec);
  assert.deepEqual([willPin(iter), iter.isUserBacked], [false, false]);
  assert.equal(gapAlignment(iter), 0xffffffff, 'nobody asks for gaps of the kernel');
  const table = new BvecTable(8);
  assert.equal(extract(iter, table, 0, 8, 2 ** 31, EXTRACT_ALL), 3 * PAGE_BYTES);
  assert.deepEqual([...table.page.subarray(0, iter.rowsOut)], frames);
  assert.deepEqual([...table.offset.subarray(0, 4)], [100, 0, 0, 0]);
  assert.ok(frames.every((one) => pinCount(one) === 0 && refCount(one) === 1));
  assert.equal(space.holdCalls, 0);

  iter.revert(2 * PAGE_BYTES + 10);
  assert.equal(iter.piece(Access.READ, 100), 10);
  assert.deepEqual([iter.page, iter.pageOffset], [frames[1], 90], 'back over the joint');

  const refer = { ...EXTRACT_ALL, hold: HoldKind.REFERENCED };
  assert.equal(extract(iter, table, 0, 8, 2 ** 31, refer), -Errno.EFAULT);
  space.unmap(BASE + PAGE_BYTES);
  assert.throws(() => extract(iter, table, 0, 8, 2 ** 31, EXTRACT_ALL), /memory of the kernel/);
});
