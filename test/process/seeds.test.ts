import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseHistory } from '../../src/testing/simulator/history.ts';
import { runHistory, runSeed } from '../../src/testing/simulator/run-world.ts';

const FOLDER = join(import.meta.dirname, '..', 'seeds');

for (const name of readdirSync(FOLDER).filter((file) => file.endsWith('.txt'))) {
  test(`kept history: ${name}`, async () => {
    const history = parseHistory(readFileSync(join(FOLDER, name), 'utf8'));
    assert(history.notes.length > 0, 'a history says what it guards');
    const { failure, steps } = await runHistory(history);
    assert.equal(failure, null, `${name}: ${failure?.message}`);
    assert.equal(steps, history.lines.length);
  });
}

const SEEDS = 400;
const STEPS = 500;

test('worlds of the whole path run without a wrong byte, a lost pin or a stuck call', async () => {
  const counts = new Map<string, number>();
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { failure, tally } = await runSeed({ kind: 'path', seed, steps: STEPS });
    assert.equal(failure, null, `npm run sim -- --world path --seed ${seed} --steps ${STEPS}`);
    for (const [what, count] of Object.entries(tally)) {
      counts.set(what, (counts.get(what) ?? 0) + count);
    }
  }
  const ends = ['direct read', 'direct write', 'buffered read', 'buffered write', 'mixed bio'];
  for (const kind of ends) assert((counts.get(`end: ${kind}`) ?? 0) > 100, `too few: ${kind}`);
  for (const verb of ['pass-read', 'pass-write']) {
    assert((counts.get(`end: ${verb}`) ?? 0) > 100, `too few: ${verb}`);
  }
  for (const how of ['copied', 'mapped']) {
    assert((counts.get(`passthrough: metadata, ${how}`) ?? 0) > 10, `metadata that is ${how}`);
  }
  assert((counts.get('fault: short, error or refusal') ?? 0) > 100, 'too few faults');
});

test('a seed replays its run, and its history does the same', async () => {
  const options = { kind: 'path', seed: 6, steps: 200, record: true } as const;
  const once = await runSeed(options);
  assert.deepEqual(await runSeed(options), once);
  const { lines, tally } = once;
  const again = await runHistory({ notes: [], kind: 'path', seed: 6, settings: {}, lines });
  assert.deepEqual(again.tally, tally);
});
