import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from './runs.fuzz.ts';
import { generationOf, Slots, slotOf, TAG_NONE } from './slots.ts';

test('random acquire and release: a bounded set, no tag twice, stale tags fail', () => {
  const step = fc.record({ acquires: fc.boolean(), pick: fc.nat(1000) });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 9 }), fc.array(step), (capacity, steps) => {
      const slots = new Slots(capacity);
      const live: number[] = [];
      const dead: number[] = [];
      for (const { acquires, pick } of steps) {
        if (acquires) {
          const tag = slots.acquire();
          assert.equal(tag === TAG_NONE, live.length === capacity);
          if (tag === TAG_NONE) continue;
          assert.ok(slotOf(tag) < capacity);
          assert.ok(!live.some((other) => slotOf(other) === slotOf(tag)), 'two in one slot');
          assert.ok(!dead.includes(tag), 'a tag came back at once');
          live.push(tag);
        } else if (live.length > 0) {
          const [tag] = live.splice(pick % live.length, 1) as [number];
          slots.release(tag);
          dead.push(tag);
        }
        assert.equal(slots.busyCount, live.length);
        for (const tag of live) assert.ok(slots.isLive(tag));
        for (const tag of dead) assert.ok(!slots.isLive(tag));
      }
      for (const tag of dead) assert.throws(() => slots.release(tag), /stale tag/);
      for (const tag of live) slots.release(tag);
      assert.equal(slots.busyCount, 0);
    }),
    RUNS,
  );
});

test('the generation has 11 bits and comes round after 2048 releases', () => {
  const slots = new Slots(1);
  const seen = new Set<number>();
  for (let i = 0; i < 2048; i++) {
    const tag = slots.acquire();
    assert.equal(slotOf(tag), 0);
    assert.equal(generationOf(tag), i);
    seen.add(tag);
    slots.release(tag);
  }
  assert.equal(seen.size, 2048);
  assert.equal(generationOf(slots.acquire()), 0);
});

test('a tag is a small integer for V8, also with the highest generation', () => {
  const slots = new Slots(2);
  for (let i = 0; i < 2047; i++) slots.release(slots.acquire());
  const tag = slots.acquire();
  assert.equal(generationOf(tag), 2047);
  assert.ok(tag >= 2 ** 31 - 2 ** 20 && tag < 2 ** 31);
});

test('capacities that a tag cannot say are refused', () => {
  assert.throws(() => new Slots(0), /capacity/);
  assert.throws(() => new Slots(2 ** 20), /capacity/);
});
