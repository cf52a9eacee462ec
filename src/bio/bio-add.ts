import { assert } from '../base/assert.ts';
import { PAGE_BYTES, PAGE_SHIFT, pagesSpanned } from '../base/units.ts';
import type { BvecTable } from '../bvec/bvec-table.ts';
import { rowJoins } from '../iter/row-join.ts';
import { dirtyRange, HoldKind, releaseHold } from '../memory/holds.ts';
import { BIO_BYTES_MAX, type Bio, BioState } from './bio.ts';
import { BioFlag } from './bio-op.ts';

/**
 * Adds a segment and its hold. All or nothing: `len`, or 0 when the bio is full (the hold stays
 * with the caller). No limit of the device is looked at; splitting comes later.
 * Post: holds of the bio = pages spanned by its rows; a page that two joined fragments share is
 * held once, the second hold is let go here.
 * Linux: bio_add_page(), block/bio.c.
 */
export function addSegment(
  bio: Bio,
  page: number,
  offset: number,
  len: number,
  hold: HoldKind,
): number {
  assert(bio.state === BioState.BUILT, 'bio: add after submit');
  assert((bio.flags & BioFlag.CLONED) === 0, 'bio: add to a clone');
  if (len === 0 || bio.size > BIO_BYTES_MAX - len) return 0;
  const last = bio.first + bio.vcnt - 1;
  if (bio.vcnt > 0 && rowJoins(bio.table, last, page, offset, hold)) {
    growRow(bio.table, last, len, hold);
  } else {
    if (bio.vcnt >= bio.maxVecs) return 0;
    bio.table.set(last + 1, page, offset, len, hold);
    bio.vcnt++;
  }
  bio.size += len;
  return len;
}

/**
 * Takes the `count` rows behind those of the bio (just gathered, not yet counted) onto it. Only the
 * first of them can join, because whoever gathered them has joined the others.
 */
export function adoptRows(bio: Bio, count: number, bytes: number): void {
  const table = bio.table;
  const start = bio.first + bio.vcnt;
  bio.size += bytes;
  bio.vcnt += count;
  if (count === 0 || start === bio.first) return;
  const page = table.page[start] as number;
  const offset = table.offset[start] as number;
  const hold = table.hold[start] as HoldKind;
  if (!rowJoins(table, start - 1, page, offset, hold)) return;
  growRow(table, start - 1, table.len[start] as number, hold);
  for (let row = start + 1; row < start + count; row++) table.copyRow(row - 1, table, row);
  bio.vcnt--;
}

function growRow(table: BvecTable, row: number, len: number, hold: HoldKind): void {
  const end = (table.offset[row] as number) + (table.len[row] as number);
  // The joint lies inside a page: that page now has two holds, and one row needs one.
  if (end % PAGE_BYTES !== 0) {
    releaseHold(hold, (table.page[row] as number) + Math.floor(end / PAGE_BYTES), 1);
  }
  table.len[row] = (table.len[row] as number) + len;
}

/**
 * Cuts `bytes` off the end of what was built and lets go of every page that no row covers any
 * more (H2: upstream leaked these pins). Pre: BUILT, nothing consumed.
 */
export function trimBio(bio: Bio, bytes: number): void {
  assert(bio.state === BioState.BUILT && bytes <= bio.size, 'bio: trim outside');
  assert((bio.flags & BioFlag.CLONED) === 0, 'bio: trim of rows that are not its own');
  bio.size -= bytes;
  bio.vcnt = trimRows(bio.table, bio.first, bio.vcnt, bytes);
}

/** The same for any rows with holds: cuts `bytes` off their end. How many rows are left. */
export function trimRows(table: BvecTable, first: number, rows: number, bytes: number): number {
  let left = bytes;
  let end = first + rows;
  while (left > 0) {
    assert(end > first, 'rows: trim of more than they hold');
    const len = table.len[end - 1] as number;
    const cut = Math.min(left, len);
    shortenRow(table, end - 1, len - cut);
    if (cut === len) end--;
    left -= cut;
  }
  return end - first;
}

function shortenRow(table: BvecTable, row: number, keep: number): void {
  const offset = table.offset[row] as number;
  const first = offset >>> PAGE_SHIFT;
  const had = pagesSpanned(offset, table.len[row] as number);
  const has = pagesSpanned(offset, keep);
  const page = (table.page[row] as number) + first + has;
  if (had > has) releaseHold(table.hold[row] as HoldKind, page, had - has);
  table.len[row] = keep;
}

/**
 * Lets every page of the owner's rows go, each in the way of its hold; `dirty` first marks the
 * folios, because after the release they may be gone. Called by the submitter only.
 * Linux: bio_release_pages().
 */
export function releasePages(bio: Bio, dirty: boolean): number {
  if ((bio.flags & BioFlag.CLONED) !== 0) return 0;
  const dirtyBytes = dirty ? Number.POSITIVE_INFINITY : 0;
  const pages = releaseRows(bio.table, bio.first, bio.vcnt, dirtyBytes);
  bio.vcnt = 0;
  return pages;
}

/**
 * Unpins PINNED rows and puts REFERENCED ones. BORROWED and OWNED rows are somebody's who knows
 * when they end, and whether their contents count as changed: a cache that reads its own page does
 * not dirty it. The folios under the first `dirtyBytes` of the others are marked dirty before.
 * The pages that were let go.
 */
export function releaseRows(
  table: BvecTable,
  first: number,
  rows: number,
  dirtyBytes: number,
): number {
  let dirty = dirtyBytes;
  let released = 0;
  for (let row = first; row < first + rows; row++) {
    const hold = table.hold[row] as HoldKind;
    const offset = table.offset[row] as number;
    const len = table.len[row] as number;
    const page = table.page[row] as number;
    if (hold === HoldKind.PINNED || hold === HoldKind.REFERENCED) {
      if (dirty > 0) dirtyRange(page, offset, dirty < len ? dirty : len);
      const pages = pagesSpanned(offset, len);
      releaseHold(hold, page + (offset >>> PAGE_SHIFT), pages);
      released += pages;
    }
    dirty -= len;
  }
  return released;
}
