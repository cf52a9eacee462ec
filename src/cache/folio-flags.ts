import { frameOf, regionOf } from '../memory/region.unsafe.ts';

// Flags of a folio stand in the frame columns (`FrameFlag`), because those who dirty a page or ask
// whether it is under writeback have the page, not the file that it belongs to.

/** True when any of `flags` is set on the folio of `page`. */
export function hasFlag(page: number, flags: number): boolean {
  const region = regionOf(page);
  return (region.flags[region.head[frameOf(page)]] & flags) !== 0;
}

export function setFlag(page: number, flags: number): void {
  const region = regionOf(page);
  region.flags[region.head[frameOf(page)]] |= flags;
}

export function clearFlag(page: number, flags: number): void {
  const region = regionOf(page);
  region.flags[region.head[frameOf(page)]] &= ~flags;
}

/** Page table entries that map any page of the folio. */
export function mapCount(page: number): number {
  const region = regionOf(page);
  return region.user === null ? 0 : region.user.mapCount[region.head[frameOf(page)]];
}
