import { assert } from '../base/assert.ts';
import { pagesSpanned } from '../base/units.ts';
import { type IovIter, IterKind } from '../iter/iov-iter.ts';
import type { Iovec } from '../iter/iovec.ts';
import { Access } from '../memory/address-space.ts';
import { pinPages, unpinPages } from '../memory/holds.ts';

// A bounced read touches the program's memory only when it ends. Pages of an arena could be
// released and handed to somebody else until then, so they are pinned although the device never
// sees them. Arrays of the outside are kept alive by the iterator's reference to them.

/**
 * Pins what lies under the next `bytes` of `iter` and moves behind it. Pages pinned, or -1 when
 * some memory was released before; then nothing stays pinned.
 */
export function pinForCopy(iter: IovIter, bytes: number): number {
  if (iter.kind !== IterKind.BYTES) {
    iter.advance(bytes);
    return 0;
  }
  let pages = 0;
  let done = 0;
  while (done < bytes) {
    const len = iter.piece(Access.WRITE, bytes - done);
    const want = len > 0 && iter.view === null ? pagesSpanned(iter.pageOffset, len) : 0;
    const got = want > 0 ? pinPages(iter.page, want) : 0;
    if (len <= 0 || got < want) {
      if (got > 0) unpinPages(iter.page, got);
      iter.revert(done);
      unpinAfterCopy(iter, done);
      iter.revert(done);
      return -1;
    }
    pages += want;
    done += len;
    iter.advance(len);
  }
  return pages;
}

/** The inverse, from the same position over the same bytes. Moves behind them. */
export function unpinAfterCopy(iter: IovIter, bytes: number): number {
  if (iter.kind !== IterKind.BYTES) {
    iter.advance(bytes);
    return 0;
  }
  let pages = 0;
  let done = 0;
  while (done < bytes) {
    const len = pieceOrRest(iter, bytes - done);
    if (iter.view === null) {
      const count = pagesSpanned(iter.pageOffset, len);
      unpinPages(iter.page, count);
      pages += count;
    }
    done += len;
    iter.advance(len);
  }
  return pages;
}

/** True when the next `bytes` of `iter` can be had at all: none was released. Moves nothing. */
export function isThere(iter: IovIter, bytes: number): boolean {
  if (pinForCopy(iter, bytes) < 0) return false;
  iter.revert(bytes);
  unpinAfterCopy(iter, bytes);
  iter.revert(bytes);
  return true;
}

/** A piece that a detached array no longer has is walked over all the same. */
function pieceOrRest(iter: IovIter, most: number): number {
  const len = iter.piece(Access.WRITE, most);
  if (len > 0) {
    if (iter.view === null) return len;
    return Math.min(most, iter.segmentBytes(iter.segment) - iter.pageOffset);
  }
  assert(iter.view !== null, 'unpin: pinned memory is gone');
  return Math.min(most, iter.segmentBytes(iter.segment) - iter.pageOffset);
}

/** The first array that its owner detached or shrank since it was imported, or -1. */
export function detachedRow(iovec: Iovec): number {
  for (let row = 0; row < iovec.rows; row++) {
    const view = iovec.views[row];
    if (view !== null && view !== undefined && view.length < iovec.len[row]) return row;
  }
  return -1;
}
