// Fork and copy-on-write: table 1.4 of the reference, row by row, with references and with pins.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../../base/runs.fuzz.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { Access, UserHold } from '../address-space.ts';
import { copyIn } from '../copy.ts';
import { maybePinned, pinCount, pinPages, putPages, refCount, unpinPages } from '../holds.ts';
import { FaultFlag, Protection } from './area.ts';
import {
  bitsAt,
  deviceReads,
  deviceWrites,
  frameAt,
  Machine,
  peek,
  poke,
  READ_WRITE,
} from './machine.fuzz.ts';
import { Pte } from './page-table.ts';
import type { UserSpace } from './user-space.ts';

/** One page held for a device that writes there. */
function hold(
  space: UserSpace,
  addr: number,
  kind: UserHold,
  access: Access = Access.WRITE,
): number {
  const out = new Uint32Array(1);
  assert.equal(space.holdPages(addr, 1, access, kind, out, 0), 1);
  return out[0] as number;
}

function release(page: number, kind: UserHold): void {
  if (kind === UserHold.PIN) unpinPages(page, 1);
  else putPages(page, 1);
}

test('1.1: a fresh page has the reference of its entry; two kinds of hold are apart', () => {
  using machine = new Machine();
  const addr = machine.map(1);
  poke(machine.space, addr, 1);
  const page = frameAt(machine.space, addr);
  const counts = (): number[] => [refCount(page), pinCount(page)];
  assert.deepEqual(counts(), [1, 0]);
  hold(machine.space, addr, UserHold.PIN);
  assert.deepEqual(counts(), [1, 1]);
  assert.ok(maybePinned(page));
  hold(machine.space, addr, UserHold.GET);
  hold(machine.space, addr, UserHold.PIN);
  assert.deepEqual(counts(), [2, 2]);
  unpinPages(page, 1);
  assert.ok(maybePinned(page));
  unpinPages(page, 1);
  assert.ok(!maybePinned(page));
  putPages(page, 1);
  assert.deepEqual(counts(), [1, 0]);
});

test('1.4 fork, the parent writes, then the device: GET loses the data, PIN keeps it', () => {
  for (const kind of [UserHold.GET, UserHold.PIN]) {
    using machine = new Machine();
    const parent = machine.space;
    const addr = machine.map(1);
    poke(parent, addr, 10);
    const page = hold(parent, addr, kind);
    const child = parent.fork('child');
    poke(parent, addr + 1, 11);
    deviceWrites(page, 99);
    if (kind === UserHold.GET) {
      assert.equal(peek(parent, addr), 10, 'moved to a copy: the data is lost');
      assert.equal(peek(child, addr), 99, 'and appears in the child');
      assert.notEqual(frameAt(parent, addr), page);
    } else {
      assert.equal(peek(parent, addr), 99);
      assert.equal(peek(child, addr), 10, 'the bytes at the fork');
      assert.equal(frameAt(parent, addr), page);
    }
    assert.equal(peek(child, addr + 1), 0);
    assert.equal(parent.hasPinned, kind === UserHold.PIN);
    assert.equal(child.hasPinned, false);
    assert.equal(machine.memory.counters.forkCopies, kind === UserHold.PIN ? 1 : 0);
    release(page, kind);
  }
});

test('1.4 munmap during I/O: the page stays until the hold goes, the data is discarded', () => {
  for (const kind of [UserHold.GET, UserHold.PIN]) {
    using machine = new Machine();
    const addr = machine.map(1);
    poke(machine.space, addr, 10);
    const used = machine.memory.usedPages;
    const page = hold(machine.space, addr, kind);
    assert.equal(machine.space.munmap(addr, PAGE_BYTES), 0);
    assert.equal(machine.memory.usedPages, used, 'still allocated');
    deviceWrites(page, 99);
    assert.equal(deviceReads(page), 99);
    release(page, kind);
    assert.equal(machine.memory.usedPages, used - 1);
    assert.equal(machine.space.read(addr, new Uint8Array(1)), 0);
    machine.map(1, { addr });
    assert.equal(peek(machine.space, addr), 0);
  }
});

test('1.4 exit during I/O: the pin outlives the process', () => {
  using machine = new Machine();
  const program = machine.memory.newSpace('killed');
  const addr = program.mmap({ bytes: PAGE_BYTES, protection: READ_WRITE });
  const page = hold(program, addr, UserHold.PIN);
  program.exit();
  deviceWrites(page, 99);
  assert.equal(machine.memory.usedPages, 2);
  assert.throws(() => machine.memory.assertNothingOutstanding(), /1 page frames, 1 pinned/);
  unpinPages(page, 1);
});

