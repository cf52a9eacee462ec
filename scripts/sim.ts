// `npm run sim -- --seeds N [--seed FIRST] [--steps N]`: the real path over a simulated disk.
// `--mutant NAME` plants a bug, to see it found.

import { parseArgs } from 'node:util';
import {
  runSeed,
  SIM_MUTANTS,
  type SimMutant,
  type SimReport,
} from '../src/testing/simulator/sim-world.ts';

const USAGE = 'usage: npm run sim -- [--seeds N] [--seed FIRST] [--steps N] [--mutant NAME]\n';
const SEEDS_DEFAULT = 50;
const STEPS_DEFAULT = 1000;

interface Settings {
  readonly seeds: number;
  readonly first: number;
  readonly steps: number;
  readonly mutant: SimMutant | undefined;
}

/** Null after bad usage, with a sentence on stderr. */
function readSettings(args: string[]): Settings | null {
  try {
    const { values } = parseArgs({
      args,
      options: {
        seeds: { type: 'string' },
        seed: { type: 'string' },
        steps: { type: 'string' },
        mutant: { type: 'string' },
      },
    });
    return {
      // A seed alone replays that one.
      seeds: readCount('--seeds', values.seeds, values.seed === undefined ? SEEDS_DEFAULT : 1, 1),
      first: readCount('--seed', values.seed, 1, 0),
      steps: readCount('--steps', values.steps, STEPS_DEFAULT, 1),
      mutant: readMutant(values.mutant),
    };
  } catch (error) {
    process.stderr.write(`sim: ${error instanceof Error ? error.message : error}\n${USAGE}`);
    return null;
  }
}

function readCount(
  name: string,
  text: string | undefined,
  fallback: number,
  least: number,
): number {
  if (text === undefined) return fallback;
  const count = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(count) && count >= least) return count;
  throw new Error(`${name} is '${text}', but must be a whole number from ${least}`);
}

function readMutant(text: string | undefined): SimMutant | undefined {
  if (text === undefined) return undefined;
  const mutant = SIM_MUTANTS.find((name) => name === text);
  if (mutant !== undefined) return mutant;
  throw new Error(`--mutant is '${text}', but must be one of ${SIM_MUTANTS.join(', ')}`);
}

function printFailure({ seed, steps: at, failure }: SimReport, settings: Settings): void {
  const mutant = settings.mutant === undefined ? '' : ` --mutant ${settings.mutant}`;
  const replay = `npm run sim -- --seed ${seed} --steps ${settings.steps}${mutant}`;
  const stack = failure?.stack?.split('\n').slice(1, 6).join('\n') ?? '';
  process.stdout.write(`seed ${seed} failed at step ${at}: ${failure?.message}\n${stack}\n`);
  process.stdout.write(`replay: ${replay}\n`);
}

async function main(settings: Settings): Promise<number> {
  const { seeds, first, steps, mutant } = settings;
  const shows = process.stdout.isTTY === true;
  let stepsRun = 0;
  let failures = 0;
  for (let seed = first; seed < first + seeds; seed++) {
    const report = await runSeed({ seed, steps, mutant });
    stepsRun += report.steps;
    if (shows) process.stdout.write('\r\x1b[K');
    if (report.failure !== null) {
      failures++;
      printFailure(report, settings);
    }
    const done = seed - first + 1;
    if (shows) process.stdout.write(`${done} of ${seeds} seeds, ${failures} failures`);
  }
  if (shows) process.stdout.write('\r\x1b[K');
  process.stdout.write(`seeds run: ${seeds}, steps: ${stepsRun}, failures: ${failures}\n`);
  return failures === 0 ? 0 : 1;
}

const settings = readSettings(process.argv.slice(2));
process.exitCode = settings === null ? 2 : await main(settings);
