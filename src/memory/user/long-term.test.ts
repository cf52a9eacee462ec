import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BlockError } from '../../base/block-error.ts';
import { Errno } from '../../base/errno.ts';
import { RUNS } from '../../base/runs.fuzz.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { Access } from '../address-space.ts';
import {
  getPages,
  isDirty,
  maybePinned,
  pinCount,
  pinPages,
  putPages,
  unpinPages,
} from '../holds.ts';
import { PinnedRegion } from './long-term.ts';
import { PinBudget } from './pin-budget.ts';
import { pinUserPages, tryPinUserPages } from './pin-user-pages.ts';
import {
  assertWritten,
  emptyList,
  GET,
  LONGTERM,
  PIN_WRITE,
  PinWorld,
  WAIT,
  WRITE,
} from './pin-world.fuzz.ts';
import { unpinUserPages } from './unpin-user-pages.ts';

const PS = PAGE_BYTES;
const LONG = LONGTERM | PIN_WRITE;

/** Frames 0 … 127 are for everybody, 128 … 255 must stay movable. */
const ZONED = { pages: 256, movableFrom: 128 };

function unlimited(): PinBudget {
  return new PinBudget({ bytesMax: Number.POSITIVE_INFINITY });
}

test('1.3: movable folios are moved, bytes and all, and the pins are acceptable', () => {
  for (const order of [0, 2]) {
    using world = new PinWorld(ZONED);
    const addr = world.map(8, { order, touch: Access.WRITE });
    const bytes = Uint8Array.from({ length: 8 * PS }, (_, i) => (i * 7) % 251);
    world.space.write(addr, bytes);
    assert.ok(world.memory.isMovable(world.frameAt(addr)), 'programs live in the movable zone');
    const out = emptyList(8);
    assert.equal(tryPinUserPages(world.space, addr, 8, LONG, out, 2), 8);
    assertWritten(out, 8);
    for (let i = 0; i < 8; i++) {
      assert.equal(world.memory.isMovable(out[2 + i] as number), false);
      assert.equal(out[2 + i], world.frameAt(addr + i * PS));
    }
    assert.equal(world.memory.counters.migrated, 8 / 2 ** order);
    const seen = new Uint8Array(8 * PS);
    world.space.read(addr, seen);
    assert.deepEqual(seen, bytes);
    assert.equal(world.outstandingPins, 8);
    unpinUserPages(out, 2, 8);
  }
});

test('1.3: a short pin or a reference in the way is -EBUSY, with no trace left', async () => {
  using world = new PinWorld(ZONED);
  const addr = world.map(4, { touch: Access.WRITE });
  const page = world.frameAt(addr + 2 * PS);
  for (const [hold, drop] of [
    [pinPages, unpinPages],
    [getPages, putPages],
  ] as const) {
    hold(page, 1);
    const before = world.outstandingPins;
    const out = emptyList(4);
    assert.equal(tryPinUserPages(world.space, addr, 4, LONG, out, 2), -Errno.EBUSY);
    assert.equal(await pinUserPages(world.space, addr, 4, LONG, out, 2), -Errno.EBUSY);
    assertWritten(out, 0);
    assert.equal(world.outstandingPins, before);
    assert.equal(pinCount(world.frameAt(addr)), 0);
    drop(page, 1);
  }
});

test('1.3: no place to move to is -ENOMEM, nothing is pinned', () => {
  using world = new PinWorld({ pages: 256, movableFrom: 128 });
  const addr = world.map(4, { touch: Access.WRITE });
  const taken: number[] = [];
  for (let page = world.memory.takeFolio(0, false); page >= 0; ) {
    taken.push(page);
    page = world.memory.takeFolio(0, false);
  }
  const out = emptyList(4);
  assert.equal(tryPinUserPages(world.space, addr, 4, LONG, out, 2), -Errno.ENOMEM);
  assertWritten(out, 0);
  assert.equal(world.outstandingPins, 0);
  for (const page of taken) world.memory.putPage(page);
});

test('1.3: a locked folio is -EBUSY at once; the waiting form waits for the lock', async () => {
  using world = new PinWorld(ZONED);
  const addr = world.map(2, { touch: Access.WRITE });
  const page = world.frameAt(addr + PS);
  assert.ok(world.memory.tryLockFolio(page));
  const out = emptyList(2);
  assert.equal(tryPinUserPages(world.space, addr, 2, LONG, out, 2), -Errno.EBUSY);
  const pin = pinUserPages(world.space, addr, 2, LONG, out, 2);
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(world.outstandingPins, 0, 'it holds nothing while it waits');
  world.memory.unlockFolio(page);
  assert.equal(await pin, 2);
  assert.equal(world.memory.isMovable(out[3] as number), false);
  unpinUserPages(out, 2, 2);
});

