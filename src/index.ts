// The public API: open a target, memory that cannot be detached, errors.

export { BlockError, type BlockErrorCode, type BlockErrorDetail } from './base/block-error.ts';
export type { Disk } from './device/disk.ts';
export type { DiskStat } from './device/disk-stat.ts';
export type { DiskStats } from './device/disk-stats.ts';
export type {
  IoOptions,
  ReadResult,
  ReadvResult,
  WriteResult,
  WritevResult,
} from './device/io-arguments.ts';
export type { Extent, ExtentKind } from './engine/contract.ts';
export type { Limits, LimitsInput } from './limits/limits.ts';
export { Arena, type ArenaOptions, type ArenaStats } from './memory/arena.ts';
export type { ArenaBuffer } from './memory/arena-buffer.ts';
export {
  type HoldEntry,
  type HoldSource,
  type HoldsReport,
  holdsReport,
} from './memory/hold-source.ts';
export { type OpenOptions, open } from './targets/open.ts';
