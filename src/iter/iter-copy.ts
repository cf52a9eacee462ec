import { assert } from '../base/assert.ts';
import { PAGE_BYTES, PAGE_SHIFT } from '../base/units.ts';
import { Access } from '../memory/address-space.ts';
import { copyIn, copyOut, copyPages, moveBytes, zeroPages } from '../memory/copy.ts';
import { folioHead, folioPages } from '../memory/holds.ts';
import { type IovIter, IterDirection, IterKind } from './iov-iter.ts';

// Copies between an iterator and other memory: a run of page frames, or an array of the program.
//
// Every one returns the bytes copied, 0 <= r <= min(bytes, count), and moves the iterator by
// exactly r. r is less only when the next byte faults (or is a hole, or was detached), and asking
// again returns 0. The wrong direction is a bug and asserts.

/** Frames (page, offset) … → iterator. The frames may span folios, not regions. */
export function copyToIter(iter: IovIter, page: number, offset: number, bytes: number): number {
  assert(iter.direction === IterDirection.DEST, 'copyToIter: the iterator is a source');
  let done = 0;
  while (done < bytes) {
    const len = next(iter, Access.WRITE, bytes - done);
    if (len <= 0) break;
    const { view } = iter;
    if (view !== null) copyOut(view, iter.pageOffset, page, offset + done, len);
    else if (iter.kind !== IterKind.DISCARD) {
      copyPages(iter.page, iter.pageOffset, page, offset + done, len);
    }
    iter.advance(len);
    done += len;
  }
  return done;
}

/** Iterator → frames (page, offset) … */
export function copyFromIter(iter: IovIter, page: number, offset: number, bytes: number): number {
  assert(iter.direction === IterDirection.SOURCE, 'copyFromIter: the iterator is a destination');
  let done = 0;
  while (done < bytes) {
    const len = next(iter, Access.READ, bytes - done);
    if (len <= 0) break;
    const { view } = iter;
    if (view !== null) copyIn(page, offset + done, view, iter.pageOffset, len);
    else copyPages(page, offset + done, iter.page, iter.pageOffset, len);
    iter.advance(len);
    done += len;
  }
  return done;
}

/** Bytes at, at + 1 … of an array → iterator. Linux: copy_to_iter(). */
export function copyBytesToIter(
  iter: IovIter,
  from: Uint8Array,
  at: number,
  bytes: number,
): number {
  assert(iter.direction === IterDirection.DEST, 'copyBytesToIter: the iterator is a source');
  assert(at >= 0 && at + bytes <= from.length, 'copyBytesToIter: outside the array');
  let done = 0;
  while (done < bytes) {
    const len = next(iter, Access.WRITE, bytes - done);
    if (len <= 0) break;
    const { view } = iter;
    if (view !== null) moveBytes(view, iter.pageOffset, from, at + done, len);
    else if (iter.kind !== IterKind.DISCARD) {
      copyIn(iter.page, iter.pageOffset, from, at + done, len);
    }
    iter.advance(len);
    done += len;
  }
  return done;
}

/** Iterator → bytes at, at + 1 … of an array. Linux: copy_from_iter(). */
export function copyBytesFromIter(
  iter: IovIter,
  to: Uint8Array,
  at: number,
  bytes: number,
): number {
  assert(iter.direction === IterDirection.SOURCE, 'copyBytesFromIter: iterator is a destination');
  assert(at >= 0 && at + bytes <= to.length, 'copyBytesFromIter: outside the array');
  let done = 0;
  while (done < bytes) {
    const len = next(iter, Access.READ, bytes - done);
    if (len <= 0) break;
    const { view } = iter;
    if (view !== null) moveBytes(to, at + done, view, iter.pageOffset, len);
    else copyOut(to, at + done, iter.page, iter.pageOffset, len);
    iter.advance(len);
    done += len;
  }
  return done;
}

