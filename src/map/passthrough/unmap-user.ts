import { assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { type Bio, BioState } from '../../bio/bio.ts';
import { releaseRows } from '../../bio/bio-add.ts';
import { BioFlag, BioOp } from '../../bio/bio-op.ts';
import { IovIter, IterDirection } from '../../iter/iov-iter.ts';
import { copyFromRows, heldPagesOf } from '../bio-rows.ts';
import { unpinAfterCopy } from '../user-pins.ts';
import { pinnedPages, unpinRows } from '../user-rows.ts';
import { freeOwnRows, ownPagesOf } from './own-chunks.ts';
import type { PassthroughContext } from './passthrough-context.ts';
import { copyOf, type UserCopy } from './user-copy.ts';

/** How a passthrough request ended, for who unmaps it. */
export interface UnmapOptions {
  /** Bytes that the device transferred, from the start of the user's memory on. */
  readonly transferredBytes: number;
  /** False: a worker asks, after the task is gone. Default true. */
  readonly hasMemory?: boolean;
}

/**
 * Ends what `mapUser` began, once, by the submitter, with the first of its bios: copies back,
 * marks dirty, unpins, frees own pages and the bios. All of them, whatever happens; returns 0 or
 * the first error: -EFAULT when memory cannot be written, -EINTR (rule 'address') without memory.
 *
 * Never more than `transferredBytes` is copied back or marked dirty, and nothing of a bio that was
 * not issued. (Rule 'address' copies all of a bio, as kernels do: cleared pages where the device
 * wrote nothing.) Pre: no device has the memory. Linux: blk_rq_unmap_user(), block/blk-map.c.
 */
export function unmapUser(
  first: Bio | null,
  context: PassthroughContext,
  { transferredBytes, hasMemory = true }: UnmapOptions,
): number {
  assert(transferredBytes >= 0, 'unmap: less than nothing was transferred');
  let left = transferredBytes;
  let result = 0;
  let bio = first;
  while (bio !== null) {
    const { next } = bio;
    const bytes = Math.min(left, bytesOf(bio));
    const wasIssued = bio.state === BioState.ENDED;
    const error = endMapped(bio, context, wasIssued ? bytes : 0, wasIssued, hasMemory);
    if (result === 0) result = error;
    left -= bytes;
    bio = next;
  }
  return result;
}

/** Undoes bios that were never issued: nothing is copied, nothing is dirty. */
export function dropBios(first: Bio | null, context: PassthroughContext): void {
  let bio = first;
  while (bio !== null) {
    const { next } = bio;
    assert(bio.state === BioState.BUILT, 'unmap: dropped in flight');
    endMapped(bio, context, 0, false, true);
    bio = next;
  }
}

/** The bytes that `bio` was built with. */
function bytesOf(bio: Bio): number {
  if ((bio.flags & BioFlag.CLONED) !== 0) return bio.size;
  let bytes = 0;
  for (let row = bio.first; row < bio.first + bio.vcnt; row++) bytes += bio.table.len[row];
  return bytes;
}

/** Ends one bio: copies back its first `doneBytes`, lets its pages go, gives it back. */
export function endMapped(
  bio: Bio,
  context: PassthroughContext,
  doneBytes: number,
  wasIssued: boolean,
  hasMemory: boolean,
): number {
  assert(bio.state !== BioState.SUBMITTED && bio.state !== BioState.FREE, 'unmap: in flight');
  const copy = copyOf(bio);
  let result = 0;
  if (copy !== null) {
    result = endCopied(bio, copy, doneBytes, wasIssued, hasMemory);
    context.releaseCopy(copy);
  } else {
    const { counters, rules } = context;
    counters.bytesMapped += doneBytes;
    counters.hold(-heldPagesOf(bio));
    const isAll = rules.copyBack === 'address' && wasIssued;
    const dirtyBytes = isAll ? Number.POSITIVE_INFINITY : doneBytes;
    if ((bio.flags & BioFlag.CLONED) === 0) {
      releaseRows(bio.table, bio.first, bio.vcnt, bio.op === BioOp.READ ? dirtyBytes : 0);
    }
    bio.vcnt = 0;
  }
  bio.pool.release(bio);
  return result;
}

function endCopied(
  bio: Bio,
  copy: UserCopy,
  doneBytes: number,
  wasIssued: boolean,
  hasMemory: boolean,
): number {
  const byAddress = copy.context.rules.copyBack === 'address';
  let result = 0;
  if (!copy.isNullMapped && wasIssued) {
    if (byAddress && !hasMemory) result = -Errno.EINTR;
    else if (bio.op === BioOp.READ)
      result = copyBack(bio, copy, byAddress ? copy.bytes : doneBytes);
  }
  letGo(copy, doneBytes);
  if (copy.isOwn) {
    copy.context.counters.bounce(-ownPagesOf(bio));
    freeOwnRows(bio, copy.context.folios);
  }
  return result;
}

const cursor = new IovIter();

function copyBack(bio: Bio, copy: UserCopy, bytes: number): number {
  const { piece, saved } = copy;
  if (piece.pins !== null && piece.pinRows > 0) {
    cursor.initBvec(IterDirection.DEST, piece.pins, 0, piece.pinRows, 0, copy.bytes);
  } else {
    cursor.assign(saved.iter);
  }
  const done = copyFromRows(bio, 0, cursor, bytes);
  cursor.clear();
  copy.context.counters.bytesCopied[copy.reason] += done;
  return done === bytes ? 0 : -Errno.EFAULT;
}

/**
 * Unpins the memory of a copied read, after the folios under its first `dirtyBytes` were marked
 * dirty. A copied write holds none.
 */
function letGo(copy: UserCopy, dirtyBytes: number): void {
  const { piece, saved, context } = copy;
  if (piece.pinRows > 0) {
    context.counters.hold(-pinnedPages(piece));
    unpinRows(piece, dirtyBytes);
  }
  if (!copy.isArrayPinned) return;
  cursor.assign(saved.iter);
  context.counters.hold(-unpinAfterCopy(cursor, copy.bytes));
  cursor.clear();
}
