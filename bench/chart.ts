import { plotSvg } from './plot.ts';
import type { Row } from './row.ts';

/** The ratios of a run as bars with the spread of their rounds, on a logarithmic axis. */
export function ratioChart(rows: readonly Row[], title: string): string {
  const shown = rows.flatMap(({ name, peer, ratio, target }) =>
    ratio === undefined ? [] : [{ name: `${name} : ${peer?.name ?? 'peer'}`, ratio, target }],
  );
  const targets = shown.flatMap(({ target }, i) =>
    target === undefined ? [] : [[i, target] as const],
  );
  return plotSvg({
    title,
    xLabel: 'row : peer',
    yLabel: 'times as fast as the peer (median; whiskers: all rounds)',
    kind: 'bar',
    logY: true,
    xNames: shown.map(({ name }) => name),
    yLine: 1,
    series: [
      {
        name: 'measured',
        points: shown.map(({ ratio }, i) => [i, ratio.median] as const),
        spans: shown.map(({ ratio }) => [ratio.min, ratio.max] as const),
      },
      { name: 'target', points: targets },
    ],
  });
}
