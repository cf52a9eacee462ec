import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Figure, rowOf, runRounds, type Subject } from './rounds.ts';

/** Does `amounts[i]` in 2 seconds in its round i, with 1 second of CPU and 3 MiB. */
function subject(name: string, amounts: readonly number[], order: string[]): Subject {
  let next = 0;
  const round = async (): Promise<Figure> => {
    order.push(name);
    return { amount: amounts[next++], seconds: 2, cpuSeconds: 1, rssBytes: 3 * 2 ** 20 };
  };
  return { name, round };
}

test('Subjects take turns, each begins a round in its turn, warm-ups do not count', async () => {
  const order: string[] = [];
  let prepared = 0;
  const a = subject('a', [1, 2, 20, 40, 60], order);
  const b = subject('b', [1, 2, 10, 10, 10], order);
  const before = (): void => void prepared++;
  const rounds = await runRounds([a, b], { rounds: 3, warmUps: 2, before });
  assert.equal(order.join(''), 'abbaabbaab');
  assert.equal(prepared, 10, 'once for every turn');
  assert.deepEqual(
    rounds.figures.map((list) => list.map(({ amount }) => amount)),
    [
      [20, 40, 60],
      [10, 10, 10],
    ],
  );
  assert.equal(rounds.noise.rounds, 3);

  const options = { name: 'n', unit: 'u/s', amountOfUnit: 5, cpuUnit: 'µs per I/O' } as const;
  const row = rowOf(rounds, 1, { ...options, target: 3, cpuTarget: 1.15 });
  // 40 in 2 seconds at 5 a unit: 4 units a second; the peer 1; 3 s of CPU for 120 and for 30.
  assert.equal(row.ours.median, 4);
  assert.equal(row.peer?.figure.median, 1);
  assert.equal(row.ratio?.median, 4);
  assert.deepEqual(row.cpu, { ours: 25_000, peer: 100_000, unit: 'µs per I/O', target: 1.15 });
  assert.deepEqual(row.rssMib, { ours: 3, peer: 3 });
  const alone = rowOf(rounds, -1, { ...options, cpuUnit: 'ns per byte' });
  assert.deepEqual(alone.cpu, { ours: 25_000_000, unit: 'ns per byte' });
  assert.equal(alone.peer, undefined);
});

test('A subject that fails ends the row', async () => {
  const bad: Subject = { name: 'bad', round: () => Promise.reject(new Error('gone')) };
  await assert.rejects(runRounds([bad], { rounds: 1, warmUps: 0 }), /gone/);
});
