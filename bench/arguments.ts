import { parseArgs } from 'node:util';

export interface BenchArguments {
  /** Files of rows to run, all when empty. */
  readonly wanted: readonly string[];
  readonly quick: boolean;
  readonly json: boolean;
  readonly markdown: boolean;
  readonly record: boolean;
  /** Nothing is run: the newest recorded run is shown. */
  readonly last: boolean;
  readonly plot: string | null;
  /** A file between whose marks the tables go. */
  readonly into: string | null;
}

export const USAGE = `npm run bench [-- FILE…] [--quick] [--json | --markdown] [--plot FILE.svg]
                     [--record | --last] [--into FILE.md]
  FILE        only these files of rows
  --quick     small and short: to see that the rows work
  --json      a line of JSON for each row
  --markdown  the tables of docs/performance.md
  --into      puts them between the marks of that file
  --plot      the ratios with their spread, as an SVG; the chart of rows without a peer
  --record    appends every row to bench/history.ndjson
  --last      runs nothing: shows the newest recorded run`;

/** Gives a sentence when it is not understood. */
export function parseBenchArguments(
  argv: readonly string[],
  known: readonly string[],
): BenchArguments | string {
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        quick: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        markdown: { type: 'boolean', default: false },
        record: { type: 'boolean', default: false },
        last: { type: 'boolean', default: false },
        plot: { type: 'string' },
        into: { type: 'string' },
      },
    });
    const unknown = positionals.filter((name) => !known.includes(name));
    if (unknown.length > 0) return `no rows ${unknown.join(', ')}; there are ${known.join(', ')}`;
    if (values.json && values.markdown) return '--json and --markdown are two ways to print';
    if (values.record && values.last) return '--last runs nothing, so there is nothing to record';
    const { plot = null, into = null, ...flags } = values;
    return { ...flags, plot, into, wanted: positionals };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
