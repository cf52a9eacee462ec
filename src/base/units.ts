import { assert } from './assert.ts';
import { BlockError } from './block-error.ts';

/** The page of the reference machine, and of WebAssembly's sixteenth. */
export const PAGE_BYTES = 4096;
export const PAGE_SHIFT = 12;
/** The unit of every `sector` in this library, whatever the block size of the device. */
export const SECTOR_BYTES = 512;
export const KIB = 1024;
export const MIB = 1024 * KIB;
export const GIB = 1024 * MIB;

/** 512-byte units from the start of the device; a double up to 2^53, never an int32. */
export type Sector = number & { readonly __brand: 'Sector' };

export function sector(value: number): Sector {
  assert(Number.isSafeInteger(value) && value >= 0, 'sector: not a safe non-negative integer');
  return value as Sector;
}

/**
 * 4098 bytes at offset 4095 touch 3 pages: `pagesSpanned(4095, 4098) === 3`. Up to 2^32 bytes, more
 * than any segment has, in integers: as doubles it takes 20 ns.
 */
export function pagesSpanned(offset: number, bytes: number): number {
  if (bytes === 0) return 0;
  const rest = bytes - 1;
  if (rest > 0xffffffff) {
    return Math.floor((offset + rest) / PAGE_BYTES) - Math.floor(offset / PAGE_BYTES) + 1;
  }
  const inPages = (offset & (PAGE_BYTES - 1)) + (rest & (PAGE_BYTES - 1));
  return (rest >>> PAGE_SHIFT) + (inPages >>> PAGE_SHIFT) + 1;
}

/**
 * Bytes of `value` behind the last multiple of `unit`, a power of two up to 2^31; exact up to 2^53.
 * `%` gives the same, but divides doubles: 15 ns against 1. `offsetIn(5000, 4096) === 904`.
 */
export function offsetIn(value: number, unit: number): number {
  return value & (unit - 1);
}

export function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

export function roundDown(value: number, unit: number): number {
  return Math.floor(value / unit) * unit;
}

export function isPowerOfTwo(value: number): boolean {
  if (!Number.isSafeInteger(value) || value <= 0) return false;
  return 2 ** Math.round(Math.log2(value)) === value;
}

const SIZE = /^(\d+(?:\.\d+)?)\s*([kmgtpe]?)(i?b?)$/i;
const POWERS: Readonly<Record<string, number>> = { '': 0, k: 1, m: 2, g: 3, t: 4, p: 5, e: 6 };

/**
 * `'64K'` → 65536, `'1G'`, `'1.5MiB'`, `'4096'`. Units are powers of 1024, as in qemu-img and dd.
 * Throws BlockError EINVAL for anything that is not a whole number of bytes up to 2^53 - 1.
 */
export function parseSize(text: string): number {
  const match = SIZE.exec(text.trim());
  if (match === null) {
    throw new BlockError('EINVAL', { reason: `'${text}' is no size; write 4096, 64K, 1.5M or 1G` });
  }
  const [, digits = '', unit = ''] = match;
  const bytes = Number(digits) * 1024 ** (POWERS[unit.toLowerCase()] ?? 0);
  if (!Number.isSafeInteger(bytes)) {
    const reason = `'${text}' is no whole number of bytes up to 2^53 - 1`;
    throw new BlockError('EINVAL', { reason });
  }
  return bytes;
}

const SUFFIXES = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** 1536 → `'1.5 KiB'`. For people; programs read the number. */
export function formatSize(bytes: number): string {
  let power = 0;
  let value = bytes;
  while (value >= 1024 && power < SUFFIXES.length - 1) {
    value /= 1024;
    power++;
  }
  const digits = Number.isInteger(value) ? 0 : value < 100 ? 1 : 0;
  return `${value.toFixed(digits)} ${SUFFIXES[power]}`;
}
