import { PAGE_BYTES } from '../base/units.ts';
import type { BvecTable } from '../bvec/bvec-table.ts';
import type { AddressSpace } from '../memory/address-space.ts';
import { HoldKind, putList, releaseHold, unpinList } from '../memory/holds.ts';
import { frameOf } from '../memory/region.unsafe.ts';
import type { IovIter } from './iov-iter.ts';
import type { ExtractOptions } from './iter-extract.ts';
import { joins, pagesUnder, setRow } from './row-join.ts';
import { userBatch } from './user-batch.ts';

/**
 * `extract` for ranges of an address space that are held: the space takes the holds itself, many
 * in one step, because only it can unshare, mark and re-check what it hands out. No page is asked
 * for that could not get a row, except one when the rows are full, which may still join the last.
 * Pre: `iter` is USER and `hold` is PINNED or REFERENCED. Linux: iov_iter_extract_user_pages().
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
  const { access } = iter;
  const { base, len } = iter.iovec;
  const { pagesMax } = options;
  const space = iter.space as AddressSpace;
  const inFolio = options.base === 'folio';
  const end = row + rowsMax;
  let left = bytesMax < iter.count ? bytesMax : iter.count;
  let segment = iter.index;
  let done = iter.offset;
  let next = row;
  let pages = 0;
  let bytes = 0;
  let error = 0;
  while (left > 0) {
    let passed = 0;
    while (done >= len[segment]) {
      segment++;
      passed++;
      done = 0;
    }
    if (passed > 0 && bytes > 0 && !options.crossSegments) break;
    const addr = base[segment] + done;
    let offset = addr & (PAGE_BYTES - 1);
    const rest = len[segment] - done < left ? len[segment] - done : left;
    // A joint inside a page may be of a page that the last row holds already.
    const most = Math.min(Math.max(end - next, 1), pagesMax - pages + (offset > 0 ? 1 : 0));
    if (most === 0) break;
    const wanted = pagesUnder(offset, rest);
    const got = userBatch.take(space, addr, wanted < most ? wanted : most, access, hold);
    if (got < 0) {
      error = got;
      break;
    }
    const { frames, first } = userBatch;
    let room = rest;
    let used = 0;
    for (; used < got; used++) {
      const page = frames[first + used];
      const taken = PAGE_BYTES - offset < room ? PAGE_BYTES - offset : room;
      // Behind the first page of a batch a glance tells: the last row ends with the page before.
      const isGlance = used > 0 && !inFolio;
      const isStray = used > 0 && page !== frames[first + used - 1] + 1;
      const isJoined = isGlance
        ? !isStray && frameOf(page) !== 0
        : !isStray && next > row && joins(table, next - 1, page, offset, hold, inFolio);
      const isShared = isJoined && offset > 0;
      if ((!isJoined && next === end) || (!isShared && pages === pagesMax)) break;
      if (isJoined) table.len[next - 1] += taken;
      else setRow(table, next++, page, offset, taken, hold, inFolio);
      if (isShared) releaseHold(hold, page, 1);
      else pages++;
      room -= taken;
      offset = 0;
    }
    bytes += rest - room;
    left -= rest - room;
    done += rest - room;
    if (used < got) {
      releaseFrames(first + used, got - used, hold);
      break;
    }
  }
  iter.rowsOut = next - row;
  iter.advance(bytes);
  return bytes > 0 ? bytes : error;
}

/** Lets frames at … at + count of the batch go: they were held, and nobody wants them. */
export function releaseFrames(at: number, count: number, hold: HoldKind): void {
  if (hold === HoldKind.PINNED) unpinList(userBatch.frames, at, count);
  else putList(userBatch.frames, at, count);
}
