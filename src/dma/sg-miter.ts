import { assert } from '../base/assert.ts';
import { PAGE_BYTES, PAGE_SHIFT } from '../base/units.ts';
import { enterAtomic, leaveAtomic } from './atomic-section.ts';
import { dmaOwnership } from './ownership.ts';
import { SgCursor, type SgList } from './sg-list.ts';

export const MiterFlag = {
  /** The caller must not sleep between `next` and `stop`. */
  ATOMIC: 1,
  /** The same for a mapping of this thread alone. */
  LOCAL: 2,
  /** The caller writes to the list: each page is flushed when it is let go. */
  TO_SG: 4,
  /** The caller reads from the list. */
  FROM_SG: 8,
} as const;

/** Makes what the CPU wrote to `page` visible to others. Linux: flush_dcache_page(). */
export type FlushPage = (page: number) => void;

/**
 * Walks a list page by page: every piece lies in one page.
 *
 *   miter.start(list, MiterFlag.FROM_SG);
 *   while (miter.next()) use(miter.page, miter.offset, miter.length);
 *   miter.stop();
 *
 * `consumed` is `length` after `next`; lower it, and the walk goes on behind what was consumed.
 * Linux: struct sg_mapping_iter, sg_miter_start(), _next(), _skip(), _stop().
 */
export class SgMiter {
  /** The mapped piece; valid until the next `next`, `skip` or `stop`. */
  page = 0;
  /** Bytes from the start of `page`, < 4096. */
  offset = 0;
  length = 0;
  /** Bytes of the piece that are done with, at most `length`. */
  consumed = 0;
  isMapped = false;
  readonly #cursor = new SgCursor();
  readonly #flush: FlushPage | null;
  #flags = 0;
  /** Bytes of the current entry that are behind. */
  #done = 0;

  constructor(flush: FlushPage | null = null) {
    this.#flush = flush;
  }

  start(list: SgList, flags: number): void {
    assert(!this.isMapped, 'sg miter: started while a page is mapped');
    const both = MiterFlag.TO_SG | MiterFlag.FROM_SG;
    assert((flags & both) !== 0, 'sg miter: neither TO_SG nor FROM_SG');
    this.#flags = flags;
    this.#cursor.start(list);
    this.#cursor.len = 0;
    this.#done = 0;
  }

  /** Maps the next piece; false at the end, and then nothing is mapped. */
  next(): boolean {
    this.stop();
    if (!this.#enter()) return false;
    const { page, offset, len } = this.#cursor;
    const at = offset + this.#done;
    this.page = page + (at >>> PAGE_SHIFT);
    this.offset = at & (PAGE_BYTES - 1);
    const room = PAGE_BYTES - this.offset;
    const rest = len - this.#done;
    this.length = rest < room ? rest : room;
    dmaOwnership.assertCpuOwns(this.page, this.offset, this.length);
    this.consumed = this.length;
    this.isMapped = true;
    if ((this.#flags & (MiterFlag.ATOMIC | MiterFlag.LOCAL)) !== 0) enterAtomic();
    return true;
  }

  /** Moves `bytes` on without mapping. False: the list ended before, and so did the walk. */
  skip(bytes: number): boolean {
    this.stop();
    let left = bytes;
    while (left > 0) {
      if (!this.#enter()) return false;
      const rest = this.#cursor.len - this.#done;
      const step = left < rest ? left : rest;
      this.#done += step;
      left -= step;
    }
    return true;
  }

  /** Lets the page go, behind what was consumed. The walk may go on. */
  stop(): void {
    if (!this.isMapped) return;
    const isInside = this.consumed >= 0 && this.consumed <= this.length;
    assert(isInside, 'sg miter: more consumed than was mapped');
    this.#done += this.consumed;
    if ((this.#flags & MiterFlag.TO_SG) !== 0 && this.#flush !== null) this.#flush(this.page);
    if ((this.#flags & (MiterFlag.ATOMIC | MiterFlag.LOCAL)) !== 0) leaveAtomic();
    this.isMapped = false;
    this.length = 0;
    this.consumed = 0;
  }

  /** The entry that has bytes left, or false. */
  #enter(): boolean {
    if (this.#done < this.#cursor.len) return true;
    this.#done = 0;
    if (this.#cursor.next()) return true;
    this.#cursor.len = 0;
    return false;
  }
}
