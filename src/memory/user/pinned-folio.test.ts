// What the rest of the system must do with a folio that may be pinned: table 1.6 of the reference,
// row by row, each beside the same thing without a pin; and with a plain reference where it counts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../../base/errno.ts';
import { RUNS } from '../../base/runs.fuzz.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { Access, UserHold } from '../address-space.ts';
import { dirtyRange, pinPages, putPages, refCount, unpinPages } from '../holds.ts';
import { FrameFlag } from '../region.unsafe.ts';
import { Protection } from './area.ts';
import { mapEntry } from './entry.ts';
import {
  age,
  bitsAt,
  deviceReads,
  deviceWrites,
  frameAt,
  Machine,
  peek,
  poke,
} from './machine.fuzz.ts';
import { initialByte, ObjectFile } from './object-file.fuzz.ts';
import { Pte } from './page-table.ts';
import { mergePages, movePage } from './share.ts';
import type { UserSpace } from './user-space.ts';

type Holding = 'nobody' | 'reference' | 'pin';

function hold(space: UserSpace, addr: number, holding: Holding): () => void {
  if (holding === 'nobody') return () => undefined;
  const out = new Uint32Array(1);
  const kind = holding === 'pin' ? UserHold.PIN : UserHold.GET;
  assert.equal(space.holdPages(addr, 1, Access.WRITE, kind, out, 0), 1);
  return () => (holding === 'pin' ? unpinPages : putPages)(out[0] as number, 1);
}

test('swap-out of anonymous memory: a pinned page is skipped, without taking a slot', () => {
  for (const holding of ['nobody', 'reference', 'pin'] as const) {
    using machine = new Machine();
    const { space, memory } = machine;
    const addr = machine.map(1);
    poke(space, addr, 42);
    const page = frameAt(space, addr);
    const release = hold(space, addr, holding);
    age(space, addr, 1, Pte.ACCESSED);
    assert.equal(memory.reclaim(4), holding === 'nobody' ? 1 : 0);
    assert.equal(memory.swap.freeSlots, memory.swap.slots - (holding === 'nobody' ? 1 : 0));
    assert.equal(bitsAt(space, addr) & Pte.SWAPPED, holding === 'nobody' ? Pte.SWAPPED : 0);
    const { reclaimFreed, reclaimSkippedPinned, reclaimKept } = memory.counters;
    assert.equal(reclaimFreed, holding === 'nobody' ? 1 : 0);
    assert.equal(reclaimSkippedPinned > 0, holding === 'pin');
    assert.equal(reclaimKept > 0, holding === 'reference');
    if (holding === 'pin') deviceWrites(page, 43);
    release();
    assert.equal(peek(space, addr), holding === 'pin' ? 43 : 42);
    assert.equal(memory.swap.freeSlots, memory.swap.slots, 'the slot came back with the page');
  }
});

test('second chance: a page that was touched is kept once', () => {
  using machine = new Machine();
  const addr = machine.map(2);
  poke(machine.space, addr, 1);
  poke(machine.space, addr + PAGE_BYTES, 2);
  const second = addr + PAGE_BYTES;
  assert.ok(frameAt(machine.space, addr) < frameAt(machine.space, second), 'looked at first');
  age(machine.space, second, 1, Pte.ACCESSED);
  assert.equal(machine.memory.reclaim(1), 1);
  assert.equal(bitsAt(machine.space, second), Pte.SWAPPED);
  assert.equal(bitsAt(machine.space, addr) & Pte.PRESENT, Pte.PRESENT);
});