test('1.3: a signal ends the wait for a lock', async () => {
  using world = new PinWorld(ZONED);
  const addr = world.map(1, { touch: Access.WRITE });
  const page = world.frameAt(addr);
  assert.ok(world.memory.tryLockFolio(page));
  const controller = new AbortController();
  const out = emptyList(1);
  const pin = pinUserPages(world.space, addr, 1, LONG, out, 2, controller.signal);
  await new Promise((resolve) => setImmediate(resolve));
  controller.abort();
  assert.equal(await pin, -Errno.EINTR);
  assert.equal(world.outstandingPins, 0);
  world.memory.unlockFolio(page);
});

test('1.3: a partial long-term pin is acceptable as far as it goes', () => {
  using world = new PinWorld(ZONED);
  const addr = world.map(4, { touch: Access.WRITE });
  world.space.munmap(addr + 2 * PS, PS);
  const out = emptyList(4);
  assert.equal(tryPinUserPages(world.space, addr, 4, LONG, out, 2), 2);
  assertWritten(out, 2);
  for (const page of out.slice(2, 4)) assert.equal(world.memory.isMovable(page), false);
  unpinUserPages(out, 2, 2);
});

test('1.2: LONGTERM for writing of a file that tracks dirty pages is -EFAULT', () => {
  using world = new PinWorld();
  const { space } = world;
  const rows: [boolean, boolean, number, boolean][] = [
    // tracks, shared, flags, allowed
    [true, true, LONG, false],
    [true, true, LONGTERM, true],
    [true, true, PIN_WRITE, true],
    [true, false, LONG, true],
    [false, true, LONG, true],
  ];
  for (const [tracksDirty, shared, flags, isAllowed] of rows) {
    const ops = world.file(1, { tracksDirty });
    const addr = space.mmap({ bytes: PS, protection: WRITE, shared, ops });
    const out = emptyList(1);
    for (const isPresent of [false, true]) {
      if (isPresent) space.fault(addr, Access.WRITE, 0);
      const held = tryPinUserPages(space, addr, 1, flags, out, 2);
      assert.equal(held, isAllowed ? 1 : -Errno.EFAULT, `${tracksDirty} ${shared} ${flags}`);
      unpinUserPages(out, 2, Math.max(held, 0));
    }
  }
  const anonymous = space.mmap({ bytes: PS, protection: WRITE, shared: true });
  const out = emptyList(1);
  assert.equal(tryPinUserPages(space, anonymous, 1, LONG, out, 2), 1, 'shared memory is exempt');
  unpinUserPages(out, 2, 1);
});

test('8: LONGTERM: pins are never in the movable zone, an error leaves none', () => {
  const options = fc.record({
    pages: fc.integer({ min: 1, max: 8 }),
    hole: fc.option(fc.nat(7)),
    pinned: fc.option(fc.nat(7)),
    locked: fc.option(fc.nat(7)),
    order: fc.constantFrom(0, 1, 3),
    shared: fc.boolean(),
    flags: fc.constantFrom(LONGTERM, LONG),
    scarce: fc.nat(10),
    present: fc.boolean(),
  });
  fc.assert(
    fc.property(
      options,
      ({ pages, hole, pinned, locked, order, shared, flags, scarce, present }) => {
        using world = new PinWorld({ pages: 64, movableFrom: 24 });
        const { space, memory } = world;
        const bytes = pages * PS;
        const addr = shared
          ? space.mmap({ bytes, protection: WRITE, shared })
          : space.mmap({ bytes, protection: WRITE, folioOrder: order });
        if (present) world.touch(addr, pages, Access.WRITE);
        if (hole !== null && hole < pages) space.munmap(addr + hole * PS, PS);
        const frame = (i: number | null): number =>
          i === null || i >= pages || world.bitsAt(addr + i * PS) === 0
            ? -1
            : world.frameAt(addr + i * PS);
        const busy = frame(pinned);
        if (busy >= 0) pinPages(busy, 1);
        const lock = frame(locked);
        if (lock >= 0) memory.tryLockFolio(lock);
        const taken = Array.from({ length: scarce * 2 }, () => memory.takeFolio(0, false));
        const before = world.outstandingPins;
        const out = emptyList(pages);
        const held = tryPinUserPages(space, addr, pages, flags, out, 2);
        assert.notEqual(held, 0);
        assertWritten(out, Math.max(held, 0));
        assert.equal(world.outstandingPins - before, Math.max(held, 0));
        if (held > 0) {
          assert.equal(held, hole === null || hole >= pages ? pages : hole);
          for (const page of out.slice(2, 2 + held)) assert.equal(memory.isMovable(page), false);
          unpinUserPages(out, 2, held);
        } else {
          assert.ok([-Errno.EFAULT, -Errno.ENOMEM, -Errno.EBUSY].includes(held));
          assert.equal(held === -Errno.EFAULT, hole === 0);
        }
        for (const page of taken) if (page >= 0) memory.putPage(page);
        if (lock >= 0) memory.unlockFolio(lock);
        if (busy >= 0) unpinPages(busy, 1);
      },
    ),
    { numRuns: Math.ceil(RUNS.numRuns / 2) },
  );
});