/** Zeros → iterator. Linux: iov_iter_zero(). */
export function zeroIter(iter: IovIter, bytes: number): number {
  assert(iter.direction === IterDirection.DEST, 'zeroIter: the iterator is a source');
  let done = 0;
  while (done < bytes) {
    const len = next(iter, Access.WRITE, bytes - done);
    if (len <= 0) break;
    const { view } = iter;
    if (view !== null) view.fill(0, iter.pageOffset, iter.pageOffset + len);
    else if (iter.kind !== IterKind.DISCARD) zeroPages(iter.page, iter.pageOffset, len);
    iter.advance(len);
    done += len;
  }
  return done;
}

/** The next piece; a sink has one of any size. */
function next(iter: IovIter, access: Access, bytesMax: number): number {
  if (iter.kind !== IterKind.DISCARD) return iter.piece(access, bytesMax);
  iter.view = null;
  return bytesMax < iter.count ? bytesMax : iter.count;
}

/**
 * The same inside the folio of `page`: a range that leaves it copies nothing (0).
 * Linux: copy_page_to_iter(), with page_copy_sane().
 */
export function copyPageToIter(iter: IovIter, page: number, offset: number, bytes: number): number {
  return isInFolio(page, offset, bytes) ? copyToIter(iter, page, offset, bytes) : 0;
}

/** Linux: copy_page_from_iter(). */
export function copyPageFromIter(
  iter: IovIter,
  page: number,
  offset: number,
  bytes: number,
): number {
  return isInFolio(page, offset, bytes) ? copyFromIter(iter, page, offset, bytes) : 0;
}

function isInFolio(page: number, offset: number, bytes: number): boolean {
  const end = ((page - folioHead(page)) << PAGE_SHIFT) + offset + bytes;
  return offset >= 0 && bytes >= 0 && end <= folioPages(page) * PAGE_BYTES;
}

/** All `bytes`, or none and the iterator stays. Linux: copy_to_iter_full(). */
export function copyToIterFull(
  iter: IovIter,
  page: number,
  offset: number,
  bytes: number,
): boolean {
  return isAll(iter, copyToIter(iter, page, offset, bytes), bytes);
}

/** Linux: copy_from_iter_full(). */
export function copyFromIterFull(
  iter: IovIter,
  page: number,
  offset: number,
  bytes: number,
): boolean {
  return isAll(iter, copyFromIter(iter, page, offset, bytes), bytes);
}

export function copyBytesToIterFull(
  iter: IovIter,
  from: Uint8Array,
  at: number,
  bytes: number,
): boolean {
  return isAll(iter, copyBytesToIter(iter, from, at, bytes), bytes);
}

export function copyBytesFromIterFull(
  iter: IovIter,
  to: Uint8Array,
  at: number,
  bytes: number,
): boolean {
  return isAll(iter, copyBytesFromIter(iter, to, at, bytes), bytes);
}

function isAll(iter: IovIter, copied: number, bytes: number): boolean {
  if (copied === bytes) return true;
  iter.revert(copied);
  return false;
}

/** Of the next min(bytes, count): how many cannot be read. Moves nothing. */
export function faultInReadable(iter: IovIter, bytes: number): number {
  return faultIn(iter, bytes, Access.READ);
}

/** Of the next min(bytes, count): how many cannot be written, from the first such byte on. */
export function faultInWriteable(iter: IovIter, bytes: number): number {
  return faultIn(iter, bytes, Access.WRITE);
}

function faultIn(iter: IovIter, bytes: number, access: Access): number {
  const { index, offset, nrSegs, count } = iter;
  let left = bytes < count ? bytes : count;
  while (left > 0) {
    const len = next(iter, access, left);
    if (len <= 0) break;
    iter.advance(len);
    left -= len;
  }
  iter.index = index;
  iter.offset = offset;
  iter.nrSegs = nrSegs;
  iter.count = count;
  return left;
}
