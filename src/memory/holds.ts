import { assert } from '../base/assert.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { FrameFlag, FrameState, frameOf, type Region, regionOf } from './region.unsafe.ts';

// References and pins are different counts (a Linux folio of order 0 adds 1024 to one count
// instead, and cannot tell 1024 references from a pin). A folio goes back to its pool when both
// are zero, so memory that the program releases during a transfer stays out until the last pin.

/** How a segment keeps its pages alive; it travels with the segment and decides the release. */
export const HoldKind = {
  /** Nobody counts: the submitter keeps the memory alive by other means (lock, writeback). */
  BORROWED: 0,
  /** A pin (FOLL_PIN): visible to fork, reclaim and migration. */
  PINNED: 1,
  /** A reference (FOLL_GET). */
  REFERENCED: 2,
  /** Pages of the mapping itself (bounce pages): freed with it. */
  OWNED: 3,
} as const;
export type HoldKind = (typeof HoldKind)[keyof typeof HoldKind];
export const HOLD_NAMES = ['borrowed', 'pinned', 'referenced', 'owned'] as const;

/** Process-wide counts in pages; they balance when nothing is pinned. */
export const pinTotals = { acquired: 0, released: 0 };

function headOf(region: Region, frame: number): number {
  return region.head[frame] as number;
}

function folioEnd(region: Region, head: number): number {
  return head + (1 << region.order[head]); // `**` would call pow: 8 ns against 1.
}

/**
 * Pins `pages` frames from `page` on, over as many folios as they lie in.
 * Returns how many: fewer when the memory was released (no reference and no pin keeps it).
 */
export function pinPages(page: number, pages: number): number {
  const region = regionOf(page);
  let frame = frameOf(page);
  const end = frame + pages;
  while (frame < end) {
    const alive = aliveFrames(region, frame);
    if (alive <= 0) break;
    const count = Math.min(end - frame, alive);
    region.pins[headOf(region, frame)] += count;
    frame += count;
  }
  const pinned = frame - (end - pages);
  region.pinnedPages += pinned;
  pinTotals.acquired += pinned;
  return pinned;
}

/** Post: folios without any hold are back in their pool. */
export function unpinPages(page: number, pages: number): void {
  const region = regionOf(page);
  let frame = frameOf(page);
  const end = frame + pages;
  region.pinnedPages -= pages;
  pinTotals.released += pages;
  while (frame < end) {
    const head = headOf(region, frame);
    const count = Math.min(end, folioEnd(region, head)) - frame;
    const left = (region.pins[head] as number) - count;
    assert(left >= 0, 'unpin: more pages than were pinned');
    region.pins[head] = left;
    frame += count;
    if (left === 0 && region.refs[head] === 0) freed(region, head);
  }
}

/** One reference on each page of the range, as `get_page` takes it. */
export function getPages(page: number, pages: number): number {
  const region = regionOf(page);
  let frame = frameOf(page);
  const end = frame + pages;
  while (frame < end) {
    const alive = aliveFrames(region, frame);
    if (alive <= 0) break;
    const count = Math.min(end - frame, alive);
    region.refs[headOf(region, frame)] += count;
    frame += count;
  }
  return frame - (end - pages);
}

export function putPages(page: number, pages: number): void {
  const region = regionOf(page);
  let frame = frameOf(page);
  const end = frame + pages;
  while (frame < end) {
    const head = headOf(region, frame);
    const count = Math.min(end, folioEnd(region, head)) - frame;
    const left = (region.refs[head] as number) - count;
    assert(left >= 0, 'put: more references than were taken');
    region.refs[head] = left;
    frame += count;
    if (left === 0 && region.pins[head] === 0) freed(region, head);
  }
}

/** Lets a range go in the way of its hold kind. OWNED pages are the mapping's to free. */
export function releaseHold(kind: HoldKind, page: number, pages: number): void {
  if (kind === HoldKind.PINNED) unpinPages(page, pages);
  else if (kind === HoldKind.REFERENCED) putPages(page, pages);
}

/**
 * Frames from `frame` to the end of its folio; <= 0 when nobody holds it. A free frame may still
 * name the head of a folio that was cut since; that folio then ends before the frame.
 */
function aliveFrames(region: Region, frame: number): number {
  if (frame >= region.frames) return 0;
  const head = headOf(region, frame);
  const state = region.state[head];
  if (state !== FrameState.USED && state !== FrameState.ADOPTED) return 0;
  if (region.refs[head] === 0 && region.pins[head] === 0) return 0;
  return folioEnd(region, head) - frame;
}

function freed(region: Region, head: number): void {
  region.flags[head] = 0;
  if (region.onFree !== null) region.onFree(head);
}

/** True while anybody has a pin on the folio of `page`. Exact, for every order. */
export function maybePinned(page: number): boolean {
  const region = regionOf(page);
  return (region.pins[headOf(region, frameOf(page))] as number) > 0;
}

export function pinCount(page: number): number {
  const region = regionOf(page);
  return region.pins[headOf(region, frameOf(page))] as number;
}

export function refCount(page: number): number {
  const region = regionOf(page);
  return region.refs[headOf(region, frameOf(page))] as number;
}

/** Global number of the first page of the folio that `page` lies in. */
export function folioHead(page: number): number {
  const region = regionOf(page);
  return region.firstPage + headOf(region, frameOf(page));
}

/** Pages of the folio that `page` lies in: 1, 2, 4 … */
export function folioPages(page: number): number {
  const region = regionOf(page);
  return 1 << region.order[headOf(region, frameOf(page))];
}

/** Marks every folio under the byte range dirty: the device wrote there. */
export function dirtyRange(page: number, offset: number, bytes: number): void {
  const region = regionOf(page);
  const first = frameOf(page) + Math.floor(offset / PAGE_BYTES);
  const end = frameOf(page) + Math.ceil((offset + bytes) / PAGE_BYTES);
  let frame = first;
  while (frame < end) {
    const head = headOf(region, frame);
    region.flags[head] = (region.flags[head] as number) | FrameFlag.DIRTY;
    frame = folioEnd(region, head);
  }
}

export function isDirty(page: number): boolean {
  const region = regionOf(page);
  return ((region.flags[headOf(region, frameOf(page))] as number) & FrameFlag.DIRTY) !== 0;
}
