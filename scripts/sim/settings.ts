import { parseArgs } from 'node:util';
import { SIM_MUTANTS, type SimMutant } from '../../src/testing/simulator/sim-world.ts';
import { SEED_KINDS, type SeedKind } from './seed-kind.ts';

const USAGE = `usage: npm run sim -- [--seeds N] [--seed FIRST] [--steps N] [--world NAME]
    [--history] [--keep NAME] [--mutant NAME] [--canaries] [--canary NAME] [--provenance]
    [--workers N] [--step-seconds N]
`;
const SEEDS_DEFAULT = 50;
const STEPS_DEFAULT = 1000;
export const STEPS_LONG = 10_000;
/** A step takes microseconds, the end of a world at most a second. */
const STEP_SECONDS = 10;
/** Of worlds with a planted bug, which may be a loop. */
const CANARY_STEP_SECONDS = 3;

export interface Settings {
  readonly seeds: number;
  readonly first: number;
  readonly steps: number;
  /** Undefined: by the seed. */
  readonly world: SeedKind | undefined;
  readonly mutant: SimMutant | undefined;
  readonly history: boolean;
  /** Name of the file in test/seeds/ for a failure that was shrunk. */
  readonly keep: string | undefined;
  readonly canaries: boolean;
  /** Only this one. */
  readonly canary: string | undefined;
  readonly provenance: boolean;
  readonly workers: number | undefined;
  /** CPU time after which a step counts as one that never ends. */
  readonly stepSeconds: number;
}

/** Null after bad usage, with a sentence on stderr. */
export function readSettings(args: string[]): Settings | null {
  try {
    const { values } = parseArgs({
      args,
      options: {
        seeds: { type: 'string' },
        seed: { type: 'string' },
        steps: { type: 'string' },
        world: { type: 'string' },
        mutant: { type: 'string' },
        history: { type: 'boolean' },
        keep: { type: 'string' },
        canaries: { type: 'boolean' },
        canary: { type: 'string' },
        provenance: { type: 'boolean' },
        workers: { type: 'string' },
        'step-seconds': { type: 'string' },
      },
    });
    const seeds = values.seed === undefined ? SEEDS_DEFAULT : 1; // A seed alone replays that one.
    const many = values.seeds !== undefined && Number(values.seeds) >= 100;
    const canaries = values.canaries ?? values.canary !== undefined;
    const stepSeconds = canaries ? CANARY_STEP_SECONDS : STEP_SECONDS;
    return {
      seeds: readCount('--seeds', values.seeds, seeds, 1),
      first: readCount('--seed', values.seed, 1, 0),
      steps: readCount('--steps', values.steps, many ? STEPS_LONG : STEPS_DEFAULT, 1),
      world: readName('--world', values.world, SEED_KINDS),
      mutant: readName('--mutant', values.mutant, SIM_MUTANTS),
      history: values.history ?? false,
      keep: values.keep,
      canaries,
      canary: values.canary,
      provenance: values.provenance ?? false,
      workers:
        values.workers === undefined ? undefined : readCount('--workers', values.workers, 1, 1),
      stepSeconds: readCount('--step-seconds', values['step-seconds'], stepSeconds, 1),
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

function readName<T extends string>(
  option: string,
  text: string | undefined,
  names: readonly T[],
): T | undefined {
  if (text === undefined) return undefined;
  const known = names.find((name) => name === text);
  if (known !== undefined) return known;
  throw new Error(`${option} is '${text}', but must be one of ${names.join(', ')}`);
}
