import { assert } from '../../base/assert.ts';
import { PAGE_BYTES, SECTOR_BYTES } from '../../base/units.ts';
import type { Bio } from '../../bio/bio.ts';
import { boundaryLeft, gapBetween } from '../../bvec/contiguity.ts';
import { rowJoins } from '../../iter/row-join.ts';
import type { Limits } from '../../limits/limits.ts';
import { type HoldKind, releaseHold } from '../../memory/holds.ts';
import { maxPassthroughBytes } from './bio-chain.ts';
import type { PassthroughRules } from './passthrough-rules.ts';

/**
 * Adds a piece of one page to `bio` unless a limit of the device stands against it: false, and
 * nothing has changed. One row is one segment: it grows while memory runs on inside one boundary
 * window, up to max_segment_size. The hold goes to the bio; one that joins inside a page is let
 * go. For kernels up to 6.12 alone. Linux: bio_add_hw_page(), block/bio.c.
 */
export function addLimited(
  bio: Bio,
  page: number,
  offset: number,
  len: number,
  hold: HoldKind,
  limits: Limits,
  rules: PassthroughRules,
): boolean {
  assert(offset + len <= PAGE_BYTES, 'limited: a piece of more than its page');
  if (isTooLong(bio.size + len, limits, rules)) return false;
  const { table } = bio;
  const last = bio.first + bio.vcnt - 1;
  if (bio.vcnt > 0) {
    const isSameSegment = staysInSegment(bio, last, len, limits);
    if (isSameSegment && rowJoins(table, last, page, offset, hold)) {
      if (offset !== 0) releaseHold(hold, page, 1);
      table.len[last] += len;
      bio.size += len;
      return true;
    }
    const mask = limits.virt_boundary_mask;
    if (gapBetween(table.offset[last], table.len[last], offset, mask)) return false;
  }
  if (bio.vcnt >= bio.maxVecs || bio.vcnt >= limits.max_segments) return false;
  table.set(last + 1, page, offset, len, hold);
  bio.vcnt++;
  bio.size += len;
  return true;
}

/** 6.1 counts whole sectors, so that the last one may be begun. */
function isTooLong(bytes: number, limits: Limits, rules: PassthroughRules): boolean {
  if (rules.build === 'sectors') return Math.floor(bytes / SECTOR_BYTES) > limits.max_hw_sectors;
  return bytes > maxPassthroughBytes(limits);
}

function staysInSegment(bio: Bio, row: number, len: number, limits: Limits): boolean {
  const { table } = bio;
  if (len > limits.max_segment_size - table.len[row]) return false;
  const addr = table.page[row] * PAGE_BYTES + table.offset[row];
  return table.len[row] + len <= boundaryLeft(addr, limits.seg_boundary_mask);
}
