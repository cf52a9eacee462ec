import type { Summary } from './stats.ts';

/** One figure of the bench, as a row process prints it: one line of JSON. */
export interface Row {
  /** 'ram-read-4k' … */
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
  readonly notes?: Readonly<Record<string, string | number>>;
}

export function printRow(row: Row): void {
  process.stdout.write(`${JSON.stringify(row)}\n`);
}

/** `--quick` runs a tenth: to see that a row works. */
export const SCALE = process.argv.includes('--quick') ? 0.1 : 1;
