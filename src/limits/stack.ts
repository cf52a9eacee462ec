import { BlockError } from '../base/block-error.ts';
import { roundDown, SECTOR_BYTES, sector } from '../base/units.ts';
import { type Limits, makeLimits, UINT32_MAX } from './limits.ts';

// Where this differs from Linux, always to the stricter side, so that what the top accepts the
// bottom takes as it is:
//   virt_boundary_mask   the larger mask; Linux takes the smaller, and the bottom splits again
//   dma_pad_mask         the larger mask; Linux does not stack it
//   chunk_sectors        the gcd stays even if it is no multiple of the physical block; Linux
//                        drops it. misaligned says so
//   discard, erase       0 (cannot) wins; Linux takes the other part's number
//   fua                  every part with a cache must have it; Linux lets one part speak for all
//   nomerges             the larger; Linux does not stack it
//   io_opt               more than 2^32 - 1 is no hint (0); Linux wraps
//   max_*_sectors        less than one stacked block is EINVAL; Linux rounds up to a page

export interface Stacked {
  readonly limits: Limits;
  /** This step found blocks that do not line up. `limits.misaligned` remembers earlier steps. */
  readonly misaligned: boolean;
}

type Sizes = Pick<Limits, 'max_hw_sectors' | 'max_sectors'>;
type Hints = Pick<
  Limits,
  'physical_block_size' | 'io_min' | 'io_opt' | 'alignment_offset' | 'misaligned'
>;
type Discard = Pick<
  Limits,
  'max_discard_sectors' | 'discard_granularity' | 'discard_alignment' | 'max_discard_segments'
>;
type Atomic = Pick<
  Limits,
  | 'atomic_write_unit_min_bytes'
  | 'atomic_write_unit_max_bytes'
  | 'atomic_write_boundary_bytes'
  | 'atomic_write_max_bytes'
>;

/**
 * What a device made of `top` so far takes when `bottom` becomes a part of it. Begin with
 * STACKING_LIMITS. `bottomStartSector` is where the data begins on the bottom device.
 * Pre: both are valid. Post: every limit is at least as strict as in each part.
 * Commutative, associative and idempotent in its min, max and gcd fields.
 * Throws BlockError EINVAL if no request could carry one block.
 * Linux: blk_stack_limits(), block/blk-settings.c.
 */
export function stackLimits(top: Limits, bottom: Limits, bottomStartSector = 0): Stacked {
  const start = sector(bottomStartSector);
  const logical_block_size = Math.max(top.logical_block_size, bottom.logical_block_size);
  const chunk_sectors = gcd(top.chunk_sectors, bottom.chunk_sectors);
  const hints = stackHints(top, bottom, start);
  const doesChunkFit = (chunk_sectors * SECTOR_BYTES) % hints.physical_block_size === 0;
  const misaligned = hints.misaligned || !doesChunkFit;
  const write_cache = top.write_cache || bottom.write_cache;
  const zone = Math.max(top.zone_write_granularity, bottom.zone_write_granularity);
  const pickier = top.nomerges > bottom.nomerges ? top : bottom;
  const limits = makeLimits({
    ...hints,
    logical_block_size,
    misaligned: misaligned || top.misaligned || bottom.misaligned,
    ...stackSizes(top, bottom, logical_block_size),
    max_dev_sectors: minNonZero(top.max_dev_sectors, bottom.max_dev_sectors),
    max_user_sectors: minNonZero(top.max_user_sectors, bottom.max_user_sectors),
    chunk_sectors,
    max_segments: Math.min(top.max_segments, bottom.max_segments),
    max_segment_size: Math.min(top.max_segment_size, bottom.max_segment_size),
    seg_boundary_mask: Math.min(top.seg_boundary_mask, bottom.seg_boundary_mask),
    // Of two masks 2^k - 1 the larger contains the smaller: max is OR, without 32-bit wrap.
    virt_boundary_mask: Math.max(top.virt_boundary_mask, bottom.virt_boundary_mask),
    dma_alignment: Math.max(top.dma_alignment, bottom.dma_alignment),
    dma_pad_mask: Math.max(top.dma_pad_mask, bottom.dma_pad_mask),
    max_integrity_segments: minNonZero(top.max_integrity_segments, bottom.max_integrity_segments),
    max_hw_discard_sectors: Math.min(top.max_hw_discard_sectors, bottom.max_hw_discard_sectors),
    max_user_discard_sectors: Math.min(
      top.max_user_discard_sectors,
      bottom.max_user_discard_sectors,
    ),
    ...stackDiscard(top, bottom, start, hints.physical_block_size),
    max_write_zeroes_sectors: Math.min(
      top.max_write_zeroes_sectors,
      bottom.max_write_zeroes_sectors,
    ),
    max_secure_erase_sectors: Math.min(
      top.max_secure_erase_sectors,
      bottom.max_secure_erase_sectors,
    ),
    zone_write_granularity: zone === 0 ? 0 : Math.max(zone, logical_block_size),
    ...stackAtomic(top, bottom, start, { logical_block_size, chunk_sectors }),
    write_cache,
    fua: write_cache && isFuaHonoured(top) && isFuaHonoured(bottom),
    read_only: top.read_only || bottom.read_only,
    rotational: top.rotational || bottom.rotational,
    nomerges: pickier.nomerges,
  });
  return { limits, misaligned };
}

/** Without a cache every write is durable when it completes, so FUA holds by itself. */
function isFuaHonoured(limits: Limits): boolean {
  return limits.fua || !limits.write_cache;
}