test('a locked folio, or one under writeback, is not reclaimed', () => {
  for (const flag of [FrameFlag.LOCKED, FrameFlag.WRITEBACK]) {
    using machine = new Machine();
    const addr = machine.map(1);
    poke(machine.space, addr, 1);
    const { region } = machine.memory;
    const frame = frameAt(machine.space, addr) - region.firstPage;
    region.flags[frame] |= flag;
    age(machine.space, addr, 1, Pte.ACCESSED);
    assert.equal(machine.memory.reclaim(1), 0);
    assert.equal(machine.memory.migrate(region.firstPage + frame), -Errno.EAGAIN);
    region.flags[frame] &= ~flag;
    assert.equal(machine.memory.reclaim(1), 1);
  }
});

test('reclaim of a file page after unmapping: a pinned one stays in the file', () => {
  for (const holding of ['nobody', 'reference', 'pin'] as const) {
    using machine = new Machine();
    const { space, memory } = machine;
    const file = new ObjectFile(memory, 2);
    const addr = machine.map(1, { shared: true, ops: file });
    assert.equal(peek(space, addr), initialByte(0));
    const page = frameAt(space, addr);
    const release = hold(space, addr, holding);
    file.sync();
    assert.equal(memory.reclaim(1), holding === 'nobody' ? 1 : 0);
    assert.equal(file.pages.get(0), holding === 'nobody' ? undefined : page);
    if (holding === 'pin') {
      deviceWrites(page, 99);
      dirtyRange(page, 0, 1);
    }
    release();
    // Dirty since the device wrote: reclaim must write it back before it may go.
    assert.equal(memory.reclaim(1), holding === 'reference' ? 1 : 0);
    assert.equal(peek(space, addr), holding === 'pin' ? 99 : initialByte(0));
    space.munmap(addr, PAGE_BYTES);
    file.close();
  }
});

test('migration: refused for a hold beyond entries and owner, of any order', () => {
  for (const order of [0, 1, 3]) {
    for (const holding of ['nobody', 'reference', 'pin'] as const) {
      using machine = new Machine(64);
      const { space, memory } = machine;
      const addr = machine.map(8, { folioOrder: order, hint: 64 * PAGE_BYTES });
      for (let i = 0; i < 8; i++) poke(space, addr + i * PAGE_BYTES, i);
      const child = space.fork('child');
      poke(space, addr, 50);
      const page = frameAt(space, addr + PAGE_BYTES);
      const release = hold(child, addr + PAGE_BYTES, holding);
      const held = frameAt(child, addr + PAGE_BYTES);
      const result = memory.migrate(held);
      assert.equal(result, holding === 'nobody' ? 0 : -Errno.EAGAIN, `order ${order}, ${holding}`);
      assert.equal(frameAt(child, addr + PAGE_BYTES) === held, holding !== 'nobody');
      if (holding === 'nobody') assert.notEqual(frameAt(space, addr + PAGE_BYTES), page);
      for (let i = 0; i < 8; i++) {
        assert.equal(peek(space, addr + i * PAGE_BYTES), i === 0 ? 50 : i);
        assert.equal(peek(child, addr + i * PAGE_BYTES), i);
      }
      release();
      assert.equal(memory.tryLockFolio(frameAt(child, addr)), true);
      assert.equal(memory.migrate(frameAt(child, addr)), -Errno.EAGAIN);
      memory.unlockFolio(frameAt(child, addr));
      assert.equal(memory.migrate(frameAt(child, addr)), 0);
    }
  }
});

test('migration without memory: -ENOMEM, and nothing has changed', () => {
  using machine = new Machine();
  const addr = machine.map(1);
  poke(machine.space, addr, 1);
  const page = frameAt(machine.space, addr);
  machine.memory.allocationsLeft = 0;
  assert.equal(machine.memory.migrate(page), -Errno.ENOMEM);
  machine.memory.allocationsLeft = Number.POSITIVE_INFINITY;
  assert.equal(frameAt(machine.space, addr), page);
  assert.equal(refCount(page), 1);
});

