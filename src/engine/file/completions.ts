import { assert } from '../../base/assert.ts';
import type { Env } from '../../base/env.ts';

// Ring of finished tags. Bounded: an engine never has more than its depth in flight, and a tag
// counts as in flight until it is reaped.

/** What finished and was not reaped, and who wants to hear of it. */
export class Completions {
  readonly #env: Env;
  readonly #ring: Uint32Array;
  #first = 0;
  #count = 0;
  #wake: (() => void) | null = null;
  #isDeferred = false;

  constructor(env: Env, depth: number) {
    this.#env = env;
    this.#ring = new Uint32Array(depth);
  }

  push(tag: number): void {
    const ring = this.#ring;
    assert(this.#count < ring.length, 'completions: more than the depth');
    ring[(this.#first + this.#count) % ring.length] = tag;
    this.#count++;
    if (this.#wake !== null) this.#deferWake();
  }

  take(tags: Uint32Array, max: number): number {
    const ring = this.#ring;
    const count = Math.min(this.#count, max, tags.length);
    for (let i = 0; i < count; i++) tags[i] = ring[(this.#first + i) % ring.length];
    this.#first = (this.#first + count) % ring.length;
    this.#count -= count;
    return count;
  }

  arm(wake: () => void): void {
    this.#wake = wake;
    if (this.#count > 0) this.#deferWake();
  }

  /** One turn later, so that all that finishes in this turn is reaped at once. */
  #deferWake(): void {
    if (this.#isDeferred) return;
    this.#isDeferred = true;
    this.#env.defer(this.#fire);
  }

  readonly #fire = (): void => {
    this.#isDeferred = false;
    const wake = this.#wake;
    if (wake === null || this.#count === 0) return; // Reaped meanwhile: stays armed.
    this.#wake = null;
    wake();
  };
}
