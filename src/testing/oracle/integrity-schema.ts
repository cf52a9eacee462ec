import type { IovRecord } from './schema.ts';

// Topic `integrity` beside its reads and writes, which are transfers (`schema.ts`) whose requests
// have metadata. Only what a replay reads.

/** Checksums over the bytes of `hex`, or else over `length` bytes of pattern `fill`. */
export interface CrcCase {
  readonly id: string;
  readonly op: 'crc';
  readonly length: number;
  readonly fill: number;
  readonly hex: string | null;
  readonly crcT10Dif: number;
  /** '0x' and 16 digits. */
  readonly crc64Rocksoft: string;
  /** As the bytes read on a little-endian machine. */
  readonly ipChecksumLittleEndian: number;
}

/** What the RAM disk had stored beside its blocks from block `lba` on, in intervals. */
export interface StoredTuplesCase {
  readonly id: string;
  readonly op: 'storedTuples';
  readonly device: string;
  readonly lba: number;
  readonly tuples: string;
}

/** What an NVMe command adds to `NvmeCase` when it has metadata. */
export interface NvmeMetadata {
  /** Bytes; the memory is the last vector. 0: none. */
  readonly metaLen: number;
  readonly metaDecision?: 'map' | 'copy';
  /** What the program wrote, and what it read: at most 1024 bytes, hexadecimal. */
  readonly metaIn?: string;
  readonly metaOut?: string;
}

/** The vector of the metadata stands behind those of the data. */
export function metaVector(one: NvmeMetadata, iov: readonly IovRecord[]): IovRecord | null {
  return one.metaLen === 0 ? null : (iov[iov.length - 1] ?? null);
}
