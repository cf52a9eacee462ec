import { observeMaybe } from '../../src/base/assert.ts';
import { formatHistory } from '../../src/testing/simulator/history.ts';
import {
  type RunOptions,
  type RunReport,
  runSeed,
  shrinkFailure,
} from '../../src/testing/simulator/run-world.ts';
import type { SimMutant } from '../../src/testing/simulator/sim-world.ts';
import type { WorldSettings } from '../../src/testing/simulator/world.ts';
import { type SeedKind, seedKindOf } from './seed-kind.ts';
import { Watchdog } from './watchdog.ts';

/** One seed to run; plain data, for it crosses a process boundary. */
export interface SeedJob {
  readonly seed: number;
  readonly steps: number;
  readonly world: SeedKind | undefined;
  readonly mutant: SimMutant | undefined;
  readonly settings: WorldSettings;
  readonly record: boolean;
  /** Make the history of a failure small. */
  readonly shrinks: boolean;
  /** CPU time that one step may take. */
  readonly stepSeconds: number;
}

export interface SeedResult {
  readonly seed: number;
  readonly kind: SeedKind;
  readonly steps: number;
  readonly tally: Readonly<Record<string, number>>;
  /** By the text of a `maybe`: how often it was false and true. */
  readonly maybes: Readonly<Record<string, readonly [no: number, yes: number]>>;
  readonly message: string | null;
  readonly stack: string;
  readonly lines: readonly string[];
  /** The shrunk history, as text. */
  readonly history: string | null;
}

const seen = new Map<string, [number, number]>();
let watchdog: Watchdog | null = null;

export async function runJob(job: SeedJob): Promise<SeedResult> {
  seen.clear();
  observeMaybe(countMaybe);
  const { seed, steps, mutant, settings, record } = job;
  const watch = watchdog ?? new Watchdog(job.stepSeconds);
  watchdog = watch;
  const kind = job.mutant === undefined ? (job.world ?? seedKindOf(seed)) : 'device';
  if (kind === 'protect') {
    // Loaded where it is wanted: its arena is large.
    const { runProtectSeed } = await import('./protect-seed.ts');
    const report = await runProtectSeed(seed, steps);
    observeMaybe(null);
    return resultOf(kind, { ...report, lines: [] }, null);
  }
  const options: RunOptions = { kind, seed, steps, mutant, settings, record };
  const report = await runSeed({ ...options, watch });
  observeMaybe(null);
  const { failure } = report;
  // A loop ends once only, and each try of the search would take as long again.
  const isLoop = watch.hasFired;
  const shrinks = job.shrinks && failure !== null && mutant === undefined && !isLoop;
  if (isLoop) endWatch();
  const history = shrinks ? await shrinkFailure(options, report) : null;
  return resultOf(kind, report, history === null ? null : formatHistory(history));
}

function resultOf(
  kind: SeedKind,
  { seed, steps, tally, failure, lines }: Omit<RunReport, 'kind'>,
  history: string | null,
): SeedResult {
  return {
    seed,
    kind,
    steps,
    tally,
    maybes: Object.fromEntries(seen),
    message: failure === null ? null : failure.message,
    stack: failure?.stack?.split('\n').slice(1, 7).join('\n') ?? '',
    lines,
    history,
  };
}

/** Pre: no job runs. */
export function endWatch(): void {
  watchdog?.close();
  watchdog = null;
}

function countMaybe(what: string, condition: boolean): void {
  let counts = seen.get(what);
  if (counts === undefined) {
    counts = [0, 0];
    seen.set(what, counts);
  }
  counts[condition ? 1 : 0]++;
}
