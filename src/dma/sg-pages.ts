import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { PAGE_BYTES, pagesSpanned } from '../base/units.ts';
import { REGION_SHIFT } from '../memory/region.unsafe.ts';
import type { SgList } from './sg-list.ts';

// Tables from arrays of page frames. Frames that follow each other in one region share an entry up
// to the largest segment. Pages 10, 11, 12, 20 from byte 256 with 13000 bytes: (10, 256, 12032)
// and (20, 0, 968).

/** A byte range over pages that need not follow each other. */
export interface PageRange {
  /** Frame numbers; those from `first` on are used. */
  readonly pages: Uint32Array;
  readonly first: number;
  /** Where the range starts in its first page, < 4096. */
  readonly offset: number;
  readonly bytes: number;
}

/** A length is kept in 32 bits, so no entry has more. */
const ENTRY_PAGES_MAX = Math.floor((2 ** 32 - 1) / PAGE_BYTES);

/** Pages that one entry may have; 0 when a segment cannot hold a page. */
function entryPagesMax(segBytesMax: number): number {
  return Math.min(Math.floor(segBytesMax / PAGE_BYTES), ENTRY_PAGES_MAX);
}

/** True when `page` is the memory behind `before`: neighbours in number and in region. */
function follows(before: number, page: number): boolean {
  return page === before + 1 && page >>> REGION_SHIFT === before >>> REGION_SHIFT;
}

/** Pages from `at` on that one entry takes. */
function runPages(pages: Uint32Array, at: number, end: number, most: number): number {
  let next = at + 1;
  while (next < end && next - at < most && follows(pages[next - 1], pages[next])) next++;
  return next - at;
}

function countRuns(pages: Uint32Array, first: number, end: number, most: number): number {
  let runs = 0;
  for (let at = first; at < end; runs++) at += runPages(pages, at, end, most);
  return runs;
}

/** Fills the slots from `row` on. The last row that was filled. */
function fillRuns(list: SgList, startRow: number, range: PageRange, most: number): number {
  const { pages, first, offset, bytes } = range;
  const { pool } = list;
  const end = first + pagesSpanned(offset, bytes);
  let row = startRow;
  let skip = offset;
  let left = bytes;
  for (let at = first; at < end; ) {
    if (at > first) row = pool.slotAfter(row);
    const run = runPages(pages, at, end, most);
    const room = run * PAGE_BYTES - skip;
    const len = left < room ? left : room;
    list.set(row, pages[at], skip, len);
    left -= len;
    skip = 0;
    at += run;
  }
  assert(left === 0, 'sg pages: fewer pages than bytes');
  return row;
}

function isValid(range: PageRange): boolean {
  const { pages, first, offset, bytes } = range;
  if (!(bytes > 0) || !(offset >= 0 && offset < PAGE_BYTES)) return false;
  return first >= 0 && first + pagesSpanned(offset, bytes) <= pages.length;
}

/**
 * A table for `range`, no entry above `segBytesMax` (rounded down to pages). 0; -EINVAL when a
 * segment is below a page, the range is empty or has more bytes than pages; else as
 * `SgList.acquire`. Linux: sg_alloc_table_from_pages_segment().
 */
export function sgFromPages(list: SgList, range: PageRange, segBytesMax: number): number {
  const most = entryPagesMax(segBytesMax);
  if (most < 1 || !isValid(range)) return -Errno.EINVAL;
  const end = range.first + pagesSpanned(range.offset, range.bytes);
  const entries = countRuns(range.pages, range.first, end, most);
  const result = list.acquire(entries);
  if (result < 0) return result;
  list.use(entries, fillRuns(list, list.first, range, most));
  return 0;
}

/**
 * Adds `range`, which starts at a page, behind the last entry: into it while the frames go on and
 * fit, else as new entries. 0 or as `sgFromPages`; after an error the list is as it was.
 * Linux: sg_alloc_append_table_from_pages(). Pre: the whole table is in use and no device has it.
 */
export function sgAppendPages(list: SgList, range: PageRange, segBytesMax: number): number {
  assert(list.mappings === 0, 'sg pages: appended while a device has the list');
  const most = entryPagesMax(segBytesMax);
  if (most < 1 || !isValid(range) || range.offset !== 0) return -Errno.EINVAL;
  const { pages, first, bytes } = range;
  const end = first + pagesSpanned(0, bytes);
  const joined = joinedPages(list, pages, first, end, most * PAGE_BYTES);
  const joinedBytes = Math.min(joined * PAGE_BYTES, bytes);
  if (first + joined < end) {
    const entries = countRuns(pages, first + joined, end, most);
    const before = list.nents;
    const result = list.grow(entries);
    if (result < 0) return result;
    growLast(list, joinedBytes);
    const rest = { pages, first: first + joined, offset: 0, bytes: bytes - joinedBytes };
    const row = fillRuns(list, list.pool.slotAfter(list.end), rest, most);
    list.use(before + entries, row);
  } else {
    growLast(list, joinedBytes);
  }
  return 0;
}

function growLast(list: SgList, bytes: number): void {
  const { len } = list.pool;
  len[list.end] += bytes;
}

/** Pages that the last entry takes in: it ends with a page, and they go on from there. */
function joinedPages(
  list: SgList,
  pages: Uint32Array,
  first: number,
  end: number,
  entryBytesMax: number,
): number {
  const { page, offset, len } = list.pool;
  const last = list.end;
  const lastEnd = offset[last] + len[last];
  if (lastEnd % PAGE_BYTES !== 0) return 0;
  let before = page[last] + lastEnd / PAGE_BYTES - 1;
  let room = Math.floor((entryBytesMax - len[last]) / PAGE_BYTES);
  let joined = 0;
  while (room > 0 && first + joined < end && follows(before, pages[first + joined])) {
    before++;
    room--;
    joined++;
  }
  return joined;
}
