import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { Access } from '../address-space.ts';
import { pinCount } from '../holds.ts';
import { FaultFlag } from './area.ts';
import { pinUserPages, tryPinUserPages } from './pin-user-pages.ts';
import {
  assertWritten,
  emptyList,
  FAST_ONLY,
  LONGTERM,
  NOFAULT,
  NOWAIT,
  PIN_WRITE,
  PinWorld,
  type ScriptedFile,
  WAIT,
  WRITE,
} from './pin-world.fuzz.ts';
import { unpinUserPages } from './unpin-user-pages.ts';

const PS = PAGE_BYTES;
const { ALLOW_RETRY, RETRY_NOWAIT, TRIED } = FaultFlag;

/** A shared mapping of a file of `pages` pages. */
function mapFile(world: PinWorld, pages: number): { addr: number; file: ScriptedFile } {
  const file = world.file(pages);
  const addr = world.space.mmap({ bytes: pages * PS, protection: WRITE, shared: true, ops: file });
  return { addr, file };
}

/** Wakes whoever waits until the promise settles. */
async function settle<T>(promise: Promise<T>, file: ScriptedFile): Promise<T> {
  let isSettled = false;
  const watch = promise.finally(() => {
    isSettled = true;
  });
  for (let turn = 0; turn < 50 && !isSettled; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
    file.wakeAll();
  }
  return watch;
}

test('fault retry: the first page that must wait is -EAGAIN, a later one a partial count', () => {
  using world = new PinWorld();
  const { addr, file } = mapFile(world, 3);
  file.script.set(1, [WAIT, WAIT]);
  const out = emptyList(3);
  assert.equal(tryPinUserPages(world.space, addr, 3, PIN_WRITE, out, 2), 1);
  assertWritten(out, 1);
  assert.deepEqual(
    file.requests.map(({ index, flags }) => [index, flags]),
    [
      [0, ALLOW_RETRY],
      [1, ALLOW_RETRY],
    ],
  );
  const rest = emptyList(2);
  assert.equal(tryPinUserPages(world.space, addr + PS, 2, PIN_WRITE, rest, 2), -Errno.EAGAIN);
  assertWritten(rest, 0);
  let woken = 0;
  world.space.whenReady(() => void woken++);
  assert.equal(woken, 0, 'never from inside');
  file.wakeAll();
  assert.equal(woken, 1);
  assert.equal(tryPinUserPages(world.space, addr + PS, 2, PIN_WRITE, rest, 2), 2);
  unpinUserPages(out, 2, 1);
  unpinUserPages(rest, 2, 2);
});

test('fault retry: one page with TRIED until it is there, then the rest', async () => {
  using world = new PinWorld();
  const { addr, file } = mapFile(world, 5);
  file.script.set(1, [WAIT, WAIT, WAIT]);
  file.script.set(3, [WAIT]);
  const out = emptyList(5);
  const held = await settle(pinUserPages(world.space, addr, 5, PIN_WRITE, out, 2), file);
  assert.equal(held, 5);
  assertWritten(out, 5);
  assert.deepEqual(
    file.requests.map(({ index, flags }) => [index, flags]),
    [
      [0, ALLOW_RETRY],
      [1, ALLOW_RETRY],
      [1, ALLOW_RETRY | TRIED],
      [1, ALLOW_RETRY | TRIED],
      [1, ALLOW_RETRY | TRIED],
      [2, ALLOW_RETRY],
      [3, ALLOW_RETRY],
      [3, ALLOW_RETRY | TRIED],
      [4, ALLOW_RETRY],
    ],
  );
  for (let i = 0; i < 5; i++) assert.equal(pinCount(out[2 + i] as number), 1, 'held once');
  unpinUserPages(out, 2, 5);
});

test('fault retry: an error after a wait is dropped for what was had', async () => {
  using world = new PinWorld();
  const { addr, file } = mapFile(world, 4);
  file.script.set(2, [WAIT, -Errno.EIO, WAIT, -Errno.ENOMEM]);
  const out = emptyList(4);
  assert.equal(await settle(pinUserPages(world.space, addr, 4, 0, out, 2), file), 2);
  assertWritten(out, 2);
  const rest = emptyList(2);
  const error = await settle(pinUserPages(world.space, addr + 2 * PS, 2, 0, rest, 2), file);
  assert.equal(error, -Errno.ENOMEM);
  assertWritten(rest, 0);
  file.script.set(2, [-Errno.EIO]);
  const again = tryPinUserPages(world.space, addr + 2 * PS, 2, 0, rest, 2);
  assert.equal(again, -Errno.EFAULT, 'a page that cannot be read is -EFAULT');
  unpinUserPages(out, 2, 2);
});

