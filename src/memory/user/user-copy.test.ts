import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../../base/errno.ts';
import { RUNS } from '../../base/runs.fuzz.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { Access } from '../address-space.ts';
import { copyOut } from '../copy.ts';
import { Protection } from './area.ts';
import { bitsAt, Machine, peek, poke } from './machine.fuzz.ts';
import { ObjectFile } from './object-file.fuzz.ts';
import { Pte } from './page-table.ts';

const BASE = 0x40_0000;
const PAGES = 6;

test('13: a copy moves exactly the bytes up to the first forbidden one, both ways', () => {
  const page = fc.constantFrom(
    Protection.NONE,
    Protection.READ,
    Protection.READ | Protection.WRITE,
  );
  const calls = fc.constantFrom('read', 'write', 'copyFromUser', 'copyToUser', 'clearUser');
  fc.assert(
    fc.property(
      fc.array(page, { minLength: PAGES, maxLength: PAGES }),
      calls,
      fc.nat(PAGES * PAGE_BYTES - 1),
      fc.integer({ min: 0, max: 3 * PAGE_BYTES }),
      (protections, call, offset, bytes) => {
        using machine = new Machine(64);
        const { space, memory } = machine;
        machine.map(PAGES, { addr: BASE });
        const image = Uint8Array.from({ length: PAGES * PAGE_BYTES }, (_, i) => (i * 7) % 251);
        assert.equal(space.write(BASE, image), image.length);
        protections.forEach((protection, i) => {
          space.mprotect(BASE + i * PAGE_BYTES, PAGE_BYTES, protection);
        });
        const need =
          call === 'read' || call === 'copyFromUser' ? Protection.READ : Protection.WRITE;
        const allowed = (at: number): boolean =>
          at < PAGES * PAGE_BYTES &&
          ((protections[Math.floor(at / PAGE_BYTES)] as number) & need) !== 0;
        let expected = 0;
        while (expected < bytes && allowed(offset + expected)) expected++;
        const frames = memory.allocPage({ zeroed: true, movable: false, order: 2 });
        const data = new Uint8Array(bytes).fill(255);
        let done = 0;
        if (call === 'read') done = space.read(BASE + offset, data);
        else if (call === 'write') done = space.write(BASE + offset, data);
        else if (call === 'clearUser') done = space.clearUser(BASE + offset, bytes);
        else if (call === 'copyToUser') done = space.copyToUser(frames, 100, BASE + offset, bytes);
        else done = space.copyFromUser(frames, 100, BASE + offset, bytes);
        assert.equal(done, expected);
        if (done < bytes) assert.equal(space.copyError, -Errno.EFAULT);
        const read = image.slice(offset, offset + done);
        if (call === 'read') assert.deepEqual(data.slice(0, done), read);
        if (call === 'copyFromUser') {
          const moved = new Uint8Array(done + 1);
          copyOut(moved, 0, frames, 100, done + 1);
          assert.deepEqual(moved.slice(0, done), read);
          assert.equal(moved[done], 0, 'not a byte more');
        }
        if (need === Protection.WRITE)
          image.fill(call === 'write' ? 255 : 0, offset, offset + done);
        space.mprotect(BASE, PAGES * PAGE_BYTES, Protection.READ);
        const now = new Uint8Array(image.length);
        assert.equal(space.read(BASE, now), now.length);
        assert.equal(Buffer.compare(now, image), 0);
        memory.putPage(frames);
      },
    ),
    { numRuns: Math.ceil(RUNS.numRuns / 4) },
  );
});

test('reading untouched memory costs no page: the zero page, whose counts never change', () => {
  using machine = new Machine();
  const { space, memory } = machine;
  const addr = machine.map(50);
  const { region, zeroPage } = memory;
  const refs = region.refs[zeroPage - region.firstPage];
  assert.equal(space.read(addr, new Uint8Array(50 * PAGE_BYTES)), 50 * PAGE_BYTES);
  assert.equal(memory.usedPages, 1);
  assert.equal(memory.counters.zeroPageFaults, 50);
  assert.equal(region.refs[zeroPage - region.firstPage], refs);
  poke(space, addr + 3, 1);
  assert.equal(peek(space, addr + PAGE_BYTES + 3), 0, 'the zero page is still zero');
  assert.equal(memory.usedPages, 2);
});

