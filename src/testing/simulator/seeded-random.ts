import { assert } from '../../base/assert.ts';

/**
 * A small deterministic generator: sfc32, 128 bits of state, passes PractRand. The same seed gives
 * the same numbers on every machine; nothing here may ever ask the host for randomness.
 */
export class SeededRandom {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number) {
    assert(Number.isSafeInteger(seed) && seed >= 0, 'random: the seed is no whole number >= 0');
    this.#a = seed >>> 0;
    this.#b = Math.floor(seed / 2 ** 32) >>> 0;
    this.#c = 0x9e3779b9;
    this.#mix();
  }

  /** Starts the numbers of step `index` of `seed` anew, so that no step depends on another's. */
  reseed(seed: number, index: number): void {
    this.#a = seed >>> 0;
    this.#b = index >>> 0;
    this.#c = 0x9e3779b9 ^ Math.floor(seed / 2 ** 32);
    this.#counter = 1;
    this.#mix();
  }

  /** The first numbers of neighbouring seeds are alike; twelve rounds part them. */
  #mix(): void {
    let a = this.#a;
    let b = this.#b;
    let c = this.#c;
    // As `uint32`, in locals: a world does this twice a step.
    for (let counter = 1; counter <= 12; counter++) {
      const sum = (a + b + counter) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (((c << 21) | (c >>> 11)) + sum) | 0;
    }
    this.#a = a >>> 0;
    this.#b = b >>> 0;
    this.#c = c;
    this.#counter = 13;
  }

  uint32(): number {
    const sum = (this.#a + this.#b + this.#counter) >>> 0;
    this.#counter = (this.#counter + 1) >>> 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) >>> 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) >>> 0;
    return sum;
  }

  /** 0 … count - 1. */
  below(count: number): number {
    assert(count > 0 && count <= 2 ** 32, 'random: nothing to choose from');
    return Math.floor((this.uint32() / 2 ** 32) * count);
  }

  /** Both ends included. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  /** True in `probability` of the cases; 0 is never. */
  chance(probability: number): boolean {
    return this.uint32() < probability * 2 ** 32;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }

  /** A generator of its own, so that one part may draw more without changing the others. */
  fork(): SeededRandom {
    return new SeededRandom(this.uint32());
  }
}
