// Checksums as npm has them, for the bench alone: the fastest that were found for each guard.

import { createRequire } from 'node:module';
import { crc32 } from 'node:zlib';
import { crc32 as crc32OfNodeRs } from '@node-rs/crc32';
import { createCRC64 } from 'hash-wasm';

const require = createRequire(import.meta.url);

interface Polycrc {
  crc(
    bits: number,
    polynomial: number,
    start: number,
    end: number,
    isReflected: boolean,
  ): (bytes: Uint8Array) => number;
}

/** Over one interval; what comes out is nobody's. */
export interface CrcPeer {
  readonly name: string;
  run(bytes: Uint8Array): void;
}

/** Another checksum, for scale: in Node itself, and native with SIMD. */
export const CRC32_PEERS: readonly CrcPeer[] = [
  { name: 'zlib.crc32', run: (bytes) => void crc32(bytes) },
  { name: '@node-rs/crc32', run: (bytes) => void crc32OfNodeRs(bytes) },
];

/** The same guard; none has the IP checksum. Throws when a package computes another one. */
export async function peerOf(csum: 'crc16' | 'crc64' | 'ip'): Promise<CrcPeer | null> {
  const check = new TextEncoder().encode('123456789');
  if (csum === 'crc16') {
    const { crc } = require('polycrc') as Polycrc;
    const crc16 = crc(16, 0x8bb7, 0, 0, false);
    if (crc16(check) !== 0xd0db) throw new Error('bench: polycrc has another CRC16');
    return { name: 'polycrc', run: (bytes) => void crc16(bytes) };
  }
  if (csum === 'ip') return null;
  const hasher = await createCRC64('9a6c9329ac4bc9b5');
  if (hasher.init().update(check).digest() !== 'ae8b14860a799888') {
    throw new Error('bench: hash-wasm has another CRC64');
  }
  const run = (bytes: Uint8Array): void => void hasher.init().update(bytes).digest('binary');
  return { name: 'hash-wasm', run };
}
