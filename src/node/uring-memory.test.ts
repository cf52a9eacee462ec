import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Errno } from '../base/errno.ts';
import { MIB, PAGE_BYTES } from '../base/units.ts';
import { Ring } from '../engine/uring/ring.ts';
import { RingMemory } from '../engine/uring/ring-memory.ts';
import { Arena } from '../memory/arena.ts';
import { ModelRing, type ModelRingOptions } from './model-ring.fuzz.ts';

/** Uses after which a chunk is worth registering. */
const HOT = 8;
const CHUNK_PAGES = (4 * MIB) / PAGE_BYTES;

class Rig implements Disposable {
  readonly door: ModelRing;
  readonly ring: Ring;
  readonly memory: RingMemory;
  arena = new Arena({ maxBytes: 64 * MIB });

  constructor(options: ModelRingOptions = {}) {
    this.door = new ModelRing(options);
    this.ring = new Ring(this.door, 8, 16);
    this.memory = new RingMemory(this.ring);
  }

  /** Uses one page often enough, and gives the buffer that it is in then. */
  heat(page: number, bytes = PAGE_BYTES): number {
    for (let i = 0; i < HOT; i++) assert.equal(this.memory.bufferAt(page, 0, bytes), -1);
    while (this.memory.hasHot) this.memory.registerHot();
    return this.memory.bufferAt(page, 0, bytes);
  }

  [Symbol.dispose](): void {
    this.memory.release();
    this.ring.close();
    this.door.assertNothingLeft();
    this.arena[Symbol.dispose]();
  }
}

test('an address is that of the region, plus page and offset', () => {
  using rig = new Rig();
  using buffer = rig.arena.alloc(8 * PAGE_BYTES);
  const base = rig.door.addressOf(rig.arena.region.u8);
  const frame = buffer.page - rig.arena.region.firstPage;
  assert.equal(rig.memory.addressAt(buffer.page + 3, 77), base + (frame + 3) * PAGE_BYTES + 77);
});

test('a chunk is registered after eight uses, and holds what lies in it alone', () => {
  using rig = new Rig();
  using buffer = rig.arena.alloc(8 * MIB);
  const first = buffer.page;
  const index = rig.heat(first);
  assert(index >= 0);
  assert.equal(rig.memory.registeredBytes, 4 * MIB);
  assert.equal(rig.memory.bufferAt(first + CHUNK_PAGES - 1, 0, PAGE_BYTES), index);
  assert.equal(rig.memory.bufferAt(first + CHUNK_PAGES - 1, 1, PAGE_BYTES), -1, 'across the end');
  assert.equal(rig.memory.bufferAt(first + CHUNK_PAGES, 0, PAGE_BYTES), -1, 'the next one');
  const second = rig.heat(first + CHUNK_PAGES + 5);
  assert(second >= 0 && second !== index);
  assert.equal(rig.memory.registeredBytes, 8 * MIB);
});

test('the budget is kept, and what is over it goes unregistered', () => {
  using rig = new Rig({ lockedBytesMax: 5 * MIB });
  using buffer = rig.arena.alloc(8 * MIB);
  assert(rig.heat(buffer.page) >= 0);
  assert.equal(rig.heat(buffer.page + CHUNK_PAGES), -1);
  assert.equal(rig.memory.registeredBytes, 4 * MIB);
  assert.equal(rig.memory.refusals, 1);
  for (let i = 0; i < 3 * HOT; i++) rig.memory.bufferAt(buffer.page + CHUNK_PAGES, 0, PAGE_BYTES);
  assert.equal(rig.memory.hasHot, false, 'it is not asked again and again');
});

test('a kernel that refuses is believed', () => {
  using rig = new Rig({ refused: new Map([[16, -Errno.ENOMEM]]) });
  using buffer = rig.arena.alloc(PAGE_BYTES);
  assert.equal(rig.heat(buffer.page), -1);
  assert.equal(rig.memory.registeredBytes, 0);
  assert.equal(rig.memory.refusals, 1);
});

