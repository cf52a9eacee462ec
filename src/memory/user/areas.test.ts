// Areas: mmap, munmap, mprotect, mremap, and what they do to entries and folios.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { refCount } from '../holds.ts';
import { type Area, Protection } from './area.ts';
import { bitsAt, frameAt, Machine, peek, poke, READ_WRITE } from './machine.fuzz.ts';
import { ObjectFile } from './object-file.fuzz.ts';
import { Pte, USER_END } from './page-table.ts';

const BASE = 0x40_0000;
const HUGE_BYTES = 2 ** 21;

function ranges(areas: readonly Area[]): string[] {
  const page = (addr: number): number => (addr - BASE) / PAGE_BYTES;
  return areas.map((area) => `${page(area.start)}-${page(area.end)}:${area.protection}`);
}

test('mmap: where there is room, from the hint on, or exactly there over what was there', () => {
  using machine = new Machine();
  const { space } = machine;
  const first = machine.map(3);
  assert.equal(machine.map(2, { hint: BASE }), BASE);
  assert.equal(machine.map(2, { hint: BASE }), BASE + 2 * PAGE_BYTES, 'the hint is taken');
  assert.equal(machine.map(1), first + 3 * PAGE_BYTES);
  poke(space, BASE + PAGE_BYTES, 7);
  assert.equal(machine.map(2, { addr: BASE + PAGE_BYTES }), BASE + PAGE_BYTES);
  assert.equal(peek(space, BASE + PAGE_BYTES), 0, 'the old page is gone');
  assert.equal(machine.map(1, { hint: USER_END }), first + 4 * PAGE_BYTES, 'no room behind it');
  assert.equal(machine.map(1, { hint: BASE, folioOrder: 9 }) % HUGE_BYTES, 0);
  assert.equal(space.munmap(BASE + PAGE_BYTES, PAGE_BYTES), 0);
  assert.equal(machine.map(1, { hint: BASE }), BASE + PAGE_BYTES, 'exactly fits');
});

test('mmap: lengths are rounded up; what is no place or no length is refused', () => {
  using machine = new Machine();
  const { space } = machine;
  const addr = space.mmap({ bytes: 1, protection: READ_WRITE });
  assert.equal(space.areaAt(addr + PAGE_BYTES - 1)?.end, addr + PAGE_BYTES);
  assert.equal(space.mmap({ bytes: 0, protection: READ_WRITE }), -Errno.EINVAL);
  assert.equal(space.mmap({ addr: 5, bytes: 1, protection: READ_WRITE }), -Errno.EINVAL);
  assert.equal(space.mmap({ bytes: 2 ** 47, protection: READ_WRITE }), -Errno.ENOMEM);
  const past = { addr: USER_END, bytes: PAGE_BYTES, protection: READ_WRITE };
  assert.equal(space.mmap(past), -Errno.ENOMEM);
  assert.equal(space.mmap({ ...past, addr: USER_END - PAGE_BYTES }), USER_END - PAGE_BYTES);
});

test('pageLimit counts what stays mapped', () => {
  using machine = new Machine();
  const { space } = machine;
  const addr = machine.map(3);
  space.pageLimit = 4;
  assert.equal(space.mmap({ bytes: 2 * PAGE_BYTES, protection: READ_WRITE }), -Errno.ENOMEM);
  assert.equal(machine.map(2, { addr: addr + 2 * PAGE_BYTES }), addr + 2 * PAGE_BYTES);
  assert.equal(space.mremap(addr, PAGE_BYTES, 2 * PAGE_BYTES, true), -Errno.ENOMEM);
  assert.equal(space.mappedPages, 4);
  const child = space.fork('child');
  assert.equal(child.mmap({ bytes: PAGE_BYTES, protection: READ_WRITE }), -Errno.ENOMEM);
});

