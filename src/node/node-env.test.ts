import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nodeEnv } from './node-env.ts';

test('there is one environment of the process', () => {
  assert.equal(nodeEnv(), nodeEnv());
  assert(nodeEnv().ioThreads >= 1);
});

test('the clock is monotonic and counts nanoseconds', async () => {
  const { nowNs } = nodeEnv();
  const start = nowNs();
  await new Promise((resolve) => setTimeout(resolve, 20));
  const elapsed = nowNs() - start;
  assert(elapsed > 10e6 && elapsed < 10e9, `20 ms took ${elapsed} ns`);
});

test('deferred functions run later and in order', async () => {
  const order: number[] = [];
  const { defer } = nodeEnv();
  const last = new Promise<void>((resolve) => {
    for (let i = 0; i < 5; i++) defer(() => order.push(i));
    defer(resolve);
  });
  assert.deepEqual(order, []);
  await last;
  assert.deepEqual(order, [0, 1, 2, 3, 4]);
});
