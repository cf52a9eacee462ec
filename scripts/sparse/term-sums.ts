// XORs of one, two or three terms, in buckets: what a search for a XOR of many of them is made of.

/** Values of up to 64 bits in two columns; entry i is of the distance `from + i`. */
export interface Terms {
  readonly from: number;
  readonly low: Int32Array;
  readonly high: Int32Array;
}

/** Most terms of a sum; its indices then fit into 32 bits for up to 1600 terms. */
export const SUM_TERMS_MAX = 3;

/**
 * x^(-8d) modulo `polynomial`, which is written with its highest term, for each d in [from, to].
 * Bit i is x^i.
 */
export function termsOf(polynomial: bigint, from: number, to: number): Terms {
  const low = new Int32Array(to - from + 1);
  const high = new Int32Array(to - from + 1);
  let power = 1n;
  for (let d = 1; d <= to; d++) {
    // The polynomial is 0 here and has the term 1, so it makes an odd one a multiple of x.
    for (let i = 0; i < 8; i++) power = ((power & 1n) === 0n ? power : power ^ polynomial) >> 1n;
    if (d < from) continue;
    low[d - from] = Number(BigInt.asIntN(32, power));
    high[d - from] = Number(BigInt.asIntN(32, power >> 32n));
  }
  return { from, low, high };
}

/**
 * All sums of `size` different terms, ordered by the lower bits of their values and then by their
 * terms. `start[b]` is the first one in bucket b. Bit 0 chooses no bucket: see `Search`.
 */
export class TermSums {
  readonly size: number;
  readonly low: Int32Array;
  readonly high: Int32Array;
  /** Indices of the terms, ascending, as the digits of a number to the base `terms`. */
  readonly digits: Uint32Array;
  readonly start: Uint32Array;
  readonly #base: number;

  constructor(terms: Terms, size: number, bucketBits: number) {
    const base = terms.low.length;
    this.size = size;
    this.#base = base;
    const count = combinations(base, size);
    this.low = new Int32Array(count);
    this.high = new Int32Array(count);
    this.digits = new Uint32Array(count);
    this.start = new Uint32Array(2 ** bucketBits + 1);
    const mask = 2 ** bucketBits - 1;
    // Twice the same walk: it counts what goes into each bucket, then puts it there.
    forEachSum(terms, size, (low) => {
      this.start[((low >>> 1) & mask) + 1]++;
    });
    for (let i = 1; i < this.start.length; i++) this.start[i] += this.start[i - 1];
    const next = this.start.slice();
    forEachSum(terms, size, (low, high, digits) => {
      const at = next[(low >>> 1) & mask]++;
      this.low[at] = low;
      this.high[at] = high;
      this.digits[at] = digits;
    });
  }

  /** The least `digits` of a sum that has all its terms behind those of `digits` here. */
  digitsBehind(digits: number, other: TermSums): number {
    return this.size === 0 ? 0 : ((digits % this.#base) + 1) * this.#base ** (other.size - 1);
  }

  indices(at: number): number[] {
    let rest = this.digits[at];
    return Array.from({ length: this.size }, () => {
      const index = rest % this.#base;
      rest = Math.floor(rest / this.#base);
      return index;
    });
  }
}

export function combinations(of: number, size: number): number {
  let count = 1;
  for (let i = 0; i < size; i++) count = (count * (of - i)) / (i + 1);
  return Math.round(count);
}

function forEachSum(
  { low, high }: Terms,
  size: number,
  visit: (low: number, high: number, digits: number) => void,
): void {
  const base = low.length;
  const deeper = (first: number, left: number, l: number, h: number, digits: number): void => {
    if (left === 0) {
      visit(l, h, digits);
      return;
    }
    for (let i = first; i < base; i++) {
      deeper(i + 1, left - 1, l ^ low[i], h ^ high[i], digits * base + i);
    }
  };
  deeper(0, size, 0, 0, 0);
}
