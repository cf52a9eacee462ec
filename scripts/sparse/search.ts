import { combinations, SUM_TERMS_MAX, TermSums, termsOf } from './term-sums.ts';

// Meets in the middle: if the terms of a multiple XOR to 1, the XOR of some of them is that of the
// others, but for bit 0. There are too many XORs of half of the terms to keep them (2^36 of five),
// so each slice looks at those alone that agree in some bits. A half is made of two parts of up to
// three terms, which are kept: for one part, the other comes from the bucket with the right bits.
// A multiple of ten terms has 252 halves and is found when the first of them comes.

export interface SearchOptions {
  /** With its highest term. */
  readonly polynomial: bigint;
  /** Distances of a multiple. */
  readonly taps: number;
  /** Range of the distances, in bytes. */
  readonly from: number;
  readonly to: number;
}

/** Halves that a slice has on average: the table of them stays in the second cache. */
const SLICE_SUMS_BITS = 16;
const TABLE_BITS = 18;
const SUMS_MAX = 2 ** 20;

export class Search {
  readonly slices: number;
  readonly #from: number;
  /** Halves: the first is kept in the table, the second is looked up. */
  readonly #kept: readonly [TermSums, TermSums];
  readonly #sought: readonly [TermSums, TermSums];
  readonly #low = new Int32Array(SUMS_MAX);
  readonly #high = new Int32Array(SUMS_MAX);
  /** Places of the two parts. */
  readonly #parts = [new Uint32Array(SUMS_MAX), new Uint32Array(SUMS_MAX)] as const;
  /** Chains through the sums of one slot; -1 ends them. */
  readonly #next = new Int32Array(SUMS_MAX);
  readonly #head = new Int32Array(2 ** TABLE_BITS);

  constructor({ polynomial, taps, from, to }: SearchOptions) {
    if (taps < 2 || taps > 4 * SUM_TERMS_MAX) throw new Error('search: 2 to 12 distances');
    const terms = termsOf(polynomial, from, to);
    this.#from = from;
    const half = Math.floor(taps / 2);
    const halves = Math.log2(combinations(to - from + 1, half));
    const bits = Math.max(0, Math.round(halves) - SLICE_SUMS_BITS);
    this.slices = 2 ** bits;
    const made = new Map<number, TermSums>();
    const sums = (size: number): TermSums => {
      const known = made.get(size) ?? new TermSums(terms, size, bits);
      made.set(size, known);
      return known;
    };
    const parts = (of: number): [TermSums, TermSums] => {
      return [sums(Math.floor(of / 2)), sums(of - Math.floor(of / 2))];
    };
    this.#kept = parts(half);
    this.#sought = parts(taps - half);
  }

  /** The multiples that have a half in `slice`, each as its distances. */
  multiplesIn(slice: number): number[][] {
    this.#head.fill(-1);
    let count = 0;
    forEachPair(this.#kept, slice, (first, second, low, high) => {
      if (count === SUMS_MAX) throw new Error('search: a slice has too many sums');
      const slot = slotOf(low, high);
      this.#low[count] = low;
      this.#high[count] = high;
      this.#parts[0][count] = first;
      this.#parts[1][count] = second;
      this.#next[count] = this.#head[slot];
      this.#head[slot] = count++;
    });
    const found = new Map<string, number[]>();
    forEachPair(this.#sought, slice, (first, second, otherLow, high) => {
      const low = otherLow ^ 1;
      for (let i = this.#head[slotOf(low, high)]; i >= 0; i = this.#next[i]) {
        if (this.#low[i] !== low || this.#high[i] !== high) continue;
        const distances = this.#distances(i, first, second);
        if (new Set(distances).size === distances.length) found.set(String(distances), distances);
      }
    });
    return [...found.values()];
  }

  #distances(kept: number, first: number, second: number): number[] {
    const indices = [
      ...this.#kept[0].indices(this.#parts[0][kept]),
      ...this.#kept[1].indices(this.#parts[1][kept]),
      ...this.#sought[0].indices(first),
      ...this.#sought[1].indices(second),
    ];
    return indices.map((i) => i + this.#from).sort((a, b) => a - b);
  }
}

/** Each half of the slice once: all terms of the first part stand before those of the second. */
function forEachPair(
  [first, second]: readonly [TermSums, TermSums],
  slice: number,
  visit: (first: number, second: number, low: number, high: number) => void,
): void {
  const mask = second.start.length - 2;
  for (let i = 0; i < first.low.length; i++) {
    const bucket = ((first.low[i] >>> 1) & mask) ^ slice;
    const least = first.digitsBehind(first.digits[i], second);
    const start = second.start[bucket];
    for (let j = second.start[bucket + 1] - 1; j >= start && second.digits[j] >= least; j--) {
      visit(i, j, first.low[i] ^ second.low[j], first.high[i] ^ second.high[j]);
    }
  }
}

function slotOf(low: number, high: number): number {
  return (Math.imul(low | 1, 0x9e3779b1) ^ Math.imul(high, 0x85ebca6b)) >>> (32 - TABLE_BITS);
}
