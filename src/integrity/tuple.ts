import type { GuardState } from './guards/guard-state.ts';
import { type Csum, hasRefTag, type IntegrityProfile } from './integrity-profile.ts';

// Tuples lie in page frames and are read and written there, byte by byte: no object stands for
// one. All fields are big-endian. Reference 7.2.
//
//            guard    app tag   ref tag
//   8 bytes  0-1      2-3       4-7
//   16 bytes 0-7      8-9       10-15
//
// A ref tag of 48 bits and a guard of 64 are two numbers, `high` and `low`, the low one of 32 bits
// as a signed integer: larger numbers would be boxed.

/** App tag that switches checking off. */
const APP_ESCAPE = 0xffff;
export const TUPLE_BYTES_MAX = 16;

/** Where the app tag starts in the tuple; the guard takes what is before it. */
export function appTagStart(csum: Csum): number {
  return csum === 'crc64' ? 8 : 2;
}

export function refTagStart(csum: Csum): number {
  return csum === 'crc64' ? 10 : 4;
}

export function read16(u8: Uint8Array, at: number): number {
  return ((u8[at] as number) << 8) | (u8[at + 1] as number);
}

export function write16(u8: Uint8Array, at: number, value: number): void {
  u8[at] = value >>> 8;
  u8[at + 1] = value;
}

/** Signed: compare it with `value | 0`. */
export function read32(u8: Uint8Array, at: number): number {
  return (read16(u8, at) << 16) | read16(u8, at + 2);
}

export function write32(u8: Uint8Array, at: number, value: number): void {
  u8[at] = value >>> 24;
  u8[at + 1] = value >>> 16;
  u8[at + 2] = value >>> 8;
  u8[at + 3] = value;
}

/** Lower 32 bits of a block number up to 2^53, signed. */
export function lowBits(block: number): number {
  return block | 0;
}

/** What stands above them: bits 32 to 47. */
export function highBits(block: number): number {
  return Math.floor(block / 2 ** 32) & 0xffff;
}

/**
 * True when the tuple at `at` says that its interval is not to be checked: app tag 0xFFFF and,
 * where the ref tag does not count (type 3), a ref tag of all ones too.
 */
export function isEscape(u8: Uint8Array, at: number, profile: IntegrityProfile): boolean {
  const { csum } = profile;
  if (read16(u8, at + appTagStart(csum)) !== APP_ESCAPE) return false;
  if (hasRefTag(profile)) return true;
  const ref = at + refTagStart(csum);
  if (csum !== 'crc64') return read32(u8, ref) === -1;
  return read16(u8, ref) === 0xffff && read32(u8, ref + 2) === -1;
}

/** Writes a finished guard into the tuple at `at`. */
export function writeGuard(csum: Csum, u8: Uint8Array, at: number, guard: GuardState): void {
  if (csum !== 'crc64') {
    write16(u8, at, guard.low);
    return;
  }
  write32(u8, at, guard.high);
  write32(u8, at + 4, guard.low);
}

export function isGuard(csum: Csum, u8: Uint8Array, at: number, guard: GuardState): boolean {
  if (csum !== 'crc64') return read16(u8, at) === guard.low;
  return read32(u8, at) === guard.high && read32(u8, at + 4) === guard.low;
}

/** Writes app and ref tag of the tuple at `at`; the ref tag is the lower bits of `block`. */
export function writeTags(
  csum: Csum,
  u8: Uint8Array,
  at: number,
  appTag: number,
  block: number,
): void {
  write16(u8, at + appTagStart(csum), appTag);
  const ref = at + refTagStart(csum);
  if (csum === 'crc64') {
    write16(u8, ref, highBits(block));
    write32(u8, ref + 2, lowBits(block));
  } else {
    write32(u8, ref, lowBits(block));
  }
}

/** True when the ref tag of the tuple at `at` is the lower bits of `block`. */
export function isRef(csum: Csum, u8: Uint8Array, at: number, block: number): boolean {
  const ref = at + refTagStart(csum);
  if (csum !== 'crc64') return read32(u8, ref) === lowBits(block);
  return read16(u8, ref) === highBits(block) && read32(u8, ref + 2) === lowBits(block);
}
