import type { Plot } from './plot.ts';
import type { Summary } from './stats.ts';

/** One figure of the bench, as a row process prints it: one line of JSON. */
export interface Row {
  /** 'cached-read-4k-d32' … */
  readonly name: string;
  readonly unit: string;
  readonly ours: Summary;
  /** The same work by the peer, interleaved with ours. */
  readonly peer?: { readonly name: string; readonly figure: Summary };
  /** ours / peer (or peer / ours where less is better): above 1 = we are faster. */
  readonly ratio?: Summary;
  /** Target of the ratio or of the figure, and whether more is better. */
  readonly target?: number;
  readonly lessIsBetter?: boolean;
  readonly cpu?: CpuFigure;
  /** MiB that the process held at the end of a round, of which the program's arena is a part. */
  readonly rssMib?: Pair;
  /** Milliseconds of the same loop of arithmetic before each round: the machine's own noise. */
  readonly noise?: Summary;
  /** Where the figure goes: parts of it in the same unit, the largest first. */
  readonly parts?: Readonly<Record<string, number>>;
  /**
   * Figures of the same kind under other conditions. Rows with the same conditions are a table of
   * their own, with a column for each, in this order.
   */
  readonly cells?: Readonly<Record<string, string | number>>;
  readonly notes?: Readonly<Record<string, string | number>>;
  /** What `--plot` draws where no row has a peer: one row of its file has it. Not recorded. */
  readonly plot?: Plot;
}

/** A figure of ours and, where there is one, of the peer. */
export interface Pair {
  readonly ours: number;
  readonly peer?: number;
}

/** User + system time of the process with all of its threads, over all rounds of the row. */
export interface CpuFigure extends Pair {
  readonly unit: 'µs per I/O' | 'ns per byte';
  /** Ours / peer must not be above it. */
  readonly target?: number;
}

export function printRow(row: Row): void {
  process.stdout.write(`${JSON.stringify(row)}\n`);
}

/** How a row ended: meets its target, falls short of it, or has none. */
export function verdictOf(row: Row): 'meets' | 'short' | 'none' {
  if (row.target === undefined) return 'none';
  if (row.peer === undefined && row.ratio === undefined && row.notes?.['peer'] !== undefined) {
    return 'none'; // The target is a ratio, and the peer is not installed.
  }
  const value = (row.ratio ?? row.ours).median;
  const isLess = row.lessIsBetter === true && row.ratio === undefined;
  return (isLess ? value <= row.target : value >= row.target) ? 'meets' : 'short';
}

/** The same for the CPU of the row. */
export function cpuVerdictOf({ cpu }: Row): 'meets' | 'short' | 'none' {
  if (cpu?.peer === undefined || cpu.target === undefined) return 'none';
  return cpu.ours / cpu.peer <= cpu.target ? 'meets' : 'short';
}

export const IS_QUICK = process.argv.includes('--quick');
/** `--quick` runs a tenth: to see that a row works. */
export const SCALE = IS_QUICK ? 0.1 : 1;
