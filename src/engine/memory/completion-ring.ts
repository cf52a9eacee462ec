import { assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';

/** Runs `callback` once, later, from the loop: setImmediate, or the simulator's clock. */
export type Defer = (callback: () => void) => void;

/**
 * Finished tags on their way to `reap`, and the one wake that tells of them. For engines that
 * finish a request inside `submit`. Bounded: its room is what the engine may still accept.
 */
export class CompletionRing {
  readonly #tags: Uint32Array;
  readonly #defer: Defer;
  #head = 0;
  #count = 0;
  #wake: (() => void) | null = null;
  #isDeferred = false;

  constructor(depth: number, defer: Defer) {
    assert(depth > 0, 'completion ring: no room at all');
    this.#tags = new Uint32Array(depth);
    this.#defer = defer;
  }

  /** Tags that were pushed and not drained. */
  get count(): number {
    return this.#count;
  }

  get room(): number {
    return this.#tags.length - this.#count;
  }

  /** Pre: room > 0. Tells nobody: `notify` does, once for a whole batch. */
  push(tag: number): void {
    const size = this.#tags.length;
    assert(this.#count < size, 'completion ring: full');
    let at = this.#head + this.#count;
    if (at >= size) at -= size;
    this.#tags[at] = tag;
    this.#count++;
  }

  /** Moves at most `max` tags to `out`, oldest first, and returns how many. */
  drain(out: Uint32Array, max: number): number {
    const tags = this.#tags;
    const count = max < this.#count ? max : this.#count;
    let at = this.#head;
    for (let i = 0; i < count; i++) {
      out[i] = tags[at];
      if (++at === tags.length) at = 0;
    }
    this.#head = at;
    this.#count -= count;
    return count;
  }

  /** 0 when `tag` waits here, so that it will be reaped; -ENOENT otherwise. */
  find(tag: number): number {
    const tags = this.#tags;
    for (let i = 0; i < this.#count; i++) {
      if (tags[(this.#head + i) % tags.length] === tag) return 0;
    }
    return -Errno.ENOENT;
  }

  /** Calls `wake` once, later, when there is something to drain. A second one replaces it. */
  arm(wake: () => void): void {
    this.#wake = wake;
    this.notify();
  }

  /** After pushes. */
  notify(): void {
    if (this.#wake === null || this.#count === 0 || this.#isDeferred) return;
    this.#isDeferred = true;
    this.#defer(this.#fire);
  }

  readonly #fire = (): void => {
    this.#isDeferred = false;
    const wake = this.#wake;
    // Somebody may have drained it meanwhile; then it stays armed for the next push.
    if (wake === null || this.#count === 0) return;
    this.#wake = null;
    wake();
  };
}
