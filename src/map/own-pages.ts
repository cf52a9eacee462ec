import { assert } from '../base/assert.ts';
import type { Bio } from '../bio/bio.ts';
import { alignRowBases, pagesOf } from './bio-rows.ts';
import { fillBounce, freeBounce } from './bounce.ts';
import type { MapContext } from './map-context.ts';
import type { Piece } from './piece.ts';

/**
 * Fills `bio` with own pages for at most `piece.bytes`, from the arena or the reserve. Whole
 * blocks; 0 when there are none now. The pages are counted until `freeOwnPages`.
 */
export function takeOwnPages(context: MapContext, bio: Bio, piece: Piece): number {
  const { arena, blockBytes, limits, profile, reserve } = context;
  let got = fillBounce(bio, piece.bytes, limits, arena);
  if (got < blockBytes && got < piece.bytes) {
    freeBounce(bio, arena);
    piece.usesReserve = !reserve.isTaken;
    got = reserve.take(bio, piece.bytes);
  }
  if (got === 0) return 0;
  if (got < piece.bytes) got -= got % blockBytes;
  assert(got > piece.skip, 'mapping: a bounce folio is smaller than a block');
  bio.size = got; // Pages behind it stay in the bio's rows and are freed with them.
  if (profile.subBlockSplit === 'error') alignRowBases(bio, limits.virt_boundary_mask);
  context.counters.bounce(pagesOf(bio));
  return got;
}

/** The inverse. The bio is empty afterwards. */
export function freeOwnPages(context: MapContext, bio: Bio, piece: Piece): void {
  context.counters.bounce(-pagesOf(bio));
  if (piece.usesReserve) context.reserve.giveBack(bio);
  else freeBounce(bio, context.arena);
  piece.usesReserve = false;
}
