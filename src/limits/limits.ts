// What a device can take, as pure data. Names are those of /sys/block/*/queue (or of struct
// queue_limits where sysfs has none); a sector is 512 bytes whatever the block size.

/** 2^32 - 1: "no limit" in a field that Linux keeps in 32 bits. */
export const UINT32_MAX = 2 ** 32 - 1;
/** 2^16 - 1: the most that a count of segments can say. */
export const SEGMENT_COUNT_MAX = 2 ** 16 - 1;

export interface Limits {
  /** Bytes. The smallest addressable unit; a power of two from 512 to 65536. */
  readonly logical_block_size: number;
  /** Bytes. What the device writes without read-modify-write; a power of two >= logical. */
  readonly physical_block_size: number;
  /** Bytes. Hint: smallest preferred I/O; >= physical_block_size. */
  readonly io_min: number;
  /** Bytes. Hint: optimal I/O, a multiple of physical_block_size; 0 = none stated. */
  readonly io_opt: number;
  /** Bytes. Where the first physical block starts, counted from sector 0. */
  readonly alignment_offset: number;
  /** Stacked parts whose blocks do not line up: correct, but slow. */
  readonly misaligned: boolean;

  /** Sectors. Hard limit of one request, passthrough too; a multiple of the logical block. */
  readonly max_hw_sectors: number;
  /** Sectors. Cap of the disk behind the controller; 0 = none. */
  readonly max_dev_sectors: number;
  /** Sectors. Cap set by the administrator; 0 = none. */
  readonly max_user_sectors: number;
  /** Sectors. What one request of a read or write may carry: derived from the three above. */
  readonly max_sectors: number;
  /** Sectors. No request crosses a multiple of it; 0 = none; any value, not only powers of two. */
  readonly chunk_sectors: number;

  /** Entries in one request, >= 1. */
  readonly max_segments: number;
  /** Bytes in one entry, >= 4096; any value. */
  readonly max_segment_size: number;
  /** Mask 2^k - 1 >= 4095: an entry crosses no multiple of mask + 1 of the physical address. */
  readonly seg_boundary_mask: number;
  /** Mask 2^k - 1: interior entry edges are multiples of mask + 1; 0 = none. */
  readonly virt_boundary_mask: number;
  /** Mask 2^k - 1 <= 4095: where an entry may start; 0 = anywhere. */
  readonly dma_alignment: number;
  /** Mask 2^k - 1: granularity of passthrough lengths; 0 = any. */
  readonly dma_pad_mask: number;
  /** Metadata entries in one request; 0 = none stated, so no limit of its own. */
  readonly max_integrity_segments: number;

  /** Sectors. What the device can discard at once; 0 = it cannot discard. */
  readonly max_hw_discard_sectors: number;
  /** Sectors. The administrator's cap on discards; 0 = discard is switched off. */
  readonly max_user_discard_sectors: number;
  /** Sectors. min(hw, user): derived. */
  readonly max_discard_sectors: number;
  /** Bytes. Discards of less do nothing; >= physical_block_size; 0 = it cannot discard. */
  readonly discard_granularity: number;
  /** Bytes. Where the first discard unit starts; < discard_granularity. */
  readonly discard_alignment: number;
  /** Ranges in one discard request, >= 1. */
  readonly max_discard_segments: number;
  /** Sectors; 0 = the device has no such command. */
  readonly max_write_zeroes_sectors: number;
  /** Sectors; 0 = the device has no such command. */
  readonly max_secure_erase_sectors: number;
  /** Bytes. Writes to a zone are cut at multiples of it; a power of two; 0 = not zoned. */
  readonly zone_write_granularity: number;

  /** Bytes. Smallest atomic write, a power of two; 0 in all four = no atomic writes. */
  readonly atomic_write_unit_min_bytes: number;
  /** Bytes. Largest single atomic write, a power of two. */
  readonly atomic_write_unit_max_bytes: number;
  /** Bytes. No atomic write crosses a multiple of it, a power of two; 0 = none. */
  readonly atomic_write_boundary_bytes: number;
  /** Bytes. Largest request that atomic writes may be merged into. */
  readonly atomic_write_max_bytes: number;