test('1.4 a read-only hold of a shared page, then a write: GET is stale, PIN agrees', () => {
  for (const kind of [UserHold.GET, UserHold.PIN]) {
    using machine = new Machine();
    const addr = machine.map(1);
    poke(machine.space, addr, 10);
    const child = machine.space.fork('child');
    const shared = frameAt(machine.space, addr);
    const page = hold(machine.space, addr, kind, Access.READ);
    assert.equal(page === shared, kind === UserHold.GET, 'a pin gets its own copy first');
    assert.equal(machine.memory.counters.unshares, kind === UserHold.PIN ? 1 : 0);
    poke(machine.space, addr, 20);
    assert.equal(deviceReads(page), kind === UserHold.PIN ? 20 : 10);
    assert.equal(peek(child, addr), 10);
    release(page, kind);
  }
});

test('unshare: nothing to do where the process is alone, also after the others have gone', () => {
  using machine = new Machine();
  const addr = machine.map(1);
  poke(machine.space, addr, 10);
  const page = frameAt(machine.space, addr);
  const unshare = (): number => machine.space.fault(addr, Access.READ, FaultFlag.UNSHARE);
  assert.equal(unshare(), 0);
  machine.space.fork('child').exit();
  assert.equal(machine.memory.columns.exclusive[page - machine.memory.region.firstPage], 0);
  assert.equal(unshare(), 0);
  assert.equal(frameAt(machine.space, addr), page);
  assert.equal(machine.memory.counters.unshares, 0);
  assert.equal(machine.memory.counters.cowReuses, 1);
  const untouched = machine.map(1);
  assert.equal(peek(machine.space, untouched), 0);
  assert.equal(machine.space.fault(untouched, Access.READ, FaultFlag.UNSHARE), 0);
  assert.notEqual(frameAt(machine.space, untouched), machine.memory.zeroPage);
  assert.equal(bitsAt(machine.space, untouched) & Pte.WRITE, 0);
});

test('the last process with a page writes in place; with one more hold it copies', () => {
  using machine = new Machine();
  const addr = machine.map(3);
  for (let i = 0; i < 3; i++) poke(machine.space, addr + i * PAGE_BYTES, i);
  const pages = [0, 1, 2].map((i) => frameAt(machine.space, addr + i * PAGE_BYTES));
  const child = machine.space.fork('child');
  machine.memory.getPage(pages[1] as number);
  // Nobody pins a shared page by the rules; if somebody did, it would not be kept either.
  pinPages(pages[2] as number, 1);
  child.exit();
  for (let i = 0; i < 3; i++) poke(machine.space, addr + i * PAGE_BYTES, 7);
  const kept = [0, 1, 2].map((i) => frameAt(machine.space, addr + i * PAGE_BYTES) === pages[i]);
  assert.deepEqual(kept, [true, false, false]);
  const { cowReuses, cowCopies } = machine.memory.counters;
  assert.deepEqual([cowReuses, cowCopies], [1, 2]);
  assert.equal(deviceReads(pages[1] as number), 1);
  machine.memory.putPage(pages[1] as number);
  unpinPages(pages[2] as number, 1);
});

test('one process of three writes: the other two go on sharing', () => {
  using machine = new Machine();
  const addr = machine.map(1);
  poke(machine.space, addr, 1);
  const [b, c] = [machine.space.fork('b'), machine.space.fork('c')];
  assert.equal(bitsAt(b, addr) & Pte.ACCESSED, 0, 'the child has not touched it');
  poke(b, addr, 2);
  assert.deepEqual(
    [machine.space, b, c].map((space) => peek(space, addr)),
    [1, 2, 1],
  );
  assert.equal(frameAt(machine.space, addr), frameAt(c, addr));
  assert.equal(machine.memory.rmap.used, 3);
  poke(c, addr, 3);
  poke(machine.space, addr, 4);
  assert.deepEqual(
    [machine.space, b, c].map((space) => peek(space, addr)),
    [4, 2, 3],
  );
  assert.equal(machine.memory.counters.cowReuses, 1);
});

test('shared memory and a zero page come to the child by its own faults', () => {
  using machine = new Machine();
  const shared = machine.map(2, { shared: true });
  const zero = machine.map(1);
  poke(machine.space, shared, 1);
  assert.equal(peek(machine.space, zero), 0);
  const child = machine.space.fork('child');
  poke(child, shared, 2);
  poke(child, shared + PAGE_BYTES, 3);
  assert.equal(peek(machine.space, shared), 2);
  assert.equal(peek(machine.space, shared + PAGE_BYTES), 3);
  poke(child, zero, 4);
  assert.equal(peek(machine.space, zero), 0);
  machine.space.munmap(shared, 2 * PAGE_BYTES);
  assert.equal(peek(child, shared), 2);
  const page = hold(child, shared, UserHold.PIN);
  child.exit();
  const { columns, region } = machine.memory;
  assert.equal(columns.owner[page - region.firstPage], null, 'no process and no object has it');
  assert.equal(deviceReads(page), 2);
  unpinPages(page, 1);
});

