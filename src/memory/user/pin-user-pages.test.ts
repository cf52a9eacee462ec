import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { Access } from '../address-space.ts';
import { HOLDS_MAX, maybePinned, pinCount, refCount } from '../holds.ts';
import { USER_END } from './page-table.ts';
import { getUserPages, pinUserPages, tryGetUserPages, tryPinUserPages } from './pin-user-pages.ts';
import {
  ask,
  assertPins,
  emptyList,
  FAST_ONLY,
  GET,
  LONGTERM,
  NOFAULT,
  NONE,
  NOWAIT,
  PIN_WRITE,
  PinWorld,
  pinned,
  READ,
  refused,
  WRITE,
} from './pin-world.fuzz.ts';
import { putUserPages, unpinUserPages } from './unpin-user-pages.ts';

const PS = PAGE_BYTES;

test('1.1: pins and references of one folio, in our terms', () => {
  using world = new PinWorld({ pages: 64 });
  for (const order of [0, 3]) {
    const addr = world.map(8, { order, touch: Access.WRITE });
    const page = world.frameAt(addr);
    const entries = order === 0 ? 1 : 8; // One reference for each entry of the table.
    assert.deepEqual([refCount(page), pinCount(page), maybePinned(page)], [entries, 0, false]);
    const out = pinned(world, addr, 8, PIN_WRITE);
    assert.equal(pinCount(page), order === 0 ? 1 : 8);
    assert.equal(refCount(page), entries, 'a pin is no reference');
    assert.ok(maybePinned(page));
    const again = pinned(world, addr, 1, PIN_WRITE);
    const got = emptyList(8);
    assert.equal(tryGetUserPages(world.space, addr, 8, PIN_WRITE, got, 2), 8);
    assert.equal(refCount(page), entries * 2);
    assert.equal(pinCount(page), (order === 0 ? 1 : 8) + 1);
    assert.equal(world.outstandingPins, 9, 'references are not in the totals');
    unpinUserPages(out, 2, 8);
    assert.ok(maybePinned(page), 'until the last unpin');
    unpinUserPages(again, 2, 1);
    assert.equal(maybePinned(page), false);
    putUserPages(got, 2, 8);
    assert.equal(refCount(page), entries);
  }
});

test('1.2: the address is aligned down', () => {
  using world = new PinWorld();
  const addr = world.map(4, { touch: Access.WRITE });
  for (const offset of [0, 1, 2048, 4095]) {
    const out = pinned(world, addr + PS + offset, 2, PIN_WRITE);
    assert.deepEqual(
      [...out.slice(2, 4)],
      [world.frameAt(addr + PS), world.frameAt(addr + 2 * PS)],
    );
    unpinUserPages(out, 2, 2);
  }
});

test('1.2: overflow is -EOVERFLOW, past the program’s addresses is -EFAULT', () => {
  using world = new PinWorld();
  const { space } = world;
  const rows: [number, number, number][] = [
    [2 ** 64 - 2 ** 13, 3, -Errno.EOVERFLOW],
    [0, 2 ** 52, -Errno.EOVERFLOW],
    [2 ** 52, 2 ** 52, -Errno.EOVERFLOW],
    [0, 2 ** 52 - 1, -Errno.EFAULT],
    [USER_END, 1, -Errno.EFAULT],
    [USER_END - PS, 2, -Errno.EFAULT],
    [USER_END - 1, 2, -Errno.EFAULT],
    [USER_END + PS, 1, -Errno.EFAULT],
  ];
  for (const [addr, count, error] of rows) {
    assert.equal(tryPinUserPages(space, addr, count, 0, emptyList(0), 0), error);
    assert.equal(tryGetUserPages(space, addr, count, 0, emptyList(0), 0), error);
  }
  const last = space.mmap({ addr: USER_END - PS, bytes: PS, protection: WRITE });
  assert.equal(last, USER_END - PS);
  unpinUserPages(pinned(world, last + 4095, 1, PIN_WRITE), 2, 1);
});

test('1.2: flags that contradict each other are -EINVAL', async () => {
  using world = new PinWorld();
  const addr = world.map(1);
  const rows = [64, 256, 512, 2 ** 30, GET | LONGTERM, FAST_ONLY | NOWAIT, FAST_ONLY | LONGTERM];
  for (const flags of rows) {
    assert.equal(refused(world, addr, 1, flags), -Errno.EINVAL);
    assert.equal(refused(world, addr, 0, flags), -Errno.EINVAL);
    const late = await pinUserPages(world.space, addr, 1, flags, emptyList(1), 2);
    assert.equal(late, -Errno.EINVAL);
  }
  assert.equal(refused(world, USER_END, 1, 64), -Errno.EINVAL, 'flags are looked at first');
});

test('1.2: 0 pages are 0, also where nothing is mapped', async () => {
  using world = new PinWorld();
  assert.equal(ask(world, 0, 0, PIN_WRITE).held, 0);
  assert.equal(ask(world, 12345, 0, GET).held, 0);
  assert.equal(await pinUserPages(world.space, 0, 0, LONGTERM, emptyList(0), 2), 0);
  assert.equal(world.space.hasPinned, false);
});

