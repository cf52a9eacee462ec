import { assert } from '../base/assert.ts';
import { BlockError } from '../base/block-error.ts';
import type { PageWaiter, TupleCache } from './tuple-cache.ts';

/** Pins of tuple pages for control code. One call at a time. */
export class PagePins implements PageWaiter {
  pagesLoading = 0;
  pagesStatus = 0;
  readonly #cache: TupleCache;
  #ready: (() => void) | null = null;

  constructor(cache: TupleCache) {
    this.#cache = cache;
  }

  pagesReady(): void {
    this.#ready?.();
  }

  /** Pages first … first + count are pinned and there. Rejects with BlockError, nothing pinned. */
  async pin(first: number, count: number): Promise<void> {
    assert(this.pagesLoading === 0, 'protect: pages pinned twice at once');
    this.pagesStatus = 0;
    for (let index = first; index < first + count; index++) {
      assert(this.#cache.pin(index, this), 'protect: more pins than pages in memory');
    }
    if (this.pagesLoading > 0) {
      await new Promise<void>((resolve) => {
        this.#ready = resolve;
      });
    }
    if (this.pagesStatus === 0) return;
    this.unpin(first, count);
    const reason = `tuple pages ${first} to ${first + count - 1} cannot be read`;
    throw BlockError.fromErrno(this.pagesStatus, { reason });
  }

  unpin(first: number, count: number): void {
    for (let index = first; index < first + count; index++) this.#cache.unpin(index);
  }
}
