/** Maps values to a place between `from` and `to` (SVG units) and knows where its ticks stand. */
export interface Axis {
  readonly ticks: readonly number[];
  /** NaN for a value that the axis cannot show: not finite, or not above 0 on a logarithmic one. */
  at(value: number): number;
}

export interface AxisRange {
  readonly isLog: boolean;
  /** SVG units of the lowest and of the highest value. */
  readonly from: number;
  readonly to: number;
}

/** More ticks than this run into each other. */
const TICKS_MAX = 10;

/** An axis round all `values` that it can show; 0 to 1 (1 to 10 when logarithmic) for none. */
export function axisOf(values: readonly number[], range: AxisRange): Axis {
  const shown = values.filter((value) => canShow(value, range.isLog));
  const low = shown.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const high = shown.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  if (range.isLog)
    return logAxis(shown.length === 0 ? 1 : low, shown.length === 0 ? 10 : high, range);
  return linearAxis(shown.length === 0 ? 0 : low, shown.length === 0 ? 1 : high, range);
}

function canShow(value: number, isLog: boolean): boolean {
  return Number.isFinite(value) && (!isLog || value > 0);
}

/** Ticks of 1, 2 or 5 times a power of ten; the ends are ticks. 3 to 17 gives 2, 4, … 18. */
function linearAxis(low: number, high: number, range: AxisRange): Axis {
  // One value has no extent: the axis takes half of it, or 1, to each side.
  const margin = high > low ? 0 : Math.abs(low) / 2 || 1;
  const step = linearStep((high - low + 2 * margin) / (TICKS_MAX - 2));
  const first = Math.floor((low - margin) / step);
  const last = Math.ceil((high + margin) / step);
  const ticks: number[] = [];
  for (let i = first; i <= last; i++) ticks.push(exact(i * step));
  const at = (value: number): number =>
    canShow(value, false) ? place(value / step, first, last, range) : Number.NaN;
  return { ticks, at };
}

function linearStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  const times = [1, 2, 5, 10].find((factor) => factor * power >= least) ?? 10;
  return times * power;
}

/** 3 × 0.1 is not 0.3 in binary: ticks are rounded to the 12 digits that matter. */
function exact(value: number): number {
  return Number(value.toPrecision(12));
}

/** Powers of ten; within a decade or two also 2 and 5 times them. The ends are ticks. */
function logAxis(low: number, high: number, range: AxisRange): Axis {
  const decades = Math.log10(high) - Math.log10(low);
  const factors = decades <= 2 ? [1, 2, 5] : [1];
  const every = Math.ceil(decades / TICKS_MAX) || 1;
  const all: number[] = [];
  const bottom = Math.floor(Math.log10(low) + 1e-9);
  const top = Math.ceil(Math.log10(high) - 1e-9) + every;
  for (let power = bottom; power <= top; power += every) {
    for (const factor of factors) all.push(exact(factor * 10 ** power));
  }
  const last = all.findIndex((tick, i) => i > 0 && tick >= high * (1 - 1e-9));
  const first = all.findLastIndex((tick, i) => i < last && tick <= low * (1 + 1e-9));
  const ticks = all.slice(Math.max(first, 0), last + 1);
  const from = Math.log10(ticks[0] ?? 1);
  const to = Math.log10(ticks[ticks.length - 1] ?? 10);
  const at = (value: number): number =>
    canShow(value, true) ? place(Math.log10(value), from, to, range) : Number.NaN;
  return { ticks, at };
}

/** An axis from `low` to `high` with these ticks. Pre: low < high, and both can be shown. */
export function axisBetween(
  low: number,
  high: number,
  ticks: readonly number[],
  range: AxisRange,
): Axis {
  const scale = (value: number): number => (range.isLog ? Math.log10(value) : value);
  const at = (value: number): number =>
    canShow(value, range.isLog) ? place(scale(value), scale(low), scale(high), range) : Number.NaN;
  return { ticks, at };
}

function place(value: number, low: number, high: number, range: AxisRange): number {
  return range.from + ((value - low) / (high - low)) * (range.to - range.from);
}

/** '0.25', '1,500', '2e+9': short enough to stand at a tick. */
export function tickText(value: number): string {
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e9 || size < 1e-4)) return value.toExponential().replace('e+', 'e');
  return value.toLocaleString('en-US', { maximumFractionDigits: 6 });
}
