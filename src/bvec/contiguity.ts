import { PAGE_BYTES } from '../base/units.ts';
import type { BvecTable } from './bvec-table.ts';

// Contiguity predicates (reference 2.2). Physical address = page * 4096 + offset, a double.

/** One window of frame numbers. */
const REGION_MASK = 2 ** 32 - 1;

export function physicalAddress(table: BvecTable, row: number): number {
  return (table.page[row] as number) * PAGE_BYTES + (table.offset[row] as number);
}

/**
 * True when the row behind `row` goes on with its bytes and is kept in another way: two rows for
 * whoever lets go, one for the device, which must not see how memory is held (design D3). Rows of
 * one hold were joined when they were built, as far as they may be.
 */
export function goesOnHeldApart(table: BvecTable, row: number): boolean {
  if (table.hold[row] === table.hold[row + 1]) return false;
  const next = physicalAddress(table, row + 1);
  // Another region: neighbours by number only. The low 32 bits, without dividing doubles.
  if (next >>> 0 === 0) return false;
  return physicalAddress(table, row) + (table.len[row] as number) === next;
}

/**
 * Two ranges that touch, in the same window of the segment boundary.
 * Linux: biovec_phys_mergeable().
 */
export function physMergeable(
  addr1: number,
  len1: number,
  addr2: number,
  len2: number,
  segBoundaryMask: number,
): boolean {
  if (addr1 + len1 !== addr2) return false;
  return boundaryLeft(addr1, segBoundaryMask) >= len1 + len2;
}

/**
 * Bytes from `addr` to the end of its boundary window: at 0x1F000 with mask 0xFFFF, 4096.
 * A window never passes 4 GiB, where a region ends: the next frame number is other memory.
 */
export function boundaryLeft(addr: number, mask: number): number {
  const window = mask < REGION_MASK ? mask : REGION_MASK;
  return window - ((addr & window) >>> 0) + 1;
}

/** True when the joint of two entries is not at a virtual boundary. Linux: __bvec_gap_to_prev(). */
export function gapBetween(
  prevOffset: number,
  prevLen: number,
  nextOffset: number,
  virtBoundaryMask: number,
): boolean {
  if (virtBoundaryMask === 0) return false;
  return ((nextOffset | (prevOffset + prevLen)) & virtBoundaryMask) !== 0;
}
