import { Errno } from '../base/errno.ts';
import { PAGE_BYTES, SECTOR_BYTES } from '../base/units.ts';
import { boundaryLeft, gapBetween, goesOnHeldApart } from '../bvec/contiguity.ts';
import type { Limits } from '../limits/limits.ts';
import { BIO_BYTES_MAX, type Bio } from './bio.ts';
import { BioFlag, BioOp } from './bio-op.ts';

// Where a bio must be cut so that its front is a request that the device can take.
// Reference 5.3. Linux: bio_split_rw_at(), bio_split_discard(), block/blk-merge.c.

const PAGE_SECTORS = PAGE_BYTES / SECTOR_BYTES;

/** The limit that ended the front. */
export const SplitCause = {
  NONE: 0,
  MAX_SECTORS: 1,
  CHUNK_SECTORS: 2,
  MAX_SEGMENTS: 3,
  VIRT_BOUNDARY: 4,
  DISCARD: 5,
  /** Only the reserve had memory for metadata. */
  METADATA: 6,
} as const;
export type SplitCause = (typeof SplitCause)[keyof typeof SplitCause];
export const SPLIT_CAUSE_NAMES = [
  'none',
  'max_sectors',
  'chunk_sectors',
  'max_segments',
  'virt_boundary_mask',
  'max_discard_sectors',
  'metadata',
] as const;

/** Answer of `splitPoint`; one object for many calls. */
export class SplitPoint {
  /** Bytes of the front; 0 = no split; negative errno = cannot be sent. */
  bytes = 0;
  /** Segments of the front (of the whole bio when there is no split). */
  segments = 0;
  cause: SplitCause = SplitCause.NONE;
  /**
   * Cuts are multiples of this beside the logical block. A disk of 512-byte blocks with
   * dma_alignment 4095 needs 4096, or the rest would start where the device takes no memory.
   * Linux cuts at the block: 1, under its profiles.
   */
  unitBytes = 1;
}

/**
 * Bytes that a read or write from `sector` may have: up to max_sectors and the chunk's end, and
 * ending on a physical block where that is possible. (3, 2560, chunk 0, pbs 4096) → 2557 sectors.
 */
export function maxIoBytes(sector: number, limits: Limits): number {
  return boundedIoBytes(sector, limits.max_sectors, limits);
}

/** The same for an op with its own limit. Linux: get_max_io_size(). */
function boundedIoBytes(sector: number, maxSectors: number, limits: Limits): number {
  let most = maxSectors;
  if (limits.chunk_sectors !== 0) {
    most = Math.min(most, limits.chunk_sectors - (sector % limits.chunk_sectors));
  }
  const pbs = limits.physical_block_size / SECTOR_BYTES;
  const lbs = limits.logical_block_size / SECTOR_BYTES;
  const start = sector % pbs;
  const end = start + most - ((start + most) % pbs);
  const sectors = end > start ? end - start : most - (most % lbs);
  return sectors * SECTOR_BYTES;
}

/**
 * Fills `point` for `bio`.
 *
 * Entries are never joined while counting (but those that only a different hold keeps apart), so
 * `segments` is an upper bound of what a scatterlist needs. `bytes` is rounded down to the logical
 * block; nothing left of it is -EINVAL.
 */
export function splitPoint(bio: Bio, limits: Limits, point: SplitPoint): void {
  point.bytes = 0;
  point.segments = 0;
  point.cause = SplitCause.NONE;
  switch (bio.op) {
    case BioOp.READ:
    case BioOp.WRITE:
      if (needsWalk(bio, limits))
        splitReadWrite(bio, limits, maxIoBytes(bio.sector, limits), point);
      else point.segments = 1;
      break;
    case BioOp.FLUSH:
      break;
    case BioOp.DISCARD:
      splitDiscard(bio, limits, limits.max_discard_sectors, point);
      break;
    case BioOp.SECURE_ERASE:
      splitDiscard(bio, limits, limits.max_secure_erase_sectors, point);
      break;
    case BioOp.WRITE_ZEROES:
      splitWriteZeroes(bio, limits, point);
      break;
  }
  const splits = point.cause !== SplitCause.NONE;
  if (splits && (bio.flags & BioFlag.NOWAIT) !== 0) point.bytes = -Errno.EAGAIN;
}

/**
 * Every device takes one aligned segment within one page, so most small bios need no walk. (But a
 * user may state a max_sectors below a page, and then it counts.)
 */
function needsWalk(bio: Bio, limits: Limits): boolean {
  if (limits.chunk_sectors !== 0 || bio.vcnt !== 1) return true;
  const offset = bio.table.offset[bio.first];
  if ((offset & limits.dma_alignment) !== 0 || limits.max_sectors < PAGE_SECTORS) return true;
  return offset + bio.table.len[bio.first] > PAGE_BYTES;
}

/**
 * The walk of reference 5.3. An entry that starts off dma_alignment is -EINVAL without a cause; a
 * cut inside an entry may start the rest anywhere on a block, as up to Linux 6.12.
 */
