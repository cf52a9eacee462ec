import { assert } from '../../base/assert.ts';
import { FrameFlag, frameOf, type Region, regionOf } from '../region.unsafe.ts';

/** The lock of each folio and who waits for it. Linux: folio_lock(), folio_unlock(). */
export class FolioLocks {
  /** Head page → callbacks in the order of their arrival. */
  readonly #waiting = new Map<number, (() => void)[]>();
  readonly #ready: (() => void)[] = [];
  #isDraining = false;

  /** True: the caller has the lock now, and gives it back with `unlock`. */
  tryLock(page: number): boolean {
    const region = regionOf(page);
    const head = region.head[frameOf(page)];
    if ((region.flags[head] & FrameFlag.LOCKED) !== 0) return false;
    region.flags[head] |= FrameFlag.LOCKED;
    return true;
  }

  isLocked(page: number): boolean {
    const region = regionOf(page);
    return (region.flags[region.head[frameOf(page)]] & FrameFlag.LOCKED) !== 0;
  }

  /**
   * Pre: locked. Everybody who waited is called, first come first; who still finds the folio
   * locked waits again. A call from inside such a callback queues behind it: no recursion.
   */
  unlock(page: number): void {
    const region = regionOf(page);
    const head = region.head[frameOf(page)];
    assert((region.flags[head] & FrameFlag.LOCKED) !== 0, 'folio lock: unlocked twice');
    region.flags[head] &= ~FrameFlag.LOCKED;
    this.#wakeAll(region, head);
  }

  /** Calls `wake` once, after the next unlock. Pre: locked. */
  whenUnlocked(page: number, wake: () => void): void {
    const region = regionOf(page);
    const head = region.head[frameOf(page)];
    assert((region.flags[head] & FrameFlag.LOCKED) !== 0, 'folio lock: nothing to wait for');
    const key = region.firstPage + head;
    const queue = this.#waiting.get(key);
    if (queue === undefined) this.#waiting.set(key, [wake]);
    else queue.push(wake);
  }

  /** Folios that somebody waits for. */
  get waitingFolios(): number {
    return this.#waiting.size;
  }

  #wakeAll(region: Region, head: number): void {
    if (this.#waiting.size === 0) return;
    const key = region.firstPage + head;
    const queue = this.#waiting.get(key);
    if (queue === undefined) return;
    this.#waiting.delete(key);
    this.#ready.push(...queue);
    if (this.#isDraining) return;
    this.#isDraining = true;
    try {
      for (let next = this.#ready.shift(); next !== undefined; next = this.#ready.shift()) next();
    } finally {
      this.#isDraining = false;
    }
  }
}
