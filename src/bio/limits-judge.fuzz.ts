// Whether a range of bytes is a request that limits allow, counted word by word: no walk over
// entries, no line shared with the split.

import fc from 'fast-check';
import { PAGE_BYTES, SECTOR_BYTES } from '../base/units.ts';
import type { Limits } from '../limits/limits.ts';
import { validateLimits } from '../limits/validate.ts';
import { WORD, type WordList } from './bio-bytes.fuzz.ts';

/** Bytes [start, end) of a list, at `sector` of the device. */
export interface Range {
  readonly start: number;
  readonly end: number;
  readonly sector: number;
}

/** A segment ends where its entry, its boundary window or max_segment_size ends. */
function startsSegment(words: WordList, at: number, length: number, limits: Limits): boolean {
  if (words.row[at] !== words.row[at - 1]) return true;
  if (length === limits.max_segment_size / WORD) return true;
  return (words.addr[at] as number) % (limits.seg_boundary_mask + 1) === 0;
}

export function countSegments(words: WordList, range: Range, limits: Limits): number {
  let count = 0;
  let length = 0;
  const first = range.start / WORD;
  for (let at = first; at < range.end / WORD; at++) {
    if (at === first || startsSegment(words, at, length, limits)) {
      count++;
      length = 0;
    }
    length++;
  }
  return count;
}

function hasGap(words: WordList, range: Range, limits: Limits): boolean {
  const unit = limits.virt_boundary_mask + 1;
  let length = 1;
  for (let at = range.start / WORD + 1; at < range.end / WORD; at++, length++) {
    if (!startsSegment(words, at, length, limits)) continue;
    const before = (words.offset[at - 1] as number) + WORD;
    if (before % unit !== 0 || (words.offset[at] as number) % unit !== 0) return true;
    length = 0;
  }
  return false;
}

/** The first limit that the range breaks, or null. */
export function brokenLimit(words: WordList, range: Range, limits: Limits): string | null {
  const size = range.end - range.start;
  const last = range.sector + Math.ceil(size / SECTOR_BYTES) - 1;
  const { chunk_sectors: chunk } = limits;
  if (size > limits.max_sectors * SECTOR_BYTES) return 'max_sectors';
  if (chunk > 0 && Math.floor(range.sector / chunk) !== Math.floor(last / chunk)) return 'chunk';
  if (countSegments(words, range, limits) > limits.max_segments) return 'max_segments';
  if (hasGap(words, range, limits)) return 'virt_boundary';
  return null;
}

/** Ends on a logical block, unless it ends its bio. */
export function isWholeBlocks(range: Range, limits: Limits): boolean {
  const size = range.end - range.start;
  return size > 0 && size % limits.logical_block_size === 0;
}

/**
 * The pbs rule: of the ends that size and chunk allow, the last one on a physical block, if any
 * lies behind the start. True when `sectors` passes it.
 */
export function passesPhysicalBlock(sector: number, sectors: number, limits: Limits): boolean {
  const { chunk_sectors: chunk } = limits;
  const room = chunk > 0 ? chunk - (sector % chunk) : Number.POSITIVE_INFINITY;
  const block = limits.physical_block_size / SECTOR_BYTES;
  let end = sector + Math.min(limits.max_sectors, room);
  while (end > sector && end % block !== 0) end--;
  return end > sector && sector + sectors > end;
}

/** Limits that bite on bios of up to a few hundred kilobytes. */
export const limitsArb: fc.Arbitrary<Limits> = fc
  .record({
    block: fc.constantFrom(512, 512, 1024, 4096),
    physical: fc.constantFrom(1, 1, 2, 8),
    sectors: fc.oneof(fc.integer({ min: 8, max: 100 }), fc.integer({ min: 8, max: 1024 })),
    cap: fc.constantFrom(0, 0, 0, 1, 2, 7),
    chunk: fc.oneof(
      fc.constant(0),
      fc.constantFrom(8, 16, 24, 96),
      fc.integer({ min: 1, max: 64 }),
    ),
    max_segments: fc.oneof(fc.integer({ min: 1, max: 6 }), fc.constant(128)),
    max_segment_size: fc.oneof(
      fc.constantFrom(4096, 8192, 65536),
      fc.integer({ min: 1024, max: 2250 }).map((n) => n * WORD),
    ),
    boundary: fc.constantFrom(12, 12, 13, 16, 32),
    virtual: fc.constantFrom(0, 0, 9, 12, 13),
    dma: fc.constantFrom(0, 2, 9),
  })
  .map((draft) =>
    validateLimits({
      logical_block_size: draft.block,
      physical_block_size: draft.block * draft.physical,
      max_hw_sectors: Math.max(draft.sectors, draft.block / SECTOR_BYTES),
      max_dev_sectors: draft.block === 512 ? draft.cap : 0,
      chunk_sectors: draft.chunk,
      max_segments: draft.max_segments,
      max_segment_size: draft.max_segment_size,
      seg_boundary_mask: 2 ** draft.boundary - 1,
      virt_boundary_mask: draft.virtual === 0 ? 0 : 2 ** draft.virtual - 1,
      dma_alignment: 2 ** draft.dma - 1,
      max_hw_discard_sectors: draft.sectors * 3,
      max_write_zeroes_sectors: draft.sectors * 2,
    }),
  );

/** Where entries of a program may start under `limits`: at least 4 bytes apart, to stay small. */
export function alignOf(limits: Limits): number {
  return Math.min(Math.max(limits.dma_alignment + 1, 4), PAGE_BYTES);
}
