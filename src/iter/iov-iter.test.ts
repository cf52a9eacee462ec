import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../base/errno.ts';
import { BvecTable } from '../bvec/bvec-table.ts';
import { Access, MappedSpace } from '../memory/address-space.ts';
import { IovIter, IterDirection, IterKind, IterState } from './iov-iter.ts';
import { Iovec, MAX_RW_COUNT } from './iovec.ts';
import { everyCase, FAULT, IterWorld, OUTSIDE_TOP, RUNS } from './iter-cases.fuzz.ts';

/** The next byte's address as the iterator sees it, in the words of the second opinion. */
function nextAddress(world: IterWorld): number | null {
  const { iter } = world;
  const found = iter.piece(world.access, 1);
  if (found === 0) return null;
  if (iter.view !== null) return OUTSIDE_TOP - (iter.segment * 2 ** 20 + iter.pageOffset);
  return found < 0 ? FAULT : iter.page * 4096 + iter.pageOffset;
}

function assertAt(world: IterWorld, place: number): void {
  assert.equal(world.iter.count, world.addr.length - place);
  assert.equal(world.place, place);
  assert.equal(nextAddress(world), world.addr[place] ?? null);
}

test('every byte of every kind is where a translation byte by byte says', () => {
  fc.assert(
    fc.property(everyCase(), (given) => {
      using world = new IterWorld(given);
      for (let at = world.start; at < world.addr.length; ) {
        assertAt(world, at);
        const run = world.iter.piece(world.access, 3000);
        const step = run > 0 ? run : 1;
        for (let k = 1; k < run; k++) {
          const [from = 0, to = 0] = [world.addr[at], world.addr[at + k]];
          assert.equal(Math.abs(to - from), k, 'a piece is contiguous');
          assert.equal(world.seg[at + k], world.seg[at], 'a piece is of one segment');
        }
        world.iter.advance(step);
        at += step;
      }
      assertAt(world, world.addr.length);
    }),
    RUNS,
  );
});

test('advance(a), advance(b) is advance(a + b)', () => {
  fc.assert(
    fc.property(everyCase(), fc.nat(9000), fc.nat(9000), (given, a, b) => {
      using world = new IterWorld(given);
      const state = new IterState();
      world.iter.save(state);
      const { left } = world;
      const first = Math.min(a, left);
      const second = Math.min(b, left - first);
      world.iter.advance(a);
      world.iter.advance(b);
      assertAt(world, world.start + first + second);
      world.iter.restore(state);
      world.iter.advance(first + second);
      assertAt(world, world.start + first + second);
    }),
    RUNS,
  );
});

test('revert is the exact inverse of what was consumed, in any steps', () => {
  const steps = fc.array(fc.nat(6000), { maxLength: 6 });
  fc.assert(
    fc.property(everyCase(), steps, fc.nat(20000), (given, moves, back) => {
      using world = new IterWorld(given);
      let moved = 0;
      for (const step of moves) {
        const before = world.iter.count;
        world.iter.advance(step);
        moved += before - world.iter.count;
      }
      assertAt(world, world.start + moved);
      const part = Math.min(back, moved);
      world.iter.revert(part);
      assertAt(world, world.start + moved - part);
      world.iter.revert(moved - part);
      assertAt(world, world.start);
    }),
    RUNS,
  );
});

test('what was behind at the start can be reverted too', () => {
  fc.assert(
    fc.property(everyCase(), (given) => {
      using world = new IterWorld(given);
      world.iter.revert(world.start);
      assertAt(world, 0);
    }),
    RUNS,
  );
});

test('truncate ends every walk, reexpand undoes it', () => {
  fc.assert(
    fc.property(everyCase(), fc.nat(20000), fc.nat(20000), (given, size, step) => {
      using world = new IterWorld(given);
      const before = world.iter.count;
      world.iter.truncate(size);
      assert.equal(world.iter.count, Math.min(size, before));
      const shorted = before - world.iter.count;
      world.iter.advance(step);
      const moved = Math.min(step, size, before);
      assert.equal(world.iter.count, Math.min(size, before) - moved);
      world.iter.reexpand(world.iter.count + shorted);
      assertAt(world, world.start + moved);
    }),
    RUNS,
  );
});

