import { assert } from '../base/assert.ts';
import { byteAt, kernelsFor, type Region, regionOf } from './region.unsafe.ts';

// Copies between page frames. A (page, offset) names a byte; offset may pass the first page.

/** Below this a loop beats `set`, which needs a view of the source (they cross at 16 to 64). */
const LOOP_BYTES_MAX = 24;

/** Pre: both ranges lie in present frames. Overlap within one region behaves like memmove. */
export function copyPages(
  dstPage: number,
  dstOffset: number,
  srcPage: number,
  srcOffset: number,
  bytes: number,
): void {
  copyBetween(
    regionOf(dstPage),
    byteAt(dstPage, dstOffset),
    regionOf(srcPage),
    byteAt(srcPage, srcOffset),
    bytes,
  );
}

/** The same by region and byte position, for engines whose storage is a region. */
export function copyBetween(
  dst: Region,
  dstByte: number,
  src: Region,
  srcByte: number,
  bytes: number,
): void {
  assert(dstByte + bytes <= dst.u8.length, 'copy: destination outside its region');
  assert(srcByte + bytes <= src.u8.length, 'copy: source outside its region');
  const kernels = kernelsFor(dst, src);
  if (kernels !== null) kernels.copy(dstByte, srcByte, bytes);
  else dst.u8.set(src.u8.subarray(srcByte, srcByte + bytes), dstByte);
}

/** From memory of the outside into frames. */
export function copyIn(
  dstPage: number,
  dstOffset: number,
  src: Uint8Array,
  srcOffset: number,
  bytes: number,
): void {
  const dst = regionOf(dstPage);
  const at = byteAt(dstPage, dstOffset);
  assert(at + bytes <= dst.u8.length && srcOffset + bytes <= src.length, 'copyIn: outside');
  moveBytes(dst.u8, at, src, srcOffset, bytes);
}

/** From frames to memory of the outside. */
export function copyOut(
  dst: Uint8Array,
  dstOffset: number,
  srcPage: number,
  srcOffset: number,
  bytes: number,
): void {
  const src = regionOf(srcPage);
  const at = byteAt(srcPage, srcOffset);
  assert(at + bytes <= src.u8.length && dstOffset + bytes <= dst.length, 'copyOut: outside');
  moveBytes(dst, dstOffset, src.u8, at, bytes);
}

/** Plain copy between two byte arrays of the program. */
export function moveBytes(
  dst: Uint8Array,
  dstOffset: number,
  src: Uint8Array,
  srcOffset: number,
  bytes: number,
): void {
  if (bytes <= LOOP_BYTES_MAX && dst.buffer !== src.buffer) {
    for (let i = 0; i < bytes; i++) dst[dstOffset + i] = src[srcOffset + i] as number;
  } else {
    dst.set(src.subarray(srcOffset, srcOffset + bytes), dstOffset);
  }
}

export function zeroPages(page: number, offset: number, bytes: number): void {
  const region = regionOf(page);
  const at = byteAt(page, offset);
  assert(at + bytes <= region.u8.length, 'zero: outside its region');
  const kernels = kernelsFor(region, region);
  if (kernels !== null) kernels.fill(at, 0, bytes);
  else region.u8.fill(0, at, at + bytes);
}

export function pagesAreZero(page: number, offset: number, bytes: number): boolean {
  const region = regionOf(page);
  const at = byteAt(page, offset);
  assert(at + bytes <= region.u8.length, 'pagesAreZero: outside its region');
  const kernels = kernelsFor(region, region);
  if (kernels !== null) return kernels.isZero(at, bytes) === 1;
  for (let i = 0; i < bytes; i++) if (region.u8[at + i] !== 0) return false;
  return true;
}

export function pagesAreEqual(
  aPage: number,
  aOffset: number,
  bPage: number,
  bOffset: number,
  bytes: number,
): boolean {
  const a = regionOf(aPage);
  const b = regionOf(bPage);
  const aAt = byteAt(aPage, aOffset);
  const bAt = byteAt(bPage, bOffset);
  assert(aAt + bytes <= a.u8.length && bAt + bytes <= b.u8.length, 'pagesAreEqual: outside');
  const kernels = kernelsFor(a, b);
  if (kernels !== null) return kernels.equal(aAt, bAt, bytes) === 1;
  for (let i = 0; i < bytes; i++) if (a.u8[aAt + i] !== b.u8[bAt + i]) return false;
  return true;
}
