import { assert } from '../../base/assert.ts';

/**
 * Lets numbered callers through one at a time, in the order of their numbers: for streams, between
 * slots that otherwise run free.
 */
export class Turnstile {
  #next = 0;
  #isOpen = false;
  readonly #waiting = new Map<number, () => void>();

  /** Resolves when everybody before `index` has passed, or when `open` gave up the order. */
  enter(index: number): Promise<void> {
    if (index === this.#next || this.#isOpen) return Promise.resolve();
    assert(index > this.#next && !this.#waiting.has(index), 'turnstile: entered twice');
    return new Promise((resolve) => this.#waiting.set(index, resolve));
  }

  /** Pre: the caller of `index` is inside. */
  leave(index: number): void {
    if (this.#isOpen) return;
    assert(index === this.#next, 'turnstile: left out of order');
    this.#next++;
    const next = this.#waiting.get(this.#next);
    this.#waiting.delete(this.#next);
    next?.();
  }

  /** Somebody failed, so that the next number never comes: lets all through, to look and leave. */
  open(): void {
    this.#isOpen = true;
    for (const resolve of this.#waiting.values()) resolve();
    this.#waiting.clear();
  }
}
