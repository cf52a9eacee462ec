import { type Summary, summarize } from './stats.ts';

const STEPS = 10_000_000;

/** Milliseconds of a fixed piece of arithmetic: on a quiet machine always the same. */
export function noiseMs(): number {
  const start = performance.now();
  let x = 1;
  for (let i = 0; i < STEPS; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
  }
  const ms = performance.now() - start;
  // The period of this generator is 2^32 - 1, so it never comes to 0; the loop has to be run.
  if (x === 0) throw new Error('xorshift came to 0');
  return ms;
}

/** Collects the noise of a row's rounds. */
export class Noise {
  readonly #values: number[] = [];

  constructor() {
    noiseMs(); // The compiler learns the loop.
  }

  sample(): void {
    this.#values.push(noiseMs());
  }

  get summary(): Summary {
    return summarize(this.#values);
  }
}
