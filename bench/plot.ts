// A chart as an SVG of its own: no script, no font, no dependency, readable in black and white.

import { type Axis, type AxisRange, axisBetween, axisOf, tickText } from './plot-axis.ts';

export interface PlotSeries {
  readonly name: string;
  /** [x, y]. What an axis cannot show (NaN, 0 on a logarithmic axis) interrupts the line. */
  readonly points: readonly (readonly [number, number])[];
  /** [lowest, highest] y of each point: a whisker through it. */
  readonly spans?: readonly (readonly [number, number])[];
}

export interface Plot {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly logX?: boolean;
  readonly logY?: boolean;
  readonly series: readonly PlotSeries[];
  /** 'line' by default. Bars of several series stand beside each other. */
  readonly kind?: 'line' | 'bar';
  /** Where the x axis has its ticks, and what stands there; else powers of ten. */
  readonly xTicks?: readonly (readonly [number, string])[];
  /** Names at the x axis instead of numbers; the name at index i stands at x = i. */
  readonly xNames?: readonly string[];
  /** A dashed horizontal line, such as a target or "as fast as the peer". */
  readonly yLine?: number;
}

const WIDTH = 960;
const PLOT_HEIGHT = 400;
const LEFT = 90;
/** Half of a tick's '100,000,000' stands in it. */
const RIGHT = 45;
const TOP = 60;
/** One line of the legend, and its columns: one when it is short. */
const LINE = 20;
const LEGEND_COLUMNS = 2;
const LEGEND_SHORT = 4;
/** Width of a character of 12 units, a little too much on purpose. */
const CHARACTER = 7;
/** Okabe and Ito: eight colours that people tell apart who do not see all colours. */
const COLOURS = [
  '#0072b2',
  '#d55e00',
  '#009e73',
  '#cc79a7',
  '#000000',
  '#e69f00',
  '#56b4e9',
  '#b8a800',
];
/** After eight series the colours come again, with another dash. */
const DASHES = ['', '6 3', '2 3', '8 3 2 3'];

/** The whole of `plot` as the text of an SVG file. Every text in it is escaped. */
export function plotSvg(plot: Plot): string {
  const bottom = TOP + PLOT_HEIGHT;
  const x = xAxisOf(plot);
  const y = yAxisOf(plot, bottom);
  const under = plot.xNames === undefined ? 20 : namesHeight(plot.xNames);
  const legendTop = bottom + under + 55;
  const height = legendTop + LINE * legendRows(plot.series.length);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" ` +
      `width="${WIDTH}" height="${height}" font-family="sans-serif" font-size="12">`,
    `<title>${escapeText(plot.title)}</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="white"/>`,
    text(WIDTH / 2, 30, plot.title, 'text-anchor="middle" font-size="18"'),
    ...gridOf(plot, x, y, bottom),
    text((LEFT + WIDTH - RIGHT) / 2, bottom + under + 22, plot.xLabel, 'text-anchor="middle"'),
    text(20, TOP + PLOT_HEIGHT / 2, plot.yLabel, turned(20, TOP + PLOT_HEIGHT / 2, 'middle')),
    ...plot.series.flatMap((series, index) => drawSeries(plot, { series, index, x, y })),
    ...(plot.yLine === undefined ? [] : [targetLine(y.at(plot.yLine))]),
    ...plot.series.flatMap((series, i) => legendLine(plot, series.name, i, legendTop)),
    '</svg>',
  ];
  return `${parts.join('\n')}\n`;
}

function xAxisOf(plot: Plot): Axis {
  const isLog = plot.logX === true;
  const range = { isLog, from: LEFT, to: WIDTH - RIGHT };
  const { xNames } = plot;
  if (xNames === undefined) {
    const values = plot.series.flatMap(({ points }) => points.map(([at]) => at));
    if (plot.xTicks !== undefined) return axisWith(plot.xTicks, values, range);
    if (plot.kind !== 'bar') return axisOf(values, range);
    // The outermost bars stay inside of the frame.
    const margin = barSlot(values) / 2;
    const lowest = values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
    return isLog ? axisOf(values, range) : axisOf([...values, lowest - margin], range);
  }
  // A name in the middle of each slot: index 0 of four names stands an eighth from the left.
  const slot = (range.to - range.from) / Math.max(xNames.length, 1);
  return {
    ticks: xNames.map((_, index) => index),
    at: (value) => (Number.isFinite(value) ? range.from + (value + 0.5) * slot : Number.NaN),
  };
}

