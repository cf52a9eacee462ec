import { PAGE_BYTES } from '../base/units.ts';
import { BvecTable } from '../bvec/bvec-table.ts';
import { type AddressSpace, holdUserPages, UserHold } from '../memory/address-space.ts';
import { HoldKind, releaseHold } from '../memory/holds.ts';
import { frameOf } from '../memory/region.unsafe.ts';
import type { IovIter } from './iov-iter.ts';
import type { ExtractOptions } from './iter-extract.ts';
import { joins, pagesUnder, setRow } from './row-join.ts';

/** More pages than a call has (MAX_RW_COUNT): no bound, and an integer. */
const PAGES_MOST = 2 ** 20;
/** For the page behind full rows: written after the last fault of a walk, and read at once. */
const spare = new BvecTable(1);

/**
 * `extract` for ranges of an address space that are held: the space takes the holds itself, many
 * in one step, because only it can unshare, mark and re-check what it hands out. It writes runs of
 * pages into the free rows, which become segments where they lie: there is no list between. No page
 * is asked for that could not get a row, except one when the rows are full, which may still join
 * the last. Pre: `iter` is USER and `hold` is PINNED or REFERENCED.
 * Linux: iov_iter_extract_user_pages().
 */
export function extractUser(
  iter: IovIter,
  table: BvecTable,
  row: number,
  rowsMax: number,
  bytesMax: number,
  options: ExtractOptions,
  hold: HoldKind,
): number {
  const { base, len } = iter.iovec;
  const pagesMax = Math.min(options.pagesMax, PAGES_MOST) >>> 0;
  const inFolio = options.base === 'folio';
  const end = row + rowsMax;
  const all = bytesMax < iter.count ? bytesMax : iter.count;
  let left = all;
  let segment = iter.index;
  let done = iter.offset;
  let next = row;
  let pages = 0;
  let error = 0;
  while (left > 0) {
    const before = segment;
    while (done >= len[segment]) {
      segment++;
      done = 0;
    }
    if (segment > before && left < all && !options.crossSegments) break;
    const addr = base[segment] + done;
    let offset = addr & (PAGE_BYTES - 1);
    const rest = (len[segment] - done < left ? len[segment] - done : left) >>> 0;
    // A joint inside a page may be of a page that the last row holds already.
    const most = pagesMax - pages + (offset > 0 ? 1 : 0);
    if (most === 0) break;
    const isFull = next === end;
    const runs = isFull ? spare : table;
    const at = isFull ? 0 : next;
    const wanted = isFull ? 1 : Math.min(pagesUnder(offset, rest), most);
    const got = take(iter, addr, wanted, hold, runs, at, isFull ? 1 : end - next, inFolio);
    if (got < 0) {
      error = got;
      break;
    }
    let room = rest;
    let behind = 0;
    let over = 0;
    let run = at;
    for (; run < at + got && over === 0; run++) {
      const page = runs.page[run];
      const count = runs.len[run];
      // Behind the first run a glance tells: the last row ends with the page before.
      const isGlance = run > at && !inFolio;
      const isJoined = isGlance
        ? page === behind && frameOf(page) !== 0
        : next > row && joins(table, next - 1, page, offset, hold, inFolio);
      const shared = isJoined && offset > 0 ? 1 : 0;
      const kept = Math.min(count, pagesMax - pages + shared);
      if (kept === 0 || (!isJoined && next === end)) break;
      const taken = Math.min(kept * PAGE_BYTES - offset, room);
      if (isJoined) table.len[next - 1] += taken;
      else setRow(table, next++, page, offset, taken, hold, inFolio);
      if (shared > 0) releaseHold(hold, page, 1);
      pages += kept - shared;
      room -= taken;
      offset = 0;
      behind = page + kept;
      over = count - kept;
    }
    left -= rest - room;
    done += rest - room;
    if (run === at + got && over === 0) continue;
    giveBack(runs, run, at + got, behind, over, hold);
    break;
  }
  iter.rowsOut = next - row;
  iter.advance(all - left);
  return left < all ? all - left : error;
}

/** Lets go of what no row took: `over` pages from `page` on, and the runs in rows from … to. */
function giveBack(
  runs: BvecTable,
  from: number,
  to: number,
  page: number,
  over: number,
  hold: HoldKind,
): void {
  if (over > 0) releaseHold(hold, page, over);
  for (let run = from; run < to; run++) releaseHold(hold, runs.page[run], runs.len[run]);
}

/**
 * Holds up to `count` pages from the page of `addr` on, as runs in rows at … of `runs`: how many,
 * at most `runsMax`, or a negative errno. A space that has no runs gives pages; and so does any
 * space when rows must end with their folio.
 */
function take(
  iter: IovIter,
  addr: number,
  count: number,
  hold: HoldKind,
  runs: BvecTable,
  at: number,
  runsMax: number,
  inFolio: boolean,
): number {
  const { access } = iter;
  const space = iter.space as AddressSpace;
  const how = hold === HoldKind.PINNED ? UserHold.PIN : UserHold.GET;
  if (!inFolio && space.holdRuns !== undefined) {
    return space.holdRuns(addr, count, access, how, runs, at, runsMax);
  }
  const most = count < runsMax ? count : runsMax;
  const got = holdUserPages(space, addr, most, access, how, runs.page, at);
  for (let row = at; row < at + got; row++) runs.len[row] = 1;
  return got;
}
