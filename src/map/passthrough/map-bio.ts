import { assert } from '../../base/assert.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import type { Bio } from '../../bio/bio.ts';
import { gatherBio } from '../../bio/gather.ts';
import { BvecTable } from '../../bvec/bvec-table.ts';
import { type IovIter, IterKind } from '../../iter/iov-iter.ts';
import { EXTRACT_ALL, type ExtractOptions, extract } from '../../iter/iter-extract.ts';
import { type HoldKind, releaseHold } from '../../memory/holds.ts';
import { alignRowBases } from '../bio-rows.ts';
import { MapReason } from '../verdict.ts';
import { addLimited } from './add-limited.ts';
import type { PassthroughContext } from './passthrough-context.ts';

/**
 * Puts the next memory under `iter` into `bio`, with its holds, and moves the iterator behind it.
 * 0, or a negative errno when nothing could be had. Lengths are not cut to blocks: a command may
 * have any. Linux: bio_map_user_iov(), block/blk-map.c.
 */
export function gatherMapped(bio: Bio, iter: IovIter, context: PassthroughContext): number {
  if (context.rules.build !== 'append' && iter.kind !== IterKind.BVEC) {
    return gatherLimited(bio, iter, context);
  }
  return gatherBio(bio, iter, 1, context.profile);
}

/** Before it is appended. GAP: rows of somebody else cannot be shown on the virtual boundary. */
export function baseRows(bio: Bio, context: PassthroughContext): MapReason {
  if (context.rules.build !== 'append') return MapReason.FITS;
  const isBased = alignRowBases(bio, context.limits.virt_boundary_mask);
  return isBased ? MapReason.FITS : MapReason.GAP;
}

const ONE_PAGE: ExtractOptions = Object.freeze({ ...EXTRACT_ALL, pagesMax: 1 });
const onePage = new BvecTable(1);

/** Page by page, and no page that a limit stands against: the rest is another bio. */
function gatherLimited(bio: Bio, iter: IovIter, context: PassthroughContext): number {
  const { limits, rules } = context;
  while (iter.count > 0) {
    const bytes = extract(iter, onePage, 0, 1, PAGE_BYTES, ONE_PAGE);
    if (bytes < 0) return bytes;
    assert(bytes > 0, 'map: no bytes and no error');
    const page = onePage.page[0];
    const hold = onePage.hold[0] as HoldKind;
    if (!addLimited(bio, page, onePage.offset[0], bytes, hold, limits, rules)) {
      releaseHold(hold, page, 1);
      iter.revert(bytes);
      return 0;
    }
  }
  return 0;
}