/** The ticks of the plot, between its outermost values. */
function axisWith(ticks: Plot['xTicks'], values: readonly number[], range: AxisRange): Axis {
  const places = (ticks ?? []).map(([at]) => at);
  const ends = [...places, ...values];
  return axisBetween(Math.min(...ends), Math.max(...ends), places, range);
}

/** The smallest distance of two different x: what one group of bars may take. */
function barSlot(values: readonly number[]): number {
  const sorted = [...new Set(values)].sort((a, b) => a - b);
  let least = Number.POSITIVE_INFINITY;
  for (let i = 1; i < sorted.length; i++) {
    least = Math.min(least, (sorted[i] ?? 0) - (sorted[i - 1] ?? 0));
  }
  return Number.isFinite(least) ? least : 1;
}

function yAxisOf(plot: Plot, bottom: number): Axis {
  const values = plot.series.flatMap(({ points, spans = [] }) => [
    ...points.map(([, value]) => value),
    ...spans.flat(),
  ]);
  if (plot.yLine !== undefined) values.push(plot.yLine);
  // The length of a bar means something only when it starts at 0.
  if (plot.kind === 'bar' && plot.logY !== true) values.push(0);
  return axisOf(values, { isLog: plot.logY === true, from: bottom, to: TOP });
}

function gridOf(plot: Plot, x: Axis, y: Axis, bottom: number): string[] {
  const right = WIDTH - RIGHT;
  const parts: string[] = [];
  for (const tick of y.ticks) {
    const at = round(y.at(tick));
    parts.push(`<path d="M${LEFT} ${at}H${right}" stroke="#ddd"/>`);
    parts.push(text(LEFT - 8, at + 4, tickText(tick), 'text-anchor="end"'));
  }
  for (const tick of x.ticks) {
    const at = round(x.at(tick));
    const name = plot.xNames?.[tick];
    parts.push(`<path d="M${at} ${bottom}v5" stroke="#333"/>`);
    if (name !== undefined) {
      parts.push(text(at + 4, bottom + 12, name, turned(at + 4, bottom + 12, 'end', -60)));
    } else {
      const given = plot.xTicks?.find(([place]) => place === tick)?.[1];
      parts.push(text(at, bottom + 20, given ?? tickText(tick), 'text-anchor="middle"'));
    }
  }
  parts.push(`<path d="M${LEFT} ${TOP}V${bottom}H${right}" stroke="#333" fill="none"/>`);
  return parts;
}

/** Names are turned by 60 degrees: sin 60° = 0.87 of their length stands under the axis. */
function namesHeight(names: readonly string[]): number {
  const longest = names.reduce((most, name) => Math.max(most, name.length), 0);
  return 20 + Math.ceil(longest * CHARACTER * 0.87);
}

interface Drawing {
  readonly series: PlotSeries;
  readonly index: number;
  readonly x: Axis;
  readonly y: Axis;
}

function drawSeries(plot: Plot, drawing: Drawing): string[] {
  return plot.kind === 'bar' ? drawBars(plot, drawing) : drawLine(drawing);
}

function drawLine({ series, index, x, y }: Drawing): string[] {
  const parts: string[] = [];
  let path = '';
  let isOpen = false;
  for (const [i, [px, py]] of series.points.entries()) {
    const atX = round(x.at(px));
    const atY = round(y.at(py));
    const isShown = Number.isFinite(atX) && Number.isFinite(atY);
    if (isShown) {
      path += `${isOpen ? 'L' : 'M'}${atX} ${atY}`;
      parts.push(`<circle cx="${atX}" cy="${atY}" r="3" fill="${colour(index)}"/>`);
      parts.push(...whisker(series, i, atX, y));
    }
    isOpen = isShown;
  }
  if (path === '') return [];
  return [`<path d="${path}" fill="none" stroke-width="2" ${stroke(index)}/>`, ...parts];
}

