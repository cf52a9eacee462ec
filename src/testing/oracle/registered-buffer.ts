import { PAGE_BYTES } from '../../base/units.ts';
import { BvecTable } from '../../bvec/bvec-table.ts';
import type { Profile } from '../../limits/profile.ts';
import { folioHead, folioPages, HoldKind } from '../../memory/holds.ts';

export interface RegisteredRows {
  readonly table: BvecTable;
  readonly rows: number;
}

/**
 * The segments of a registered buffer: `bytes` from `offset` of `pages[0]` on. One a page, or one
 * a folio where the profile joins them.
 * Linux: io_sqe_buffer_register(), io_uring/rsrc.c.
 */
export function registeredRows(
  pages: readonly number[],
  offset: number,
  bytes: number,
  profile: Profile,
): RegisteredRows {
  const joins = profile.fixedVecs === 'folio' && pages.length > 1 && fillFolios(pages);
  const inFolio = joins && profile.bvecBase === 'folio';
  const table = new BvecTable(Math.max(pages.length, 1));
  let row = 0;
  let left = bytes;
  let start = offset;
  for (let i = 0; i < pages.length && left > 0; ) {
    const head = folioHead(pages[i]);
    const count = joins ? head + folioPages(pages[i]) - pages[i] : 1;
    const len = Math.min(count * PAGE_BYTES - start, left);
    const before = inFolio ? pages[i] - head : 0;
    table.set(row++, pages[i] - before, before * PAGE_BYTES + start, len, HoldKind.BORROWED);
    left -= len;
    start = 0;
    i += count;
  }
  return { table, rows: row };
}

/**
 * True when the pages run through folios of one size without a gap: only the first may begin and
 * only the last may end inside. Linux: io_check_coalesce_buffer().
 */
function fillFolios(pages: readonly number[]): boolean {
  for (let i = 1; i < pages.length; i++) {
    const isSame = folioHead(pages[i]) === folioHead(pages[i - 1]);
    if (isSame && pages[i] === pages[i - 1] + 1) continue;
    const last = folioHead(pages[i - 1]) + folioPages(pages[i - 1]) - 1;
    if (isSame || pages[i - 1] !== last || folioHead(pages[i]) !== pages[i]) return false;
    if (folioPages(pages[i]) !== folioPages(pages[i - 1])) return false;
  }
  return true;
}
