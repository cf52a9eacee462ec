import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CompletionRing } from './completion-ring.ts';

function ringWithQueue(depth: number) {
  const queue: (() => void)[] = [];
  const ring = new CompletionRing(depth, (callback) => queue.push(callback));
  const turn = (): void => {
    for (const callback of queue.splice(0)) callback();
  };
  return { ring, turn };
}

test('tags come out in order, also around the end', () => {
  const { ring } = ringWithQueue(3);
  const out = new Uint32Array(4);
  let next = 0;
  let expected = 0;
  for (let round = 0; round < 10; round++) {
    while (ring.room > 0) ring.push(next++);
    assert.equal(ring.count, 3);
    const count = ring.drain(out, 1 + (round % 3));
    for (let i = 0; i < count; i++) assert.equal(out[i], expected++);
  }
  assert.equal(ring.drain(out, 0), 0);
  while (ring.room > 0) ring.push(next++);
  assert.throws(() => ring.push(1), /full/);
});

test('a wake comes once, later, and only when there is something', () => {
  const { ring, turn } = ringWithQueue(4);
  const out = new Uint32Array(4);
  let wakes = 0;
  const wake = (): void => void wakes++;
  ring.arm(wake);
  turn();
  assert.equal(wakes, 0);
  ring.push(1);
  ring.push(2);
  ring.notify();
  ring.notify();
  assert.equal(wakes, 0);
  turn();
  assert.equal(wakes, 1);
  ring.notify();
  turn();
  assert.equal(wakes, 1, 'not armed again');
  ring.arm(wake);
  assert.equal(ring.drain(out, 4), 2);
  turn();
  assert.equal(wakes, 1, 'drained before the turn came: still armed');
  ring.push(3);
  ring.notify();
  turn();
  assert.equal(wakes, 2);
});

test('find knows what waits', () => {
  const { ring } = ringWithQueue(2);
  ring.push(7);
  assert.equal(ring.find(7), 0);
  assert.equal(ring.find(8), -2);
});
