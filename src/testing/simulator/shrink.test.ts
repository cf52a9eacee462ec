import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../../base/runs.fuzz.ts';
import { formatHistory, parseHistory } from './history.ts';
import { failureClass, shrink } from './shrink.ts';

test('what the failure needs is all that is left', async () => {
  const needed = fc.uniqueArray(fc.nat(99), { minLength: 1, maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(needed, async (wanted) => {
      const all = Array.from({ length: 100 }, (_, i) => i);
      const fails = async (items: readonly number[]) => wanted.every((i) => items.includes(i));
      const kept = await shrink(all, fails, 10_000);
      assert.deepEqual(
        kept,
        wanted.toSorted((a, b) => a - b),
      );
    }),
    { numRuns: Math.min(RUNS.numRuns, 200) },
  );
});

test('the search ends after so many tries, with a history that fails', async () => {
  let tries = 0;
  const all = Array.from({ length: 1000 }, (_, i) => i);
  const kept = await shrink(
    all,
    async (items) => {
      tries++;
      return items.filter((i) => i % 2 === 0).length >= 100;
    },
    40,
  );
  assert.equal(tries, 40);
  assert(kept.filter((i) => i % 2 === 0).length >= 100);
});

test('numbers do not make two failures different', () => {
  const one = new Error('sim: byte 12 of p1 at 0x7f00 is wrong');
  const other = new Error('sim: byte 4095 of p2 at 0x1000 is wrong');
  assert.equal(failureClass(one), failureClass(other));
  assert.notEqual(failureClass(one), failureClass(new Error('sim: a pin of p1 is left')));
});

test('a history is read as it was written', () => {
  const history = {
    notes: ['Guards the copy-back.', 'Found by seed 17.'],
    kind: 'path' as const,
    seed: 17,
    settings: { faults: 'off', processes: '2' },
    lines: ['p1 map addr=0x1000 bytes=8192', 'tick'],
  };
  assert.deepEqual(parseHistory(formatHistory(history)), history);
  assert.throws(() => parseHistory('p1 map\n'), /starts with its world/);
});