  /** A volatile cache: a completed write is durable only after a flush. */
  readonly write_cache: boolean;
  /** FUA writes reach the medium past the cache; false without a cache, which needs none. */
  readonly fua: boolean;
  readonly read_only: boolean;
  readonly rotational: boolean;
  /** 0 = merge; 1 = only with the last request of the plug; 2 = never. */
  readonly nomerges: 0 | 1 | 2;
}

export type LimitName = keyof Limits;

/** What a driver, a probe or a file states; the rest gets defaults. */
export type LimitsInput = { readonly [Name in LimitName]?: Limits[Name] | undefined };

/**
 * How wide a field is. Numbers above the width are clamped to it, which is never looser than asked.
 * Masks stop at 2^53 - 1, the last mask that a double holds: a 64-bit "no boundary" becomes that.
 */
export type LimitWidth = 'u16' | 'u32' | 'mask' | 'flag' | 'merges';

export const LIMIT_WIDTHS: Readonly<Record<LimitName, LimitWidth>> = {
  logical_block_size: 'u32',
  physical_block_size: 'u32',
  io_min: 'u32',
  io_opt: 'u32',
  alignment_offset: 'u32',
  misaligned: 'flag',
  max_hw_sectors: 'u32',
  max_dev_sectors: 'u32',
  max_user_sectors: 'u32',
  max_sectors: 'u32',
  chunk_sectors: 'u32',
  max_segments: 'u16',
  max_segment_size: 'u32',
  seg_boundary_mask: 'mask',
  virt_boundary_mask: 'mask',
  dma_alignment: 'mask',
  dma_pad_mask: 'mask',
  max_integrity_segments: 'u16',
  max_hw_discard_sectors: 'u32',
  max_user_discard_sectors: 'u32',
  max_discard_sectors: 'u32',
  discard_granularity: 'u32',
  discard_alignment: 'u32',
  max_discard_segments: 'u16',
  max_write_zeroes_sectors: 'u32',
  max_secure_erase_sectors: 'u32',
  zone_write_granularity: 'u32',
  atomic_write_unit_min_bytes: 'u32',
  atomic_write_unit_max_bytes: 'u32',
  atomic_write_boundary_bytes: 'u32',
  atomic_write_max_bytes: 'u32',
  write_cache: 'flag',
  fua: 'flag',
  read_only: 'flag',
  rotational: 'flag',
  nomerges: 'merges',
};

export const LIMIT_NAMES: readonly LimitName[] = Object.keys(LIMIT_WIDTHS) as LimitName[];

/**
 * The only place that makes a Limits: one literal, so one hidden class, and hot code that reads
 * `limits.max_segments` stays monomorphic. Takes values that are already valid.
 */
export function makeLimits(values: Limits): Limits {
  const limits: Limits = {
    logical_block_size: values.logical_block_size,
    physical_block_size: values.physical_block_size,
    io_min: values.io_min,
    io_opt: values.io_opt,
    alignment_offset: values.alignment_offset,
    misaligned: values.misaligned,
    max_hw_sectors: values.max_hw_sectors,
    max_dev_sectors: values.max_dev_sectors,
    max_user_sectors: values.max_user_sectors,
    max_sectors: values.max_sectors,
    chunk_sectors: values.chunk_sectors,
    max_segments: values.max_segments,
    max_segment_size: values.max_segment_size,
    seg_boundary_mask: values.seg_boundary_mask,
    virt_boundary_mask: values.virt_boundary_mask,
    dma_alignment: values.dma_alignment,
    dma_pad_mask: values.dma_pad_mask,
    max_integrity_segments: values.max_integrity_segments,
    max_hw_discard_sectors: values.max_hw_discard_sectors,
    max_user_discard_sectors: values.max_user_discard_sectors,
    max_discard_sectors: values.max_discard_sectors,
    discard_granularity: values.discard_granularity,
    discard_alignment: values.discard_alignment,
    max_discard_segments: values.max_discard_segments,
    max_write_zeroes_sectors: values.max_write_zeroes_sectors,
    max_secure_erase_sectors: values.max_secure_erase_sectors,
    zone_write_granularity: values.zone_write_granularity,
    atomic_write_unit_min_bytes: values.atomic_write_unit_min_bytes,
    atomic_write_unit_max_bytes: values.atomic_write_unit_max_bytes,
    atomic_write_boundary_bytes: values.atomic_write_boundary_bytes,
    atomic_write_max_bytes: values.atomic_write_max_bytes,
    write_cache: values.write_cache,
    fua: values.fua,
    read_only: values.read_only,
    rotational: values.rotational,
    nomerges: values.nomerges,
  };
  return Object.freeze(limits);
}