test('migration of a file page: the owner is asked, dirty bits go along', () => {
  using machine = new Machine();
  const { space, memory } = machine;
  const file = new ObjectFile(memory, 2);
  const addr = machine.map(2, { shared: true, ops: file });
  poke(space, addr, 7);
  peek(space, addr + PAGE_BYTES);
  const [first, second] = [file.pages.get(0), file.pages.get(1)] as [number, number];
  file.dirtied(second);
  assert.equal(memory.migrate(first), 0);
  assert.equal(memory.migrate(second), 0);
  assert.notEqual(file.pages.get(0), first);
  assert.ok(file.isDirty(file.pages.get(1) as number), 'the flag of the folio');
  assert.equal(bitsAt(space, addr) & Pte.DIRTY, Pte.DIRTY, 'the bit of the entry');
  assert.equal(memory.reclaim(2), 0, 'dirty pages are not dropped');
  file.replaced = () => false;
  const now = file.pages.get(0) as number;
  assert.equal(memory.migrate(now), -Errno.EAGAIN);
  assert.equal(refCount(now), 1, 'the cache alone: reclaim unmapped it');
  assert.equal(peek(space, addr), 7);
  space.munmap(addr, 2 * PAGE_BYTES);
  file.close();
});

test('a page that is neither anonymous nor of a file, or free of all, is not moved', () => {
  using machine = new Machine();
  const page = machine.memory.allocPage({ zeroed: true, movable: true });
  assert.equal(machine.memory.migrate(page), -Errno.EAGAIN);
  assert.equal(machine.memory.migrate(machine.memory.zeroPage), -Errno.EAGAIN);
  // A driver's page that lives by its entry alone: nobody could tell the driver.
  machine.memory.region.flags[page - machine.memory.region.firstPage] = 0;
  const addr = machine.map(1);
  mapEntry(machine.space, addr / PAGE_BYTES, page, Pte.PRESENT);
  assert.equal(machine.memory.migrate(page), -Errno.EAGAIN);
  assert.equal(machine.space.munmap(addr, PAGE_BYTES), 0);
});

test('NUMA hinting: a pinned page is not marked; a marked one is had by its next access', () => {
  for (const holding of ['nobody', 'pin'] as const) {
    using machine = new Machine();
    const { space, memory } = machine;
    const addr = machine.map(2);
    poke(space, addr, 1);
    peek(space, addr + PAGE_BYTES);
    const release = hold(space, addr, holding);
    assert.equal(space.hint(addr, 2 * PAGE_BYTES), holding === 'nobody' ? 1 : 0);
    assert.equal(memory.counters.hintsRefusedPinned, holding === 'pin' ? 1 : 0);
    assert.equal(peek(space, addr), 1);
    poke(space, addr, 2);
    assert.equal(memory.counters.hintFaults, holding === 'nobody' ? 1 : 0);
    assert.equal(space.hint(addr + 64 * PAGE_BYTES, PAGE_BYTES), 0);
    space.mprotect(addr, PAGE_BYTES, Protection.NONE);
    assert.equal(space.hint(addr, PAGE_BYTES), 0, 'nobody can access it anyway');
    release();
  }
});

test('KSM: equal pages are merged unless somebody holds one: -EBUSY', () => {
  for (const which of [0, 1]) {
    for (const holding of ['nobody', 'reference', 'pin'] as const) {
      using machine = new Machine();
      const { space, memory } = machine;
      const addr = machine.map(2);
      poke(space, addr, 5);
      poke(space, addr + PAGE_BYTES, 5);
      const release = hold(space, addr + which * PAGE_BYTES, holding);
      const result = mergePages(space, addr, space, addr + PAGE_BYTES);
      assert.equal(result, holding === 'nobody' ? 0 : -Errno.EBUSY);
      const isOne = frameAt(space, addr) === frameAt(space, addr + PAGE_BYTES);
      assert.equal(isOne, holding === 'nobody');
      poke(space, addr, 6);
      assert.equal(peek(space, addr + PAGE_BYTES), 5);
      assert.equal(memory.counters.mergesRefused, holding === 'nobody' ? 0 : 1);
      release();
      assert.equal(mergePages(space, addr, space, addr + PAGE_BYTES), -Errno.EINVAL);
    }
  }
});

