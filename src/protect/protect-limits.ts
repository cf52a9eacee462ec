import { SECTOR_BYTES } from '../base/units.ts';
import type { Limits } from '../limits/limits.ts';
import { fromEffective } from '../limits/validate.ts';
import { logBufferBytes } from './intent-log.ts';
import type { Layout } from './layout.ts';
import { recordBytes } from './log-record.ts';
import { SLOT_SEGMENTS_MAX } from './protect-slot.ts';

/** Tuples of one request: 4 MiB of data at 4 KiB and 16 bytes, 512 KiB at 512 bytes. */
const TUPLE_BYTES_MAX = 16 * 1024;

/** Bytes of data in one request: its tuples fit a quarter of the log's buffer. */
export function requestBytesMax(layout: Layout): number {
  const room = logBufferBytes(layout) / 4 - recordBytes(0, SECTOR_BYTES);
  const tuples = Math.floor(Math.min(TUPLE_BYTES_MAX, room) / layout.tupleBytes);
  return Math.max(tuples, 1) * layout.intervalBytes;
}

/** Tuple pages that one request touches at most. */
export function requestPagesMax(layout: Layout): number {
  const blocks = requestBytesMax(layout) / layout.intervalBytes;
  return Math.ceil(blocks / layout.tuplesPerPage) + 1;
}

/**
 * What a protected device takes: what the one below does, in whole intervals, and no more at once
 * than the log has room for. It has a volatile cache, whatever is below: tuples wait in memory.
 */
export function protectLimits(lower: Limits, layout: Layout): Limits {
  const { intervalBytes } = layout;
  const sectors = requestBytesMax(layout) / SECTOR_BYTES;
  const least = (value: number): number => (value === 0 ? 0 : Math.min(value, sectors));
  const block = Math.max(lower.logical_block_size, intervalBytes);
  return fromEffective({
    ...lower,
    logical_block_size: block,
    physical_block_size: Math.max(lower.physical_block_size, block),
    io_min: Math.max(lower.io_min, block),
    max_hw_sectors: Math.min(lower.max_hw_sectors, sectors),
    max_sectors: Math.min(lower.max_sectors, sectors),
    max_segments: Math.min(lower.max_segments, SLOT_SEGMENTS_MAX),
    max_hw_discard_sectors: least(lower.max_hw_discard_sectors),
    max_discard_sectors: least(lower.max_discard_sectors),
    discard_granularity:
      lower.discard_granularity === 0 ? 0 : Math.max(lower.discard_granularity, block),
    max_discard_segments: 1,
    max_write_zeroes_sectors: least(lower.max_write_zeroes_sectors),
    max_secure_erase_sectors: 0,
    atomic_write_unit_min_bytes: 0,
    atomic_write_unit_max_bytes: 0,
    atomic_write_boundary_bytes: 0,
    atomic_write_max_bytes: 0,
    write_cache: true,
    fua: true,
  });
}
