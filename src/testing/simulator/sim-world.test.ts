import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type RunReport, runSeed } from './run-world.ts';
import type { SimMutant } from './sim-world.ts';

const STEPS = 600;

function runDevice(seed: number, steps: number, mutant?: SimMutant): Promise<RunReport> {
  return runSeed({ kind: 'device', seed, steps, mutant });
}

test('random worlds run without a wrong byte, a leak or a broken limit', async () => {
  let requests = 0;
  let faults = 0;
  for (let seed = 1; seed <= 40; seed++) {
    const report = await runDevice(seed, STEPS);
    assert.equal(report.failure, null, `npm run sim -- --seed ${seed} --steps ${STEPS}`);
    assert.equal(report.steps, STEPS);
    requests += report.tally['device request'] ?? 0;
    faults += report.tally['fault: short, error or refusal'] ?? 0;
  }
  assert(requests > 2000 && faults > 100, 'the worlds were too quiet to tell anything');
});

test('on a disk with tuples every read is checked, and no fault breaks one', async () => {
  let checked = 0;
  for (let seed = 1; seed <= 30; seed++) {
    const report = await runSeed({ kind: 'device', seed, steps: STEPS, hasTuples: true });
    assert.equal(report.failure, null, `seed ${seed}: ${report.failure?.stack}`);
    checked += report.tally['bytes of tuples checked'] ?? 0;
  }
  assert(checked > 100_000, `only ${checked} bytes of tuples were checked`);
});

test('a seed replays its run', async () => {
  for (const seed of [3, 17, 2 ** 40 + 5]) {
    const once = await runDevice(seed, 300);
    const again = await runDevice(seed, 300);
    assert.deepEqual(again, once);
  }
});

/** In how many of eight seeds the bug must be seen: some limits are wider than any memory here. */
const MUTANTS: Readonly<Record<SimMutant, number>> = {
  'wrong-byte': 8,
  'lost-write': 8,
  'stray-write': 8,
  'late-move': 8,
  'double-completion': 8,
  'lost-completion': 8,
  'too-many-bytes': 8,
  'leaked-pin': 6,
  'leaked-bio': 6,
  'over-limit': 7,
};

for (const [mutant, least] of Object.entries(MUTANTS) as [SimMutant, number][]) {
  test(`a planted bug is found: ${mutant}`, async () => {
    let found = 0;
    for (let seed = 1; seed <= 8; seed++) {
      // Some worlds are slow: four operations in 1000 steps.
      const { failure } = await runDevice(seed, 2000, mutant);
      if (failure !== null) found++;
    }
    assert(found >= least, `found in ${found} of 8 seeds`);
  });
}
