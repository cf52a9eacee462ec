import { Errno } from '../../src/base/errno.ts';
import { PAGE_BYTES, pagesSpanned } from '../../src/base/units.ts';
import { Access, holdUserPages, UserHold } from '../../src/memory/address-space.ts';
import { pinPages } from '../../src/memory/holds.ts';
import type { Transfer } from './carrier.ts';

/**
 * The array between get_user_pages() and everything else: the memory of a transfer as page frames,
 * so many at a time, each pinned.
 *
 *   pages.start(transfer, true);
 *   while (pages.next()) use(pages.frames, pages.count, pages.offset, pages.bytes);
 *   if (pages.status < 0) …   what was given before is the caller's
 *
 * `pinsCache`: pages of the cache get a pin as well, so that one release fits all of them.
 */
export class PageArray {
  readonly frames: Uint32Array;
  /** Of the batch: frames, where it starts in the first, and bytes in all. */
  count = 0;
  offset = 0;
  bytes = 0;
  /** False: pages of the cache. */
  isUser = true;
  status = 0;
  #transfer: Transfer | null = null;
  #pinsCache = false;
  #done = 0;
  #cacheDone = 0;

  constructor(batchPages: number) {
    this.frames = new Uint32Array(batchPages);
  }

  start(transfer: Transfer, pinsCache: boolean): void {
    this.#transfer = transfer;
    this.#pinsCache = pinsCache;
    this.#done = 0;
    this.#cacheDone = 0;
    this.status = 0;
  }

  next(): boolean {
    const transfer = this.#transfer as Transfer;
    const left = transfer.bytes - this.#done;
    if (left === 0) return this.#nextOfCache(transfer);
    const { frames } = this;
    const addr = transfer.addr + this.#done;
    const offset = addr % PAGE_BYTES;
    const wanted = Math.min(pagesSpanned(offset, left), frames.length);
    const { READ } = Access;
    const got = holdUserPages(transfer.space, addr, wanted, READ, UserHold.PIN, frames, 0);
    if (got <= 0) {
      this.status = got < 0 ? got : -Errno.EFAULT;
      return false;
    }
    const room = got * PAGE_BYTES - offset;
    this.count = got;
    this.offset = offset;
    this.bytes = left < room ? left : room;
    this.isUser = true;
    this.#done += this.bytes;
    return true;
  }

  #nextOfCache(transfer: Transfer): boolean {
    const { frames } = this;
    const { cachePages, cacheFirst } = transfer;
    const first = this.#cacheDone;
    const count = Math.min(transfer.cacheCount - first, frames.length);
    if (count === 0) return false;
    for (let i = 0; i < count; i++) {
      const page = cachePages[cacheFirst + first + i];
      if (this.#pinsCache) pinPages(page, 1);
      frames[i] = page;
    }
    this.count = count;
    this.offset = 0;
    this.bytes = count * PAGE_BYTES;
    this.isUser = false;
    this.#cacheDone = first + count;
    return true;
  }
}
