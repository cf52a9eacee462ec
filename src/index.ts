// The public API: open a target, memory that cannot be detached, errors.

export { BlockError, type BlockErrorCode, type BlockErrorDetail } from './base/block-error.ts';
export type {
  Disk,
  DiskStat,
  IoOptions,
  ReadResult,
  ReadvResult,
  WriteResult,
  WritevResult,
} from './device/disk.ts';
export type { DiskStats } from './device/disk-stats.ts';
export type { Extent, ExtentKind } from './engine/contract.ts';
export type { Limits, LimitsInput } from './limits/limits.ts';
export { Arena, type ArenaOptions, type ArenaStats } from './memory/arena.ts';
export type { ArenaBuffer } from './memory/arena-buffer.ts';
export { open, type OpenOptions } from './targets/open.ts';