test('userfaultfd move: only a page that is the process’s alone and not held: -EBUSY', () => {
  for (const holding of ['nobody', 'reference', 'pin'] as const) {
    using machine = new Machine();
    const { space } = machine;
    const addr = machine.map(2);
    poke(space, addr, 5);
    const release = hold(space, addr, holding);
    const result = movePage(space, addr, addr + PAGE_BYTES);
    assert.equal(result, holding === 'nobody' ? 0 : -Errno.EBUSY);
    if (result === 0) {
      assert.equal(peek(space, addr + PAGE_BYTES), 5);
      assert.equal(peek(space, addr), 0);
    }
    release();
    poke(space, addr, 6);
    const child = space.fork('child');
    assert.equal(movePage(space, addr, addr + 9 * PAGE_BYTES), -Errno.EINVAL);
    machine.map(1, { addr: addr + PAGE_BYTES, protection: Protection.READ });
    assert.equal(movePage(space, addr, addr + PAGE_BYTES), -Errno.EINVAL, 'other rights there');
    space.munmap(addr + PAGE_BYTES, PAGE_BYTES);
    machine.map(1, { addr: addr + PAGE_BYTES });
    assert.equal(movePage(space, addr, addr + PAGE_BYTES), -Errno.EBUSY, 'shared with a child');
    child.exit();
  }
});

test('truncation: the page leaves file and process, memory lives until the last hold', () => {
  for (const holding of ['reference', 'pin'] as const) {
    using machine = new Machine();
    const { space, memory } = machine;
    const file = new ObjectFile(memory, 2);
    const addr = machine.map(2, { shared: true, ops: file });
    const copy = machine.map(2, { ops: file });
    const other = new ObjectFile(memory, 2);
    const kept = machine.map(2, { ops: other, shared: true });
    assert.equal(peek(space, kept + PAGE_BYTES), initialByte(1));
    poke(space, addr + PAGE_BYTES, 8);
    poke(space, copy + PAGE_BYTES, 9);
    const page = frameAt(space, addr + PAGE_BYTES);
    const release = hold(space, addr + PAGE_BYTES, holding);
    const used = memory.usedPages;
    file.truncate(1);
    assert.equal(memory.usedPages, used - 1, 'the private copy is gone, the held page is not');
    assert.equal(bitsAt(space, kept + PAGE_BYTES) & Pte.PRESENT, Pte.PRESENT, 'another file');
    assert.equal(space.read(addr + PAGE_BYTES, new Uint8Array(1)), 0);
    assert.equal(space.copyError, -Errno.EFAULT);
    assert.equal(space.read(copy + PAGE_BYTES, new Uint8Array(1)), 0);
    deviceWrites(page, 99);
    assert.equal(deviceReads(page), 99);
    file.truncate(2);
    assert.equal(peek(space, addr + PAGE_BYTES), 0, 'what the device wrote is lost');
    release();
    space.munmap(addr, 6 * PAGE_BYTES);
    file.close();
    other.close();
  }
});

test('writeback may clean a pinned page: its entry becomes read-only, the pin stays', () => {
  using machine = new Machine();
  const { space, memory } = machine;
  const file = new ObjectFile(memory, 1);
  const addr = machine.map(1, { shared: true, ops: file });
  const release = hold(space, addr, 'pin');
  const page = frameAt(space, addr);
  poke(space, addr, 3);
  assert.equal(memory.cleanFolio(page), true);
  assert.equal(memory.cleanFolio(page), false);
  assert.equal(bitsAt(space, addr) & (Pte.WRITE | Pte.DIRTY), 0, 'the next write asks again');
  deviceWrites(page, 99);
  dirtyRange(page, 0, 1);
  release();
  assert.ok(file.isDirty(page), 'dirty before the pin went');
  assert.equal(peek(space, addr), 99);
  space.exit();
  file.close();
});

