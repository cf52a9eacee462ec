import { BlockError } from '../base/block-error.ts';
import { isPowerOfTwo, PAGE_BYTES, roundDown, SECTOR_BYTES } from '../base/units.ts';
import {
  DEFAULT_LIMITS,
  LIMIT_NAMES,
  LIMIT_WIDTHS,
  type LimitName,
  type Limits,
  type LimitsInput,
  type LimitWidth,
  makeLimits,
  SEGMENT_COUNT_MAX,
  UINT32_MAX,
} from './limits.ts';
import { DEFAULT_PROFILE, type Profile } from './profile.ts';

/** Bytes. Smallest entry, smallest seg_boundary_mask + 1; a dma_alignment must be less. */
const SEGMENT_BYTES_MIN = PAGE_BYTES;
const LOGICAL_BLOCK_BYTES_MAX = 65536;
const PAGE_SECTORS = PAGE_BYTES / SECTOR_BYTES;
/** Vecs of one bio, which bound what an atomic write can be built from in the worst case. */
const BIO_VECS_MAX = 256;
const CLAMP: Readonly<Record<'u16' | 'u32' | 'mask', number>> = {
  u16: SEGMENT_COUNT_MAX,
  u32: UINT32_MAX,
  mask: Number.MAX_SAFE_INTEGER,
};

/** Limits under construction. */
type Draft = { -readonly [Name in LimitName]: Limits[Name] };

/**
 * Defaults, rounding and rules for limits that a driver states. Derived fields are derived anew:
 * max_sectors and max_discard_sectors of the input do not count (but a max_discard_sectors alone
 * says what the device can). 0 means "not set" where a device cannot have 0.
 * Post: validateLimits(validateLimits(x)) equals validateLimits(x).
 * Throws BlockError EINVAL whose reason names the field, the value and the rule.
 * Linux: blk_validate_limits(), block/blk-settings.c.
 */
export function validateLimits(input: LimitsInput, profile: Profile = DEFAULT_PROFILE): Limits {
  const draft = readInput(input, profile);
  draft.max_sectors = 0;
  draft.max_discard_sectors = UINT32_MAX;
  settle(draft, profile);
  if (draft.alignment_offset !== 0) {
    draft.alignment_offset %= draft.physical_block_size;
    draft.misaligned = false; // The driver knows where its blocks start, so they line up.
  }
  return makeLimits(draft);
}

/**
 * Limits as a real queue showed them, or as a user wrote them down: the same rules, but a given
 * max_sectors or max_discard_sectors counts, up to the hard limits. An alignment_offset of -1 is
 * what sysfs shows for `misaligned`.
 */
export function fromEffective(input: LimitsInput, profile: Profile = DEFAULT_PROFILE): Limits {
  const isMisaligned = input.alignment_offset === -1;
  const read = isMisaligned ? { ...input, alignment_offset: 0, misaligned: true } : input;
  const draft = readInput(read, profile);
  draft.max_sectors = read.max_sectors === undefined ? 0 : draft.max_sectors;
  if (read.max_discard_sectors === undefined) draft.max_discard_sectors = UINT32_MAX;
  settle(draft, profile);
  draft.alignment_offset %= draft.io_min;
  return makeLimits(draft);
}

/** `x` is 2^k - 1. Exact up to 2^53 - 1, where log2 alone rounds and bitwise operators wrap. */
export function isMask(x: number): boolean {
  return 2 ** Math.round(Math.log2(x + 1)) === x + 1;
}

function invalid(name: LimitName, value: unknown, rule: string): never {
  throw new BlockError('EINVAL', { reason: `${name} is ${String(value)}, but must be ${rule}` });
}

function readInput(input: LimitsInput, profile: Profile): Draft {
  const draft: Draft = { ...DEFAULT_LIMITS };
  for (const name of LIMIT_NAMES) {
    const value = input[name];
    if (value === undefined) continue;
    Object.assign(draft, { [name]: readValue(name, LIMIT_WIDTHS[name], value) });
  }
  draft.max_hw_discard_sectors =
    input.max_hw_discard_sectors === undefined
      ? draft.max_discard_sectors
      : draft.max_hw_discard_sectors;
  if (draft.virt_boundary_mask !== 0 && (input.max_segment_size ?? 0) === 0) {
    draft.max_segment_size = UINT32_MAX;
  }
  if (draft.dma_alignment === 0 && profile.dmaAlignmentZero === '511') draft.dma_alignment = 511;
  return draft;
}

