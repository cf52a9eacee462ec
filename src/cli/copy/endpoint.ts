import type { Disk } from '../../device/disk.ts';

/** Where a copy reads: any size of buffer, from memory of an arena. */
export interface CopySource {
  /** As the user named it. */
  readonly name: string;
  /** null: a stream, which can be read only in order and once. */
  readonly disk: Disk | null;
  /** Bytes; null where only the end tells. */
  readonly size: number | null;
  /** Bytes read; fewer than asked for only at the end. */
  read(into: Uint8Array, position: number): Promise<number>;
  /** Gives up a call that may never end: it rejects with ECANCELED. Disks always end theirs. */
  abandon(): void;
  close(): Promise<void>;
}

/** Where a copy writes. */
export interface CopySink {
  readonly name: string;
  /** null: a stream, which can be written only in order. */
  readonly disk: Disk | null;
  /** Bytes that it can take; null where it grows. */
  readonly size: number | null;
  /** All of `bytes`, or an error. */
  write(bytes: Uint8Array, position: number): Promise<void>;
  /** The range reads as zeros afterwards, and takes no space where that is possible. */
  zero(position: number, bytes: number): Promise<void>;
  /** The copy is complete and has this size. */
  finish(size: number): Promise<void>;
  flush(): Promise<void>;
  /** As for a source. */
  abandon(): void;
  close(): Promise<void>;
}

export type SparsePolicy = 'auto' | 'always' | 'never';

/** True when the holes of `disk` are known; else all of it counts as data. */
export function knowsHoles(disk: Disk): boolean {
  const { engine } = disk.device;
  return engine.extents !== undefined && engine.info.facts['extents'] !== 'unknown';
}
