import { Errno } from '../base/errno.ts';
import { offsetIn, PAGE_BYTES } from '../base/units.ts';
import type { Bio } from '../bio/bio.ts';
import { maxIoBytes, SplitCause, SplitPoint, splitReadWrite } from '../bio/split-point.ts';
import type { IovIter } from '../iter/iov-iter.ts';
import { hasOutside, isAligned } from '../iter/iter-align.ts';
import type { Limits } from '../limits/limits.ts';
import { type CopyPolicy, MapReason } from './verdict.ts';

/** What is asked of one side, data or metadata: each has its own iterator and its own limits. */
export interface MapSide {
  readonly iter: IovIter;
  readonly limits: Limits;
}

/**
 * Why the memory under `iter` cannot go to the device as it is; FITS when it can. `blockBytes` is
 * the unit of position and length: the logical block, or 1 for a byte-granular file. What only
 * the built bio can tell (segment counts, gaps) is `decideBuilt`'s.
 */
export function decide(
  iter: IovIter,
  position: number,
  blockBytes: number,
  limits: Limits,
  policy: CopyPolicy,
): MapReason {
  if (hasOutside(iter)) return MapReason.DETACHABLE;
  if (policy === 'always') return MapReason.ASKED;
  if (offsetIn(position, blockBytes) !== 0) return MapReason.OFFSET;
  if (offsetIn(iter.count, blockBytes) !== 0) return MapReason.LENGTH;
  if (!isAligned(iter, limits.dma_alignment, limits.dma_alignment)) return MapReason.ADDRESS;
  return MapReason.FITS;
}

const point = new SplitPoint();

/**
 * Walks every cut that the queue would make of `bio`, which stays as it is. SEGMENTS or GAP when
 * one of them leaves no whole block, so that the device could never take it; ADDRESS when what is
 * behind the cut starts off dma_alignment (possible where that is coarser than a block); else FITS.
 * Two scattered rows of 512 bytes on a disk of 4 KiB blocks with max_segments 1: SEGMENTS.
 */
export function decideBuilt(bio: Bio, limits: Limits): MapReason {
  if (isOnePage(bio) && limits.dma_alignment < limits.logical_block_size) return MapReason.FITS;
  const { sector, size, row, done } = bio;
  let reason: MapReason = MapReason.FITS;
  while (reason === MapReason.FITS) {
    point.bytes = 0;
    point.cause = SplitCause.NONE;
    point.unitBytes = limits.dma_alignment + 1;
    splitReadWrite(bio, limits, maxIoBytes(bio.sector, limits), point);
    if (point.bytes === 0) break;
    if (point.bytes === -Errno.EINVAL) {
      reason = reasonOf(point.cause);
    } else {
      bio.advance(point.bytes);
      const start = bio.table.offset[bio.row] + bio.done;
      if ((start & limits.dma_alignment) !== 0) reason = MapReason.ADDRESS;
    }
  }
  bio.sector = sector;
  bio.size = size;
  bio.row = row;
  bio.done = done;
  return reason;
}

/** Every device takes whole blocks out of one page. */
function isOnePage(bio: Bio): boolean {
  if (bio.vcnt !== 1) return false;
  const { offset, len } = bio.table;
  return offsetIn(offset[bio.first], PAGE_BYTES) + len[bio.first] <= PAGE_BYTES;
}

function reasonOf(cause: SplitCause): MapReason {
  return cause === SplitCause.VIRT_BOUNDARY ? MapReason.GAP : MapReason.SEGMENTS;
}

/** The sentence for `copy: 'never'`. */
export function refusal(reason: MapReason, limits: Limits, blockBytes: number): string {
  const never = "and copy is 'never'";
  switch (reason) {
    case MapReason.DETACHABLE:
      return `memory of a plain Buffer can be detached in flight, so it must be copied, ${never}`;
    case MapReason.OFFSET:
      return `the position is no multiple of logical_block_size ${blockBytes}, ${never}`;
    case MapReason.LENGTH:
      return `the length is no multiple of logical_block_size ${blockBytes}, ${never}`;
    case MapReason.ADDRESS:
      return (
        'a memory address or segment length is no multiple of ' +
        `dma_alignment + 1 = ${limits.dma_alignment + 1}, ${never}`
      );
    case MapReason.SEGMENTS:
      return (
        `as many segments as max_segments ${limits.max_segments} allows hold less than one ` +
        `block of ${limits.logical_block_size} bytes, ${never}`
      );
    case MapReason.GAP:
      return (
        `a gap at virt_boundary_mask ${limits.virt_boundary_mask} leaves less than one block of ` +
        `${limits.logical_block_size} bytes, ${never}`
      );
    case MapReason.FITS:
    case MapReason.ASKED:
      return `the memory fits, ${never}`;
    case MapReason.RESERVE:
      return `the driver has pages of its own for this request, ${never}`;
    case MapReason.KERNEL:
      return `memory of no program cannot be pinned, so it must be copied, ${never}`;
    case MapReason.REF_TAGS:
      return `the ref tags must become those of the device, which changes them, ${never}`;
    case MapReason.SIZE:
      return `the length passes max_hw_sectors ${limits.max_hw_sectors}, and no copy is shorter`;
  }
}
