import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PAGE_BYTES } from '../../base/units.ts';
import { Access } from '../address-space.ts';
import { dirtyRange, folioHead, isDirty, maybePinned, pinCount, pinPages } from '../holds.ts';
import { FrameFlag, frameOf, regionOf } from '../region.unsafe.ts';
import { DeferredDirty, DirtyState } from './deferred-dirty.ts';
import { tryPinUserPages } from './pin-user-pages.ts';
import { emptyList, PIN_WRITE, PinWorld, type ScriptedFile, WRITE } from './pin-world.fuzz.ts';
import {
  tryUnpinUserPagesDirtyLock,
  unpinUserPages,
  unpinUserPagesDirty,
  unpinUserPagesDirtyLock,
} from './unpin-user-pages.ts';

const PS = PAGE_BYTES;

function clean(page: number): void {
  const region = regionOf(page);
  region.flags[region.head[frameOf(page)] as number] &= ~FrameFlag.DIRTY;
}

/** Pages 0 … 3 of order 0 and 4 … 7 of one folio, pinned; entries 2 … 9 of the list. */
function pinEight(world: PinWorld): Uint32Array {
  const small = world.map(4, { touch: Access.WRITE });
  const large = world.map(4, { order: 2, touch: Access.WRITE });
  const out = emptyList(8);
  assert.equal(tryPinUserPages(world.space, small, 4, PIN_WRITE, out, 2), 4);
  assert.equal(tryPinUserPages(world.space, large, 4, PIN_WRITE, out, 6), 4);
  for (const page of out.slice(2, 10)) clean(page);
  return out;
}

function dirtyBits(out: Uint32Array): string {
  return [...out.slice(2, 10)].map((page) => (isDirty(page) ? 'D' : '-')).join('');
}

/** Counts what is locked, in the order of the locking. */
function watchLocks(world: PinWorld): number[] {
  const locked: number[] = [];
  const { locks } = world.memory;
  const tryLock = locks.tryLock.bind(locks);
  locks.tryLock = (page: number): boolean => {
    locked.push(folioHead(page));
    return tryLock(page);
  };
  return locked;
}

test('1.5: plain unpin leaves the dirty bits as they are', () => {
  using world = new PinWorld();
  const out = pinEight(world);
  dirtyRange(out[3] as number, 0, 1);
  unpinUserPages(out, 2, 8);
  assert.equal(dirtyBits(out), '-D------');
});

test('1.5: dirty marks each folio before its pins go, and counts those that were clean', () => {
  using world = new PinWorld();
  const out = pinEight(world);
  dirtyRange(out[3] as number, 0, 1);
  assert.equal(unpinUserPagesDirty(out, 2, 8), 4, 'three small ones and the folio');
  assert.equal(dirtyBits(out), 'DDDDDDDD');
  assert.ok([...out.slice(2, 10)].every((page) => !maybePinned(page)));
});

test('1.5: with the lock: once for neighbours of one folio, not at all when dirty already', () => {
  using world = new PinWorld();
  const out = pinEight(world);
  const locked = watchLocks(world);
  dirtyRange(out[3] as number, 0, 1);
  assert.equal(tryUnpinUserPagesDirtyLock(world.memory.locks, out, 2, 8, true), 8);
  assert.equal(dirtyBits(out), 'DDDDDDDD');
  const [a, , c, d, folio] = [...out.slice(2, 10)];
  assert.deepEqual(locked, [a, c, d, folio]);
  for (const page of out.slice(2, 10)) {
    assert.ok(!maybePinned(page) && !world.memory.locks.isLocked(page));
  }
});

test('1.5: dirty = false is plain unpin: no lock, no dirty bit', () => {
  using world = new PinWorld();
  const out = pinEight(world);
  const locked = watchLocks(world);
  assert.equal(tryUnpinUserPagesDirtyLock(world.memory.locks, out, 2, 8, false), 8);
  assert.deepEqual(locked, []);
  assert.equal(dirtyBits(out), '--------');
});

test('1.5: a folio that somebody locked: what lies before is let go, the rest waits', async () => {
  using world = new PinWorld();
  const { locks } = world.memory;
  const out = pinEight(world);
  assert.ok(locks.tryLock(out[4] as number));
  assert.ok(locks.tryLock(out[7] as number));
  assert.equal(tryUnpinUserPagesDirtyLock(locks, out, 2, 8, true), 2);
  assert.deepEqual([...out.slice(2, 10)].map(pinCount), [0, 0, 1, 1, 4, 4, 4, 4]);
  const rest = unpinUserPagesDirtyLock(locks, out, 4, 6, true);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([...out.slice(2, 10)].map(pinCount), [0, 0, 1, 1, 4, 4, 4, 4]);
  locks.unlock(out[4] as number);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([...out.slice(2, 10)].map(pinCount), [0, 0, 0, 0, 4, 4, 4, 4]);
  locks.unlock(out[7] as number);
  await rest;
  assert.equal(world.outstandingPins, 0);
  assert.equal(dirtyBits(out), 'DDDDDDDD');
});

test('1.5: a locked folio that is dirty already is not waited for', () => {
  using world = new PinWorld();
  const out = pinEight(world);
  dirtyRange(out[2] as number, 0, 1);
  assert.ok(world.memory.tryLockFolio(out[2] as number));
  assert.equal(tryUnpinUserPagesDirtyLock(world.memory.locks, out, 2, 8, true), 8);
  world.memory.unlockFolio(out[2] as number);
});