test('the CPU leaves accessed and dirty bits, each for its own access', () => {
  using machine = new Machine();
  const { space } = machine;
  const addr = machine.map(1);
  poke(space, addr, 1);
  const both = Pte.ACCESSED | Pte.DIRTY;
  assert.equal(bitsAt(space, addr) & both, both);
  space.table.setBits(addr / PAGE_BYTES, Pte.PRESENT | Pte.WRITE);
  assert.equal(peek(space, addr), 1);
  assert.equal(bitsAt(space, addr) & both, Pte.ACCESSED);
  assert.ok(space.pageAt(addr, Access.WRITE) >= 0);
  assert.equal(bitsAt(space, addr) & both, both);
});

test('a copy never waits: it stops with -EAGAIN and goes on where it stopped', () => {
  using machine = new Machine();
  const { space, memory } = machine;
  const file = new ObjectFile(memory, 3);
  const addr = machine.map(3, { shared: true, ops: file });
  assert.equal(peek(space, addr), 1);
  file.retries = 1;
  const into = new Uint8Array(2 * PAGE_BYTES);
  assert.equal(space.read(addr + 10, into), PAGE_BYTES - 10);
  assert.equal(space.copyError, -Errno.EAGAIN);
  let woken = 0;
  space.whenReady(() => woken++);
  file.fire();
  assert.equal(woken, 1);
  const rest = into.subarray(PAGE_BYTES - 10);
  assert.equal(space.read(addr + PAGE_BYTES, rest), rest.length);
  assert.deepEqual([into[0], into[PAGE_BYTES - 10], into.at(-1)], [1, 2, 3]);
  space.exit();
  file.close();
});

test('no memory: -ENOMEM after reclaim found nothing, and it goes on when there is some', () => {
  using machine = new Machine(16, { swapPages: 0 });
  const { space, memory } = machine;
  const addr = machine.map(20);
  const done = space.write(addr, new Uint8Array(20 * PAGE_BYTES).fill(1));
  assert.equal(done, 15 * PAGE_BYTES, 'all but the zero page');
  assert.equal(space.copyError, -Errno.ENOMEM);
  assert.ok(memory.counters.allocFailures > 0);
  space.munmap(addr, PAGE_BYTES);
  assert.equal(space.write(addr + done, new Uint8Array(PAGE_BYTES)), PAGE_BYTES);
});

test('more memory than frames: everything comes back from swap, shared memory too', () => {
  for (const shared of [false, true]) {
    using machine = new Machine(16, { swapPages: 96 });
    const { space, memory } = machine;
    const addr = machine.map(40, { shared });
    for (let i = 0; i < 40; i++) poke(space, addr + i * PAGE_BYTES, i + 1);
    const child = space.fork('child');
    for (let i = 0; i < 40; i++) assert.equal(peek(child, addr + i * PAGE_BYTES), i + 1);
    if (!shared) poke(child, addr, 99);
    for (let i = 0; i < 40; i++) assert.equal(peek(space, addr + i * PAGE_BYTES), i + 1);
    assert.ok(memory.counters.swappedOut >= 40 && memory.counters.swappedIn > 0);
    child.exit();
  }
});

test('long-term pins can keep out of the movable zone: who moves, moves below it', () => {
  using machine = new Machine(64, { movableFrom: 16 });
  const { space, memory } = machine;
  const addr = machine.map(20);
  for (let i = 0; i < 20; i++) poke(space, addr + i * PAGE_BYTES, i);
  const frames = Array.from({ length: 20 }, (_, i) => space.table.frameAt(addr / PAGE_BYTES + i));
  assert.ok(
    frames.every((page) => memory.isMovable(page)),
    'user memory prefers the zone',
  );
  assert.equal(memory.migrate(frames[3] as number), 0);
  assert.ok(!memory.isMovable(space.table.frameAt(addr / PAGE_BYTES + 3)));
  assert.equal(peek(space, addr + 3 * PAGE_BYTES), 3);
  const fixed = memory.allocPage({ zeroed: true, movable: false, order: 1 });
  assert.ok(!memory.isMovable(fixed));
  memory.putPage(fixed);
});
