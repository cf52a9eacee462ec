import { roundUp, SECTOR_BYTES } from '../base/units.ts';
import { copyPages, zeroPages } from '../memory/copy.ts';
import { byteAt, regionOf } from '../memory/region.unsafe.ts';
import type { Layout } from './layout.ts';
import { getU32, getU64, putU32, putU64 } from './le-bytes.ts';
import type { Seal } from './seal.ts';

// A record of the log, at a multiple of 512 bytes; the rest of its last 512 is zeros.
//
//   0   magic     4 bytes        32  first    u64   block, or stretch of OPEN
//   4   kind      u32            40  count    u32   blocks, or stretches
//   8   lsn       u64   bytes    44  payload  u32   bytes
//   16  -                        48  -
//   24  acked     u64   lsn      56  seal     u64   CRC64 of the other bytes
//   64  tuples of the blocks, for TUPLES
//
// `acked`: the data of every record before it was on the medium when this one was written.

const MAGIC = 0x4c504942;
export const RECORD_HEADER_BYTES = 64;
const SEAL_AT = 56;

export const RecordKind = {
  /** Blocks were written and have these tuples. */
  TUPLES: 1,
  /** Blocks were zeroed. */
  ZEROES: 2,
  /** Blocks were discarded: nobody knows what they hold. */
  UNCHECKED: 3,
  /** From here on data in these stretches may change. */
  OPEN: 4,
} as const;
export type RecordKind = (typeof RecordKind)[keyof typeof RecordKind];

export interface LogRecord {
  readonly kind: RecordKind;
  readonly lsn: number;
  readonly acked: number;
  /** Block, or stretch for OPEN. */
  readonly first: number;
  readonly count: number;
  /** Bytes of the tuples in the frames that were scanned; -1 without. */
  readonly payloadAt: number;
  /** lsn behind it. */
  readonly end: number;
}

/** Bytes that a record with such a payload takes in the log. */
export function recordBytes(payloadBytes: number, unitBytes: number): number {
  return roundUp(RECORD_HEADER_BYTES + payloadBytes, unitBytes);
}

/** What a record is made of. */
export interface RecordSource {
  readonly logKind: RecordKind;
  /** Where the record stands. */
  readonly lsn: number;
  /** Block, or stretch of OPEN. */
  readonly logFirst: number;
  readonly logCount: number;
  /** Its tuples: the first `logPayload` bytes of a run of frames. */
  readonly logPage: number;
  readonly logPayload: number;
}

/** Writes a record to byte `offset` of `page`; `bytes` is what it takes there. */
export function encodeRecord(
  seal: Seal,
  record: RecordSource,
  acked: number,
  page: number,
  offset: number,
  bytes: number,
): void {
  const payload = record.logPayload;
  const { u8 } = regionOf(page);
  const at = byteAt(page, offset);
  const used = RECORD_HEADER_BYTES + payload;
  zeroPages(page, offset, RECORD_HEADER_BYTES);
  if (bytes > used) zeroPages(page, offset + used, bytes - used);
  putU32(u8, at, MAGIC);
  putU32(u8, at + 4, record.logKind);
  putU64(u8, at + 8, record.lsn);
  putU64(u8, at + 24, acked);
  putU64(u8, at + 32, record.logFirst);
  putU32(u8, at + 40, record.logCount);
  putU32(u8, at + 44, payload);
  const payloadAt = offset + RECORD_HEADER_BYTES;
  if (payload > 0) copyPages(page, payloadAt, record.logPage, 0, payload);
  sealRecord(seal, page, offset, payload);
  seal.put(u8, at + SEAL_AT);
}

function sealRecord(seal: Seal, page: number, offset: number, payloadBytes: number): void {
  seal.start();
  seal.add(page, offset, SEAL_AT);
  if (payloadBytes > 0) seal.add(page, offset + RECORD_HEADER_BYTES, payloadBytes);
}

/**
 * Every whole record from `tail` on in the log, of which all bytes stand from `page` on. Records
 * that were lost or torn leave gaps; what stands behind a gap counts too.
 */
export function scanLog(seal: Seal, layout: Layout, tail: number, page: number): LogRecord[] {
  const { logBytes } = layout;
  const records: LogRecord[] = [];
  for (let lsn = tail; lsn < tail + logBytes; ) {
    const record = recordAt(seal, layout, lsn, page);
    if (record !== null) records.push(record);
    lsn = record === null ? lsn + SECTOR_BYTES : record.end;
  }
  return records;
}

function recordAt(seal: Seal, layout: Layout, lsn: number, page: number): LogRecord | null {
  const { logBytes, tupleBytes } = layout;
  const offset = lsn % logBytes;
  const { u8 } = regionOf(page);
  const at = byteAt(page, offset);
  if (getU32(u8, at) !== MAGIC || getU64(u8, at + 8) !== lsn) return null;
  const kind = getU32(u8, at + 4) as RecordKind;
  const first = getU64(u8, at + 32);
  const count = getU32(u8, at + 40);
  const payloadBytes = getU32(u8, at + 44);
  if (offset + RECORD_HEADER_BYTES + payloadBytes > logBytes) return null;
  sealRecord(seal, page, offset, payloadBytes);
  if (!seal.is(u8, at + SEAL_AT)) return null;
  const isOpen = kind === RecordKind.OPEN;
  if (first + count > (isOpen ? layout.stretches : layout.blocks)) return null;
  if (payloadBytes !== (kind === RecordKind.TUPLES ? count * tupleBytes : 0)) return null;
  const payloadAt = kind === RecordKind.TUPLES ? offset + RECORD_HEADER_BYTES : -1;
  const end = lsn + recordBytes(payloadBytes, SECTOR_BYTES);
  return { kind, lsn, acked: getU64(u8, at + 24), first, count, payloadAt, end };
}
