import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { PAGE_SHIFT, pagesSpanned } from '../base/units.ts';
import { FrameFlag, frameOf, REGION_SHIFT, type Region, regionOf } from './region.unsafe.ts';

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

/**
 * Most references, and most pins, of one folio: 2^30 pages. Beyond it nothing is held (Linux: a
 * reference count that overflowed fails to be grabbed). Their sum still fits an Int32.
 */
export const HOLDS_MAX = 2 ** 30;

function headOf(region: Region, frame: number): number {
  return region.head[frame];
}

function folioEnd(region: Region, head: number): number {
  return head + (1 << region.order[head]); // `**` would call pow: 8 ns against 1.
}

/**
 * Pins `pages` frames from `page` on, over as many folios as they lie in.
 * Returns how many: fewer when the memory was released (no reference and no pin keeps it), or when
 * a folio has HOLDS_MAX pins. Pages of the zero folio are had, but not counted.
 */
export function pinPages(page: number, pages: number): number {
  const region = regionOf(page);
  const { head: heads, order, refs, pins, zeroFrame } = region;
  const first = frameOf(page);
  const end = first + pages < region.frames ? first + pages : region.frames;
  let uncounted = 0;
  let frame = first;
  while (frame < end) {
    const head = heads[frame];
    const held = pins[head];
    if (held === 0 && refs[head] === 0) break; // Free memory.
    // A free frame may still name the head of a folio that was cut since, and ends before it.
    const folio = head + (1 << order[head]);
    const room = HOLDS_MAX - held;
    let count = (end < folio ? end : folio) - frame;
    if (count > room) count = room;
    if (count <= 0) break;
    frame += count;
    if (head === zeroFrame) uncounted += count;
    else pins[head] = held + count;
  }
  const pinned = frame > first ? frame - first : 0;
  region.pinnedPages += pinned - uncounted;
  pinTotals.acquired += pinned - uncounted;
  return pinned;
}

/** One reference on each page of the range, as `get_page` takes it. Fewer, as for pins. */
export function getPages(page: number, pages: number): number {
  const region = regionOf(page);
  const { head: heads, order, refs, pins } = region;
  const first = frameOf(page);
  const end = first + pages < region.frames ? first + pages : region.frames;
  let frame = first;
  while (frame < end) {
    const head = heads[frame];
    const held = refs[head];
    if (held === 0 && pins[head] === 0) break;
    const folio = head + (1 << order[head]);
    const room = HOLDS_MAX - held;
    let count = (end < folio ? end : folio) - frame;
    if (count > room) count = room;
    if (count <= 0) break;
    refs[head] = held + count;
    frame += count;
  }
  return frame > first ? frame - first : 0;
}

/** Post: folios without any hold are back in their pool. */
export function unpinPages(page: number, pages: number): void {
  const region = regionOf(page);
  const { head: heads, order, refs, pins, zeroFrame } = region;
  let frame = frameOf(page);
  const end = frame + pages;
  region.pinnedPages -= pages; // Before the loop: the last pin may dispose of the region.
  pinTotals.released += pages;
  while (frame < end) {
    const head = heads[frame];
    const folio = head + (1 << order[head]);
    const count = (end < folio ? end : folio) - frame;
    frame += count;
    if (head === zeroFrame) {
      region.pinnedPages += count;
      pinTotals.released -= count;
      continue;
    }
    const left = pins[head] - count;
    assert(count > 0 && left >= 0, 'unpin: more pages than were pinned');
    pins[head] = left;
    if (left === 0 && refs[head] === 0) freed(region, head);
  }
}

export function putPages(page: number, pages: number): void {
  const region = regionOf(page);
  const { head: heads, order, refs, pins } = region;
  let frame = frameOf(page);
  const end = frame + pages;
  while (frame < end) {
    const head = heads[frame];
    const folio = head + (1 << order[head]);
    const count = (end < folio ? end : folio) - frame;
    const left = refs[head] - count;
    assert(count > 0 && left >= 0, 'put: more references than were taken');
    refs[head] = left;
    frame += count;
    if (left === 0 && pins[head] === 0) freed(region, head);
  }
}

/**
 * Unpins pages[at … at + count), each once. Neighbours in the list that lie in one folio count in
 * one step. Linux: unpin_user_pages().
 */
export function unpinList(pages: Uint32Array, at: number, count: number): void {
  const end = at + count;
  assert(at >= 0 && count >= 0 && end <= pages.length, 'unpin: outside the list');
  for (let i = at; i < end; ) {
    i = unpinInRegion(regionOf(pages[i]), pages, i, end);
  }
}

/** As far as the list stays in `region`. Returns the first entry of another one, or `end`. */
function unpinInRegion(region: Region, pages: Uint32Array, first: number, end: number): number {
  const { index, firstPage, head: heads, order, refs, pins, zeroFrame } = region;
  let released = 0;
  let i = first;
  while (i < end) {
    const page = pages[i];
    if (page >>> REGION_SHIFT !== index) break;
    const head = heads[frameOf(page)];
    const count = runInFolio(pages, i, end, firstPage + head, 1 << order[head]);
    i += count;
    if (head === zeroFrame) continue;
    const left = pins[head] - count;
    assert(left >= 0, 'unpin: more pages than were pinned');
    pins[head] = left;
    released += count;
    if (left > 0 || refs[head] !== 0) continue;
    region.pinnedPages -= released; // Now: the last pin may dispose of the region.
    pinTotals.released += released;
    released = 0;
    freed(region, head);
  }
  region.pinnedPages -= released;
  pinTotals.released += released;
  return i;
}

