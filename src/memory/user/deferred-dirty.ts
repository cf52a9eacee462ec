import { assert } from '../../base/assert.ts';
import { dirtyFolio, isDirty, isZeroPage, maybePinned, unpinList } from '../holds.ts';
import type { FolioLocks } from './folio-lock.ts';
import { tryUnpinUserPagesDirtyLock } from './unpin-user-pages.ts';

export const DirtyState = { IDLE: 0, PREPARED: 1, QUEUED: 2 } as const;
export type DirtyState = (typeof DirtyState)[keyof typeof DirtyState];

const DIRTY_NEXT: Readonly<Record<DirtyState, readonly DirtyState[]>> = {
  [DirtyState.IDLE]: [DirtyState.PREPARED],
  [DirtyState.PREPARED]: [DirtyState.IDLE, DirtyState.QUEUED],
  [DirtyState.QUEUED]: [DirtyState.IDLE],
};

/**
 * The dirty bits of one asynchronous read. Marking before the transfer alone is not enough, because
 * writeback may clean a folio while the device still writes; taking the folio lock at completion
 * may have to wait. So: mark before, look again after, and leave only what was cleaned to a worker.
 * Reused read after read; one read at a time.
 * Linux: bio_set_pages_dirty(), bio_check_pages_dirty().
 */
export class DeferredDirty {
  readonly #locks: FolioLocks;
  readonly #defer: (run: () => void) => void;
  #state: DirtyState = DirtyState.IDLE;
  #pages: Uint32Array = new Uint32Array(0);
  #next = 0;
  #end = 0;
  #released: (() => void) | null = null;

  /** `defer`: runs a function later, where waiting for a lock is allowed. */
  constructor(locks: FolioLocks, defer: (run: () => void) => void) {
    this.#locks = locks;
    this.#defer = defer;
  }

  get state(): DirtyState {
    return this.#state;
  }

  /**
   * Before submission: marks the folios under pages[at … at + count). A folio that is locked now
   * stays as it is, and is found clean at the end. The list stays unchanged until it is released.
   * Pre: each entry is pinned.
   */
  prepare(pages: Uint32Array, at: number, count: number): void {
    this.#go(DirtyState.PREPARED);
    assert(at >= 0 && at + count <= pages.length, 'deferred dirty: outside the list');
    this.#pages = pages;
    this.#next = at;
    this.#end = at + count;
    for (let i = at; i < at + count; i++) {
      const page = pages[i];
      if (isZeroPage(page)) continue;
      assert(maybePinned(page), 'deferred dirty: the folio is not pinned');
      if (!this.#locks.isLocked(page)) dirtyFolio(page);
    }
  }

  /**
   * After the last byte: unpins and returns true, or, when a folio was cleaned meanwhile, leaves
   * dirtying and unpinning to the worker, which calls `released` at the end. Either way the caller
   * has given its pins away.
   */
  complete(released: () => void): boolean {
    if (this.#areAllDirty()) {
      this.#go(DirtyState.IDLE);
      unpinList(this.#pages, this.#next, this.#end - this.#next);
      return true;
    }
    this.#go(DirtyState.QUEUED);
    this.#released = released;
    this.#defer(this.#run);
    return false;
  }

  readonly #run = (): void => {
    const count = this.#end - this.#next;
    this.#next += tryUnpinUserPagesDirtyLock(this.#locks, this.#pages, this.#next, count, true);
    if (this.#next < this.#end) {
      this.#locks.whenUnlocked(this.#pages[this.#next], this.#run);
      return;
    }
    const released = this.#released;
    this.#released = null;
    this.#go(DirtyState.IDLE);
    released?.();
  };

  #areAllDirty(): boolean {
    for (let i = this.#next; i < this.#end; i++) {
      const page = this.#pages[i];
      if (!isDirty(page) && !isZeroPage(page)) return false;
    }
    return true;
  }

  #go(to: DirtyState): void {
    assert(DIRTY_NEXT[this.#state].includes(to), 'deferred dirty: one read at a time, in order');
    this.#state = to;
  }
}