test('1.5: the dirty bit of an entry goes to the folio when the entry goes', () => {
  const leave: ((space: UserSpace, addr: number, page: number) => void)[] = [
    (space, addr) => assert.equal(space.munmap(addr, PAGE_BYTES), 0),
    (space) => space.exit(),
    (space, _addr, page) => space.memory.unmapFolio(page),
    (space, addr) => assert.equal(space.mmap({ addr, bytes: PAGE_BYTES, protection: 0 }), addr),
    (space, addr) => {
      const moved = space.mremap(addr, PAGE_BYTES, 8 * PAGE_BYTES, true);
      assert.equal(space.munmap(moved, PAGE_BYTES), 0);
    },
  ];
  for (const leaves of leave) {
    for (const writes of [true, false]) {
      using machine = new Machine();
      const file = new ObjectFile(machine.memory, 1);
      const addr = machine.map(1, { shared: true, ops: file });
      if (writes) poke(machine.space, addr, 1);
      else peek(machine.space, addr);
      const page = file.pages.get(0) as number;
      assert.ok(!file.isDirty(page), 'only the entry knows');
      leaves(machine.space, addr, page);
      assert.equal(file.isDirty(page), writes);
      if (!machine.space.hasExited) machine.space.exit();
      file.close();
    }
  }
});

test('9: no interleaving frees, moves or swaps a pinned page', () => {
  const actor = fc.constantFrom('reclaim', 'migrate', 'hint', 'merge', 'fork', 'munmap', 'exit');
  fc.assert(
    fc.property(fc.array(actor, { maxLength: 15 }), fc.nat(2), (actors, order) => {
      using machine = new Machine(96);
      const { memory } = machine;
      const space = memory.newSpace('victim');
      const bytes = 4 * PAGE_BYTES;
      const addr = space.mmap({ bytes, protection: 3, folioOrder: order });
      for (let i = 0; i < 4; i++) poke(space, addr + i * PAGE_BYTES, 1);
      const pages = new Uint32Array(4);
      assert.equal(space.holdPages(addr, 4, Access.WRITE, UserHold.PIN, pages, 0), 4);
      for (let i = 0; i < 4; i++) deviceWrites(pages[i] as number, 10 + i);
      let isMapped = true;
      for (const kind of actors) {
        if (kind === 'reclaim') memory.reclaim(8);
        else if (kind === 'migrate')
          assert.equal(memory.migrate(pages[0] as number), -Errno.EAGAIN);
        else if (space.hasExited) continue;
        else if (kind === 'hint') assert.equal(space.hint(addr, bytes), 0);
        else if (kind === 'merge')
          assert.notEqual(mergePages(space, addr, space, addr + PAGE_BYTES), 0);
        else if (kind === 'fork') space.fork('child').exit();
        else {
          if (kind === 'munmap') space.munmap(addr, bytes);
          else space.exit();
          isMapped = false;
        }
        // Somebody else would get the frames if they were free.
        const other = memory.newSpace('other');
        const there = other.mmap({ bytes, protection: 3 });
        for (let i = 0; i < 4; i++) poke(other, there + i * PAGE_BYTES, 77);
        for (let i = 0; i < 4; i++) assert.equal(deviceReads(pages[i] as number), 10 + i);
        if (isMapped)
          assert.deepEqual(
            [...pages],
            [0, 1, 2, 3].map((i) => frameAt(space, addr + i * PAGE_BYTES)),
          );
        other.exit();
      }
      assert.equal(pinPages(pages[0] as number, 1), 1);
      unpinPages(pages[0] as number, 1);
      for (const page of pages) unpinPages(page, 1);
    }),
    { numRuns: Math.ceil(RUNS.numRuns / 2) },
  );
});
