import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import { NOT_NOW } from './dma-status.ts';
import { IovaSpace } from './iova-space.ts';

function nextPowerOfTwo(n: number): number {
  let power = 1;
  while (power < n) power *= 2;
  return power;
}

test('an allocation is aligned to its next power of two, and what is too much stays free', () => {
  const space = new IovaSpace(0xfff00, 256);
  assert.equal(space.acquire(5), 0xfff00);
  assert.equal(space.acquire(1), 0xfff05, 'behind 5 of 8');
  assert.equal(space.acquire(2), 0xfff06);
  assert.equal(space.usedGranules, 8);
  assert.equal(space.acquire(3) % 4, 0);
  assert.equal(space.acquire(128), 0xfff80);
  assert.equal(space.acquire(200), NOT_NOW);
  assert.equal(space.acquire(257), -12, 'no empty space serves it');
});

test('releases are exact, and all given back is one range again', () => {
  const space = new IovaSpace(64, 64);
  assert.equal(space.granulesMax, 64);
  const a = space.acquire(7);
  const b = space.acquire(33);
  assert.equal(b, NOT_NOW, '33 need 64');
  assert.throws(() => space.release(a, 8), /another size/);
  assert.throws(() => space.release(a + 1, 7), /another size/);
  assert.throws(() => space.release(63, 1), /outside/);
  assert.throws(() => space.release(128, 1), /outside/);
  space.release(a, 7);
  assert.throws(() => space.release(a, 7), /released twice/);
  assert.equal(space.acquire(33), 64);
  space.release(64, 33);
  assert.equal(space.usedGranules, 0);
  assert.throws(() => space.acquire(0), /nothing/);
});

test('a space that starts and ends anywhere serves its largest aligned block', () => {
  const space = new IovaSpace(3, 30); // 3, 4-7, 8-15, 16-31, 32
  assert.equal(space.granulesMax, 16);
  assert.equal(space.acquire(16), 16);
  assert.equal(space.acquire(16), NOT_NOW);
  assert.equal(space.acquire(17), -12);
  assert.equal(space.acquire(8), 8);
  assert.equal(space.acquire(4), 4);
  assert.deepEqual([space.acquire(1), space.acquire(1)].sort(), [3, 32].sort());
  assert.equal(space.acquire(1), NOT_NOW);
});

test('46: allocations are disjoint and aligned; after them the space is whole again', () => {
  const act = fc.record({
    frees: fc.boolean(),
    pick: fc.nat(1000),
    count: fc.integer({ min: 1, max: 40 }),
  });
  fc.assert(
    fc.property(fc.array(act, { maxLength: 60 }), fc.nat(100), (acts, first) => {
      const space = new IovaSpace(first, 150);
      const owner = new Uint8Array(300);
      const live: [number, number][] = [];
      const free = (at: number): void => {
        const [start, count] = live.splice(at, 1)[0];
        space.release(start, count);
        owner.fill(0, start, start + count);
      };
      for (const { frees, pick, count } of acts) {
        if (frees && live.length > 0) {
          free(pick % live.length);
          continue;
        }
        const start = space.acquire(count);
        const size = nextPowerOfTwo(count);
        // The model: an aligned block of the next power of two that is free all over.
        let fits = false;
        for (let at = 0; at + size <= 300; at += size) {
          if (at < first || at + size > first + 150) continue;
          if (owner.subarray(at, at + size).every((one) => one === 0)) fits = true;
        }
        if (start < 0) {
          assert.ok(start === NOT_NOW || (start === -12 && size > space.granulesMax));
          assert.ok(!fits, 'there was room');
          continue;
        }
        assert.ok(fits);
        assert.equal(start % size, 0);
        assert.ok(start >= first && start + count <= first + 150);
        assert.ok(owner.subarray(start, start + count).every((one) => one === 0));
        owner.fill(1, start, start + count);
        live.push([start, count]);
        assert.equal(
          space.usedGranules,
          live.reduce((sum, [, n]) => sum + n, 0),
        );
      }
      while (live.length > 0) free(0);
      assert.equal(space.usedGranules, 0);
      const all = space.acquire(space.granulesMax);
      assert.ok(all >= 0, 'free neighbours were joined');
    }),
    RUNS,
  );
});
