import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockError } from '../base/block-error.ts';
import { MIB, PAGE_BYTES } from '../base/units.ts';
import { Arena } from './arena.ts';
import { copyPages } from './copy.ts';
import { pinPages, refCount, unpinPages } from './holds.ts';
import { frameOf, pageExists, regionOf, regionOfBuffer } from './region.unsafe.ts';

const isEinval = (error: unknown): boolean =>
  error instanceof BlockError && error.code === 'EINVAL';

test('views keep their region through growth', () => {
  using arena = new Arena({ maxBytes: 16 * MIB });
  const small = arena.alloc(PAGE_BYTES);
  small.bytes.fill(3);
  const before = small.bytes.buffer;
  const large = arena.alloc(12 * MIB);
  assert.notEqual(large.bytes.buffer, before, 'the memory grew');
  assert.equal(regionOfBuffer(before), arena.region);
  assert.equal(regionOfBuffer(large.bytes.buffer), arena.region);
  large.bytes.set([1, 2, 3]);
  copyPages(small.page, 0, large.page, 0, 3);
  assert.deepEqual([...small.bytes.subarray(0, 4)], [1, 2, 3, 3]);
  small.release();
  large.release();
  arena.assertNothingOutstanding();
});

// Guards: the cache of the last buffer answered for a disposed arena, whose frame numbers the next
// arena had by then: its memory would have been read and written instead.
test('memory of a disposed arena is memory of the outside', () => {
  const first = new Arena({ maxBytes: MIB });
  const stale = first.alloc(PAGE_BYTES);
  const { bytes, page } = stale;
  assert.equal(regionOfBuffer(bytes.buffer), first.region);
  stale.release();
  first[Symbol.dispose]();
  assert.equal(regionOfBuffer(bytes.buffer), null);
  assert.ok(!pageExists(page));
  assert.throws(() => regionOf(page), /no region/);
  using second = new Arena({ maxBytes: MIB });
  assert.equal(second.region.index, first.region.index, 'the window is used again');
  assert.equal(regionOfBuffer(bytes.buffer), null);
  const fresh = second.alloc(PAGE_BYTES);
  fresh.bytes.fill(1);
  copyPages(fresh.page, 100, fresh.page, 0, 10); // With kernels of the new memory.
  assert.equal(bytes[100], 0);
  fresh.release();
  second.assertNothingOutstanding();
});

test('an arena with pinned pages is not disposed of', () => {
  const arena = new Arena({ maxBytes: MIB });
  const buffer = arena.alloc(1);
  pinPages(buffer.page, 1);
  assert.throws(() => arena[Symbol.dispose](), /pinned/);
  unpinPages(buffer.page, 1);
  buffer.release();
  arena[Symbol.dispose]();
});

test('adopted memory has frames of its own until its last hold', () => {
  using arena = new Arena({ maxBytes: MIB });
  const shared = new SharedArrayBuffer(2 * PAGE_BYTES + 100);
  const adopted = arena.adopt(shared, 'mine');
  const { page } = adopted;
  assert.equal(adopted.length, 2 * PAGE_BYTES + 100);
  assert.equal(regionOfBuffer(shared), regionOf(page));
  assert.equal(frameOf(page), 0);
  assert.ok(pageExists(page + 2) && !pageExists(page + 3));
  assert.equal(pinPages(page, 4), 3, 'no page behind the last');
  adopted.release();
  assert.ok(pageExists(page), 'a pin keeps it');
  unpinPages(page, 2);
  assert.ok(pageExists(page));
  unpinPages(page + 2, 1);
  assert.equal(regionOfBuffer(shared), null);
  assert.ok(!pageExists(page), 'the frame numbers are free again');
  arena.assertNothingOutstanding();
});

// Guards: the second adoption shared the first one's only reference, and its release made it -1.
test('the same memory adopted twice is released twice', () => {
  using arena = new Arena({ maxBytes: MIB });
  const shared = new SharedArrayBuffer(PAGE_BYTES);
  const one = arena.adopt(shared);
  const two = arena.adopt(shared);
  assert.equal(one.page, two.page);
  assert.equal(refCount(one.page), 2);
  one.release();
  assert.equal(pinPages(two.page, 1), 1);
  two.release();
  const three = arena.adopt(shared); // While the pin of the others lives.
  unpinPages(three.page, 1);
  assert.equal(pinPages(three.page, 1), 1);
  unpinPages(three.page, 1);
  three.release();
  assert.equal(regionOfBuffer(shared), null);
  arena.assertNothingOutstanding();
});

test('a leaked adoption is reported by its name', () => {
  using arena = new Arena({ maxBytes: MIB });
  const adopted = arena.adopt(new SharedArrayBuffer(8), 'frames of the camera');
  assert.throws(() => arena.assertNothingOutstanding(), /frames of the camera/);
  adopted.release();
  arena.assertNothingOutstanding();
});

test('adopting thousands of buffers one after the other does not use up the frame numbers', () => {
  using arena = new Arena({ maxBytes: MIB, places: false });
  for (let i = 0; i < 5000; i++) arena.adopt(new SharedArrayBuffer(16)).release();
  arena.assertNothingOutstanding();
});

test('memory that can change, is empty or belongs to an arena is not adopted', () => {
  using arena = new Arena({ maxBytes: MIB });
  const growable = new SharedArrayBuffer(8, { maxByteLength: 16 });
  assert.throws(() => arena.adopt(growable), isEinval);
  assert.throws(() => arena.adopt(new SharedArrayBuffer(0)), isEinval);
  const buffer = arena.alloc(PAGE_BYTES);
  assert.throws(() => arena.adopt(buffer.bytes.buffer), isEinval);
  buffer.release();
  arena.assertNothingOutstanding();
});