test('NOWAIT: the handler keeps the lock, the call answers at once', async () => {
  using world = new PinWorld();
  const { addr, file } = mapFile(world, 3);
  file.script.set(0, [WAIT, WAIT]);
  const out = emptyList(3);
  assert.equal(tryPinUserPages(world.space, addr, 3, NOWAIT, out, 2), -Errno.EAGAIN);
  assert.equal(await pinUserPages(world.space, addr, 3, NOWAIT, out, 2), -Errno.EAGAIN);
  assert.deepEqual(
    new Set(file.requests.map(({ flags }) => flags & ~TRIED)),
    new Set([ALLOW_RETRY | RETRY_NOWAIT]),
  );
  file.script.set(1, [WAIT]);
  assert.equal(await pinUserPages(world.space, addr, 3, NOWAIT, out, 2), 1);
  assertWritten(out, 1);
  unpinUserPages(out, 2, 1);
});

test('FAST_ONLY and NOFAULT never ask a handler', async () => {
  using world = new PinWorld();
  const { addr, file } = mapFile(world, 1);
  const out = emptyList(1);
  assert.equal(await pinUserPages(world.space, addr, 1, FAST_ONLY, out, 2), 0);
  assert.equal(await pinUserPages(world.space, addr, 1, NOFAULT, out, 2), -Errno.EFAULT);
  assert.equal(tryPinUserPages(world.space, addr, 1, NOFAULT | LONGTERM, out, 2), -Errno.EFAULT);
  assert.deepEqual(file.requests, []);
});

test('a signal ends a wait: -EINTR, or the pages that were had', async () => {
  using world = new PinWorld();
  const { addr, file } = mapFile(world, 3);
  file.script.set(1, [WAIT, WAIT, WAIT, WAIT]);
  for (const [first, expected] of [
    [1, -Errno.EINTR],
    [0, 1],
  ] as const) {
    const controller = new AbortController();
    const out = emptyList(3);
    const count = 3 - first;
    const pin = pinUserPages(world.space, addr + first * PS, count, 0, out, 2, controller.signal);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(file.waiting, 1);
    controller.abort();
    assert.equal(await pin, expected);
    assertWritten(out, Math.max(expected, 0));
    file.wakeAll(); // A late wake is nobody's.
    unpinUserPages(out, 2, Math.max(expected, 0));
  }
});

test('a signal that was set before ends the call where it would wait, not before', async () => {
  using world = new PinWorld();
  const { addr, file } = mapFile(world, 2);
  file.script.set(1, [WAIT]);
  const out = emptyList(2);
  const signal = AbortSignal.abort();
  assert.equal(await pinUserPages(world.space, addr, 2, 0, out, 2, signal), 1);
  assertWritten(out, 1);
  unpinUserPages(out, 2, 1);
  file.script.set(1, [WAIT]);
  const waiting = await pinUserPages(world.space, addr + PS, 1, 0, out, 2, signal);
  assert.equal(waiting, -Errno.EINTR);
  assert.equal(file.waiting, 0, 'nothing is waited for');
});

test('memory that is unmapped during the wait is -EFAULT, nothing else is touched', async () => {
  using world = new PinWorld();
  const { addr, file } = mapFile(world, 3);
  file.script.set(1, [WAIT]);
  const out = emptyList(3);
  const pin = pinUserPages(world.space, addr, 3, PIN_WRITE, out, 2);
  await new Promise((resolve) => setImmediate(resolve));
  world.space.munmap(addr, 3 * PS);
  assert.equal(await settle(pin, file), 1);
  assert.equal(pinCount(out[2] as number), 1, 'the pin outlives the mapping');
  unpinUserPages(out, 2, 1);
});

