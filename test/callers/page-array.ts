// The old way: an array of pages, with an offset in the first and a short last one. The loops of
// `*-arrays.ts` stand on it, to be compared with the same callers on `forEachPage`.

import { Errno } from '../../src/base/errno.ts';
import { PAGE_BYTES } from '../../src/base/units.ts';
import type { IovIter } from '../../src/iter/iov-iter.ts';
import { holdOf } from '../../src/iter/iter-extract.ts';
import { getPages, HoldKind, pinPages } from '../../src/memory/holds.ts';

export class PageArray {
  readonly pages: number[] = [];
  /** Of the first byte, in the first page. */
  offset0 = 0;
}

/**
 * Holds the pages under one contiguous segment and moves the iterator behind them. Bytes, or a
 * negative errno when not even one page could be had. Linux: iov_iter_get_pages(), 2017.
 */
export function getPageArray(
  iter: IovIter,
  array: PageArray,
  bytesMax: number,
  pagesMax: number,
  wish: HoldKind,
): number {
  const hold = holdOf(iter, wish);
  const { pages } = array;
  pages.length = 0;
  let bytes = 0;
  let segment = -1;
  while (bytes < bytesMax && iter.count > 0 && pages.length < pagesMax) {
    const found = iter.piece(iter.access, bytesMax - bytes);
    if (bytes > 0) {
      const isJoint = iter.segment !== segment;
      if (isJoint && (iter.isUserBacked || iter.pageOffset !== 0)) break;
      if (isJoint && (array.offset0 + bytes) % PAGE_BYTES !== 0) break;
    }
    const isHeld = found > 0 && iter.view === null && holdOne(iter.page, hold);
    if (!isHeld) return bytes > 0 ? bytes : found < 0 ? found : -Errno.EFAULT;
    segment = iter.segment;
    if (bytes === 0) array.offset0 = iter.pageOffset;
    pages.push(iter.page);
    const len = Math.min(found, PAGE_BYTES - iter.pageOffset);
    iter.advance(len);
    bytes += len;
  }
  return bytes;
}

function holdOne(page: number, hold: HoldKind): boolean {
  if (hold === HoldKind.PINNED) return pinPages(page, 1) === 1;
  return hold === HoldKind.BORROWED || getPages(page, 1) === 1;
}
