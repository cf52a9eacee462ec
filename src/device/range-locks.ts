import { assert } from '../base/assert.ts';

// A write that covers a block only in part reads the block, changes it and writes it back. Between
// the two, nobody else may write there: concurrent writers would lose bytes. Plain writes only
// enter their range, so that such a cycle can wait for them; they never wait for each other.

/** A write of a range of the device, in flight or waiting for its turn. */
export interface RangeHolder {
  /** Bytes, rounded out to blocks: [lockStart, lockEnd). */
  readonly lockStart: number;
  readonly lockEnd: number;
  /** True for a read-modify-write cycle. */
  readonly isExclusive: boolean;
}

/** FIFO: a waiting cycle is not overtaken by a write that overlaps it. */
export class RangeLocks<Holder extends RangeHolder> {
  readonly #held: Holder[] = [];
  readonly #waiting: Holder[] = [];
  #exclusive = 0;

  get isIdle(): boolean {
    return this.#held.length === 0 && this.#waiting.length === 0;
  }

  /** True when `holder` has the range now; false when it must wait for `release` to name it. */
  acquire(holder: Holder): boolean {
    if (this.#conflicts(holder, this.#waiting.length)) {
      this.#waiting.push(holder);
      if (holder.isExclusive) this.#exclusive++;
      return false;
    }
    this.#held.push(holder);
    if (holder.isExclusive) this.#exclusive++;
    return true;
  }

  /** Gives the range back; `granted` is called for each waiter that has its range now. */
  release(holder: Holder, granted: (holder: Holder) => void): void {
    const at = this.#held.indexOf(holder);
    assert(at >= 0, 'range locks: released without a lock');
    this.#held[at] = this.#held[this.#held.length - 1];
    this.#held.pop();
    if (holder.isExclusive) this.#exclusive--;
    this.#grant(0, granted);
  }

  /** Takes a waiter out of the queue; those behind it may go now. */
  forget(holder: Holder, granted: (holder: Holder) => void): void {
    const at = this.#waiting.indexOf(holder);
    if (at < 0) return;
    this.#waiting.splice(at, 1);
    if (holder.isExclusive) this.#exclusive--;
    this.#grant(at, granted);
  }

  #grant(first: number, granted: (holder: Holder) => void): void {
    for (let i = first; i < this.#waiting.length; ) {
      const next = this.#waiting[i];
      if (this.#conflicts(next, i)) {
        i++;
        continue;
      }
      this.#waiting.splice(i, 1);
      this.#held.push(next);
      granted(next);
    }
  }

  /** Against all holders, and the waiters before `ahead`. */
  #conflicts(holder: Holder, ahead: number): boolean {
    if (this.#exclusive === 0 && !holder.isExclusive) return false;
    for (const other of this.#held) if (clash(holder, other)) return true;
    for (let i = 0; i < ahead; i++) if (clash(holder, this.#waiting[i])) return true;
    return false;
  }
}

function clash(a: RangeHolder, b: RangeHolder): boolean {
  if (!a.isExclusive && !b.isExclusive) return false;
  return a.lockStart < b.lockEnd && b.lockStart < a.lockEnd;
}
