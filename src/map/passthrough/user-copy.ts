import type { Bio } from '../../bio/bio.ts';
import { Piece } from '../piece.ts';
import { MapReason } from '../verdict.ts';
import type { PassthroughContext } from './passthrough-context.ts';
import { SavedIter } from './saved-iter.ts';

/** What a bio of copied memory must remember until it is unmapped; its `owner`. Pooled. */
export class UserCopy {
  readonly context: PassthroughContext;
  /** The memory that is copied to, from the first byte of the bio on. */
  readonly saved = new SavedIter();
  /** Pins of the memory of an address space, as rows. */
  readonly piece = new Piece();
  /** Bytes of the bio, however far it has advanced. */
  bytes = 0;
  reason: MapReason = MapReason.FITS;
  /** The pages are freed with the bio. */
  isOwn = true;
  isNullMapped = false;
  /** Memory of arrays is pinned, as it is walked from `saved` on. */
  isArrayPinned = false;

  constructor(context: PassthroughContext) {
    this.context = context;
  }

  /** Pre: nothing is pinned or owned. What each use of it sets stays until then. */
  clear(): void {
    this.saved.clear();
    this.isArrayPinned = false;
  }
}

/** The record of a copied bio; null for one that was mapped. */
export function copyOf(bio: Bio): UserCopy | null {
  return bio.owner instanceof UserCopy ? bio.owner : null;
}