export function splitReadWrite(
  bio: Bio,
  limits: Limits,
  maxBytes: number,
  point: SplitPoint,
): void {
  const { page, offset, len } = bio.table;
  const dmaMask = limits.dma_alignment;
  const maxSegments = limits.max_segments;
  const virtMask = limits.virt_boundary_mask;
  const fastSize = Math.min(PAGE_BYTES, limits.max_segment_size, limits.seg_boundary_mask + 1);
  let segments = 0;
  let bytes = 0;
  let left = bio.size;
  let done = bio.done;
  let prevOffset = 0;
  let prevLen = 0;
  for (let row = bio.row; left > 0; row++) {
    if ((offset[row] & dmaMask) !== 0) {
      point.bytes = -Errno.EINVAL;
      return;
    }
    const rowOffset = (offset[row] as number) + done;
    const addr = (page[row] as number) * PAGE_BYTES + rowOffset;
    let rowLen = Math.min((len[row] as number) - done, left);
    done = 0;
    while (rowLen < left && goesOnHeldApart(bio.table, row)) {
      row++;
      rowLen = Math.min(rowLen + (len[row] as number), left);
    }
    if (segments > 0 && gapBetween(prevOffset, prevLen, rowOffset, virtMask)) {
      cut(bytes, segments, SplitCause.VIRT_BOUNDARY, limits, point);
      return;
    }
    if (segments < maxSegments && bytes + rowLen <= maxBytes && rowOffset + rowLen <= fastSize) {
      segments++;
      bytes += rowLen;
    } else {
      // A long entry: cut it at the size and the boundary of a segment, piece by piece.
      const most = maxBytes - bytes;
      const want = rowLen < most ? rowLen : most;
      let taken = 0;
      while (taken < want && segments < maxSegments) {
        taken += segmentBytes(addr + taken, want - taken, limits);
        segments++;
        if (((rowOffset + taken) & virtMask) !== 0) break;
      }
      bytes += taken;
      if (taken < want || rowLen > most) {
        cut(bytes, segments, causeOf(taken < want, segments, limits), limits, point);
        if (point.cause === SplitCause.MAX_SECTORS) {
          point.cause = sizeCause(bio.sector, limits.max_sectors, limits);
        }
        return;
      }
    }
    prevOffset = rowOffset;
    prevLen = rowLen;
    left -= rowLen;
  }
  point.segments = segments;
}

/** `segMax` of reference 5.2: bytes of one segment that starts at `addr`. */
export function segmentBytes(addr: number, bytes: number, limits: Limits): number {
  const left = boundaryLeft(addr, limits.seg_boundary_mask);
  const most = left < limits.max_segment_size ? left : limits.max_segment_size;
  return bytes < most ? bytes : most;
}

function causeOf(cutInside: boolean, segments: number, limits: Limits): SplitCause {
  if (!cutInside) return SplitCause.MAX_SECTORS;
  return segments >= limits.max_segments ? SplitCause.MAX_SEGMENTS : SplitCause.VIRT_BOUNDARY;
}

/** The op's limit of sectors, or the chunk where it comes first. */
function sizeCause(sector: number, maxSectors: number, limits: Limits): SplitCause {
  const chunk = limits.chunk_sectors;
  if (chunk === 0) return SplitCause.MAX_SECTORS;
  const left = chunk - (sector % chunk);
  return left < maxSectors ? SplitCause.CHUNK_SECTORS : SplitCause.MAX_SECTORS;
}

/** Individual entries need not be whole blocks, requests must. */
function cut(
  bytes: number,
  segments: number,
  cause: SplitCause,
  limits: Limits,
  point: SplitPoint,
): void {
  const block = limits.logical_block_size;
  const units = bytes - (bytes % Math.max(block, point.unitBytes));
  const whole = units > 0 ? units : bytes - (bytes % block);
  point.bytes = whole > 0 ? whole : -Errno.EINVAL;
  point.segments = segments;
  point.cause = cause;
}

/**
 * A discard has no segments; it counts as one range. The next one starts at the granularity, where
 * the limit allows at least one unit of it (Linux sends what is less unsplit, over the limit).
 */
function splitDiscard(bio: Bio, limits: Limits, limitSectors: number, point: SplitPoint): void {
  point.segments = 1;
  if (limitSectors === 0) {
    point.bytes = -Errno.EOPNOTSUPP;
    return;
  }
  const lbs = limits.logical_block_size / SECTOR_BYTES;
  const whole = Math.floor(BIO_BYTES_MAX / SECTOR_BYTES);
  const limit = Math.min(limitSectors, whole);
  const granularity = Math.max(limits.discard_granularity / SECTOR_BYTES, 1);
  const unit = limit >= granularity && granularity % lbs === 0 ? granularity : lbs;
  let sectors = limit - (limit % unit);
  if (sectors > 0 && bio.sectors <= sectors) return;
  point.cause = SplitCause.DISCARD;
  if (sectors > 0) {
    const alignment = (limits.discard_alignment / SECTOR_BYTES) % unit;
    const over = (((bio.sector + sectors - alignment) % unit) + unit) % unit;
    if (sectors > over) sectors -= over;
  }
  point.bytes = sectors > 0 ? sectors * SECTOR_BYTES : -Errno.EINVAL;
}

/** No segments. Its own limit, the chunk and the physical block cut it as they cut a write. */
function splitWriteZeroes(bio: Bio, limits: Limits, point: SplitPoint): void {
  if (limits.max_write_zeroes_sectors === 0) {
    point.bytes = -Errno.EOPNOTSUPP;
    return;
  }
  const most = boundedIoBytes(bio.sector, limits.max_write_zeroes_sectors, limits);
  if (most > 0 && bio.size <= most) return;
  point.cause = sizeCause(bio.sector, limits.max_write_zeroes_sectors, limits);
  point.bytes = most > 0 ? most : -Errno.EINVAL;
}