function stackSizes(top: Limits, bottom: Limits, logicalBytes: number): Sizes {
  const cap = (name: keyof Sizes): number => {
    const smaller = Math.min(top[name], bottom[name]);
    const rounded = roundDown(smaller, logicalBytes / SECTOR_BYTES);
    if (rounded > 0) return rounded;
    const reason =
      `stacked ${name} is ${smaller} sectors, but must be at least ` +
      `one stacked logical block of ${logicalBytes} bytes`;
    throw new BlockError('EINVAL', { reason });
  };
  return {
    max_hw_sectors: cap('max_hw_sectors'),
    max_sectors: cap('max_sectors'),
  };
}

/** Block sizes and hints; hints that do not fit the blocks are reset, as in Linux. */
function stackHints(top: Limits, bottom: Limits, start: number): Hints {
  const shift = alignmentAt(bottom, start);
  let misaligned = top.alignment_offset !== shift && !doLineUp(top, bottom, shift);
  // Both are powers of two and not below their logical block, so the larger fits the larger.
  const physical_block_size = Math.max(top.physical_block_size, bottom.physical_block_size);
  let io_min = Math.max(top.io_min, bottom.io_min);
  let io_opt = lcmNonZero(top.io_opt, bottom.io_opt);
  if (io_min % physical_block_size !== 0) {
    io_min = physical_block_size;
    misaligned = true;
  }
  if (io_opt % physical_block_size !== 0) {
    io_opt = 0;
    misaligned = true;
  }
  const alignment_offset = lcmNonZero(top.alignment_offset, shift) % io_min;
  const logicalBytes = Math.max(top.logical_block_size, bottom.logical_block_size);
  if (alignment_offset % logicalBytes !== 0) misaligned = true;
  return { physical_block_size, io_min, io_opt, alignment_offset, misaligned };
}

/**
 * Bytes from `start` to the next physical block of the part.
 * Physical block 4096, start 63: (63 * 512) % 4096 = 3584, so 512.
 */
function alignmentAt(part: Limits, start: number): number {
  const granularity = part.io_min; // Never below the physical block.
  const into = (start * SECTOR_BYTES) % granularity;
  return (granularity + part.alignment_offset - into) % granularity;
}

function doLineUp(top: Limits, bottom: Limits, shift: number): boolean {
  const a = top.io_min + top.alignment_offset;
  const b = bottom.io_min + shift;
  return Math.max(a, b) % Math.min(a, b) === 0;
}

function stackDiscard(top: Limits, bottom: Limits, start: number, physicalBytes: number): Discard {
  const max_discard_sectors = Math.min(top.max_discard_sectors, bottom.max_discard_sectors);
  const max_discard_segments = Math.min(top.max_discard_segments, bottom.max_discard_segments);
  if (max_discard_sectors === 0) {
    return {
      max_discard_sectors,
      discard_granularity: 0,
      discard_alignment: 0,
      max_discard_segments,
    };
  }
  const discard_granularity = Math.max(
    top.discard_granularity,
    bottom.discard_granularity,
    physicalBytes,
  );
  const into = (start * SECTOR_BYTES) % bottom.discard_granularity;
  const unit = bottom.discard_granularity;
  const shift = (unit + bottom.discard_alignment - into) % unit;
  const discard_alignment = lcmNonZero(top.discard_alignment, shift) % discard_granularity;
  return { max_discard_sectors, discard_granularity, discard_alignment, max_discard_segments };
}

/** Atomic on the stack is what is atomic on both parts; no overlap switches it off. */
function stackAtomic(
  top: Limits,
  bottom: Limits,
  start: number,
  { logical_block_size, chunk_sectors }: Pick<Limits, 'logical_block_size' | 'chunk_sectors'>,
): Atomic {
  const unitMin = Math.max(
    top.atomic_write_unit_min_bytes,
    bottom.atomic_write_unit_min_bytes,
    logical_block_size,
  );
  const unitMax = Math.min(top.atomic_write_unit_max_bytes, bottom.atomic_write_unit_max_bytes);
  const boundary = minNonZero(top.atomic_write_boundary_bytes, bottom.atomic_write_boundary_bytes);
  const max = roundDown(
    Math.min(top.atomic_write_max_bytes, bottom.atomic_write_max_bytes),
    logical_block_size,
  );
  const alignBytes = Math.max(
    bottom.atomic_write_unit_min_bytes,
    bottom.atomic_write_boundary_bytes,
    SECTOR_BYTES,
  );
  const isStartAligned = (start * SECTOR_BYTES) % alignBytes === 0;
  const doesChunkFit = boundary === 0 || (chunk_sectors * SECTOR_BYTES) % boundary === 0;
  const isOn = unitMin <= unitMax && isStartAligned && doesChunkFit;
  return {
    atomic_write_unit_min_bytes: isOn ? unitMin : 0,
    atomic_write_unit_max_bytes: isOn ? unitMax : 0,
    atomic_write_boundary_bytes: isOn ? boundary : 0,
    atomic_write_max_bytes: isOn ? max : 0,
  };
}

/** 0 = no limit. */
function minNonZero(a: number, b: number): number {
  if (a === 0) return b;
  return b === 0 ? a : Math.min(a, b);
}

/** gcd(0, b) = b, so 0 = no limit is neutral. */
function gcd(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y !== 0) [x, y] = [y, x % y];
  return x;
}

/** 0 = none stated; 0 also for what the field cannot hold. */
function lcmNonZero(a: number, b: number): number {
  if (a === 0 || b === 0) return Math.max(a, b);
  const lcm = (a / gcd(a, b)) * b;
  return lcm <= UINT32_MAX ? lcm : 0;
}