function readValue(name: LimitName, width: LimitWidth, value: unknown): unknown {
  if (width === 'flag') {
    if (typeof value !== 'boolean') invalid(name, value, 'true or false');
    return value;
  }
  if (width === 'merges') {
    if (value !== 0 && value !== 1 && value !== 2) invalid(name, value, '0, 1 or 2');
    return value;
  }
  if (typeof value !== 'number' || Number.isNaN(value)) invalid(name, value, 'a number');
  if (value < 0) invalid(name, value, 'at least 0');
  const clamped = Math.min(value, CLAMP[width]);
  if (!Number.isInteger(clamped)) invalid(name, value, 'a whole number');
  if (width === 'mask' && !isMask(clamped)) invalid(name, value, 'a mask, 2^k - 1');
  return clamped === 0 && ZERO_IS_UNSET.has(name) ? DEFAULT_LIMITS[name] : clamped;
}

/** No device has 0 of these, so 0 asks for the default. */
const ZERO_IS_UNSET: ReadonlySet<LimitName> = new Set<LimitName>([
  'logical_block_size',
  'physical_block_size',
  'max_hw_sectors',
  'max_segments',
  'max_segment_size',
  'seg_boundary_mask',
  'max_discard_segments',
]);

/** Pre: max_sectors is 0 (derive it) or a wish; max_discard_sectors is a wish. */
function settle(draft: Draft, profile: Profile): void {
  settleBlocks(draft);
  settleSize(draft, profile);
  settleSegments(draft);
  settleDiscard(draft);
  settleAtomic(draft);
  if (!draft.write_cache) draft.fua = false;
}

function settleBlocks(draft: Draft): void {
  const logical = draft.logical_block_size;
  const isBlock = isPowerOfTwo(logical) && logical >= SECTOR_BYTES;
  if (!isBlock || logical > LOGICAL_BLOCK_BYTES_MAX) {
    invalid('logical_block_size', logical, 'a power of two from 512 to 65536');
  }
  if (!isPowerOfTwo(draft.physical_block_size)) {
    invalid('physical_block_size', draft.physical_block_size, 'a power of two');
  }
  draft.physical_block_size = Math.max(draft.physical_block_size, logical);
  draft.io_min = Math.max(draft.io_min, draft.physical_block_size);
  draft.io_opt = roundDown(draft.io_opt, draft.physical_block_size);
  const granularity = draft.zone_write_granularity;
  if (granularity === 0) return;
  if (!isPowerOfTwo(granularity)) {
    invalid('zone_write_granularity', granularity, '0 (not zoned) or a power of two');
  }
  draft.zone_write_granularity = Math.max(granularity, logical);
}

function settleSize(draft: Draft, profile: Profile): void {
  const blockSectors = draft.logical_block_size / SECTOR_BYTES;
  const block = `one logical block of ${draft.logical_block_size} bytes`;
  const hw = draft.max_hw_sectors;
  const user = draft.max_user_sectors;
  if (hw < PAGE_SECTORS) invalid('max_hw_sectors', hw, 'at least 8 sectors, one page');
  if (hw < blockSectors) invalid('max_hw_sectors', hw, `at least ${block}`);
  if (user !== 0 && user < PAGE_SECTORS) {
    invalid('max_user_sectors', user, '0 (no cap) or at least 8 sectors, one page');
  }
  draft.max_hw_sectors = roundDown(hw, blockSectors);
  const wish = draft.max_sectors || user || softCapSectors(draft, profile);
  const caps = [draft.max_hw_sectors, draft.max_dev_sectors || hw, user || hw];
  const max = Math.min(wish, ...caps);
  draft.max_sectors = roundDown(max, blockSectors);
  if (draft.max_sectors > 0) return;
  const name = (['max_dev_sectors', 'max_user_sectors'] as const).find((cap) => draft[cap] === max);
  invalid(name ?? 'max_sectors', max, `at least ${block}`);
}

/** Hints above the cap raise it: a RAID stripe should fit one request. */
function softCapSectors(draft: Draft, profile: Profile): number {
  const cap = profile.softCapSectors;
  if (draft.io_opt > cap * SECTOR_BYTES) return Math.floor(draft.io_opt / SECTOR_BYTES);
  if (draft.io_min > cap * SECTOR_BYTES) return Math.floor(draft.io_min / SECTOR_BYTES);
  return cap;
}

