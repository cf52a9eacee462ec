import { SIM_MUTANTS, type SimMutant } from '../../src/testing/simulator/sim-world.ts';
import { CANARIES, type Canary, canaryNamed } from './canaries.ts';
import { runJob, type SeedJob, type SeedResult } from './job.ts';
import type { Settings } from './settings.ts';
import { runOnWorkers } from './workers.ts';

/** Steps of a seed that looks for a planted bug. */
const CANARY_STEPS = 3000;
const MUTANT_SEEDS_MAX = 20;
const PLAIN = { settings: {}, record: false, shrinks: false } as const;

/** Plants each bug and runs seeds until one fails. Exit code: 1 when a bug was not found. */
export async function runCanaries(settings: Settings): Promise<number> {
  const chosen = settings.canary === undefined ? CANARIES : [canaryNamed(settings.canary)];
  let missed = 0;
  for (const canary of chosen) {
    const { seeds, result } = await hunt(canary, settings);
    if (result === null) {
      missed++;
      process.stdout.write(`${canary.name}: NOT FOUND in ${seeds} seeds\n`);
    } else {
      const { seed, kind, steps, message } = result;
      const how = `seed ${seed} (${kind}), step ${steps}: ${message}`;
      process.stdout.write(`${canary.name}: found after ${seeds} seeds; ${how}\n`);
    }
  }
  const mutants = settings.canary === undefined ? SIM_MUTANTS : [];
  for (const mutant of mutants) if (!(await huntMutant(mutant, settings))) missed++;
  const count = chosen.length + mutants.length;
  process.stdout.write(`canaries found: ${count - missed} of ${count}\n`);
  return missed === 0 ? 0 : 1;
}

async function hunt(
  canary: Canary,
  settings: Settings,
): Promise<{ readonly seeds: number; readonly result: SeedResult | null }> {
  let seeds = 0;
  let found: SeedResult | null = null;
  const failed: SeedResult[] = [];
  const { stepSeconds } = settings;
  function* jobs(): Generator<SeedJob> {
    for (let seed = 1; seed <= canary.seedsMax; seed++) {
      const steps = CANARY_STEPS;
      const world = canary.world ?? settings.world;
      yield { ...PLAIN, seed, steps, world, mutant: undefined, stepSeconds };
    }
  }
  const run = jobs();
  while (found === null) {
    const before = seeds;
    await runOnWorkers(run, { workers: settings.workers, canary: canary.name }, (result) => {
      seeds++;
      if (result.message !== null) failed.push(result);
      return failed.length === 0;
    });
    if (seeds === before) break;
    // A seed that fails without the bug as well says nothing about it.
    for (const result of failed.splice(0)) {
      if (found === null && (await passesClean(result.seed, canary, settings))) found = result;
    }
  }
  return { seeds, result: found };
}

async function passesClean(seed: number, canary: Canary, settings: Settings): Promise<boolean> {
  const world = canary.world ?? settings.world;
  const steps = CANARY_STEPS;
  const { stepSeconds } = settings;
  const job = { ...PLAIN, seed, steps, world, mutant: undefined, stepSeconds };
  const { message } = await runJob(job);
  return message === null;
}

/** A bug of the simulated disk or of the submitter, by switch. */
async function huntMutant(mutant: SimMutant, { stepSeconds }: Settings): Promise<boolean> {
  for (let seed = 1; seed <= MUTANT_SEEDS_MAX; seed++) {
    const job = { ...PLAIN, seed, steps: 1000, world: 'device', mutant, stepSeconds } as const;
    const { message } = await runJob(job);
    if (message === null) continue;
    process.stdout.write(`${mutant}: found after ${seed} seeds; ${message}\n`);
    return true;
  }
  process.stdout.write(`${mutant}: NOT FOUND in ${MUTANT_SEEDS_MAX} seeds\n`);
  return false;
}