test('a registered region: rows cover the range, contiguous memory is one row', async () => {
  using world = new PinWorld();
  const budget = unlimited();
  const addr = world.map(6);
  // Frames in the order of the touches: pages 2, 3 and 0, 1, 5 and 4.
  for (const page of [2, 3, 0, 1, 5, 4]) world.touch(addr + page * PS, 1, Access.WRITE);
  const region = await PinnedRegion.register(world.space, addr + 100, 5 * PS, { budget });
  const { rowPage, rowOffset, rowLen } = region;
  const expected: [number, number, number][] = [];
  for (let at = addr + 100; at < addr + 100 + 5 * PS; ) {
    const len = Math.min(PS - (at % PS), addr + 100 + 5 * PS - at);
    const last = expected.at(-1);
    const isNext = last !== undefined && world.frameAt(at) === world.frameAt(at - PS) + 1;
    if (last !== undefined && isNext) last[2] += len;
    else expected.push([world.frameAt(at), at % PS, len]);
    at += len;
  }
  const rows = [...rowPage].map((page, i) => [page, rowOffset[i], rowLen[i]]);
  assert.deepEqual(rows, expected);
  assert.ok(rows.length > 1 && rows.length < 6, 'some pages joined, some did not');
  assert.equal(budget.usedBytes, 6 * PS, 'whole pages are charged');
  assert.equal(region.pinnedPages, 6);
  region.release();
  assert.equal(budget.usedBytes, 0);
  assert.equal(region.pinnedPages, 0);
  assert.throws(() => region.release(), { code: 'ERR_BIOVEC_RELEASED' });
  region[Symbol.dispose]();
});

test('a registered region is dirty before its pins go; for reading it is not', async () => {
  using world = new PinWorld();
  const budget = unlimited();
  const addr = world.map(2, { touch: Access.WRITE });
  const page = world.frameAt(addr);
  {
    using region = await PinnedRegion.register(world.space, addr, PS, {
      budget,
      access: Access.READ,
    });
    assert.ok(maybePinned(page) && region.kind === 'pinned');
  }
  assert.ok(!maybePinned(page) && !isDirty(page));
  {
    using _region = await PinnedRegion.register(world.space, addr, PS, { budget });
  }
  assert.ok(!maybePinned(page) && isDirty(page));
});

test('registration is all or nothing, and names the page that failed', async () => {
  using world = new PinWorld(ZONED);
  const budget = unlimited();
  const addr = world.map(4, { touch: Access.WRITE });
  world.space.munmap(addr + 2 * PS, PS);
  const hole = PinnedRegion.register(world.space, addr, 4 * PS, { budget });
  await assert.rejects(hole, (error: BlockError) => {
    assert.equal(error.code, 'EFAULT');
    assert.match(error.reason, /page 2 of 4, at 0x[0-9a-f]+ of 'program'/);
    return true;
  });
  const other = world.map(2, { touch: Access.WRITE });
  pinPages(world.frameAt(other + PS), 1);
  const busy = PinnedRegion.register(world.space, other, 2 * PS, { budget });
  await assert.rejects(busy, { code: 'EBUSY' });
  unpinPages(world.frameAt(other + PS), 1);
  await assert.rejects(PinnedRegion.register(world.space, addr, 0, { budget }), { code: 'EINVAL' });
  assert.equal(world.outstandingPins, 0);
  assert.equal(budget.usedBytes, 0);
  budget.assertNothingOutstanding();
});

