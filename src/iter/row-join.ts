import { PAGE_BYTES, PAGE_SHIFT } from '../base/units.ts';
import type { BvecTable } from '../bvec/bvec-table.ts';
import { folioHead, type HoldKind } from '../memory/holds.ts';
import { REGION_SHIFT } from '../memory/region.unsafe.ts';

// When a fragment may grow the row before it instead of taking a row of its own. No limit of the
// device is looked at: rows are cut later, by the one who knows the limits.

/**
 * True when (page, offset) is the byte behind `row`, kept in the same way. Frame numbers of two
 * regions may be neighbours while their memories are not, so a row never leaves its region.
 * Linux: biovec_phys_mergeable() without the boundary; the region is the pgmap.
 */
export function rowJoins(
  table: BvecTable,
  row: number,
  page: number,
  offset: number,
  hold: HoldKind,
): boolean {
  if (table.hold[row] !== hold) return false;
  const last = table.page[row];
  if (last >>> REGION_SHIFT !== page >>> REGION_SHIFT) return false;
  return last * PAGE_BYTES + table.offset[row] + table.len[row] === page * PAGE_BYTES + offset;
}

/** The same, and inside the one folio that the row began in. Linux: get_contig_folio_len(). */
export function rowJoinsInFolio(
  table: BvecTable,
  row: number,
  page: number,
  offset: number,
  hold: HoldKind,
): boolean {
  if (!rowJoins(table, row, page, offset, hold)) return false;
  const first = table.page[row] + Math.floor(table.offset[row] / PAGE_BYTES);
  return folioHead(first) === folioHead(page);
}

/** One of the two, by what rows count from. */
export function joins(
  table: BvecTable,
  row: number,
  page: number,
  offset: number,
  hold: HoldKind,
  inFolio: boolean,
): boolean {
  if (inFolio) return rowJoinsInFolio(table, row, page, offset, hold);
  return rowJoins(table, row, page, offset, hold);
}

/** A new row from (page, offset) on; with `inFolio` it names the head of the folio. */
export function setRow(
  table: BvecTable,
  row: number,
  page: number,
  offset: number,
  len: number,
  hold: HoldKind,
  inFolio: boolean,
): void {
  if (!inFolio) {
    table.set(row, page, offset, len, hold);
    return;
  }
  const head = folioHead(page);
  table.set(row, head, ((page - head) << PAGE_SHIFT) + offset, len, hold);
}

/**
 * Pages under 1 … 2^31 bytes from `offset` < 4096 on: `pagesSpanned` in integers, which a loop of
 * pages notices (10 ns of 70).
 */
export function pagesUnder(offset: number, bytes: number): number {
  return ((offset + bytes - 1) >>> PAGE_SHIFT) + 1;
}