test('an area that changes inside a fault is looked at again', () => {
  using world = new PinWorld();
  const { addr, file } = mapFile(world, 3);
  file.script.set(1, [WAIT]);
  file.onFault = ({ index }): void => {
    if (index !== 1) return;
    world.space.dropLock();
    world.space.mprotect(addr + 2 * PS, PS, 0);
    world.space.lockHeld = true;
  };
  const out = emptyList(3);
  assert.equal(tryPinUserPages(world.space, addr, 3, 0, out, 2), 1);
  file.wakeAll();
  const rest = emptyList(2);
  assert.equal(tryPinUserPages(world.space, addr + PS, 2, 0, rest, 2), 1);
  unpinUserPages(out, 2, 1);
  unpinUserPages(rest, 2, 1);
});

test('an area that a fault took away is not pinned, though its pages are still there', () => {
  using world = new PinWorld();
  const { addr, file } = mapFile(world, 3);
  world.touch(addr + 2 * PS, 1, Access.WRITE);
  file.onFault = ({ index }): void => {
    assert.equal(index, 1);
    world.space.dropLock();
    world.space.mprotect(addr + 2 * PS, PS, 0);
    world.space.lockHeld = true;
  };
  const out = emptyList(3);
  assert.equal(tryPinUserPages(world.space, addr + PS, 2, 0, out, 2), 1);
  unpinUserPages(out, 2, 1);
});

test('a handler may pin pages itself, in another space, without disturbing the count', () => {
  using world = new PinWorld();
  const { addr, file } = mapFile(world, 2);
  const other = world.memory.newSpace('other');
  const inner = emptyList(1);
  const there = other.mmap({ bytes: PS, protection: WRITE });
  file.onFault = ({ index }): void => {
    if (index !== 1) return;
    assert.equal(tryPinUserPages(other, there, 1, PIN_WRITE, inner, 2), 1);
    assert.equal(tryPinUserPages(other, 64 * PS, 1, PIN_WRITE, emptyList(1), 2), -Errno.EFAULT);
  };
  const out = emptyList(2);
  assert.equal(tryPinUserPages(world.space, addr, 2, PIN_WRITE, out, 2), 2);
  unpinUserPages(out, 2, 2);
  unpinUserPages(inner, 2, 1);
});

test('a handler that breaks the contract: -EFAULT, or an error with its name', async () => {
  using world = new PinWorld();
  const { addr, file } = mapFile(world, 2);
  const out = emptyList(2);
  file.script.set(0, [-Errno.EBUSY, -Errno.EBUSY]);
  assert.equal(tryPinUserPages(world.space, addr, 1, 0, out, 2), -Errno.EFAULT);
  assert.equal(world.space.handlerError?.code, 'ERR_BIOVEC_FAULT_HANDLER');
  world.space.handlerError = null;
  await assert.rejects(pinUserPages(world.space, addr, 1, 0, out, 2), /scripted file.*EBUSY/);
  assert.equal(world.space.handlerError, null);
  file.script.set(1, [-Errno.EBUSY]);
  assert.equal(
    await pinUserPages(world.space, addr, 2, 0, out, 2),
    1,
    'pages in hand: no exception',
  );
  unpinUserPages(out, 2, 1);
  assert.equal(world.bitsAt(addr + PS), 0);
});

test('two waiting pins of one space do not mix up', async () => {
  using world = new PinWorld();
  const { addr, file } = mapFile(world, 4);
  file.script.set(0, [WAIT, WAIT]);
  file.script.set(2, [WAIT, WAIT]);
  const one = emptyList(4);
  const two = emptyList(2);
  const first = pinUserPages(world.space, addr, 4, Access.WRITE, one, 2);
  const second = pinUserPages(world.space, addr + 2 * PS, 2, PIN_WRITE, two, 2);
  assert.deepEqual(await settle(Promise.all([first, second]), file), [4, 2]);
  // The wait of the other in between does not make the retry a first attempt.
  const ofFirst = file.requests
    .filter(({ index }) => index === 0)
    .map(({ flags }) => flags & TRIED);
  assert.deepEqual(ofFirst, [0, TRIED, TRIED]);
  assert.deepEqual([...one.slice(4, 6)], [...two.slice(2, 4)]);
  assert.equal(pinCount(two[2] as number), 2);
  unpinUserPages(one, 2, 4);
  unpinUserPages(two, 2, 2);
});