test('a signal ends a registration without a trace', async () => {
  using world = new PinWorld();
  const budget = unlimited();
  const file = world.file(2);
  file.script.set(1, [WAIT]);
  const addr = world.space.mmap({ bytes: 2 * PS, protection: WRITE, shared: true, ops: file });
  const controller = new AbortController();
  const { signal } = controller;
  const pending = PinnedRegion.register(world.space, addr, 2 * PS, {
    budget,
    signal,
    label: 'ring',
  });
  await new Promise((resolve) => setImmediate(resolve));
  assert.match(budget.report().join(), /'ring' of 8 KiB.*not pinned yet/);
  controller.abort();
  await assert.rejects(pending, { code: 'EINTR' });
  assert.equal(world.outstandingPins, 0);
  budget.assertNothingOutstanding();
});

test('past the budget: an error with required and allowed, or the verdict copy', async () => {
  using world = new PinWorld();
  const { space } = world;
  const budget = new PinBudget({ bytesMax: 4 * PS, label: 'RLIMIT_MEMLOCK' });
  const addr = world.map(8);
  using first = await PinnedRegion.register(space, addr, 3 * PS, { budget, label: 'a' });
  // Two bytes on both sides of a page border are two pages.
  const options = { budget, label: 'b' };
  await assert.rejects(
    PinnedRegion.register(space, addr + PS - 1, 2, options),
    (error: unknown) => {
      assert.ok(error instanceof BlockError);
      assert.equal(error.code, 'ENOMEM');
      assert.match(error.reason, /8 KiB .*are required, 4 KiB are allowed: 12 KiB of the 16 KiB/);
      assert.match(error.reason, /'b'.*RLIMIT_MEMLOCK/);
      return true;
    },
  );
  const verdict = await PinnedRegion.register(space, addr, 2 * PS, { ...options, orCopy: true });
  assert.ok(verdict.kind === 'copy');
  assert.deepEqual([verdict.requiredBytes, verdict.allowedBytes], [2 * PS, PS]);
  assert.match(verdict.reason, /8 KiB .*are required, 4 KiB are allowed/);
  // In 32 bits it would be one page, and fit.
  const large = await PinnedRegion.register(space, addr, 2 ** 32 + 1, { ...options, orCopy: true });
  assert.equal(large.kind === 'copy' ? large.requiredBytes : 0, 2 ** 32 + PS);
  const fits = await PinnedRegion.register(space, addr, PS, { ...options, orCopy: true });
  assert.ok(fits.kind === 'pinned');
  assert.equal(budget.allowedBytes, 0);
  fits.release();
  assert.equal(first.pinnedPages, 3);
});

test('a leak names its owner and its place', async () => {
  using world = new PinWorld();
  const budget = new PinBudget({ bytesMax: 2 ** 20, label: 'the rings' });
  const addr = world.map(1);
  const region = await PinnedRegion.register(world.space, addr, 10, { budget, label: 'ring 7' });
  assert.throws(() => budget.assertNothingOutstanding(), {
    code: 'ERR_BIOVEC_LEAK',
    message: /the rings.*'ring 7' of 10 B at 0x[0-9a-f]+, registered at .*long-term\.test\.ts/,
  });
  region.release();
  budget.assertNothingOutstanding();
  assert.throws(() => new PinBudget({ bytesMax: -1 }), { code: 'EINVAL' });
  assert.throws(() => new PinBudget({ bytesMax: Number.NaN }), { code: 'EINVAL' });
});

test('registered memory stays: the program may fork, unmap and exit', async () => {
  using world = new PinWorld({ pages: 128, swapPages: 64 });
  const budget = unlimited();
  const addr = world.map(2, { touch: Access.WRITE });
  const region = await PinnedRegion.register(world.space, addr, 2 * PS, { budget });
  const child = world.space.fork('child');
  assert.equal(world.frameAt(addr), region.pages[0], 'the fork copied for the child');
  assert.equal(world.memory.migrate(region.pages[0] as number), -Errno.EAGAIN);
  child.exit();
  world.space.munmap(addr, 2 * PS);
  world.memory.reclaim(100);
  assert.ok(maybePinned(region.pages[1] as number));
  region.release();
});

test('references cannot be long-term', () => {
  using world = new PinWorld();
  const out = emptyList(1);
  const addr = world.map(1);
  assert.equal(tryPinUserPages(world.space, addr, 1, GET | LONGTERM, out, 2), -Errno.EINVAL);
});
