// The same I/O through the designs that were argued over (`bench/carriers/`): nanoseconds a segment
// by how the memory lies, and what each design makes, writes and touches. A process for each design
// and again for the next sweep, so that a bad minute meets all of them.

import { conversionsOf, DESIGNS, type Design } from '../carriers/designs.ts';
import { LAYOUTS, type Layout, SEGMENT_COUNTS } from '../carriers/layouts.ts';
import {
  type CostFigure,
  costOf,
  FLOOR,
  type MeasureOptions,
  type TimeFigure,
  timeOf,
} from '../carriers/measure.ts';
import { Noise } from '../noise.ts';
import type { Plot } from '../plot.ts';
import { progressOf } from '../progress.ts';
import { IS_QUICK, printRow, type Row } from '../row.ts';
import { type Summary, summarize } from '../stats.ts';

const SWEEPS = IS_QUICK ? 1 : 3;
const OPTIONS: MeasureOptions = IS_QUICK ? { rounds: 2, slice: 0.3 } : { rounds: 12, slice: 2 };
/** The figure of a row: in the middle of what requests have. */
const SEGMENTS = 64;
/** Designs whose lines would lie on others: batches of 64, and the spellings of 2019. */
const NOT_DRAWN = ['page-arrays-64', 'pfn-flags', 'pointer-bit', 'pin-all'];

type Sweeps = readonly (readonly TimeFigure[])[];

/** Nanoseconds a segment: of each sweep the least of its rounds. */
function timeAt(sweeps: Sweeps, layout: Layout, segments: number): Summary {
  return summarize(sweeps.map((figures) => at(figures, layout, segments).ns / segments));
}

function at<T extends TimeFigure | CostFigure>(
  figures: readonly T[],
  layout: Layout,
  segments: number,
): T {
  const isWanted = (figure: T): boolean => figure.layout === layout && figure.segments === segments;
  return figures.find(isWanted) as T;
}

function measureAll(names: readonly string[], noise: Noise): ReadonlyMap<string, Sweeps> {
  const progress = progressOf('carriers');
  const all = new Map<string, TimeFigure[][]>(names.map((name) => [name, []]));
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    for (const [name, sweeps] of all) {
      progress(`sweep ${sweep + 1} of ${SWEEPS}, ${name}`);
      noise.sample();
      sweeps.push(timeOf(name, OPTIONS));
    }
  }
  return all;
}

/** '71.3': as many digits as mean something. */
function digits(value: number): string {
  return value >= 1000
    ? Math.round(value).toLocaleString('en-US')
    : String(Number(value.toPrecision(3)));
}

function timeRow(name: string, sweeps: Sweeps, noise: Summary): Row {
  const cells = LAYOUTS.filter((layout) => layout === 'pages' || layout === 'aged').flatMap(
    (layout) =>
      SEGMENT_COUNTS.map((segments): [string, string] => [
        layout === 'pages' ? String(segments) : `${segments}, aged`,
        digits(timeAt(sweeps, layout, segments).median),
      ]),
  );
  return {
    name: `carriers-${name}`,
    unit: 'ns a segment of 64',
    ours: timeAt(sweeps, 'pages', SEGMENTS),
    lessIsBetter: true,
    noise,
    cells: Object.fromEntries(cells),
  };
}

function folioRow(name: string, sweeps: Sweeps): Row {
  const cell = (layout: Layout, segments: number): string =>
    digits(timeAt(sweeps, layout, segments).median);
  return {
    name: `carriers-folios-${name}`,
    unit: 'ns a segment of 64, 64 KiB each',
    ours: timeAt(sweeps, 'folios-4', SEGMENTS),
    lessIsBetter: true,
    cells: {
      '1 of 64 KiB': cell('folios-4', 1),
      '64 of 64 KiB': cell('folios-4', 64),
      '1 of 2 MiB': cell('folios-9', 1),
      '64 of 2 MiB': cell('folios-9', 64),
      '8 mixed': cell('mixed', 8),
      '64 mixed': cell('mixed', 64),
    },
  };
}

/** What a transfer of 64 segments makes, writes and touches: single pages, unless it is said. */
function costRow(design: Design, figures: readonly CostFigure[], sweeps: Sweeps): Row {
  const pages = at(figures, 'pages', SEGMENTS);
  const one = at(figures, 'pages', 1);
  const mixed = at(figures, 'mixed', SEGMENTS);
  const huge = at(figures, 'folios-9', SEGMENTS);
  const aged = at(figures, 'aged', SEGMENTS);
  const per = (value: number): string => digits(value / SEGMENTS);
  const heap = sweeps.map((sweep) => at(sweep, 'pages', SEGMENTS).heapBytes);
  return {
    name: `carriers-cost-${design.name}`,
    unit: 'conversions',
    ours: summarize([conversionsOf(design)]),
    lessIsBetter: true,
    cells: {
      'entries a segment': per(pages.lists.entries),
      'of 2 MiB': per(huge.lists.entries),
      'list bytes a segment': per(pages.lists.bytes),
      'of one alone': digits(one.lists.bytes),
      'read and written': per(pages.lists.traffic),
      'frame bytes a segment': per(pages.frames.bytes),
      mixed: per(mixed.frames.bytes),
      'frame lines': per(pages.frames.lines),
      'lines, aged': per(aged.frames.lines),
      bios: pages.bios,
      'bios, mixed': mixed.bios,
      tables: pages.tables,
      'heap bytes': digits(summarize(heap).median),
    },
  };
}

function plotOf(all: ReadonlyMap<string, Sweeps>): Plot {
  const drawn = DESIGNS.filter(({ name }) => !NOT_DRAWN.includes(name));
  return {
    title: 'From the memory of a program to the list of a device, and back',
    xLabel: 'segments: single pages, no two of them neighbours',
    yLabel: 'ns a segment',
    logX: true,
    logY: true,
    xTicks: SEGMENT_COUNTS.map((segments) => [segments, String(segments)]),
    series: drawn.map(({ name, title }) => ({
      name: title,
      points: SEGMENT_COUNTS.map((segments) => [
        segments,
        timeAt(all.get(name) as Sweeps, 'pages', segments).median,
      ]),
    })),
  };
}

const noise = new Noise();
const names = [...DESIGNS.map(({ name }) => name), FLOOR];
const all = measureAll(names, noise);
for (const [name, sweeps] of all) printRow(timeRow(name, sweeps, noise.summary));
for (const [name, sweeps] of all) if (name !== FLOOR) printRow(folioRow(name, sweeps));
for (const design of DESIGNS) {
  const row = costRow(design, costOf(design.name), all.get(design.name) as Sweeps);
  const isLast = design === DESIGNS.at(-1);
  printRow(isLast ? { ...row, plot: plotOf(all) } : row);
}
