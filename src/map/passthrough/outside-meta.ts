import type { Bio } from '../../bio/bio.ts';
import { BioOp } from '../../bio/bio-op.ts';
import type { IovIter } from '../../iter/iov-iter.ts';
import { copyFromIter, copyToIter } from '../../iter/iter-copy.ts';
import { MapReason } from '../verdict.ts';
import type { UserMeta } from './meta-rows.ts';
import { freeOwnMeta, type MetaPlace, takeOwnMeta } from './user-meta.ts';

// Metadata in arrays that can be detached. Nothing can pin them: a write is a snapshot of the call,
// a read looks again at its end.

/**
 * Own pages for the metadata under `iter`, with its bytes if `bio` writes; the iterator moves
 * behind them. 0, -EINVAL or -ENOMEM, and then nothing is held or moved.
 */
export function copyOutside(bio: Bio, iter: IovIter, meta: UserMeta, place: MetaPlace): number {
  const bytes = iter.count;
  const result = takeOwnMeta(meta, bytes, place);
  if (result !== 0) {
    freeOwnMeta(meta, place);
    return result;
  }
  meta.isRead = bio.op === BioOp.READ;
  meta.isCopied = true;
  meta.reason = MapReason.DETACHABLE;
  meta.bytes = bytes;
  meta.bio = bio;
  if (meta.isRead) {
    iter.advance(bytes);
    return 0;
  }
  const { page, len } = meta.table;
  for (let row = 0; row < meta.vcnt; row++) copyFromIter(iter, page[row], 0, len[row]);
  place.counters.bytesCopied[MapReason.DETACHABLE] += bytes;
  return 0;
}

/** The end: copies `doneBytes` of a read to `origin`. False: the array is gone, or shorter. */
export function endOutside(
  meta: UserMeta,
  origin: IovIter,
  doneBytes: number,
  place: MetaPlace,
): boolean {
  let left = meta.isRead ? doneBytes : 0;
  place.counters.bytesCopied[MapReason.DETACHABLE] += left;
  const { page, len } = meta.table;
  for (let row = 0; left > 0; row++) {
    const want = Math.min(len[row], left);
    if (copyToIter(origin, page[row], 0, want) < want) break;
    left -= want;
  }
  freeOwnMeta(meta, place);
  meta.detach();
  return left === 0;
}
