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
  /** Bytes that the last one may have: no edge follows it. */
  lastBytes = 0;
  /** What starts off the first chunk in smaller folios than this would leave a gap. */
  orderMin = 0;
}

const FOLIO_BYTES_MAX = 2 ** ORDER_MAX * PAGE_BYTES;

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
  const most = window - (window % edge);
  const inside = Math.max(segmentsMax - 1, 0);
  plan.lastBytes = Math.min(window, FOLIO_BYTES_MAX);
  plan.orderMin = orderFor(edge);
  if (segmentsMax < 1 || bytes > inside * most + window) {
    plan.fit = ChunkFit.NEVER;
    return;
  }
  const folios = Math.min(most, FOLIO_BYTES_MAX - (FOLIO_BYTES_MAX % edge));
  plan.chunkBytes = folios > 0 ? 2 ** Math.floor(Math.log2(folios)) : 0;
  // Whole folios may be too small by less than a half: then as much of the next size as may be.
  if (bytes > inside * plan.chunkBytes + plan.lastBytes) plan.chunkBytes = folios;
  plan.order = orderFor(Math.max(plan.chunkBytes, PAGE_BYTES));
  const isSmall = bytes <= inside * plan.chunkBytes + plan.lastBytes;
  plan.fit = isSmall ? ChunkFit.FITS : ChunkFit.TOO_LARGE;
}

/** Bytes of a chunk that is not the last, where folios have at most `order`. 0: none would do. */
export function chunkBytesAt(order: number, plan: ChunkPlan): number {
  if (order >= plan.order) return plan.chunkBytes;
  return order < plan.orderMin ? 0 : 2 ** order * PAGE_BYTES;
}

/** Bytes of the last chunk there. `isFirst`: it is the only one, and no edge lies before it. */
export function lastBytesAt(order: number, isFirst: boolean, plan: ChunkPlan): number {
  if (order < 0 || (!isFirst && order < plan.orderMin)) return 0;
  return Math.min(plan.lastBytes, 2 ** order * PAGE_BYTES);
}
