import type { History } from './history.ts';
import { PathWorld } from './path/path-world.ts';
import { failureClass, shrink } from './shrink.ts';
import { type SimMutant, SimWorld } from './sim-world.ts';
import { Tally } from './tally.ts';
import { TupleWorld } from './tuples/tuple-world.ts';
import type { World, WorldKind, WorldSettings } from './world.ts';

export interface RunOptions {
  readonly kind: WorldKind;
  readonly seed: number;
  readonly steps: number;
  readonly settings?: WorldSettings | undefined;
  /** Device worlds only. */
  readonly mutant?: SimMutant | undefined;
  /** Device worlds only: the disk keeps tuples. */
  readonly hasTuples?: boolean | undefined;
  /** Keep the line of every step. */
  readonly record?: boolean | undefined;
  /** Who sees to it that steps end: runs what may loop for ever, and hears of each step. */
  readonly watch?: StepWatch | undefined;
}

export interface StepWatch {
  /** Runs `run`, or throws when that does not end. */
  readonly guard: (run: () => void) => void;
  readonly onStep: (step: number) => void;
}

const UNWATCHED: StepWatch = { guard: (run) => run(), onStep: () => {} };

export interface RunReport {
  readonly kind: WorldKind;
  readonly seed: number;
  /** Steps that ran; fewer than asked when it failed. */
  readonly steps: number;
  readonly tally: Readonly<Record<string, number>>;
  /** Null = every byte, tag and pin is where it belongs. */
  readonly failure: Error | null;
  readonly lines: readonly string[];
}

/**
 * Every fourth seed is a world of a device alone: bios of odd shapes, without processes; every
 * sixteenth one of a disk that keeps tuples.
 */
export function worldKindOf(seed: number): WorldKind {
  if (seed % 16 === 5) return 'tuples';
  return seed % 4 === 3 ? 'device' : 'path';
}

function makeWorld(options: Omit<RunOptions, 'steps'>): World {
  const { seed, mutant, hasTuples, settings = {} } = options;
  if (options.kind === 'device') return new SimWorld({ seed, mutant, hasTuples });
  if (options.kind === 'tuples') return new TupleWorld({ seed, settings });
  return new PathWorld({ seed, settings });
}

/** Builds the world of a seed, runs it, and says what was wrong. Never throws. */
export function runSeed(options: RunOptions): Promise<RunReport> {
  return run(options, options.steps, (world, index) => world.step(index));
}

/** Runs the steps of a history, and no others. */
export function runHistory(history: History): Promise<RunReport> {
  const { lines } = history;
  return run(history, lines.length, (world, index) => world.replay(lines[index]));
}

async function run(
  options: Omit<RunOptions, 'steps'>,
  count: number,
  step: (world: World, index: number) => void,
): Promise<RunReport> {
  const tally = new Tally();
  const lines: string[] = [];
  const { guard, onStep } = options.watch ?? UNWATCHED;
  let world: World | null = null;
  let steps = 0;
  let failure: Error | null = null;
  let closing: Promise<void> | null = null;
  try {
    const made = makeWorld(options);
    world = made;
    guard(() => {
      for (; steps < count; steps++) {
        onStep(steps);
        step(made, steps);
        if (options.record === true) lines.push(made.line());
        made.check();
      }
      onStep(steps);
      made.finish();
      closing = made.close();
    });
    await closing;
  } catch (error) {
    failure = error instanceof Error ? error : new Error(String(error));
    if (options.record === true && world !== null && lines.length <= steps && steps < count) {
      lines.push(world.line());
    }
    world?.abandon();
  }
  world?.tally(tally);
  const { kind, seed } = options;
  return { kind, seed, steps, tally: tally.toRecord(), failure, lines };
}

const SHRINK_TRIES = 1500;
/** Smaller worlds that a failure is tried in, one after the other. */
const SMALLER: Readonly<Record<WorldKind, readonly WorldSettings[]>> = {
  device: [],
  path: [
    { processes: '1' },
    { files: '1', disks: '1' },
    { faults: 'off' },
    { limits: 'plain' },
    { memory: 'large' },
    { pools: 'large' },
  ],
  tuples: [{ faults: 'off' }, { memory: 'large' }],
};

/** The smallest history found that fails like `report`. Null: it cannot be made to fail again. */
export async function shrinkFailure(
  options: RunOptions,
  report: RunReport,
): Promise<History | null> {
  if (report.failure === null) return null;
  const wanted = failureClass(report.failure);
  const again = await runSeed({ ...options, steps: report.steps + 1, record: true });
  const { kind, seed } = options;
  let history: History = {
    notes: [report.failure.message],
    kind,
    seed,
    settings: options.settings ?? {},
    lines: again.lines,
  };
  const fails = async (candidate: History): Promise<boolean> => {
    const { failure } = await runHistory(candidate);
    return failure !== null && failureClass(failure) === wanted;
  };
  if (!(await fails(history))) return null;
  for (let round = 0; round < 3; round++) {
    const base = history;
    for (const setting of SMALLER[kind]) {
      const smaller = { ...history, settings: { ...history.settings, ...setting } };
      if (await fails(smaller)) history = smaller;
    }
    if (kind === 'path') {
      const joined = { ...history, lines: joinTicks(history.lines) };
      if (await fails(joined)) history = joined;
    }
    const start = history;
    const some = (lines: readonly string[]) => fails({ ...start, lines });
    history = { ...start, lines: await shrink(start.lines, some, SHRINK_TRIES) };
    if (history.lines.length === base.lines.length) break;
  }
  return history;
}

const TICK = /^p\d+ tick(?: at=(\d+))? salt=(\d+)$/;

/** Events of the clock that follow each other become one line. */
function joinTicks(lines: readonly string[]): string[] {
  const joined: string[] = [];
  let events = 0;
  for (const line of lines) {
    const match = TICK.exec(line);
    const before = joined.at(-1) ?? '';
    if (match === null || !TICK.test(before)) {
      joined.push(line);
      events = Number(match?.[1] ?? 1);
      continue;
    }
    events += Number(match[1] ?? 1);
    joined[joined.length - 1] = `p0 tick at=${events} salt=${match[2]}`;
  }
  return joined;
}
