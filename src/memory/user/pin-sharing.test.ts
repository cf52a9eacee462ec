import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PAGE_BYTES } from '../../base/units.ts';
import { Access } from '../address-space.ts';
import { pinCount, refCount } from '../holds.ts';
import { GET, LONGTERM, PIN_WRITE, PinWorld, pinned, WRITE } from './pin-world.fuzz.ts';
import { putUserPages, unpinUserPages } from './unpin-user-pages.ts';

const PS = PAGE_BYTES;

test('1.2: the unshare rule: a pin for reading gets a page that its process keeps', () => {
  using world = new PinWorld();
  const { space } = world;
  const addr = world.map(2, { touch: Access.WRITE });
  assert.equal(space.write(addr, Uint8Array.of(1, 2, 3)), 3);
  const child = space.fork('child');
  const shared = world.frameAt(addr);
  const got = pinned(world, addr, 1, GET);
  assert.equal(got[2], shared, 'a reference never unshares');
  const out = pinned(world, addr, 1, 0);
  assert.notEqual(out[2], shared);
  assert.equal(space.write(addr, Uint8Array.of(9)), 1);
  assert.equal(world.frameAt(addr), out[2], 'hold and owner agree after the write');
  const bytes = new Uint8Array(3);
  child.read(addr, bytes);
  assert.deepEqual([...bytes], [1, 2, 3]);
  putUserPages(got, 2, 1);
  unpinUserPages(out, 2, 1);
  child.exit();
  // The only process left: the page becomes its own without a copy.
  const last = world.frameAt(addr + PS);
  const kept = pinned(world, addr + PS, 1, 0);
  assert.equal(kept[2], last);
  unpinUserPages(kept, 2, 1);
});

test('1.2: a read pin of a file’s page unshares for LONGTERM in private memory alone', () => {
  using world = new PinWorld();
  const file = world.file(2);
  const page = file.frames.get(0) as number;
  const addr = world.space.mmap({ bytes: 2 * PS, protection: WRITE, ops: file });
  const short = pinned(world, addr, 1, 0);
  assert.equal(short[2], page);
  const long = pinned(world, addr, 1, LONGTERM);
  assert.notEqual(long[2], page);
  assert.equal(world.frameAt(addr), long[2]);
  unpinUserPages(short, 2, 1);
  unpinUserPages(long, 2, 1);
  const shared = world.space.mmap({ bytes: PS, protection: WRITE, shared: true, ops: file });
  const sharedPin = pinned(world, shared, 1, LONGTERM);
  assert.equal(sharedPin[2], page, 'shared memory never parts');
  unpinUserPages(sharedPin, 2, 1);
  const anonymous = world.map(1, { touch: Access.READ });
  const own = pinned(world, anonymous, 1, LONGTERM);
  assert.notEqual(own[2], world.memory.zeroPage, 'the zero page would part as well');
  unpinUserPages(own, 2, 1);
});

test('1.4: the first pin marks the process, references do not', () => {
  using world = new PinWorld();
  const addr = world.map(1, { touch: Access.WRITE });
  putUserPages(pinned(world, addr, 1, GET), 2, 1);
  assert.equal(world.space.hasPinned, false);
  unpinUserPages(pinned(world, addr, 1, PIN_WRITE), 2, 1);
  assert.equal(world.space.hasPinned, true);
});

test('1.4: fork while a device writes: GET loses the data, PIN keeps it', () => {
  for (const [flags, expected] of [
    [GET | PIN_WRITE, 5],
    [PIN_WRITE, 7],
  ] as const) {
    using world = new PinWorld();
    const addr = world.map(1, { touch: Access.WRITE });
    const out = pinned(world, addr, 1, flags);
    const child = world.space.fork('child');
    assert.equal(world.space.write(addr, Uint8Array.of(5)), 1);
    const at = ((out[2] as number) - world.memory.region.firstPage) * PS;
    world.memory.region.u8[at] = 7; // The device writes.
    const seen = new Uint8Array(1);
    world.space.read(addr, seen);
    assert.equal(seen[0], expected);
    child.read(addr, seen);
    assert.equal(
      seen[0],
      flags === PIN_WRITE ? 0 : 7,
      'the child: the bytes of the fork, or the leak',
    );
    (flags === PIN_WRITE ? unpinUserPages : putUserPages)(out, 2, 1);
    child.exit();
  }
});

test('1.4: munmap and exit drop the mapping, the pin keeps the page', () => {
  using world = new PinWorld();
  const addr = world.map(1, { touch: Access.WRITE });
  const out = pinned(world, addr, 1, PIN_WRITE);
  world.space.munmap(addr, PS);
  const page = out[2] as number;
  assert.deepEqual([refCount(page), pinCount(page)], [0, 1]);
  const used = world.arena.stats().usedBytes;
  unpinUserPages(out, 2, 1);
  assert.equal(world.arena.stats().usedBytes, used - PS);
});

test('swapped memory comes back for a pin, and stays while it is pinned', () => {
  using world = new PinWorld({ pages: 64, swapPages: 64 });
  const addr = world.map(4, { touch: Access.WRITE });
  world.space.write(addr, Uint8Array.of(42));
  assert.ok(world.memory.reclaim(4) > 0);
  const out = pinned(world, addr, 4, PIN_WRITE);
  assert.equal(world.memory.reclaim(64), 0);
  for (let i = 0; i < 4; i++) assert.equal(world.frameAt(addr + i * PS), out[2 + i]);
  const seen = new Uint8Array(1);
  world.space.read(addr, seen);
  assert.equal(seen[0], 42);
  unpinUserPages(out, 2, 4);
});