test('save and restore, over any movement; assign is a cursor of its own', () => {
  fc.assert(
    fc.property(everyCase(), fc.nat(9000), fc.nat(9000), (given, a, b) => {
      using world = new IterWorld(given);
      const state = new IterState();
      const other = new IovIter();
      world.iter.advance(a);
      const { place } = world;
      world.iter.save(state);
      other.assign(world.iter);
      world.iter.advance(b);
      assert.equal(other.count, world.addr.length - place);
      if (other.count > 0) {
        const found = other.piece(world.access, 1);
        const want = world.addr[place] ?? 0;
        if (want >= 0) assert.equal(other.page * 4096 + other.pageOffset, want);
        else assert.ok(found === world.errorAt(place) || other.view !== null);
      }
      world.iter.restore(state);
      assertAt(world, place);
      other.clear();
    }),
    RUNS,
  );
});

test('a cursor taken by assign outlives the re-arming of the other', () => {
  const from = new IovIter();
  const copy = new IovIter();
  from.initView(IterDirection.SOURCE, Uint8Array.of(1, 2, 3));
  from.advance(1);
  copy.assign(from);
  from.initView(IterDirection.SOURCE, Uint8Array.of(9));
  assert.equal(copy.count, 2);
  assert.equal(copy.piece(Access.READ, 10), 2);
  assert.deepEqual([...(copy.view ?? [])], [1, 2, 3]);
  assert.equal(copy.pageOffset, 1);
});

test('the end of a segment and the start of the next are one place', () => {
  const space = new MappedSpace();
  const iovec = new Iovec();
  iovec.importRanges([0x1000, 0x5000, 0x9000], [16, 0, 16], 3);
  const iter = new IovIter();
  iter.initUser(IterDirection.SOURCE, space, iovec);
  iter.advance(16);
  assert.deepEqual([iter.index, iter.offset, iter.nrSegs], [2, 0, 1]);
  iter.advance(1);
  iter.revert(1);
  assert.deepEqual([iter.index, iter.offset], [2, 0]);
  iter.revert(1);
  iter.advance(1);
  assert.equal(iter.count, 16);
});

test('an import that fails leaves an empty iterator', () => {
  const iter = new IovIter();
  const space = new MappedSpace();
  assert.equal(iter.initUserRange(IterDirection.DEST, space, 0, -1), -Errno.EINVAL);
  assert.equal(iter.count, 0);
  assert.equal(iter.piece(Access.READ, 10), 0);
  assert.equal(iter.initUserRange(IterDirection.DEST, space, 0, 2 ** 40), MAX_RW_COUNT);
  iter.initBytes(IterDirection.DEST, new Iovec());
  assert.equal(iter.piece(Access.READ, 10), 0);
});

test('DISCARD counts and has no memory', () => {
  const iter = new IovIter();
  iter.initDiscard(2 ** 40);
  assert.equal(iter.kind, IterKind.DISCARD);
  iter.advance(2 ** 39);
  assert.equal(iter.count, 2 ** 39);
  assert.equal(iter.piece(Access.WRITE, 10), -Errno.EFAULT);
});

test('bugs assert: moving back before the start, a count beyond the rows', () => {
  const iter = new IovIter();
  const table = new BvecTable(1);
  table.set(0, 0, 0, 100, 0);
  assert.throws(() => iter.initBvec(0, table, 0, 1, 1, 100), /more bytes than the rows hold/);
  iter.initBvec(IterDirection.SOURCE, table, 0, 1, 0, 100);
  assert.throws(() => iter.revert(1), /before the start/);
  iter.initDiscard(5);
  assert.throws(() => iter.revert(MAX_RW_COUNT + 1), /revert outside/);
  assert.throws(() => iter.advance(-1), /backwards/);
});
