import { assert } from '../base/assert.ts';

/** One operation that may have to wait for the file. */
export interface LockHolder {
  readonly isExclusive: boolean;
  /** It has the lock now. Runs later, from the loop. */
  readonly wake: () => void;
}

/**
 * Many readers or one writer, first come first served: a stream of readers never starves a
 * truncate. Linux: inode->i_rwsem.
 */
export class FileLock {
  readonly #waiting: LockHolder[] = [];
  #shared = 0;
  #isExclusive = false;

  get isIdle(): boolean {
    return this.#shared === 0 && !this.#isExclusive && this.#waiting.length === 0;
  }

  /** True: it has the lock. False: `wake` says when. */
  acquire(holder: LockHolder): boolean {
    if (this.#waiting.length > 0 || !this.#canEnter(holder)) {
      this.#waiting.push(holder);
      return false;
    }
    this.#enter(holder);
    return true;
  }

  release(holder: LockHolder): void {
    if (holder.isExclusive) {
      assert(this.#isExclusive, 'file lock: released twice');
      this.#isExclusive = false;
    } else {
      assert(this.#shared > 0, 'file lock: released twice');
      this.#shared--;
    }
    while (this.#waiting.length > 0 && this.#canEnter(this.#waiting[0])) {
      const next = this.#waiting.shift() as LockHolder;
      this.#enter(next);
      next.wake();
    }
  }

  #canEnter(holder: LockHolder): boolean {
    return !this.#isExclusive && (!holder.isExclusive || this.#shared === 0);
  }

  #enter(holder: LockHolder): void {
    if (holder.isExclusive) this.#isExclusive = true;
    else this.#shared++;
  }
}