test('1.5: never dirty after unpin: it is a bug in each form', () => {
  using world = new PinWorld();
  const out = pinEight(world);
  const { locks } = world.memory;
  unpinUserPages(out, 2, 8);
  assert.throws(() => unpinUserPagesDirty(out, 2, 1), /not pinned any more/);
  assert.throws(() => tryUnpinUserPagesDirtyLock(locks, out, 2, 8, true), /not pinned any more/);
  assert.throws(() => new DeferredDirty(locks, () => {}).prepare(out, 2, 8), /not pinned/);
  assert.equal(dirtyBits(out), '--------');
});

test('the file hears of each page that turns dirty, once', () => {
  using world = new PinWorld();
  const file = world.file(3);
  const addr = world.space.mmap({ bytes: 3 * PS, protection: WRITE, shared: true, ops: file });
  const out = emptyList(3);
  assert.equal(tryPinUserPages(world.space, addr, 3, PIN_WRITE, out, 2), 3);
  const [a, b, c] = [...out.slice(2, 5)] as [number, number, number];
  dirtyRange(a, 100, PS);
  assert.deepEqual(file.dirtiedPages, [a, b], 'bytes 100 … 4195 are two pages');
  unpinUserPagesDirty(out, 2, 3);
  assert.deepEqual(file.dirtiedPages, [a, b, c]);
});

test('the zero page is never dirty', () => {
  using world = new PinWorld();
  const addr = world.map(1, { touch: Access.READ });
  const out = emptyList(1);
  for (const release of [
    (): unknown => unpinUserPagesDirty(out, 2, 1),
    (): void => {
      dirtyRange(world.memory.zeroPage, 0, PS);
      unpinUserPages(out, 2, 1);
    },
    (): unknown => tryUnpinUserPagesDirtyLock(world.memory.locks, out, 2, 1, true),
    (): unknown => {
      const deferred = new DeferredDirty(world.memory.locks, () => assert.fail('nothing to do'));
      deferred.prepare(out, 2, 1);
      return assert.ok(deferred.complete(() => {}));
    },
  ]) {
    assert.equal(tryPinUserPages(world.space, addr, 1, 0, out, 2), 1);
    assert.equal(out[2], world.memory.zeroPage);
    release();
    assert.equal(isDirty(world.memory.zeroPage), false);
  }
});

interface Read {
  readonly world: PinWorld;
  readonly file: ScriptedFile;
  readonly out: Uint32Array;
  readonly deferred: DeferredDirty;
  readonly worker: (() => void)[];
  released: number;
}

/** A read into three pages of a file, about to be submitted. */
function startRead(world: PinWorld): Read {
  const file = world.file(3);
  const addr = world.space.mmap({ bytes: 3 * PS, protection: WRITE, shared: true, ops: file });
  const out = emptyList(3);
  assert.equal(tryPinUserPages(world.space, addr, 3, PIN_WRITE, out, 2), 3);
  const worker: (() => void)[] = [];
  const deferred = new DeferredDirty(world.memory.locks, (run) => void worker.push(run));
  return { world, file, out, deferred, worker, released: 0 };
}

function end(read: Read): boolean {
  return read.deferred.complete(() => void read.released++);
}

test('4.6: all still dirty at completion: unpinned at once, no worker', () => {
  using world = new PinWorld();
  const read = startRead(world);
  for (let round = 0; round < 2; round++) {
    read.deferred.prepare(read.out, 2, 3);
    assert.deepEqual([...read.out.slice(2, 5)].map(isDirty), [true, true, true]);
    assert.equal(end(read), true);
    assert.deepEqual([read.worker.length, read.released, world.outstandingPins], [0, 0, 0]);
    assert.equal(read.deferred.state, DirtyState.IDLE);
    if (round === 0) for (const page of read.out.slice(2, 5)) assert.equal(pinPages(page, 1), 1);
  }
});

test('4.6: a folio cleaned meanwhile: the worker dirties and unpins', () => {
  using world = new PinWorld();
  const read = startRead(world);
  read.deferred.prepare(read.out, 2, 3);
  clean(read.out[3] as number); // Writeback, while the device still writes.
  assert.equal(end(read), false);
  assert.equal(read.deferred.state, DirtyState.QUEUED);
  assert.deepEqual([read.released, world.outstandingPins], [0, 3]);
  assert.throws(() => end(read), /one read at a time/);
  assert.equal(read.worker.length, 1);
  read.worker[0]?.();
  assert.deepEqual([read.released, world.outstandingPins], [1, 0]);
  assert.ok(isDirty(read.out[3] as number));
  assert.equal(read.file.dirtiedPages.filter((page) => page === read.out[3]).length, 2);
});

test('4.6: a folio locked before submission is left to the worker', () => {
  using world = new PinWorld();
  const read = startRead(world);
  const page = read.out[2] as number;
  assert.ok(world.memory.tryLockFolio(page));
  read.deferred.prepare(read.out, 2, 3);
  assert.deepEqual([...read.out.slice(2, 5)].map(isDirty), [false, true, true]);
  assert.equal(end(read), false);
  read.worker[0]?.();
  assert.deepEqual([read.released, world.outstandingPins], [0, 3], 'the worker waits for the lock');
  world.memory.unlockFolio(page);
  assert.deepEqual([read.released, world.outstandingPins], [1, 0]);
  assert.ok(isDirty(page));
});

test('4.6: states go in order', () => {
  using world = new PinWorld();
  const read = startRead(world);
  assert.throws(() => end(read), /in order/);
  read.deferred.prepare(read.out, 2, 3);
  assert.throws(() => read.deferred.prepare(read.out, 2, 3), /in order/);
  assert.equal(end(read), true);
});
