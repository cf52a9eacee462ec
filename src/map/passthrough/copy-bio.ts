import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import type { Bio } from '../../bio/bio.ts';
import { BioOp } from '../../bio/bio-op.ts';
import { BVECS_PER_BIO_MAX } from '../../bvec/bvec-table.ts';
import { type IovIter, IterDirection, IterKind } from '../../iter/iov-iter.ts';
import { Access } from '../../memory/address-space.ts';
import { alignRowBases, copyIntoRows, zeroRows } from '../bio-rows.ts';
import { FAULT_WAIT } from '../map-context.ts';
import { isThere, pinForCopy } from '../user-pins.ts';
import { pinnedPages, pinRows } from '../user-rows.ts';
import type { ChunkPlan } from './chunk-plan.ts';
import {
  addChunks,
  addDriverPages,
  addSinglePages,
  type ChunkFill,
  ownPagesOf,
} from './own-chunks.ts';
import type { PassthroughContext } from './passthrough-context.ts';
import type { RequestMemory } from './request-memory.ts';
import type { UserCopy } from './user-copy.ts';

/** Rows that a copied bio of the next `bytes` may want. */
export function copyRowsMax(bytes: number, offset: number): number {
  const pages = Math.ceil((offset + bytes) / PAGE_BYTES);
  return Math.min(Math.max(pages, 1), BVECS_PER_BIO_MAX);
}

/**
 * Gives `bio` pages to copy through, and what must be copied at the call; moves `iter` behind the
 * memory that `bio` stands for. 0, FAULT_WAIT or a negative errno; in any case `bio` and `copy`
 * are to be undone by who made them. Linux: bio_copy_user_iov(), block/blk-map.c.
 */
export function fillCopied(
  bio: Bio,
  copy: UserCopy,
  iter: IovIter,
  plan: ChunkPlan,
  fill: ChunkFill,
  memory: RequestMemory | null,
): number {
  const { context } = copy;
  if (!copy.saved.take(iter)) return -Errno.ENOMEM;
  copy.isOwn = memory === null;
  copy.isNullMapped = memory?.isNullMapped ?? false;
  const filled =
    memory === null
      ? addOwnPages(bio, iter.count, plan, fill, context)
      : addDriverPages(bio, iter.count, memory, context);
  context.counters.bounce(ownPagesOf(bio)); // Those of a driver are borrowed.
  copy.bytes = bio.size;
  if (filled < 0) return filled;
  if (context.rules.build === 'append') alignRowBases(bio, context.limits.virt_boundary_mask);
  if (copy.isNullMapped) {
    iter.advance(bio.size);
    return 0;
  }
  const result = bio.op === BioOp.WRITE ? copyIn(bio, copy, iter) : prepareRead(bio, copy, iter);
  if (result !== 0 || memory === null || !memory.isFromUser) return result;
  return copyInBoth(bio, copy);
}

function addOwnPages(
  bio: Bio,
  bytes: number,
  plan: ChunkPlan,
  fill: ChunkFill,
  context: PassthroughContext,
): number {
  if (context.rules.ownPages === 'single') return addSinglePages(bio, bytes, context);
  return addChunks(bio, plan, fill, context.folios);
}

/** A write is a snapshot of the call. Released memory of an arena is nobody's to read. */
function copyIn(bio: Bio, copy: UserCopy, iter: IovIter): number {
  if (iter.kind === IterKind.BYTES && !isThere(iter, bio.size)) return -Errno.EFAULT;
  const copied = copyIntoRows(bio, 0, iter, bio.size);
  copy.context.counters.bytesCopied[copy.reason] += copied;
  if (copied === bio.size) return 0;
  const found = iter.piece(Access.READ, 1);
  if (found === -Errno.EAGAIN) return FAULT_WAIT;
  return found < 0 ? found : -Errno.EFAULT;
}

/**
 * A read: own pages are cleared, so that a device that says more than it wrote shows nobody's old
 * data, and the memory for the end is pinned, as far as it can be.
 */
function prepareRead(bio: Bio, copy: UserCopy, iter: IovIter): number {
  const { context, piece } = copy;
  const bytes = bio.size;
  if (copy.isOwn) zeroRows(bio, 0, bytes);
  if (context.rules.copyBack === 'address') {
    iter.advance(bytes);
    return 0;
  }
  if (iter.kind === IterKind.USER) {
    const pinned = pinRows(piece, iter, bytes, bytes);
    if (pinned < 0) return pinned === -Errno.EAGAIN ? FAULT_WAIT : pinned;
    context.counters.hold(pinnedPages(piece));
    return 0;
  }
  const pages = pinForCopy(iter, bytes);
  if (pages < 0) return -Errno.EFAULT;
  copy.isArrayPinned = iter.kind === IterKind.BYTES;
  context.counters.hold(pages);
  return 0;
}

/**
 * The first half of a command that uses its memory both ways: the same ranges as a source. (The
 * kernels leave the iterator where it was after this and map the same bytes again, until the pages
 * are at their end: every such command of theirs is -ENOMEM.)
 */
function copyInBoth(bio: Bio, copy: UserCopy): number {
  const { iter } = copy.saved;
  iter.direction = IterDirection.SOURCE;
  const copied = copyIntoRows(bio, 0, iter, bio.size);
  iter.revert(copied);
  iter.direction = IterDirection.DEST;
  copy.context.counters.bytesCopied[copy.reason] += copied;
  return copied === bio.size ? 0 : -Errno.EFAULT;
}
