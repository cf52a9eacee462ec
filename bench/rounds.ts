import { Noise } from './noise.ts';
import type { CpuFigure, Pair, Row } from './row.ts';
import { ratioOf, type Summary, summarize } from './stats.ts';

/** What one subject did in one round. */
export interface Figure {
  /** I/Os, or bytes where the row counts bytes. */
  readonly amount: number;
  readonly seconds: number;
  /** User + system time of the process and its threads; NaN: nobody knows. */
  readonly cpuSeconds: number;
  /** Bytes at the end of the round; NaN: nobody knows. */
  readonly rssBytes: number;
}

/** A program that can do the row's work for a while, again and again. */
export interface Subject {
  /** 'biovec', 'fio io_uring' … */
  readonly name: string;
  round(): Promise<Figure>;
  close?(): Promise<void>;
}

/** All rounds of one row: `figures[i]` are those of `subjects[i]`. */
export interface Rounds {
  readonly names: readonly string[];
  readonly figures: readonly (readonly Figure[])[];
  readonly noise: Summary;
}

export interface RoundsOptions {
  readonly rounds: number;
  /** Rounds that are not counted: the compiler learns, caches fill. */
  readonly warmUps: number;
  /** Before each turn of a subject; not counted. */
  readonly before?: () => void;
  /** Told of each round that ended. */
  readonly progress?: (text: string) => void;
}

/**
 * The subjects take turns, and another one begins each round: what the machine does to one round it
 * does to all, and nobody always runs behind the same other one.
 */
export async function runRounds(
  subjects: readonly Subject[],
  options: RoundsOptions,
): Promise<Rounds> {
  const figures: Figure[][] = subjects.map(() => []);
  const noise = new Noise();
  for (let round = -options.warmUps; round < options.rounds; round++) {
    if (round >= 0) noise.sample();
    for (let turn = 0; turn < subjects.length; turn++) {
      const index = (turn + round + options.warmUps) % subjects.length;
      options.before?.();
      const figure = await subjects[index].round();
      if (round >= 0) figures[index].push(figure);
    }
    options.progress?.(round < 0 ? 'warm-up' : `round ${round + 1} of ${options.rounds}`);
  }
  return { names: subjects.map(({ name }) => name), figures, noise: noise.summary };
}

export interface RowOptions {
  readonly name: string;
  readonly unit: string;
  /** What one of `unit` is of a figure's amount: 1 for I/O/s, 1e6 for MB/s. */
  readonly amountOfUnit: number;
  readonly cpuUnit: CpuFigure['unit'];
  /** Which of the subjects is ours: by default the first. */
  readonly ours?: number;
  readonly target?: number;
  readonly cpuTarget?: number;
  readonly notes?: Row['notes'];
}

/** The row of our subject against subject `peer`; -1: there is nobody to compare with. */
export function rowOf(rounds: Rounds, peer: number, options: RowOptions): Row {
  const { name, unit, target, notes, ours = 0 } = options;
  const rates = rounds.figures.map((list) =>
    list.map(({ amount, seconds }) => amount / seconds / options.amountOfUnit),
  );
  const row = {
    name,
    unit,
    ours: summarize(rates[ours]),
    cpu: {
      ...pairOf(rounds, ours, peer, (list) => cpuOf(list, options.cpuUnit)),
      unit: options.cpuUnit,
      ...(options.cpuTarget === undefined ? {} : { target: options.cpuTarget }),
    },
    rssMib: pairOf(rounds, ours, peer, rssOf),
    noise: rounds.noise,
    ...(target === undefined ? {} : { target }),
    ...(notes === undefined ? {} : { notes }),
  };
  if (peer < 0) return row;
  return {
    ...row,
    peer: { name: rounds.names[peer], figure: summarize(rates[peer]) },
    ratio: ratioOf(rates[ours], rates[peer]),
  };
}

function pairOf(
  rounds: Rounds,
  subject: number,
  peer: number,
  of: (list: readonly Figure[]) => number,
): Pair {
  const ours = of(rounds.figures[subject]);
  if (peer < 0) return { ours };
  const theirs = of(rounds.figures[peer]);
  return Number.isFinite(theirs) ? { ours, peer: theirs } : { ours };
}

/** Of all rounds together: a peer's CPU is counted in ticks of 10 ms, too coarse for one round. */
function cpuOf(list: readonly Figure[], unit: CpuFigure['unit']): number {
  const seconds = list.reduce((sum, figure) => sum + figure.cpuSeconds, 0);
  const amount = list.reduce((sum, figure) => sum + figure.amount, 0);
  return (seconds / amount) * (unit === 'µs per I/O' ? 1e6 : 1e9);
}

function rssOf(list: readonly Figure[]): number {
  return summarize(list.map(({ rssBytes }) => rssBytes)).median / 2 ** 20;
}
