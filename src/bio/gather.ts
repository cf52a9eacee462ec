import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { offsetIn } from '../base/units.ts';
import { type IovIter, IterDirection, IterKind } from '../iter/iov-iter.ts';
import { MAX_RW_COUNT } from '../iter/iovec.ts';
import { EXTRACT_ALL, type ExtractOptions, extract } from '../iter/iter-extract.ts';
import { pagesUnder } from '../iter/row-join.ts';
import type { Profile } from '../limits/profile.ts';
import { HoldKind, pinPages, unpinPages } from '../memory/holds.ts';
import { BIO_BYTES_MAX, type Bio, BioState } from './bio.ts';
import { adoptRows, trimBio } from './bio-add.ts';
import { BioFlag, BioOp } from './bio-op.ts';

/**
 * Fills `bio` with the memory under `iter`, as much as it has room for, and moves the iterator by
 * exactly `bio.size`. 0, or a negative errno when nothing could be had; then nothing is held.
 *
 * Post: bio.size is a multiple of `blockBytes` (what is over goes back to the iterator, and its
 * pages are let go), except for the rows of a BVEC iterator, which are taken whole and uncopied:
 * their owner keeps array and pages alive until the bio has ended.
 * Linux: bio_iov_iter_get_pages(), block/bio.c; reference 4.3.
 */
export function gatherBio(bio: Bio, iter: IovIter, blockBytes: number, profile: Profile): number {
  assert(bio.state === BioState.BUILT && bio.vcnt === 0, 'gather: the bio is in use');
  assert(
    (bio.op === BioOp.READ) === (iter.direction === IterDirection.DEST),
    'gather: the iterator points the other way',
  );
  if (iter.kind === IterKind.BVEC) return borrowRows(bio, iter);
  if (profile.gatherUnit === 'vecs' && gatherRange(bio, iter, blockBytes)) return 0;
  let result = 0;
  while (iter.count > 0 && bio.vcnt < bio.maxVecs && bio.size < BIO_BYTES_MAX) {
    result = gatherStep(bio, iter, profile);
    if (result < 0) break;
    if (profile.trimEachGather) {
      if (trimTo(bio, iter, blockBytes, result) === 0) result = -Errno.EFAULT;
      if (result < 0) break;
    }
  }
  if (!profile.trimEachGather) trimTo(bio, iter, blockBytes, bio.size);
  if (bio.size > 0) return 0;
  return result < 0 ? result : -Errno.EFAULT;
}

/**
 * Most memory is one range of an arena in whole blocks: one row, in a third of the time. False:
 * nothing has changed, and the walk finds out why.
 */
function gatherRange(bio: Bio, iter: IovIter, blockBytes: number): boolean {
  const { count } = iter;
  if (iter.kind !== IterKind.BYTES || iter.nrSegs !== 1 || bio.maxVecs === 0) return false;
  if (count === 0 || offsetIn(count, blockBytes) !== 0) return false;
  if (iter.piece(iter.access, count) !== count || iter.view !== null) return false;
  const { page, pageOffset } = iter;
  const pages = pagesUnder(pageOffset, count);
  const pinned = pinPages(page, pages);
  if (pinned < pages) {
    if (pinned > 0) unpinPages(page, pinned);
    return false;
  }
  bio.table.set(bio.first, page, pageOffset, count, HoldKind.PINNED);
  bio.vcnt = 1;
  bio.size = count;
  iter.advance(count);
  return true;
}

/** One extraction into the free rows of the bio. Bytes, or a negative errno. */
function gatherStep(bio: Bio, iter: IovIter, profile: Profile): number {
  const room = bio.maxVecs - bio.vcnt;
  const row = bio.first + bio.vcnt;
  // Of an empty bio that is no integer of 32 bits with a sign, and one call takes less anyway.
  const most = bio.size > 0 ? BIO_BYTES_MAX - bio.size : MAX_RW_COUNT;
  const options = profile.gatherUnit === 'vecs' ? EXTRACT_ALL : optionsOf(profile, room);
  const bytes = extract(iter, bio.table, row, room, most, options);
  if (bytes > 0) adoptRows(bio, iter.rowsOut, bytes);
  return bytes === 0 ? -Errno.EFAULT : bytes;
}

const linuxOptions: { -readonly [Name in keyof ExtractOptions]: ExtractOptions[Name] } = {
  ...EXTRACT_ALL,
};

/**
 * The step of a Linux profile: one segment, and as many pages as the bio has free rows. Rows count
 * from their first page in both kernels; only registered buffers count from a folio's head.
 */
function optionsOf(profile: Profile, room: number): ExtractOptions {
  linuxOptions.crossSegments = profile.gatherCrossesSegments;
  linuxOptions.pagesMax = room;
  linuxOptions.hold = HoldKind.PINNED;
  return linuxOptions;
}

/** Cuts the bio to whole blocks. Bytes that stay of the last `gathered`. */
function trimTo(bio: Bio, iter: IovIter, blockBytes: number, gathered: number): number {
  const over = offsetIn(gathered, blockBytes);
  if (over > 0) {
    iter.revert(over);
    trimBio(bio, over);
  }
  return gathered - over;
}

function borrowRows(bio: Bio, iter: IovIter): number {
  assert(iter.table !== null && bio.maxVecs === 0, 'gather: borrowed rows need a bio without own');
  bio.table = iter.table;
  bio.first = iter.index;
  bio.flags |= BioFlag.CLONED;
  bio.vcnt = iter.nrSegs;
  bio.row = iter.index;
  bio.done = iter.offset;
  bio.size = iter.count;
  iter.advance(iter.count);
  return 0;
}
