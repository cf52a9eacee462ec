/** Summary of repeated measurements of one figure. */
export interface Summary {
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** (max - min) / median: how noisy the machine was. */
  readonly spread: number;
  readonly rounds: number;
}

export function summarize(values: readonly number[]): Summary {
  const sorted = [...values].sort((a, b) => a - b);
  const median = quantile(sorted, 0.5);
  const min = sorted[0] ?? Number.NaN;
  const max = sorted[sorted.length - 1] ?? Number.NaN;
  return { median, min, max, spread: (max - min) / median, rounds: values.length };
}

/**
 * Ratio of the medians of two series, and the spread of the ratios of their rounds: a round's two
 * figures were taken one after the other, so what slowed both down is not in it.
 */
export function ratioOf(ours: readonly number[], peer: readonly number[]): Summary {
  const rounds = summarize(ours.map((value, i) => value / (peer[i] ?? Number.NaN)));
  const median = summarize(ours).median / summarize(peer).median;
  return { ...rounds, median, spread: (rounds.max - rounds.min) / median };
}

function quantile(sorted: readonly number[], at: number): number {
  const place = (sorted.length - 1) * at;
  const low = sorted[Math.floor(place)] ?? Number.NaN;
  const high = sorted[Math.ceil(place)] ?? Number.NaN;
  return low + (high - low) * (place - Math.floor(place));
}

/** Slope of log(time) over log(size): 1 = linear, 2 = quadratic. Least squares. */
export function exponent(sizes: readonly number[], times: readonly number[]): number {
  const xs = sizes.map(Math.log);
  const ys = times.map(Math.log);
  const mx = mean(xs);
  const my = mean(ys);
  let top = 0;
  let bottom = 0;
  for (const [i, x] of xs.entries()) {
    top += (x - mx) * ((ys[i] ?? Number.NaN) - my);
    bottom += (x - mx) ** 2;
  }
  return top / bottom;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
