import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { PAGE_BYTES } from '../base/units.ts';
import { IovIter, IterDirection } from '../iter/iov-iter.ts';
import { Iovec } from '../iter/iovec.ts';
import { MappedSpace } from '../memory/address-space.ts';
import { Arena } from '../memory/arena.ts';
import { pinCount } from '../memory/holds.ts';
import { detachedRow, isThere, pinForCopy, unpinAfterCopy } from './user-pins.ts';

const arena = new Arena({ maxBytes: 2 ** 20, label: 'user pins', places: false });
afterEach(() => arena.assertNothingOutstanding());

function iterOf(views: readonly Uint8Array[]): IovIter {
  const iovec = new Iovec(Math.max(views.length, 1));
  iovec.importViews(views);
  const iter = new IovIter();
  iter.initBytes(IterDirection.DEST, iovec);
  return iter;
}

function detach(view: Uint8Array): void {
  structuredClone(view.buffer, { transfer: [view.buffer as ArrayBuffer] });
  assert.equal(view.length, 0);
}

describe('pins for a copy', () => {
  test('an array over a live page and one that was released: the live one is let go again', () => {
    const live = arena.alloc(PAGE_BYTES);
    const gone = arena.alloc(PAGE_BYTES);
    assert.equal(gone.page, live.page + 1);
    const { buffer, byteOffset } = live.bytes;
    const iter = iterOf([live.bytes, new Uint8Array(buffer, byteOffset, 2 * PAGE_BYTES)]);
    gone.release();
    assert.equal(pinForCopy(iter, 3 * PAGE_BYTES), -1);
    assert.deepEqual([pinCount(live.page), iter.count], [0, 3 * PAGE_BYTES]);
    assert.ok(!isThere(iter, 3 * PAGE_BYTES));
    assert.ok(isThere(iter, 2 * PAGE_BYTES));
    assert.deepEqual([pinCount(live.page), iter.count], [0, 3 * PAGE_BYTES]);
    live.release();
  });

  test('arrays of the outside have no page: nothing to pin, and they are there', () => {
    const iter = iterOf([new Uint8Array(100), new Uint8Array(50)]);
    assert.ok(isThere(iter, 150));
    assert.equal(pinForCopy(iter, 120), 0);
    assert.equal(iter.count, 30);
  });

  test('memory of other kinds is moved over, whatever is there', () => {
    const iovec = new Iovec();
    iovec.importRange(0x1000, 8192);
    const iter = new IovIter();
    iter.initKernel(IterDirection.DEST, new MappedSpace(), iovec);
    assert.deepEqual([pinForCopy(iter, 5000), iter.count], [0, 3192]);
    iter.revert(5000);
    assert.deepEqual([unpinAfterCopy(iter, 5000), iter.count], [0, 3192]);
    assert.ok(isThere(iter, 3192));
    assert.equal(iter.count, 3192);
  });
});

describe('the pins go, whatever became of arrays of the outside', () => {
  test('one that was detached is walked over for as long as it was', () => {
    const buffer = arena.alloc(2 * PAGE_BYTES);
    // Bytes that the call is over before the first array, and behind the last.
    for (const [before, bytes] of [
      [0, 100 + 2 * PAGE_BYTES],
      [10, 90 + PAGE_BYTES],
      [10, 50],
    ] as const) {
      const array = new Uint8Array(100);
      const iter = iterOf([array, buffer.bytes]);
      iter.advance(before);
      const pages = Math.ceil(Math.max(before + bytes - 100, 0) / PAGE_BYTES);
      assert.equal(pinForCopy(iter, bytes), pages);
      iter.revert(bytes);
      detach(array);
      const left = iter.count;
      assert.equal(unpinAfterCopy(iter, bytes), pages);
      assert.deepEqual([iter.count, pinCount(buffer.page)], [left - bytes, 0]);
    }
    buffer.release();
  });

  test('and not a byte longer: what lies behind it has its own pages', () => {
    const buffer = arena.alloc(2 * PAGE_BYTES);
    const array = new Uint8Array(100);
    const iter = iterOf([array, buffer.bytes.subarray(4090, 4100)]);
    iter.advance(10);
    assert.equal(pinForCopy(iter, 100), 2);
    iter.revert(100);
    detach(array);
    assert.equal(unpinAfterCopy(iter, 100), 2);
    assert.deepEqual([pinCount(buffer.page), pinCount(buffer.page + 1), iter.count], [0, 0, 0]);
    buffer.release();
  });

  test('one that was made shorter, too', () => {
    const buffer = arena.alloc(PAGE_BYTES);
    const memory = new ArrayBuffer(100, { maxByteLength: 100 });
    const iter = iterOf([new Uint8Array(memory), buffer.bytes]);
    iter.advance(20);
    assert.equal(pinForCopy(iter, 80 + 512), 1);
    iter.revert(80 + 512);
    memory.resize(60);
    assert.equal(unpinAfterCopy(iter, 80 + 512), 1);
    assert.deepEqual([iter.count, pinCount(buffer.page)], [PAGE_BYTES - 512, 0]);
    buffer.release();
  });
});

test('the first array that is not what it was', () => {
  const views = [new Uint8Array(8), new Uint8Array(8), new Uint8Array(8)] as const;
  const iovec = new Iovec(3);
  iovec.importViews(views);
  assert.equal(detachedRow(iovec), -1);
  detach(views[2]);
  assert.equal(detachedRow(iovec), 2);
  detach(views[0]);
  assert.equal(detachedRow(iovec), 0);
  iovec.importRange(0x1000, 8);
  assert.equal(detachedRow(iovec), -1, 'a range is no array');
});
