// Protection information bit by bit, on flat arrays: what the tests compare with. Written from the
// definitions in reference 7.2, without a line of the code under test.

import type { Csum } from './integrity-profile.ts';

/** CRC16 T10-DIF, one bit at a time. */
export function modelCrc16(bytes: Uint8Array, start = 0): number {
  let crc = start;
  for (const byte of bytes) {
    for (let mask = 0x80; mask > 0; mask >>= 1) {
      const top = (crc & 0x8000) !== 0;
      const bit = (byte & mask) !== 0;
      crc = (crc << 1) & 0xffff;
      if (top !== bit) crc ^= 0x8bb7;
    }
  }
  return crc;
}

/**
 * CRC64 NVMe, one bit at a time over halves of 32 bits; `start` is the checksum of what was before.
 */
export function modelCrc64(bytes: Uint8Array, start = 0n): bigint {
  let low = ~Number(start & 0xffffffffn);
  let high = ~Number(start >> 32n);
  for (const byte of bytes) {
    for (let bit = 0; bit < 8; bit++) {
      const out = ((low ^ (byte >> bit)) & 1) !== 0;
      low = (low >>> 1) | (high << 31);
      high >>>= 1;
      if (out) {
        low ^= 0xac4bc9b5;
        high ^= 0x9a6c9329;
      }
    }
  }
  return (BigInt(~high >>> 0) << 32n) | BigInt(~low >>> 0);
}

/** RFC 1071, big-endian words, an odd byte filled up with zero. */
export function modelIp(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += (bytes[i] as number) * 256 + (bytes[i + 1] ?? 0);
    while (sum > 0xffff) sum = (sum % 65536) + Math.floor(sum / 65536);
  }
  return 0xffff - sum;
}

/** The guard as the bytes that a tuple has. */
export function modelGuard(csum: Csum, bytes: Uint8Array): Uint8Array {
  if (csum === 'none') return new Uint8Array(0);
  const out = new DataView(new ArrayBuffer(csum === 'crc64' ? 8 : 2));
  if (csum === 'crc64') out.setBigUint64(0, modelCrc64(bytes));
  else out.setUint16(0, csum === 'crc16' ? modelCrc16(bytes) : modelIp(bytes));
  return new Uint8Array(out.buffer);
}

export interface ModelFormat {
  readonly csum: Csum;
  readonly intervalBytes: number;
  readonly metadataBytes: number;
  readonly prefixBytes: number;
  readonly countsRef: boolean;
}

/** Writes the tuples of all intervals into `records`. */
export function modelGenerate(
  format: ModelFormat,
  data: Uint8Array,
  records: Uint8Array,
  seed: bigint,
  appTag: number,
): void {
  const { csum, intervalBytes, metadataBytes, prefixBytes, countsRef } = format;
  for (let i = 0; i * intervalBytes < data.length; i++) {
    const interval = data.subarray(i * intervalBytes, (i + 1) * intervalBytes);
    const record = records.subarray(i * metadataBytes, (i + 1) * metadataBytes);
    const covered = Uint8Array.of(...interval, ...record.subarray(0, prefixBytes));
    const ref = countsRef ? seed + BigInt(i) : 0n;
    record.set(modelTuple(csum, modelGuard(csum, covered), appTag, ref), prefixBytes);
  }
}

/** The bytes of a tuple. */
export function modelTuple(csum: Csum, guard: Uint8Array, appTag: number, ref: bigint): Uint8Array {
  const refBytes = csum === 'crc64' ? 6 : 4;
  const refTag = Array.from({ length: refBytes }, (_, i) =>
    Number((ref >> BigInt(8 * (refBytes - 1 - i))) & 0xffn),
  );
  return Uint8Array.of(...guard, appTag >> 8, appTag & 0xff, ...refTag);
}
