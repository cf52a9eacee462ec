import { CRC16_T10, CRC64_NVME, sliceTable } from './crc-model.ts';
import { addOnes, type GuardState } from './guard-state.ts';

// The guards in plain TypeScript: for memory that WebAssembly cannot reach (adopted buffers) and as
// what the tests compare the other ways with. Eight bytes a turn, eight look-ups.

let crc16Table: Uint16Array | null = null;
let crc64Low: Int32Array | null = null;
let crc64High: Int32Array | null = null;

function tableOfCrc16(): Uint16Array {
  crc16Table ??= Uint16Array.from(sliceTable(CRC16_T10).low);
  return crc16Table;
}

function makeCrc64Tables(): void {
  const table = sliceTable(CRC64_NVME);
  crc64Low = table.low;
  crc64High = table.high;
}

/** Entries of one table. */
const STEP = 256;

/** The checksum after `bytes` more bytes. Linux: crc_t10dif_update(). */
export function crc16Sliced(u8: Uint8Array, at: number, bytes: number, state: number): number {
  const t = tableOfCrc16();
  const end = at + bytes;
  let crc = state;
  let i = at;
  for (; i + 8 <= end; i += 8) {
    crc =
      t[7 * STEP + ((u8[i] as number) ^ (crc >>> 8))] ^
      t[6 * STEP + ((u8[i + 1] as number) ^ (crc & 0xff))] ^
      t[5 * STEP + (u8[i + 2] as number)] ^
      t[4 * STEP + (u8[i + 3] as number)] ^
      t[3 * STEP + (u8[i + 4] as number)] ^
      t[2 * STEP + (u8[i + 5] as number)] ^
      t[STEP + (u8[i + 6] as number)] ^
      t[u8[i + 7] as number];
  }
  for (; i < end; i++) {
    crc = ((crc & 0xff) << 8) ^ t[(crc >>> 8) ^ (u8[i] as number)];
  }
  return crc;
}

/** Moves `state` over `bytes` more bytes. Linux: crc64_nvme(). */
export function crc64Sliced(u8: Uint8Array, at: number, bytes: number, state: GuardState): void {
  if (crc64Low === null) makeCrc64Tables();
  const low = crc64Low as Int32Array;
  const high = crc64High as Int32Array;
  const end = at + bytes;
  let lo = ~state.low;
  let hi = ~state.high;
  let i = at;
  for (; i + 8 <= end; i += 8) {
    const a = 7 * STEP + ((lo & 0xff) ^ (u8[i] as number));
    const b = 6 * STEP + (((lo >>> 8) & 0xff) ^ (u8[i + 1] as number));
    const c = 5 * STEP + (((lo >>> 16) & 0xff) ^ (u8[i + 2] as number));
    const d = 4 * STEP + ((lo >>> 24) ^ (u8[i + 3] as number));
    const e = 3 * STEP + ((hi & 0xff) ^ (u8[i + 4] as number));
    const f = 2 * STEP + (((hi >>> 8) & 0xff) ^ (u8[i + 5] as number));
    const g = STEP + (((hi >>> 16) & 0xff) ^ (u8[i + 6] as number));
    const h = (hi >>> 24) ^ (u8[i + 7] as number);
    lo = low[a] ^ low[b] ^ low[c] ^ low[d] ^ low[e] ^ low[f] ^ low[g] ^ low[h];
    hi = high[a] ^ high[b] ^ high[c] ^ high[d] ^ high[e] ^ high[f] ^ high[g] ^ high[h];
  }
  for (; i < end; i++) {
    const index = (lo & 0xff) ^ (u8[i] as number);
    lo = ((lo >>> 8) | (hi << 24)) ^ low[index];
    hi = (hi >>> 8) ^ high[index];
  }
  state.low = ~lo;
  state.high = ~hi;
}

/**
 * Ones-complement sum of the little-endian words of `bytes` bytes, the last one filled up with
 * zero. Byte order does not matter for such a sum: swapped, it is the sum of the swapped words.
 */
export function ipSumSliced(u8: Uint8Array, at: number, bytes: number): number {
  const even = at + bytes - (bytes & 1);
  let sum = 0;
  let i = at;
  while (i < even) {
    // 2^15 words of 16 bits stay below 2^31.
    const stop = even - i > 65536 ? i + 65536 : even;
    let part = 0;
    for (; i < stop; i += 2) part += (u8[i] as number) | ((u8[i + 1] as number) << 8);
    sum = addOnes(sum, addOnes(part & 0xffff, part >>> 16));
  }
  return (bytes & 1) === 0 ? sum : addOnes(sum, u8[even] as number);
}