/** Puts the references of pages[at … at + count), each once. Linux: put_page() of each. */
export function putList(pages: Uint32Array, at: number, count: number): void {
  const end = at + count;
  assert(at >= 0 && count >= 0 && end <= pages.length, 'put: outside the list');
  for (let i = at; i < end; ) {
    const { firstPage, head: heads, order, refs, pins } = regionOf(pages[i]);
    const head = heads[frameOf(pages[i])];
    const run = runInFolio(pages, i, end, firstPage + head, 1 << order[head]);
    const left = refs[head] - run;
    assert(left >= 0, 'put: more references than were taken');
    refs[head] = left;
    if (left === 0 && pins[head] === 0) freed(regionOf(pages[i]), head);
    i += run;
  }
}

/** Entries from `i` on, at least 1, that lie in the folio of `size` pages at `headPage`. */
export function runInFolio(
  pages: Uint32Array,
  i: number,
  end: number,
  headPage: number,
  size: number,
): number {
  let next = i + 1;
  // Unsigned, so that pages before the folio are far behind it.
  while (next < end && (pages[next] - headPage) >>> 0 < size) next++;
  return next - i;
}

/**
 * `extra` more pins on a folio that the caller has pinned already, as for a request that is cut in
 * two. 0, or -ENOMEM past HOLDS_MAX with nothing changed. Linux: folio_add_pins().
 */
export function pinAgain(page: number, extra: number): number {
  const region = regionOf(page);
  const head = headOf(region, frameOf(page));
  if (head === region.zeroFrame) return 0;
  const held = region.pins[head];
  assert(held > 0, 'pinAgain: the folio is not pinned');
  if (held > HOLDS_MAX - extra) return -Errno.ENOMEM;
  region.pins[head] = held + extra;
  region.pinnedPages += extra;
  pinTotals.acquired += extra;
  return 0;
}

/** Lets `count` pins of the folio of `page` go at once. Linux: unpin_user_folio(). */
export function unpinFolio(page: number, count: number): void {
  const region = regionOf(page);
  const head = headOf(region, frameOf(page));
  if (head === region.zeroFrame) return;
  const left = region.pins[head] - count;
  assert(count > 0 && left >= 0, 'unpin: more pages than were pinned');
  region.pinnedPages -= count;
  pinTotals.released += count;
  region.pins[head] = left;
  if (left === 0 && region.refs[head] === 0) freed(region, head);
}

/** Lets a range go in the way of its hold kind. OWNED pages are the mapping's to free. */
export function releaseHold(kind: HoldKind, page: number, pages: number): void {
  if (kind === HoldKind.PINNED) unpinPages(page, pages);
  else if (kind === HoldKind.REFERENCED) putPages(page, pages);
}

function freed(region: Region, head: number): void {
  region.flags[head] = 0;
  if (region.onFree !== null) region.onFree(head);
}

/** True while anybody has a pin on the folio of `page`. Exact, for every order. */
export function maybePinned(page: number): boolean {
  const region = regionOf(page);
  return region.pins[headOf(region, frameOf(page))] > 0;
}

/** The page that untouched memory is read from: pins never count on it, nobody dirties it. */
export function isZeroPage(page: number): boolean {
  const region = regionOf(page);
  return headOf(region, frameOf(page)) === region.zeroFrame;
}

export function pinCount(page: number): number {
  const region = regionOf(page);
  return region.pins[headOf(region, frameOf(page))];
}

export function refCount(page: number): number {
  const region = regionOf(page);
  return region.refs[headOf(region, frameOf(page))];
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

/**
 * Marks every folio under the byte range dirty, and tells the file that it belongs to: the device
 * wrote there. Before the last pin goes, never after it (section 1.5 of the reference).
 */
export function dirtyRange(page: number, offset: number, bytes: number): void {
  const region = regionOf(page);
  let frame = frameOf(page) + (offset >>> PAGE_SHIFT);
  const end = frame + pagesSpanned(offset, bytes);
  while (frame < end) {
    const head = headOf(region, frame);
    dirtyHead(region, head);
    frame = folioEnd(region, head);
  }
}

/** The same for the folio of `page`. True: it was clean. Linux: folio_mark_dirty(). */
export function dirtyFolio(page: number): boolean {
  const region = regionOf(page);
  return dirtyHead(region, headOf(region, frameOf(page)));
}

function dirtyHead(region: Region, head: number): boolean {
  if ((region.flags[head] & FrameFlag.DIRTY) !== 0 || head === region.zeroFrame) return false;
  // The owner counts a page that turns dirty, so it must find it clean.
  const owner = region.user === null ? null : region.user.owner[head];
  if (owner !== null) owner.dirtied(region.firstPage + head);
  region.flags[head] |= FrameFlag.DIRTY;
  return true;
}

export function isDirty(page: number): boolean {
  const region = regionOf(page);
  return (region.flags[headOf(region, frameOf(page))] & FrameFlag.DIRTY) !== 0;
}
