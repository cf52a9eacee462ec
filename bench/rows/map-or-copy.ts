// Map, pin and copy page to page, or copy without a pin: nanoseconds of a request by size, and the
// sizes where they cross. Reads and writes, 1 to 256 ranges, single pages and folios of 2 MiB.

import { formatSize } from '../../src/base/units.ts';
import {
  MAP_OR_COPY_CASES,
  type MapOrCopyFigure,
  measureMapOrCopy,
  type SizeFigure,
  WAYS,
  type Way,
} from '../../src/map/passthrough/map-or-copy.bench.ts';
import type { Plot } from '../plot.ts';
import { printRow, type Row, SCALE } from '../row.ts';
import { summarize } from '../stats.ts';

const ROUNDS = SCALE < 1 ? 3 : 12;
/** A crossing is found in every third round by itself: how much these differ is its spread. */
const GROUPS = [0, 1, 2];
/** Milliseconds of one figure of one round. */
const SLICE = SCALE < 1 ? 0.2 : 2;

/** Nanoseconds of `way` at a size: the least of all rounds, or of one group of them. */
function nsOf({ ns }: SizeFigure, way: Way, group?: number): number {
  const isShown = (_: number, round: number): boolean =>
    group === undefined || round % GROUPS.length === group;
  return Math.min(...ns[way].filter(isShown));
}

/**
 * The size from which on `less` costs no more than `more` at every size measured, between the last
 * size where it does and the first where it does not. 0: at every size. NaN: not even at the last.
 * Costs are taken for lines between the sizes on logarithmic axes.
 */
function crossing(figure: MapOrCopyFigure, less: Way, more: Way, group?: number): number {
  const { sizes } = figure;
  const over = sizes.map((size) => Math.log(nsOf(size, less, group) / nsOf(size, more, group)));
  const last = over.findLastIndex((value) => value > 0);
  if (last < 0) return 0;
  const [before, behind] = [over[last] ?? 0, over[last + 1]];
  if (behind === undefined) return Number.NaN;
  const [low = 0, high = 0] = [
    Math.log(sizes[last]?.bytes ?? 0),
    Math.log(sizes[last + 1]?.bytes ?? 0),
  ];
  return Math.exp(low + (high - low) * (before / (before - behind)));
}

function sizeText(bytes: number): string {
  if (bytes < 1024) return `${Math.round(bytes)} B`;
  if (bytes < 2 ** 20) return `${(bytes / 1024).toFixed(bytes < 10240 ? 1 : 0)} KiB`;
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

function crossingText(figure: MapOrCopyFigure, less: Way, more: Way): string {
  const bytes = crossing(figure, less, more);
  if (bytes === 0) return 'at every size';
  return Number.isNaN(bytes) ? 'at no size' : `from ${sizeText(bytes)} on`;
}

/** '0.476', '92.6', '3490'. */
function micros(ns: number): string {
  return String(Number((ns / 1000).toPrecision(3)));
}

/** '0.5 / 2.1 / 1.6': map, pin and copy, and copy at the smallest size of at least `bytes`. */
function costsAt({ sizes }: MapOrCopyFigure, bytes: number): [string, string] | null {
  const size = sizes.find((figure) => figure.bytes >= bytes);
  if (size === undefined || size.bytes > bytes * 2) return null;
  const text = WAYS.map((way) => micros(nsOf(size, way))).join(' / ');
  return [`µs at ${sizeText(size.bytes)}`, text];
}

/** Of the reads: each way with one buffer and with 256 of single pages, and mapped folios. */
function plotOf(figures: readonly MapOrCopyFigure[]): Plot {
  const shown = figures.filter(({ ranges }) => ranges !== 16);
  const series = shown.flatMap((figure) =>
    WAYS.filter((way) => way === 'map' || figure.name.endsWith('order-0')).map((way) => ({
      name: `${way}, ${figure.ranges === 1 ? 'one buffer' : `${figure.ranges} buffers`}, ${
        figure.name.endsWith('huge') ? 'folios of 2 MiB' : 'single pages'
      }`,
      points: figure.sizes.map((size) => [size.bytes, nsOf(size, way) / 1000] as const),
    })),
  );
  return {
    title: 'A read for a device: mapped, pinned and copied, copied without pins',
    xLabel: 'bytes of the request',
    yLabel: 'µs from mapUser to unmapUser, least of the rounds',
    logX: true,
    logY: true,
    xTicks: [512, 4096, 32768, 262144, 2 ** 21, 2 ** 24].map((bytes) => [bytes, formatSize(bytes)]),
    series,
  };
}

const figures = MAP_OR_COPY_CASES.flatMap((name) =>
  measureMapOrCopy(name, { rounds: ROUNDS, slice: SLICE }),
);
for (const figure of figures) {
  const found = GROUPS.map((group) => crossing(figure, 'map', 'copy', group));
  const isAny = found.every((bytes) => !Number.isNaN(bytes));
  const costs = [512, 4096, 65536, 2 ** 20, 2 ** 24].map((bytes) => costsAt(figure, bytes));
  const row: Row = {
    name: `map-or-copy-${figure.name.replace(' ', '-')}-${figure.ranges}`,
    unit: 'bytes, from there on mapping is cheaper than a copy',
    ours: summarize(isAny ? found : []),
    lessIsBetter: true,
    notes: {
      'map < copy': crossingText(figure, 'map', 'copy'),
      'map < pin and copy': crossingText(figure, 'map', 'pin and copy'),
      'pin and copy < copy': crossingText(figure, 'pin and copy', 'copy'),
      ...Object.fromEntries(costs.filter((cost) => cost !== null)),
    },
  };
  const isLast = figure === figures.at(-1);
  const reads = figures.filter(({ name }) => name.startsWith('read'));
  printRow(isLast ? { ...row, plot: plotOf(reads) } : row);
}