test('areas split and join; a file hears of each area that begins and ends', () => {
  using machine = new Machine();
  const { space } = machine;
  const file = new ObjectFile(machine.memory, 8);
  for (const ops of [null, file]) {
    machine.map(8, { addr: BASE, ops });
    space.mprotect(BASE + 2 * PAGE_BYTES, 3 * PAGE_BYTES, Protection.READ);
    assert.deepEqual(ranges(space.areas), ['0-2:3', '2-5:1', '5-8:3']);
    if (ops !== null) assert.equal(file.openCount, 3);
    space.munmap(BASE + 3 * PAGE_BYTES, PAGE_BYTES);
    assert.deepEqual(ranges(space.areas), ['0-2:3', '2-3:1', '4-5:1', '5-8:3']);
    const child = space.fork('child');
    assert.deepEqual(ranges(child.areas), ranges(space.areas));
    if (ops !== null) assert.equal(file.openCount, 8);
    child.exit();
    machine.map(1, { addr: BASE + 3 * PAGE_BYTES, ops, index: 3 });
    assert.equal(space.mprotect(BASE, 8 * PAGE_BYTES, READ_WRITE), 0);
    assert.deepEqual(ranges(space.areas), ['0-8:3']);
    if (ops !== null) assert.equal(file.openCount, 1);
    space.munmap(BASE, 8 * PAGE_BYTES);
  }
  assert.equal(file.openCount, 0);
  file.close();
});

test('areas of a file join only where the file goes on as well', () => {
  using machine = new Machine();
  const file = new ObjectFile(machine.memory, 8);
  machine.map(2, { addr: BASE, ops: file, index: 2 });
  machine.map(2, { addr: BASE + 2 * PAGE_BYTES, ops: file, index: 5 });
  machine.map(1, { addr: BASE + 4 * PAGE_BYTES, ops: file, index: 7, shared: true });
  assert.deepEqual(ranges(machine.space.areas), ['0-2:3', '2-4:3', '4-5:3']);
  for (const [page, index] of [2, 3, 5, 6, 7].entries()) {
    assert.equal(peek(machine.space, BASE + page * PAGE_BYTES), index + 1);
  }
  machine.space.exit();
  file.close();
});

test('mprotect: a right goes at once, comes with a fault; a hole ends it with -ENOMEM', () => {
  using machine = new Machine();
  const { space } = machine;
  machine.map(2, { addr: BASE });
  machine.map(1, { addr: BASE + 3 * PAGE_BYTES });
  poke(space, BASE, 1);
  assert.equal(space.mprotect(BASE, 4 * PAGE_BYTES, Protection.READ), -Errno.ENOMEM);
  assert.deepEqual(ranges(space.areas), ['0-2:1', '3-4:3'], 'up to the hole');
  assert.equal(space.write(BASE, new Uint8Array(1)), 0);
  assert.equal(peek(space, BASE), 1);
  assert.equal(space.mprotect(BASE, PAGE_BYTES, Protection.NONE), 0);
  assert.equal(space.read(BASE, new Uint8Array(1)), 0);
  assert.equal(space.copyError, -Errno.EFAULT);
  assert.equal(space.mprotect(BASE, PAGE_BYTES, Protection.WRITE), 0);
  poke(space, BASE, 2);
  assert.equal(peek(space, BASE), 2, 'write includes read');
  assert.equal(space.mprotect(BASE + 1, PAGE_BYTES, Protection.READ), -Errno.EINVAL);
  assert.equal(space.mprotect(BASE + 9 * PAGE_BYTES, PAGE_BYTES, 0), -Errno.ENOMEM);
});

test('munmap: holes are fine, odd addresses and no length are not', () => {
  using machine = new Machine();
  const { space } = machine;
  machine.map(2, { addr: BASE });
  assert.equal(space.munmap(BASE - PAGE_BYTES, 10 * PAGE_BYTES), 0);
  assert.equal(space.munmap(BASE, PAGE_BYTES), 0);
  assert.equal(space.munmap(BASE + 1, PAGE_BYTES), -Errno.EINVAL);
  assert.equal(space.munmap(BASE, 0), -Errno.EINVAL);
  assert.equal(space.munmap(USER_END, PAGE_BYTES), -Errno.EINVAL);
  assert.equal(space.mappedPages, 0);
});

