import { unreachable } from '../base/assert.ts';
import { PAGE_BYTES } from '../base/units.ts';
import type { BvecTable } from '../bvec/bvec-table.ts';
import { type IovIter, IterKind } from './iov-iter.ts';
import { OUTSIDE } from './iovec.ts';

// Questions about the shape of what is left. Answers are the low 32 bits of an OR of addresses and
// lengths, unsigned: compare them with a mask. None of them moves the iterator.

/** The answer for memory that has no address: misaligned under every mask. */
export const ALL_ONES = 0xffffffff;

/** Address of byte `done` of a segment; BVEC counts inside the entry, PAGES in the file. */
function startOf(iter: IovIter, index: number, done: number): number {
  switch (iter.kind) {
    case IterKind.BYTES:
    case IterKind.USER:
    case IterKind.KERNEL: {
      const base = iter.iovec.base[index];
      return base === OUTSIDE ? ALL_ONES : base + done;
    }
    case IterKind.BVEC:
      return (iter.table as BvecTable).offset[index] + done;
    case IterKind.PAGES:
      return iter.position + done;
    case IterKind.DISCARD:
      return 0;
    default:
      return unreachable(iter.kind);
  }
}

/**
 * OR over the non-empty segments of (start, length up to count). {0x1200, 0xE00}, {0x5000, 0x1000},
 * {0x9000, 0x10} → 0xDE10. DISCARD: 0. Linux: iov_iter_alignment().
 */
export function alignment(iter: IovIter): number {
  if (iter.kind === IterKind.DISCARD) return 0;
  const end = iter.index + iter.nrSegs;
  let left = iter.count;
  let done = iter.offset;
  let bits = 0;
  for (let index = iter.index; index < end && left > 0; index++, done = 0) {
    const rest = iter.segmentBytes(index) - done;
    if (rest === 0) continue;
    const len = rest < left ? rest : left;
    bits |= startOf(iter, index, done) | len;
    left -= len;
  }
  return bits >>> 0;
}

/**
 * What O_DIRECT asks: no segment starts off `addrMask` or has a length off `lenMask`. A zero-length
 * segment with a misaligned address counts, when it is the first or stands before the last byte;
 * an empty array of the outside has no address to be wrong. Linux: iov_iter_is_aligned().
 */
export function isAligned(iter: IovIter, addrMask: number, lenMask: number): boolean {
  if (iter.kind === IterKind.DISCARD) return true;
  const end = iter.index + iter.nrSegs;
  let left = iter.count;
  let done = iter.offset;
  let index = iter.index;
  // The end of a segment is the start of the next: nothing of it is left to be asked about.
  if (index < end && done > 0 && done === iter.segmentBytes(index)) {
    index++;
    done = 0;
  }
  for (; index < end; index++, done = 0) {
    const rest = iter.segmentBytes(index) - done;
    const len = rest < left ? rest : left;
    if ((len & lenMask) !== 0) return false;
    const isEmptyOutside = rest === 0 && isOutside(iter, index);
    if (!isEmptyOutside && (startOf(iter, index, done) & addrMask) !== 0) return false;
    left -= len;
    if (left === 0) break;
  }
  return true;
}

function isOutside(iter: IovIter, index: number): boolean {
  return iter.kind === IterKind.BYTES && iter.iovec.base[index] === OUTSIDE;
}

/**
 * OR over the interior joints of (end of one segment, start of the next); the first start and the
 * last end are free. {0x1000, 0x800}, {0x5000, 0x800} → 0x5800: a gap for a virtual boundary of
 * 4096. For kinds other than BYTES and USER all ones.
 *
 * Upstream takes the first segment for whole when part of it is behind, and can stop one segment
 * early (H4); here its rest counts. Linux: iov_iter_gap_alignment().
 */
export function gapAlignment(iter: IovIter): number {
  if (!iter.isUserBacked) return ALL_ONES;
  const end = iter.index + iter.nrSegs;
  let left = iter.count;
  let done = iter.offset;
  let bits = 0;
  let isFirst = true;
  let prevEnd = 0;
  for (let index = iter.index; index < end && left > 0; index++, done = 0) {
    const rest = iter.segmentBytes(index) - done;
    if (rest === 0) continue;
    const start = startOf(iter, index, done);
    if (!isFirst) bits |= start | prevEnd;
    isFirst = false;
    prevEnd = isOutside(iter, index) ? ALL_ONES : start + rest;
    left -= rest < left ? rest : left;
  }
  return bits >>> 0;
}

/**
 * Pages that the rest touches, segment by segment, at most `max`: 2 bytes at 0x1FFF touch 2.
 * Memory of the outside counts as if it began on a page. Linux: iov_iter_npages().
 */
export function npages(iter: IovIter, max: number): number {
  if (iter.kind === IterKind.DISCARD) return 0;
  const end = iter.index + iter.nrSegs;
  let left = iter.count;
  let done = iter.offset;
  let pages = 0;
  for (let index = iter.index; index < end && left > 0 && pages < max; index++, done = 0) {
    const rest = iter.segmentBytes(index) - done;
    if (rest === 0) continue;
    const len = rest < left ? rest : left;
    const inPage = isOutside(iter, index) ? 0 : startOf(iter, index, done) & (PAGE_BYTES - 1);
    pages += Math.ceil((inPage + len) / PAGE_BYTES);
    left -= len;
  }
  return pages < max ? pages : max;
}

/** Bytes up to the end of the current non-empty segment. Linux: iov_iter_single_seg_count(). */
export function singleSegCount(iter: IovIter): number {
  const end = iter.index + iter.nrSegs;
  let done = iter.offset;
  for (let index = iter.index; index < end && iter.count > 0; index++, done = 0) {
    const rest = iter.segmentBytes(index) - done;
    if (rest > 0) return rest < iter.count ? rest : iter.count;
  }
  return 0;
}

/** True when a byte of the rest has no page frame, so that it must be copied through pages. */
export function hasOutside(iter: IovIter): boolean {
  if (iter.kind !== IterKind.BYTES || iter.iovec.outsideRows === 0) return false;
  const end = iter.index + iter.nrSegs;
  let left = iter.count;
  let done = iter.offset;
  for (let index = iter.index; index < end && left > 0; index++, done = 0) {
    const rest = iter.segmentBytes(index) - done;
    if (rest > 0 && isOutside(iter, index)) return true;
    left -= rest;
  }
  return false;
}