test('1.2: FAST_ONLY takes what the table allows, which may be 0 pages', () => {
  using world = new PinWorld();
  const addr = world.map(4);
  assert.equal(ask(world, addr, 4, FAST_ONLY | PIN_WRITE).held, 0);
  assert.equal(ask(world, 4 * PS, 1, FAST_ONLY).held, 0, 'no area is no error');
  world.touch(addr, 2, Access.WRITE);
  world.touch(addr + 3 * PS, 1, Access.WRITE);
  const { held, out } = ask(world, addr, 4, FAST_ONLY | PIN_WRITE);
  assert.equal(held, 2);
  unpinUserPages(out, 2, 2);
  assert.equal(world.bitsAt(addr + 2 * PS), 0, 'no fault was taken');
});

test('1.2: FAST_ONLY leaves to a fault: no write permission, the zero page, a hint', () => {
  using world = new PinWorld();
  const addr = world.map(3);
  world.touch(addr, 1, Access.READ);
  assert.equal(ask(world, addr, 1, FAST_ONLY).held, 0);
  assert.equal(ask(world, addr, 1, FAST_ONLY | GET).held, 0);
  world.touch(addr + PS, 2, Access.WRITE);
  assert.equal(world.space.hint(addr + 2 * PS, PS), 1);
  const { held, out } = ask(world, addr + PS, 2, FAST_ONLY | PIN_WRITE);
  assert.equal(held, 1);
  unpinUserPages(out, 2, 1);
  // The slow way may follow a hint, with or without faults: it only measures accesses.
  unpinUserPages(pinned(world, addr + PS, 2, PIN_WRITE | NOFAULT), 2, 2);
});

test('1.2: a partial count drops the error, and asking again from there finds it', () => {
  using world = new PinWorld();
  const addr = world.map(6);
  for (const flags of [PIN_WRITE, 0, LONGTERM | PIN_WRITE, NOWAIT]) {
    world.space.munmap(addr + 3 * PS, PS);
    const { held, out } = ask(world, addr, 6, flags);
    assert.equal(held, 3);
    assertPins(out, 3, world.memory.zeroPage);
    assert.equal(refused(world, addr + 3 * PS, 3, flags), -Errno.EFAULT);
    unpinUserPages(out, 2, 3);
  }
});

test('1.2, slow path: each reason for -EFAULT', () => {
  using world = new PinWorld();
  const { space } = world;
  const readOnly = world.map(1, { protection: READ, touch: Access.READ });
  const none = world.map(1, { touch: Access.WRITE });
  assert.equal(space.mprotect(none, PS, NONE), 0);
  const registers = world.file(1);
  const io = space.mmap({ bytes: PS, protection: WRITE, shared: true, ops: registers, io: true });
  const touchedIo = space.mmap({
    bytes: PS,
    protection: WRITE,
    shared: true,
    ops: registers,
    io: true,
  });
  assert.equal(space.fault(touchedIo, Access.READ, 0), 0);
  const rows: [string, number, number][] = [
    ['no area', 64 * PS, PIN_WRITE],
    ['no area', 64 * PS, 0],
    ['read-only, for writing', readOnly, PIN_WRITE],
    ['no access, for reading', none, 0],
    ['no access, for writing', none, PIN_WRITE],
    ['no access, by the table alone', none, PIN_WRITE | NOFAULT],
    ['registers', io, 0],
    ['registers, for writing', io, PIN_WRITE],
    ['registers that are mapped', touchedIo, 0],
  ];
  for (const [what, addr, flags] of rows) {
    for (const kind of [0, GET, LONGTERM]) {
      assert.equal(refused(world, addr, 1, flags | kind), -Errno.EFAULT, `${what}, ${kind}`);
    }
    assert.equal(ask(world, addr, 1, flags | FAST_ONLY).held, 0, what);
  }
  assert.equal(registers.requests.length, 1, 'only the program itself asked for registers');
  const out = pinned(world, readOnly, 1, 0);
  assert.equal(out[2], world.memory.zeroPage);
});

test('1.2, slow path: NOFAULT and absent, read-only, or shared is -EFAULT', () => {
  using world = new PinWorld();
  const addr = world.map(3);
  world.touch(addr, 1, Access.WRITE);
  world.touch(addr + PS, 1, Access.READ);
  const first = pinned(world, addr, 1, PIN_WRITE | NOFAULT);
  assert.equal(ask(world, addr + PS, 1, NOFAULT).out[2], world.memory.zeroPage);
  assert.equal(refused(world, addr + PS, 1, NOFAULT | PIN_WRITE), -Errno.EFAULT);
  assert.equal(refused(world, addr + 2 * PS, 1, NOFAULT), -Errno.EFAULT);
  unpinUserPages(first, 2, 1);
  const child = world.space.fork('child');
  assert.equal(refused(world, addr, 1, NOFAULT), -Errno.EFAULT, 'a fault would have to unshare it');
  const got = emptyList(1);
  assert.equal(tryGetUserPages(world.space, addr, 1, NOFAULT, got, 2), 1);
  putUserPages(got, 2, 1);
  child.exit();
});