test('a region that grew is registered as far as it is present', () => {
  using rig = new Rig();
  rig.arena = new Arena({ maxBytes: 6 * MIB });
  using first = rig.arena.alloc(PAGE_BYTES);
  const { region } = rig.arena;
  const before = region.u8.length;
  assert(before >= 4 * MIB && before < 6 * MIB, 'grows in steps of 4 MiB');
  const last = region.firstPage + before / PAGE_BYTES - 1;
  const base = rig.door.addressOf(region.u8);
  const index = rig.heat(last);
  assert(index >= 0);
  const had = rig.memory.registeredBytes;
  using second = rig.arena.alloc(4 * MIB - PAGE_BYTES * 2);
  assert(region.u8.length > before, 'did not grow');
  rig.door.grew(region.u8, base);
  const behind = last + 1;
  const again = rig.heat(behind);
  assert(again >= 0);
  assert.equal(rig.memory.bufferAt(last, 0, PAGE_BYTES) >= 0, true, 'what was there still is');
  assert(rig.memory.registeredBytes > had);
  assert.deepEqual([first.isReleased, second.isReleased], [false, false]);
});

test('a window of page numbers that another region got has none of the old buffers', () => {
  using rig = new Rig();
  const old = rig.arena.alloc(PAGE_BYTES);
  const { page } = old;
  const oldAddress = rig.memory.addressAt(page, 0);
  assert(rig.heat(page) >= 0);
  assert.equal(rig.door.registered.size, 1);
  old.release();
  rig.arena[Symbol.dispose]();
  rig.arena = new Arena({ maxBytes: 64 * MIB });
  using next = rig.arena.alloc(PAGE_BYTES);
  assert.equal(next.page, page, 'the test needs the same window');
  assert.notEqual(rig.memory.addressAt(page, 0), oldAddress);
  assert.equal(rig.memory.bufferAt(page, 0, PAGE_BYTES), -1);
  assert.equal(rig.door.registered.size, 0);
  assert.equal(rig.memory.registeredBytes, 0);
});

test('a region that goes is let go of at once, also when the ring is idle', () => {
  using rig = new Rig();
  const buffer = rig.arena.alloc(PAGE_BYTES);
  using other = new Arena({ maxBytes: MIB });
  using kept = other.alloc(PAGE_BYTES);
  assert(rig.heat(buffer.page) >= 0);
  const index = rig.heat(kept.page);
  assert(index >= 0);
  assert.equal(rig.door.registered.size, 2);
  buffer.release();
  rig.arena[Symbol.dispose]();
  assert.deepEqual([...rig.door.registered.keys()], [index], 'the other one stays');
  assert.equal(rig.memory.registeredBytes, MIB);
  rig.arena = new Arena({ maxBytes: MIB });
});

test('adopted memory is let go of with its last hold', () => {
  using rig = new Rig();
  const adopted = rig.arena.adopt(new SharedArrayBuffer(4 * MIB));
  assert(rig.heat(adopted.page) >= 0);
  adopted.release();
  assert.equal(rig.door.registered.size, 0);
});

test('a region knows nothing of a ring that is closed', () => {
  const rig = new Rig();
  const { arena } = rig;
  const buffer = arena.alloc(PAGE_BYTES);
  assert(rig.heat(buffer.page) >= 0);
  assert.equal(arena.region.watchers.size, 1);
  rig.memory.release();
  assert.equal(arena.region.watchers.size, 0);
  rig.ring.close();
  buffer.release();
  arena[Symbol.dispose]();
  rig.door.assertNothingLeft();
});

test('a chunk of a region that went before it was registered is forgotten', () => {
  using rig = new Rig();
  const buffer = rig.arena.alloc(PAGE_BYTES);
  for (let i = 0; i < HOT; i++) rig.memory.bufferAt(buffer.page, 0, PAGE_BYTES);
  assert.equal(rig.memory.hasHot, true);
  buffer.release();
  rig.arena[Symbol.dispose]();
  rig.memory.registerHot();
  assert.equal(rig.door.registered.size, 0);
  rig.arena = new Arena({ maxBytes: MIB });
});
