import { fail } from '../../base/assert.ts';
import type { DataRecord } from './schema.ts';

// The bytes that a recorded transfer moved, made anew from the number of their pattern.

const WORD_BYTES = 8;

/** The first `bytes` of `record`: its pattern, then its flips. */
export function dataOf(record: DataRecord, bytes: number): Uint8Array<ArrayBuffer> {
  const data = patternBytes(record.fill, bytes);
  for (const [byte, mask] of record.flips ?? []) data[byte] ^= mask;
  return data;
}

/** Pattern `fill` of the record's README, from its first byte on. */
export function patternBytes(fill: number, bytes: number): Uint8Array<ArrayBuffer> {
  switch (fill) {
    case 0:
      return fromWords(bytes, (i) => {
        const x = BigInt.asUintN(64, (i + 12345n) * 0xbf58476d1ce4e5b9n);
        return x ^ (x >> 29n);
      });
    case 1:
      return new Uint8Array(bytes);
    case 2:
      return new Uint8Array(bytes).fill(0xff);
    case 3:
      return Uint8Array.from({ length: bytes }, (_, i) => i & 255);
    case 4:
      return fromWords(bytes, (i) => i * 0x9e3779b97f4a7c15n);
    case 5:
      return Uint8Array.from({ length: bytes }, (_, i) => Math.floor(i / 512) & 255);
    default:
      return fail('record: a pattern that nobody knows');
  }
}

/** Words of 64 bits, the little end first, of which the lower 64 bits count. */
function fromWords(bytes: number, wordAt: (index: bigint) => bigint): Uint8Array<ArrayBuffer> {
  const words = Math.ceil(bytes / WORD_BYTES);
  const data = new Uint8Array(words * WORD_BYTES);
  const view = new DataView(data.buffer);
  for (let i = 0; i < words; i++) {
    view.setBigUint64(i * WORD_BYTES, BigInt.asUintN(64, wordAt(BigInt(i))), true);
  }
  return data.subarray(0, bytes);
}

export function bytesOfHex(hex: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++)
    bytes[i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}

export function hexOfBytes(bytes: Uint8Array): string {
  let hex = '';
  for (const byte of bytes) hex += byte.toString(16).padStart(2, '0');
  return hex;
}
