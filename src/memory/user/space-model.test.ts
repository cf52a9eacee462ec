import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../../base/runs.fuzz.ts';
import { SpaceRun } from './space-run.fuzz.ts';
import { RUN_OPTIONS, STEP } from './space-step.fuzz.ts';

const STEPS = fc.array(STEP, { maxLength: 100, size: 'max' });

test('any life of some processes: bytes, rights, counts and holds are as in the model', () => {
  fc.assert(
    fc.property(RUN_OPTIONS, STEPS, (options, steps) => {
      const run = new SpaceRun(options);
      for (const step of steps) run.step(step);
      run.end();
    }),
    { numRuns: Math.ceil(RUNS.numRuns / 4) },
  );
});