function drawBars(plot: Plot, { series, index, x, y }: Drawing): string[] {
  const slot = slotWidth(plot, x);
  const width = (slot * 0.8) / Math.max(plot.series.length, 1);
  const foot = y.at(plot.logY === true ? (y.ticks[0] ?? 1) : 0);
  return series.points.flatMap(([px, py], i) => {
    const left = round(x.at(px) - slot * 0.4 + width * index);
    const end = y.at(py);
    if (!Number.isFinite(left) || !Number.isFinite(end)) return [];
    const top = round(Math.min(end, foot));
    const height = round(Math.abs(foot - end));
    return [
      `<rect x="${left}" y="${top}" width="${round(width)}" height="${height}" ` +
        `fill="${colour(index)}"/>`,
      ...whisker(series, i, round(left + width / 2), y),
    ];
  });
}

/** SVG units between two neighbours on the x axis. */
function slotWidth(plot: Plot, x: Axis): number {
  if (plot.xNames !== undefined) return (WIDTH - RIGHT - LEFT) / Math.max(plot.xNames.length, 1);
  const places = plot.series.flatMap(({ points }) => points.map(([at]) => x.at(at)));
  return Math.min(barSlot(places.filter(Number.isFinite)), (WIDTH - RIGHT - LEFT) / 8);
}

function whisker(series: PlotSeries, index: number, at: number, y: Axis): string[] {
  const [low, high] = series.spans?.[index] ?? [Number.NaN, Number.NaN];
  const from = round(y.at(low));
  const to = round(y.at(high));
  if (!Number.isFinite(from) || !Number.isFinite(to)) return [];
  const path = `M${at - 4} ${from}h8M${at} ${from}V${to}M${at - 4} ${to}h8`;
  return [`<path d="${path}" stroke="#333" fill="none"/>`];
}

function targetLine(at: number): string {
  if (!Number.isFinite(at)) return '';
  const path = `M${LEFT} ${round(at)}H${WIDTH - RIGHT}`;
  return `<path d="${path}" stroke="#333" stroke-dasharray="4 4"/>`;
}

function legendRows(series: number): number {
  return series <= LEGEND_SHORT ? series : Math.ceil(series / LEGEND_COLUMNS);
}

/** Down the first column, then down the second. */
function legendLine({ series }: Plot, name: string, index: number, top: number): string[] {
  const rows = Math.max(legendRows(series.length), 1);
  const left = LEFT + Math.floor(index / rows) * ((WIDTH - RIGHT - LEFT) / LEGEND_COLUMNS);
  const at = top + (index % rows) * LINE;
  return [
    `<path d="M${round(left)} ${at - 4}h30" stroke-width="4" ${stroke(index)}/>`,
    text(left + 40, at, name, ''),
  ];
}

function colour(index: number): string {
  return COLOURS[index % COLOURS.length] ?? '#000000';
}

function stroke(index: number): string {
  const dash = DASHES[Math.floor(index / COLOURS.length) % DASHES.length] ?? '';
  return `stroke="${colour(index)}"${dash === '' ? '' : ` stroke-dasharray="${dash}"`}`;
}

function turned(x: number, y: number, anchor: string, degrees = -90): string {
  return `text-anchor="${anchor}" transform="rotate(${degrees} ${x} ${y})"`;
}

function text(x: number, y: number, content: string, attributes: string): string {
  return `<text x="${round(x)}" y="${round(y)}" ${attributes}>${escapeText(content)}</text>`;
}

/** XML knows five names; control characters, which it forbids, become spaces. */
function escapeText(content: string): string {
  return content
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&apos;')
    .replace(/[^\P{Cc}\n\t]/gu, ' ');
}

/** A tenth of a unit is finer than a screen. */
function round(value: number): number {
  return Math.round(value * 10) / 10;
}
