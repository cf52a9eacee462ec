// Numbers of the on-disk format are little-endian, of 32 or 64 bits; a 64-bit one is a double below
// 2^53. Tuples are big-endian, as their standards say, and are never taken apart here.

export function putU32(u8: Uint8Array, at: number, value: number): void {
  u8[at] = value;
  u8[at + 1] = value >>> 8;
  u8[at + 2] = value >>> 16;
  u8[at + 3] = value >>> 24;
}

export function getU32(u8: Uint8Array, at: number): number {
  const low = (u8[at] as number) | ((u8[at + 1] as number) << 8);
  return (low | ((u8[at + 2] as number) << 16) | ((u8[at + 3] as number) << 24)) >>> 0;
}

export function putU64(u8: Uint8Array, at: number, value: number): void {
  putU32(u8, at, value % 2 ** 32);
  putU32(u8, at + 4, Math.floor(value / 2 ** 32));
}

/** May be 2^53 or more on a damaged medium: check the seal first. */
export function getU64(u8: Uint8Array, at: number): number {
  return getU32(u8, at) + getU32(u8, at + 4) * 2 ** 32;
}