test('mremap: shrinks, grows in place, or moves with its pages', () => {
  using machine = new Machine();
  const { space, memory } = machine;
  machine.map(4, { addr: BASE });
  for (let i = 0; i < 4; i++) poke(space, BASE + i * PAGE_BYTES, i + 1);
  const page = frameAt(space, BASE);
  assert.equal(space.mremap(BASE, 4 * PAGE_BYTES, 2 * PAGE_BYTES, false), BASE);
  assert.equal(space.mappedPages, 2);
  assert.equal(space.mremap(BASE, 2 * PAGE_BYTES, 3 * PAGE_BYTES, false), BASE);
  assert.equal(peek(space, BASE + 2 * PAGE_BYTES), 0, 'what was cut off is gone');
  machine.map(1, { addr: BASE + 3 * PAGE_BYTES, protection: Protection.READ });
  assert.equal(space.mremap(BASE, 3 * PAGE_BYTES, 4 * PAGE_BYTES, false), -Errno.ENOMEM);
  const moved = space.mremap(BASE + PAGE_BYTES, PAGE_BYTES, 5 * PAGE_BYTES, true);
  assert.notEqual(moved, BASE + PAGE_BYTES);
  assert.equal(peek(space, moved), 2);
  assert.equal(space.read(BASE + PAGE_BYTES, new Uint8Array(1)), 0, 'nothing is left there');
  assert.equal(frameAt(space, BASE), page, 'its neighbour stayed');
  assert.equal(peek(space, moved + 4 * PAGE_BYTES), 0);
  memory.reclaim(8);
  memory.reclaim(8);
  assert.equal(bitsAt(space, moved) & Pte.SWAPPED, Pte.SWAPPED, 'found at its new address');
  const swapped = space.mremap(moved, 5 * PAGE_BYTES, 6 * PAGE_BYTES, true);
  assert.equal(peek(space, swapped), 2);
  assert.equal(space.mremap(BASE, 5 * PAGE_BYTES, 6 * PAGE_BYTES, true), -Errno.EFAULT);
  assert.equal(space.mremap(BASE - PAGE_BYTES, PAGE_BYTES, PAGE_BYTES, true), -Errno.EFAULT);
  assert.equal(space.mremap(BASE, 0, PAGE_BYTES, true), -Errno.EINVAL);
  assert.equal(space.mremap(BASE, PAGE_BYTES, 0, true), -Errno.EINVAL);
  const last = machine.map(1, { addr: USER_END - PAGE_BYTES });
  assert.equal(space.mremap(last, PAGE_BYTES, 2 * PAGE_BYTES, false), -Errno.ENOMEM);
});

test('a huge folio of 2 MiB: one fault maps it, a part can go, the folio stays', () => {
  using machine = new Machine(1600);
  const { space, memory } = machine;
  const addr = machine.map(1024, { addr: HUGE_BYTES * 2, folioOrder: 9 });
  poke(space, addr + 700 * PAGE_BYTES, 1);
  assert.equal(memory.counters.hugeFaults, 1);
  const head = frameAt(space, addr + 512 * PAGE_BYTES);
  assert.equal(refCount(head), 512);
  assert.equal(frameAt(space, addr + 1023 * PAGE_BYTES), head + 511);
  poke(space, addr + 900 * PAGE_BYTES, 9);
  assert.equal(memory.counters.anonymousFaults, 1, 'its other pages do not fault');
  space.mprotect(addr + 512 * PAGE_BYTES, 10 * PAGE_BYTES, Protection.READ);
  space.munmap(addr + 600 * PAGE_BYTES, 50 * PAGE_BYTES);
  assert.equal(refCount(head), 462);
  assert.equal(peek(space, addr + 900 * PAGE_BYTES), 9);
  const child = space.fork('child');
  poke(space, addr + 900 * PAGE_BYTES, 10);
  assert.equal(peek(child, addr + 900 * PAGE_BYTES), 9);
  assert.equal(memory.counters.cowCopies, 1, 'one page is copied, not 512');
  // What is read first gets the zero page, and then no folio fits any more.
  assert.equal(peek(space, addr + 3 * PAGE_BYTES), 0);
  poke(space, addr + 4 * PAGE_BYTES, 4);
  assert.equal(memory.counters.hugeFaults, 1);
  assert.equal(memory.usedPages, 1 + 512 + 2);
});

test('a huge fault falls back to one page without a folio or in a small area', () => {
  using machine = new Machine(600);
  const { space, memory } = machine;
  const addr = machine.map(1024, { addr: HUGE_BYTES * 2, folioOrder: 9 });
  const small = machine.map(256, { addr: HUGE_BYTES * 4, folioOrder: 9 });
  poke(space, small, 1);
  assert.deepEqual([memory.counters.hugeFaults, memory.counters.hugeFallbacks], [0, 0]);
  poke(space, addr, 1);
  poke(space, addr + 512 * PAGE_BYTES, 1);
  const { hugeFaults, hugeFallbacks } = memory.counters;
  assert.equal(hugeFaults + hugeFallbacks, 2);
  assert.ok(hugeFallbacks >= 1);
  assert.equal(memory.usedPages, 2 + hugeFaults * 512 + hugeFallbacks);
});
