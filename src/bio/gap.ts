import { PAGE_BYTES } from '../base/units.ts';
import { BvecCursor } from '../bvec/bvec-cursor.ts';
import { gapBetween, physMergeable } from '../bvec/contiguity.ts';
import { type Limits, UINT32_MAX } from '../limits/limits.ts';
import type { Bio } from './bio.ts';

const before = new BvecCursor();
const behind = new BvecCursor();

/**
 * Would a gap at the virtual boundary arise between the last entry of `prev` and the first of
 * `next`? A request whose very first entry, of `first`, is unaligned never grows. `bytesMax`: what
 * a request may have; 0 asks as Linux does, which cuts joined memory without looking where it ends.
 * Pre: bios with data. Linux: bio_will_gap().
 */
export function wouldGap(
  first: Bio,
  prev: Bio,
  next: Bio,
  limits: Limits,
  bytesMax: number,
): boolean {
  const { virt_boundary_mask: mask, seg_boundary_mask: window } = limits;
  if (mask === 0) return false;
  if (((first.table.offset[first.row] + first.done) & mask) !== 0) return true;
  before.start(prev.table, prev.row, prev.done, prev.size);
  while (before.multi() && before.len < before.size) before.advance(before.len);
  behind.start(next.table, next.row, next.done, next.size);
  behind.multi();
  const end = before.page * PAGE_BYTES + before.offset;
  const start = behind.page * PAGE_BYTES + behind.offset;
  const isOne = physMergeable(end, before.len, start, behind.len, window);
  if (isOne && segmentsEndAligned(limits, bytesMax)) return false;
  return gapBetween(before.offset, before.len, behind.offset, mask);
}

/**
 * Memory that runs on over a joint is one segment, or several that end at the virtual boundary.
 * (Linux asks for neither: where max_segment_size cuts elsewhere it makes the gap that it avoids.)
 */
function segmentsEndAligned(limits: Limits, bytesMax: number): boolean {
  const { max_segment_size: bytes } = limits;
  if (bytes % (limits.virt_boundary_mask + 1) === 0) return true;
  return bytes >= Math.min(bytesMax, UINT32_MAX);
}