// V8 gives each field the representation of the first value it sees and re-maps every object when
// a later value does not fit a small integer. The first Limits therefore holds a double in every
// numeric field, and no later one changes the class.
makeLimits(
  Object.fromEntries(
    LIMIT_NAMES.map((name) => [name, LIMIT_WIDTHS[name] === 'flag' ? false : UINT32_MAX]),
  ) as unknown as Limits,
);

/**
 * Where a stack of devices starts: the neutral element of `stackLimits`, looser than
 * any device except in dma_alignment: a stacking driver itself wants whole sectors.
 * Linux: blk_set_stacking_limits(), block/blk-settings.c.
 */
export const STACKING_LIMITS: Limits = makeLimits({
  logical_block_size: 512,
  physical_block_size: 512,
  io_min: 512,
  io_opt: 0,
  alignment_offset: 0,
  misaligned: false,
  max_hw_sectors: UINT32_MAX,
  max_dev_sectors: 0,
  max_user_sectors: 0,
  max_sectors: UINT32_MAX,
  chunk_sectors: 0,
  max_segments: SEGMENT_COUNT_MAX,
  max_segment_size: UINT32_MAX,
  seg_boundary_mask: Number.MAX_SAFE_INTEGER,
  virt_boundary_mask: 0,
  dma_alignment: 511,
  dma_pad_mask: 0,
  max_integrity_segments: 0,
  max_hw_discard_sectors: UINT32_MAX,
  max_user_discard_sectors: UINT32_MAX,
  max_discard_sectors: UINT32_MAX,
  discard_granularity: 512,
  discard_alignment: 0,
  max_discard_segments: SEGMENT_COUNT_MAX,
  max_write_zeroes_sectors: UINT32_MAX,
  max_secure_erase_sectors: UINT32_MAX,
  zone_write_granularity: 0,
  atomic_write_unit_min_bytes: 512,
  atomic_write_unit_max_bytes: 2 ** 31,
  atomic_write_boundary_bytes: 0,
  atomic_write_max_bytes: 2 ** 31,
  write_cache: false,
  fua: false,
  read_only: false,
  rotational: false,
  nomerges: 0,
});

/**
 * What a device has that states nothing: `validateLimits({})`.
 * Linux: blk_set_default_limits() and the defaults of blk_validate_limits().
 */
export const DEFAULT_LIMITS: Limits = makeLimits({
  ...STACKING_LIMITS,
  max_hw_sectors: 255,
  max_sectors: 255,
  max_segments: 128,
  max_segment_size: 65536,
  seg_boundary_mask: UINT32_MAX,
  max_hw_discard_sectors: 0,
  max_discard_sectors: 0,
  discard_granularity: 0,
  max_discard_segments: 1,
  max_write_zeroes_sectors: 0,
  max_secure_erase_sectors: 0,
  atomic_write_unit_min_bytes: 0,
  atomic_write_unit_max_bytes: 0,
  atomic_write_max_bytes: 0,
});
