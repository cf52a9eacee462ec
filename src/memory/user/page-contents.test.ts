import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { Arena } from '../arena.ts';
import { pagesAreZero } from '../copy.ts';
import { Protection } from './area.ts';
import { Rmap } from './rmap.ts';
import { UserMemory } from './user-memory.ts';

const RW = Protection.READ | Protection.WRITE;

/** A machine of 64 frames whose free ones have the bytes of somebody before. */
function usedMachine(): UserMemory {
  const arena = new Arena({ label: 'used', maxBytes: 64 * PAGE_BYTES, places: false });
  const memory = new UserMemory({ arena });
  const before = memory.newSpace('before');
  const addr = before.mmap({ bytes: 60 * PAGE_BYTES, protection: RW });
  const written = before.write(addr, new Uint8Array(60 * PAGE_BYTES).fill(0xaa));
  assert.equal(written, 60 * PAGE_BYTES);
  before.exit();
  return memory;
}

function endOf(memory: UserMemory): void {
  const { arena } = memory;
  memory[Symbol.dispose]();
  arena.assertNothingOutstanding();
  arena[Symbol.dispose]();
}

test('a process never sees what another one left, whichever way its page comes', () => {
  const memory = usedMachine();
  const space = memory.newSpace('after');
  const addr = space.mmap({ bytes: 8 * PAGE_BYTES, protection: RW });
  // Written at once; read first, so the zero page is copied; shared; huge.
  assert.equal(space.write(addr + 5, new Uint8Array(1)), 1);
  const out = new Uint8Array(PAGE_BYTES).fill(1);
  assert.equal(space.read(addr + PAGE_BYTES, out), PAGE_BYTES);
  assert.equal(space.write(addr + PAGE_BYTES + 7, new Uint8Array(1)), 1);
  const shared = space.mmap({ bytes: PAGE_BYTES, protection: RW, shared: true });
  assert.equal(space.write(shared, new Uint8Array(1)), 1);
  const huge = space.mmap({ bytes: 8 * PAGE_BYTES, protection: RW, folioOrder: 3 });
  assert.equal(space.write(huge + 3 * PAGE_BYTES, new Uint8Array(1)), 1);
  assert.equal(memory.counters.hugeFaults, 1);
  const places = [addr, addr + PAGE_BYTES, shared];
  for (let page = 0; page < 8; page++) places.push(huge + page * PAGE_BYTES);
  for (const place of places) {
    out.fill(1);
    assert.equal(space.read(place, out), PAGE_BYTES);
    assert.ok(out.every((byte) => byte === 0));
  }
  space.exit();
  endOf(memory);
});

test('a page is zeroed on demand, of any order', () => {
  const memory = usedMachine();
  for (const order of [0, 2]) {
    const page = memory.allocPage({ zeroed: true, movable: true, order });
    assert.ok(page >= 0);
    assert.ok(pagesAreZero(page, 0, PAGE_BYTES * 2 ** order));
    memory.putPage(page);
  }
  endOf(memory);
});

test('memory does not end while a process has it, and says what is left', () => {
  const memory = usedMachine();
  const space = memory.newSpace('alive');
  const addr = space.mmap({ bytes: PAGE_BYTES, protection: RW });
  assert.equal(space.write(addr, new Uint8Array(1)), 1);
  assert.throws(() => memory[Symbol.dispose](), { code: 'ERR_BIOVEC_LEAK', reason: /alive|page/ });
  space.exit();
  endOf(memory);
});

test('the reverse map grows, and finds an entry anywhere in a chain', () => {
  const frames = 4;
  const first = new Int32Array(frames).fill(-1);
  const rmap = new Rmap(first);
  const entries = 5000; // Far more than it starts with.
  const list = (frame: number): string[] => {
    const found: string[] = [];
    for (let row = first[frame] ?? -1; row >= 0; row = rmap.next[row] ?? -1) {
      found.push(`${rmap.space[row]}:${rmap.vpn[row]}`);
    }
    return found.sort();
  };
  const expected = new Set<string>();
  for (let i = 0; i < entries; i++) {
    rmap.add(2, i % 7, i);
    expected.add(`${i % 7}:${i}`);
  }
  assert.equal(rmap.used, entries);
  assert.deepEqual(list(2), [...expected].sort());
  for (const i of [0, 1234, entries - 1]) {
    rmap.move(2, i % 7, i, 10_000 + i);
    expected.delete(`${i % 7}:${i}`);
    expected.add(`${i % 7}:${10_000 + i}`);
  }
  assert.deepEqual(list(2), [...expected].sort());
  rmap.moveChain(2, 3);
  assert.deepEqual([list(2).length, list(3).length], [0, entries]);
});

test('mremap counts what it adds against the limit, not what there is', () => {
  const memory = usedMachine();
  const space = memory.newSpace('limited');
  const addr = space.mmap({ bytes: 6 * PAGE_BYTES, protection: RW });
  space.pageLimit = 8;
  assert.equal(space.mremap(addr, 6 * PAGE_BYTES, 9 * PAGE_BYTES, false), -Errno.ENOMEM);
  assert.equal(space.mappedPages, 6);
  assert.equal(space.mremap(addr, 6 * PAGE_BYTES, 8 * PAGE_BYTES, false), addr);
  assert.equal(space.mappedPages, 8);
  space.exit();
  endOf(memory);
});
