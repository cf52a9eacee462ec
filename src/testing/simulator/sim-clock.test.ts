import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SeededRandom } from './seeded-random.ts';
import { SimClock } from './sim-clock.ts';

test('events run by time, and in their order where the time is the same', () => {
  const clock = new SimClock();
  const random = new SeededRandom(1);
  const ran: number[] = [];
  const times: number[] = [];
  for (let i = 0; i < 500; i++) {
    times.push(random.below(50));
    clock.schedule(times[i] as number, (at) => ran.push(at), i);
  }
  while (clock.step());
  const expected = times.map((_, i) => i).sort((a, b) => times[a] - times[b] || a - b);
  assert.deepEqual(ran, expected);
  assert.equal(clock.nowNs, 49);
  assert.equal(clock.pending, 0);
});

test('an event may schedule others; time never goes back', () => {
  const clock = new SimClock();
  const moments: number[] = [];
  const again = (left: number): void => {
    moments.push(clock.nowNs);
    if (left > 0) clock.schedule(10, again, left - 1);
  };
  clock.schedule(5, again, 3);
  clock.defer(() => moments.push(clock.nowNs));
  while (clock.step());
  assert.deepEqual(moments, [0, 5, 15, 25, 35]);
  assert.throws(() => clock.schedule(-1, again, 0), /backwards/);
});