test('1.2, slow path: no memory for the fault is -ENOMEM, or a partial count', () => {
  using world = new PinWorld();
  const addr = world.map(3);
  world.memory.allocationsLeft = 0;
  assert.equal(refused(world, addr, 3, PIN_WRITE), -Errno.ENOMEM);
  world.memory.allocationsLeft = 2;
  const { held, out } = ask(world, addr, 3, PIN_WRITE);
  assert.equal(held, 2);
  unpinUserPages(out, 2, 2);
  world.memory.allocationsLeft = Number.POSITIVE_INFINITY;
});

test('1.2, slow path: a poisoned page is -EFAULT, its neighbours are had', () => {
  using world = new PinWorld();
  const addr = world.map(8, { order: 3, touch: Access.WRITE });
  const page = world.frameAt(addr + 2 * PS);
  world.memory.poison(page);
  for (const flags of [PIN_WRITE, 0, GET, LONGTERM, NOFAULT]) {
    assert.equal(refused(world, addr + 2 * PS, 1, flags), -Errno.EFAULT);
    const { held, out } = ask(world, addr, 8, flags);
    assert.equal(held, 2);
    (flags === GET ? putUserPages : unpinUserPages)(out, 2, 2);
  }
  unpinUserPages(pinned(world, addr + 3 * PS, 5, PIN_WRITE), 2, 5);
  world.memory.unpoison(page);
});

test('1.1: a folio with the most holds there can be is -ENOMEM, and nothing wraps', () => {
  using world = new PinWorld();
  const addr = world.map(4, { order: 2, touch: Access.WRITE });
  const { region } = world.memory;
  const head = world.frameAt(addr) - region.firstPage;
  region.pins[head] = HOLDS_MAX - 2;
  const { held, out } = ask(world, addr, 4, PIN_WRITE);
  assert.equal(held, 2);
  assert.equal(refused(world, addr + 2 * PS, 2, PIN_WRITE), -Errno.ENOMEM);
  assert.equal(refused(world, addr, 1, 0), -Errno.ENOMEM);
  assert.equal(ask(world, addr, 1, FAST_ONLY).held, 0);
  assert.equal(region.pins[head], HOLDS_MAX);
  unpinUserPages(out, 2, 2);
  region.pins[head] = 0;
  const refs = region.refs[head] as number;
  region.refs[head] = HOLDS_MAX;
  assert.equal(refused(world, addr, 4, GET), -Errno.ENOMEM);
  region.refs[head] = refs;
});

test('1.1: references on the zero page have the same bound', () => {
  using world = new PinWorld();
  const addr = world.map(2, { touch: Access.READ });
  const { region, zeroPage } = world.memory;
  const refs = refCount(zeroPage);
  region.refs[zeroPage - region.firstPage] = HOLDS_MAX - 1;
  const { held, out } = ask(world, addr, 2, GET);
  assert.equal(held, 1);
  assert.equal(refused(world, addr, 2, GET), -Errno.ENOMEM);
  putUserPages(out, 2, 1);
  region.refs[zeroPage - region.firstPage] = refs;
});

test('a fault that is called done again and again, and is not, ends', () => {
  using world = new PinWorld();
  const addr = world.map(2);
  world.touch(addr, 1, Access.WRITE);
  const { space } = world;
  let faults = 0;
  Object.defineProperty(space, 'fault', { value: () => Math.min(0, faults++), configurable: true });
  assert.equal(refused(world, addr + PS, 1, PIN_WRITE), -Errno.EFAULT);
  assert.ok(faults > 1 && faults < 100);
  const { held, out } = ask(world, addr, 2, PIN_WRITE);
  assert.equal(held, 1);
  Reflect.deleteProperty(space, 'fault');
  unpinUserPages(out, 2, 1);
});

test('3: the zero page is pinned without a count; a reference counts', () => {
  using world = new PinWorld();
  const addr = world.map(3, { touch: Access.READ });
  const zero = world.memory.zeroPage;
  const refs = refCount(zero);
  const out = pinned(world, addr, 3, 0);
  assert.deepEqual([...out.slice(2, 5)], [zero, zero, zero]);
  assert.deepEqual([pinCount(zero), refCount(zero), world.outstandingPins], [0, refs, 0]);
  unpinUserPages(out, 2, 3);
  const got = pinned(world, addr, 3, GET);
  assert.equal(refCount(zero), refs + 3);
  putUserPages(got, 2, 3);
  assert.deepEqual([pinCount(zero), refCount(zero)], [0, refs]);
  const written = pinned(world, addr, 3, PIN_WRITE);
  assert.ok(![...written.slice(2, 5)].includes(zero), 'nobody writes to the zero page');
  unpinUserPages(written, 2, 3);
});

test('the waiting forms of get and put', async () => {
  using world = new PinWorld();
  const addr = world.map(2);
  const out = emptyList(2);
  assert.equal(await getUserPages(world.space, addr, 2, PIN_WRITE, out, 2), 2);
  assert.equal(refCount(out[2] as number), 2);
  assert.equal(world.outstandingPins, 0);
  putUserPages(out, 2, 2);
});