test('a fork without memory for its copies is undone to the last count', () => {
  using machine = new Machine(64);
  const { space, memory } = machine;
  const addr = machine.map(12);
  machine.map(2, { shared: true });
  for (let i = 0; i < 12; i++) poke(space, addr + i * PAGE_BYTES, i + 1);
  for (const i of [3, 4, 8]) hold(space, addr + i * PAGE_BYTES, UserHold.PIN);
  memory.reclaim(64);
  memory.reclaim(64);
  assert.ok(memory.counters.swappedOut > 0);
  const state = (): unknown => {
    const refs = [...memory.region.refs.subarray(0, 64)];
    return { refs, used: memory.usedPages, rmap: memory.rmap.used, swap: memory.swap.freeSlots };
  };
  const before = state();
  for (let allocations = 0; allocations < 3; allocations++) {
    memory.allocationsLeft = allocations;
    assert.equal(space.tryFork('child'), null);
    assert.throws(() => space.fork('child'), { code: 'ENOMEM' });
    assert.deepEqual(state(), before);
  }
  memory.allocationsLeft = 3;
  const child = space.fork('child');
  memory.allocationsLeft = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 12; i++) {
    poke(space, addr + i * PAGE_BYTES, 100 + i);
    assert.equal(peek(child, addr + i * PAGE_BYTES), i + 1);
    assert.equal(peek(space, addr + i * PAGE_BYTES), 100 + i);
  }
  for (const i of [3, 4, 8]) unpinPages(frameAt(space, addr + i * PAGE_BYTES), 1);
});

test('7: the parent sees what the device wrote, the child what was there at the fork', () => {
  const step = fc.record({
    kind: fc.constantFrom('fork' as const, 'parent' as const, 'child' as const, 'device' as const),
    value: fc.nat(255),
    at: fc.nat(3),
  });
  fc.assert(
    fc.property(
      fc.nat(3),
      fc.array(step, { maxLength: 12 }),
      fc.boolean(),
      (first, steps, huge) => {
        using machine = new Machine(96);
        const addr = machine.map(4, { folioOrder: huge ? 2 : 0 });
        const { space } = machine;
        for (let i = 0; i < 4; i++) poke(space, addr + i * PAGE_BYTES, i);
        const pages = new Uint32Array(4 - first);
        const pinned = addr + first * PAGE_BYTES;
        assert.equal(
          space.holdPages(pinned, 4 - first, Access.WRITE, UserHold.PIN, pages, 0),
          4 - first,
        );
        const lives = [{ space, bytes: [0, 1, 2, 3] }];
        for (const { kind, value, at } of steps) {
          const parent = lives[0] as { bytes: number[] };
          const child = lives.at(-1) as { space: UserSpace; bytes: number[] };
          if (kind === 'fork' && lives.length < 4) {
            lives.push({ space: space.fork('child'), bytes: [...parent.bytes] });
          } else if (kind === 'parent' || kind === 'child') {
            const life = kind === 'parent' ? { space, bytes: parent.bytes } : child;
            poke(life.space, addr + at * PAGE_BYTES, value);
            life.bytes[at] = value;
          } else if (kind === 'device' && at >= first) {
            copyIn(pages[at - first] as number, 0, new Uint8Array([value]), 0, 1);
            parent.bytes[at] = value;
          }
          for (const life of lives) {
            const seen = [0, 1, 2, 3].map((i) => peek(life.space, addr + i * PAGE_BYTES));
            assert.deepEqual(seen, life.bytes);
          }
        }
        for (const page of pages) unpinPages(page, 1);
      },
    ),
    { numRuns: Math.ceil(RUNS.numRuns / 2) },
  );
});

test('a page that lost its right and got it back is still written in place', () => {
  using machine = new Machine();
  const addr = machine.map(1);
  poke(machine.space, addr, 1);
  const page = hold(machine.space, addr, UserHold.PIN);
  machine.space.mprotect(addr, PAGE_BYTES, Protection.READ);
  assert.equal(machine.space.write(addr, new Uint8Array(1)), 0);
  machine.space.mprotect(addr, PAGE_BYTES, READ_WRITE);
  poke(machine.space, addr, 2);
  assert.equal(deviceReads(page), 2, 'the device still has the page of the program');
  assert.equal(machine.memory.counters.cowCopies, 0);
  unpinPages(page, 1);
});
