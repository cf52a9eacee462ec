import { PAGE_BYTES, pagesSpanned } from '../base/units.ts';
import type { Bio } from '../bio/bio.ts';
import { BioFlag } from '../bio/bio-op.ts';
import type { IovIter } from '../iter/iov-iter.ts';
import { copyFromIter, copyToIter } from '../iter/iter-copy.ts';
import { zeroPages } from '../memory/copy.ts';
import { HoldKind } from '../memory/holds.ts';

// What the submitter's side does with the rows of a bio of its own.

/** Pages that the rows of `bio` span. */
export function pagesOf(bio: Bio): number {
  const { offset, len } = bio.table;
  let pages = 0;
  for (let row = bio.first; row < bio.first + bio.vcnt; row++) {
    pages += pagesSpanned(offset[row], len[row]);
  }
  return pages;
}

/** Of these, the ones that this bio holds: rows that it borrows are held by somebody else. */
export function heldPagesOf(bio: Bio): number {
  if ((bio.flags & BioFlag.CLONED) !== 0) return 0;
  const { offset, len, hold } = bio.table;
  let pages = 0;
  for (let row = bio.first; row < bio.first + bio.vcnt; row++) {
    if (hold[row] !== HoldKind.BORROWED) pages += pagesSpanned(offset[row], len[row]);
  }
  return pages;
}

/**
 * The split walk sees offsets in the page that a row names (as Linux does), so for a virtual
 * boundary above the page the row must name a page on that boundary. Mask 8191: page 3 offset 0
 * becomes page 2 offset 4096. False when a borrowed row would have to change.
 */
export function alignRowBases(bio: Bio, virtBoundaryMask: number): boolean {
  if (virtBoundaryMask < PAGE_BYTES) return true;
  const { page, offset } = bio.table;
  const unit = (virtBoundaryMask + 1) / PAGE_BYTES;
  for (let row = bio.first; row < bio.first + bio.vcnt; row++) {
    const over = page[row] % unit;
    if (over === 0) continue;
    if ((bio.flags & BioFlag.CLONED) !== 0) return false;
    page[row] -= over;
    offset[row] += over * PAGE_BYTES;
  }
  return true;
}

/** `bytes` of `iter` → the rows, from their byte `skip` on. Bytes done: fewer after a fault. */
export function copyIntoRows(bio: Bio, skip: number, iter: IovIter, bytes: number): number {
  return walkRows(bio, skip, iter, bytes, copyFromIter);
}

/** The rows, from their byte `skip` on → `bytes` of `iter`. Bytes done: fewer after a fault. */
export function copyFromRows(bio: Bio, skip: number, iter: IovIter, bytes: number): number {
  return walkRows(bio, skip, iter, bytes, copyToIter);
}

function walkRows(
  bio: Bio,
  skip: number,
  iter: IovIter,
  bytes: number,
  copy: typeof copyFromIter,
): number {
  const { page, offset, len } = bio.table;
  let before = skip;
  let left = bytes;
  for (let row = bio.first; left > 0; row++) {
    const take = Math.min(len[row] - before, left);
    if (take > 0) {
      const done = copy(iter, page[row], offset[row] + before, take);
      left -= done;
      if (done < take) break;
    }
    before = Math.max(before - len[row], 0);
  }
  return bytes - left;
}

/** Zeros into bytes [from, end) of the rows. */
export function zeroRows(bio: Bio, from: number, end: number): void {
  const { page, offset, len } = bio.table;
  let at = 0;
  for (let row = bio.first; at < end; row++) {
    const start = Math.max(from - at, 0);
    const stop = Math.min(len[row], end - at);
    if (start < stop) zeroPages(page[row], offset[row] + start, stop - start);
    at += len[row];
  }
}
