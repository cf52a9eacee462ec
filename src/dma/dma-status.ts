import { Errno } from '../base/errno.ts';

/**
 * A pool, the bounce memory or the IOVA space is full now: try again after a completion. What
 * could never fit is another errno, so that nobody waits for it.
 * Linux: -ENOMEM from sg_alloc_table() and from an IOVA space, -EIO from swiotlb, in both cases.
 */
export const NOT_NOW = -Errno.EAGAIN;

/** Which side may touch memory, and how. Linux: enum dma_data_direction. */
export const DmaDir = {
  BIDIRECTIONAL: 0,
  /** The device reads memory: a write to the disk. */
  TO_DEVICE: 1,
  /** The device writes memory: a read of the disk. */
  FROM_DEVICE: 2,
} as const;
export type DmaDir = (typeof DmaDir)[keyof typeof DmaDir];

/** Permissions of the device; bits, of which BIDIRECTIONAL has both. */
export const DmaPerm = { NONE: 0, READ: 1, WRITE: 2 } as const;

export function permOf(dir: DmaDir): number {
  return dir === DmaDir.BIDIRECTIONAL ? DmaPerm.READ | DmaPerm.WRITE : dir;
}

/** Why the last mapping of a device failed. */
export const DmaReason = {
  NONE: 0,
  COUNT: 1,
  SEGMENT_SIZE: 2,
  SEGMENT_BOUNDARY: 3,
  UNREACHABLE: 4,
  SWIOTLB_FULL: 5,
  SWIOTLB_SIZE: 6,
  IOVA_FULL: 7,
  IOVA_SIZE: 8,
  LINK_ALIGNMENT: 9,
  RANGES: 10,
  SWIOTLB_LIST: 11,
} as const;
export type DmaReason = (typeof DmaReason)[keyof typeof DmaReason];

/** One sentence for each reason, for people. */
export const DMA_REASON_TEXTS = [
  'nothing failed',
  'no entries, or more than the list has',
  'an entry is longer than the largest segment of the device',
  'an entry crosses the segment boundary of the device',
  'the device cannot reach the memory, or must not see what lies beside it, and nothing bounces',
  'the bounce memory is full: try again after an unmap',
  'an entry is longer than one bounce buffer can be',
  'the IOVA space is full: try again after an unmap',
  'one transfer needs more IOVA space than there is',
  'a range inside one IOVA range does not start at the granule',
  'the list of device ranges has no room for as many',
  'one transfer needs more bounce memory than there is',
] as const;
