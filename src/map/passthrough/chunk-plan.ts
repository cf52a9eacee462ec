import { PAGE_BYTES } from '../../base/units.ts';
import type { Limits } from '../../limits/limits.ts';
import { ORDER_MAX } from '../../memory/buddy.ts';
import { orderFor } from '../bounce.ts';

// Own pages that satisfy the limits by construction (reference 6.2): a chunk is one segment. It
// starts on its own size, so that it lies in one boundary window and on the virtual boundary; it is
// no larger than a segment; all but the last are whole multiples of the virtual boundary and of
// the padding. Then only their number can break a limit, and larger chunks make it smaller.

export const ChunkFit = {
  /** Chunks of `chunkBytes` are few enough. */
  FITS: 0,
  /** No chunk size satisfies the limits. */
  NEVER: 1,
  /** A chunk would be larger than the largest folio. */
  TOO_LARGE: 2,
} as const;
export type ChunkFit = (typeof ChunkFit)[keyof typeof ChunkFit];

/** How `bytes` are cut into chunks. One object serves many calls. */
export class ChunkPlan {
  fit: ChunkFit = ChunkFit.FITS;
  /** Bytes of each chunk but the last: a folio of `order`, or as much of it as a segment takes. */
  chunkBytes = 0;
  order = 0;
  /** Smaller folios than this would leave a gap, or break the padding. */
  orderMin = 0;
}

/** Bytes that a segment may have from an address on its own size. */
export function segmentWindow(limits: Limits): number {
  return Math.min(limits.max_segment_size, limits.seg_boundary_mask + 1);
}

/**
 * Plans own pages for `bytes` in at most `segmentsMax` segments. 1 MiB in 128 segments of at most
 * 64 KiB: 16 chunks of 64 KiB, and nothing below 8 KiB would do. With max_segment_size 12288 and
 * 4 segments 48 KiB are 4 chunks of 12 KiB, each in a folio of 16.
 */
export function planChunks(
  bytes: number,
  segmentsMax: number,
  limits: Limits,
  plan: ChunkPlan,
): void {
  const window = segmentWindow(limits);
  const edge = Math.max(limits.virt_boundary_mask, limits.dma_pad_mask) + 1;
  plan.orderMin = 0;
  plan.fit = ChunkFit.FITS;
  if (bytes <= window && segmentsMax >= 1) {
    planOne(bytes, segmentsMax, edge, plan);
    return;
  }
  const most = window - (window % edge);
  if (most === 0 || Math.ceil(bytes / most) > segmentsMax) {
    plan.fit = ChunkFit.NEVER;
    return;
  }
  plan.orderMin = orderFor(edge);
  plan.order = Math.min(Math.floor(Math.log2(most / PAGE_BYTES)), ORDER_MAX);
  plan.chunkBytes = 2 ** plan.order * PAGE_BYTES;
  if (Math.ceil(bytes / plan.chunkBytes) <= segmentsMax) return;
  // Whole folios are too small by less than a half: use as much of the next size as may be.
  plan.order = orderFor(most);
  plan.chunkBytes = most;
  if (plan.order > ORDER_MAX) plan.fit = ChunkFit.TOO_LARGE;
}

/** All of it is one chunk, where memory can be had: no edge inside, so no boundary counts. */
function planOne(bytes: number, segmentsMax: number, edge: number, plan: ChunkPlan): void {
  plan.order = Math.min(orderFor(bytes), ORDER_MAX);
  plan.chunkBytes = Math.min(bytes, 2 ** plan.order * PAGE_BYTES);
  // Below one chunk for all there are edges again.
  plan.orderMin = Math.min(orderFor(edge), plan.order);
  const isWhole = plan.chunkBytes === bytes;
  if (!isWhole && Math.ceil(bytes / plan.chunkBytes) > segmentsMax) plan.fit = ChunkFit.TOO_LARGE;
}

/** Bytes of a chunk in a folio of `order`. */
export function chunkBytesAt(order: number, plan: ChunkPlan): number {
  return order === plan.order ? plan.chunkBytes : 2 ** order * PAGE_BYTES;
}
