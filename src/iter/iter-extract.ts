import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { PAGE_BYTES } from '../base/units.ts';
import type { BvecTable } from '../bvec/bvec-table.ts';
import { folioHead, folioPages, getPages, HoldKind, pinPages } from '../memory/holds.ts';
import { extractUser } from './extract-user.ts';
import { type IovIter, IterKind } from './iov-iter.ts';
import { MAX_RW_COUNT } from './iovec.ts';
import { joins, pagesUnder, setRow } from './row-join.ts';

/** What the offset of a row counts from. */
export type RowBase = 'page' | 'folio';

export interface ExtractOptions {
  /** False: at most one contiguous segment a call, as Linux has it up to 6.12. */
  readonly crossSegments: boolean;
  /** Most pages that the rows may span together; Infinity for no bound but rows and bytes. */
  readonly pagesMax: number;
  /**
   * 'page': rows start in their first page, and physically contiguous pages share a row.
   * 'folio': rows name the head of their folio and never leave it.
   */
  readonly base: RowBase;
  /**
   * PINNED pins the memory of programs and borrows the rest, which its owner keeps alive.
   * REFERENCED takes references on everything but KERNEL ranges, whose pages may have no counts
   * to speak of (-EFAULT). BORROWED takes nothing.
   */
  readonly hold: HoldKind;
}

/** What a bio wants: as much as fits its rows. */
export const EXTRACT_ALL: ExtractOptions = Object.freeze({
  crossSegments: true,
  pagesMax: Number.POSITIVE_INFINITY,
  base: 'page',
  hold: HoldKind.PINNED,
});

/** How rows of `iter` are kept when `wish` is asked for. Linux: iov_iter_extract_will_pin(). */
export function holdOf(iter: IovIter, wish: HoldKind): HoldKind {
  assert(wish !== HoldKind.OWNED, 'extract: pages of a program are never owned');
  if (wish === HoldKind.PINNED && !iter.isUserBacked) return HoldKind.BORROWED;
  return wish;
}

/** True when extracted pages must be unpinned, each once. */
export function willPin(iter: IovIter): boolean {
  return holdOf(iter, HoldKind.PINNED) === HoldKind.PINNED;
}

/**
 * Fills rows row … row + iter.rowsOut of `table` with the pages under the next bytes, takes their
 * holds, and moves the iterator behind them.
 *
 * Returns the bytes: at least 1 and at most min(bytesMax, count, MAX_RW_COUNT); 0 only when one of
 * them is 0; a negative errno when not even one byte could be had, and then nothing has changed.
 * A fault after progress shortens the result: asking again finds it.
 * Post: holds taken = pages spanned by the rows; a page that two joined fragments share has one.
 * A hole of a PAGES iterator is -EFAULT, so that 0 always means the end (Linux: 0).
 * Linux: iov_iter_extract_pages() and extract_bvecs() in one, without the page array between.
 */
export function extract(
  iter: IovIter,
  table: BvecTable,
  row: number,
  rowsMax: number,
  bytesMax: number,
  options: ExtractOptions,
): number {
  assert(row >= 0 && rowsMax > 0 && row + rowsMax <= table.rows, 'extract: rows outside the table');
  assert(options.pagesMax > 0 && bytesMax >= 0, 'extract: no room for a page');
  const hold = holdOf(iter, options.hold);
  const inFolio = options.base === 'folio';
  const limit = bytesMax < MAX_RW_COUNT ? bytesMax : MAX_RW_COUNT;
  iter.rowsOut = 0;
  if (hold !== HoldKind.BORROWED) {
    if (iter.kind === IterKind.USER) {
      return extractUser(iter, table, row, rowsMax, limit, options, hold);
    }
    if (iter.kind === IterKind.KERNEL && iter.count > 0 && limit > 0) return -Errno.EFAULT;
  }
  let last = row - 1;
  let pages = 0;
  let bytes = 0;
  let error = 0;
  const access = iter.access;
  let segment = -1;
  while (bytes < limit) {
    const found = iter.piece(access, limit - bytes);
    error = iter.view === null ? found : -Errno.EFAULT;
    if (error <= 0) break;
    const { page, pageOffset } = iter;
    const isJoined = last >= row && joins(table, last, page, pageOffset, hold, inFolio);
    if (segment >= 0 && iter.segment !== segment && !options.crossSegments) {
      // An array of pages has an offset in its first page only.
      if (iter.kind !== IterKind.BVEC || pageOffset !== 0) break;
      if (((table.offset[last] + table.len[last]) & (PAGE_BYTES - 1)) !== 0) break;
    }
    if (!isJoined && last - row + 1 === rowsMax) break;
    segment = iter.segment;
    // A joint inside a page: the row holds that page already.
    const shared = isJoined && pageOffset !== 0 ? 1 : 0;
    const room = options.pagesMax - pages + shared;
    const wanted = cut(page, pageOffset, found, room, inFolio);
    if (wanted <= 0) break;
    const taken =
      hold === HoldKind.BORROWED ? wanted : holdBytes(page, pageOffset, wanted, shared, hold);
    if (taken > 0) {
      if (isJoined) table.len[last] += taken;
      else setRow(table, ++last, page, pageOffset, taken, hold, inFolio);
      pages += pagesUnder(pageOffset, taken) - shared;
      bytes += taken;
      iter.advance(taken);
    }
    if (taken < wanted) {
      error = -Errno.EFAULT;
      break;
    }
  }
  iter.rowsOut = last - row + 1;
  return bytes > 0 ? bytes : error;
}

/** `bytes`, but no more than `pagesMax` pages and no further than the folio. */
function cut(
  page: number,
  offset: number,
  bytes: number,
  pagesMax: number,
  inFolio: boolean,
): number {
  let pages = pagesUnder(offset, bytes);
  if (pages > pagesMax) pages = pagesMax;
  if (inFolio) pages = Math.min(pages, folioHead(page) + folioPages(page) - page);
  const room = pages * PAGE_BYTES - offset;
  return bytes < room ? bytes : room;
}

/** Holds the pages under the range, without the first `held` ones. Bytes that are held then. */
export function holdBytes(
  page: number,
  offset: number,
  bytes: number,
  held: number,
  hold: HoldKind,
): number {
  const first = page + held;
  const wanted = pagesUnder(offset, bytes) - held;
  if (wanted === 0) return bytes;
  const got = hold === HoldKind.PINNED ? pinPages(first, wanted) : getPages(first, wanted);
  if (got === wanted) return bytes;
  // The program released this memory before the call.
  const covered = (held + got) * PAGE_BYTES - offset;
  return covered > 0 ? covered : 0;
}