function settleSegments(draft: Draft): void {
  if (draft.max_segment_size < SEGMENT_BYTES_MIN) {
    invalid('max_segment_size', draft.max_segment_size, 'at least 4096 bytes');
  }
  if (draft.seg_boundary_mask < SEGMENT_BYTES_MIN - 1) {
    invalid('seg_boundary_mask', draft.seg_boundary_mask, 'at least 4095');
  }
  if (draft.dma_alignment >= SEGMENT_BYTES_MIN) {
    invalid('dma_alignment', draft.dma_alignment, 'at most 4095');
  }
}

function settleDiscard(draft: Draft): void {
  draft.max_discard_sectors = Math.min(
    draft.max_discard_sectors,
    draft.max_hw_discard_sectors,
    draft.max_user_discard_sectors,
  );
  if (draft.discard_granularity % SECTOR_BYTES !== 0) {
    invalid('discard_granularity', draft.discard_granularity, 'a multiple of 512 bytes');
  }
  if (draft.max_discard_sectors === 0) {
    draft.discard_granularity = 0;
    draft.discard_alignment = 0;
    return;
  }
  draft.discard_granularity = Math.max(draft.discard_granularity, draft.physical_block_size);
  draft.discard_alignment %= draft.discard_granularity;
}

/** Linux switches atomic writes off when the numbers contradict; a device should hear of it. */
function settleAtomic(draft: Draft): void {
  const max = draft.atomic_write_max_bytes;
  const unitMin = draft.atomic_write_unit_min_bytes;
  const unitMax = draft.atomic_write_unit_max_bytes;
  const boundary = draft.atomic_write_boundary_bytes;
  if (max === 0) {
    if (unitMin !== 0) invalid('atomic_write_unit_min_bytes', unitMin, '0 without a maximum');
    if (unitMax !== 0) invalid('atomic_write_unit_max_bytes', unitMax, '0 without a maximum');
    if (boundary !== 0) invalid('atomic_write_boundary_bytes', boundary, '0 without a maximum');
    return;
  }
  const logical = draft.logical_block_size;
  if (!isPowerOfTwo(unitMin) || unitMin < logical) {
    invalid('atomic_write_unit_min_bytes', unitMin, `a power of two >= ${logical}`);
  }
  if (!isPowerOfTwo(unitMax) || unitMax < unitMin || unitMax > max) {
    const rule = `a power of two from ${unitMin} to ${max}, the unit minimum and the maximum`;
    invalid('atomic_write_unit_max_bytes', unitMax, rule);
  }
  if (boundary !== 0) {
    if (!isPowerOfTwo(boundary) || boundary < max) {
      invalid('atomic_write_boundary_bytes', boundary, `0 or a power of two >= ${max}`);
    }
    if ((draft.chunk_sectors * SECTOR_BYTES) % boundary !== 0) {
      const rule = `a divisor of chunk_sectors, ${draft.chunk_sectors} sectors`;
      invalid('atomic_write_boundary_bytes', boundary, rule);
    }
  }
  const limit = atomicUnitLimitBytes(draft);
  draft.atomic_write_unit_min_bytes = Math.min(unitMin, limit);
  draft.atomic_write_unit_max_bytes = Math.min(unitMax, limit);
  const hardBytes = draft.max_hw_sectors * SECTOR_BYTES;
  draft.atomic_write_max_bytes = roundDown(Math.min(max, hardBytes), logical);
}

/**
 * The largest power of two that one request surely carries: iovecs of one block at both ends, a
 * page in each vec between. 128 segments, block 512: 2 * 512 + 126 * 4096 = 517120 -> 262144.
 */
function atomicUnitLimitBytes(draft: Draft): number {
  const vecs = Math.min(BIO_VECS_MAX, draft.max_segments);
  const ends = Math.min(vecs, 2) * draft.logical_block_size;
  const carried = ends + Math.max(vecs - 2, 0) * PAGE_BYTES;
  const bytes = Math.min(carried, draft.max_hw_sectors * SECTOR_BYTES);
  return 2 ** Math.floor(Math.log2(bytes));
}
