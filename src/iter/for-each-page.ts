import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { BvecTable } from '../bvec/bvec-table.ts';
import type { AddressSpace } from '../memory/address-space.ts';
import { folioHead, folioPages, HoldKind, releaseHold } from '../memory/holds.ts';
import { type IovIter, IterKind } from './iov-iter.ts';
import { MAX_RW_COUNT } from './iovec.ts';
import { holdBytes, holdOf } from './iter-extract.ts';
import { pagesUnder, rowJoinsInFolio } from './row-join.ts';
import { userBatch } from './user-batch.ts';

/**
 * What the callback did with a fragment; any negative errno stops and does not count it.
 * Bit 0: let the hold go. Bit 1: stop.
 */
export const Verdict = {
  /** The callback owns the hold now. */
  KEEP: 0,
  /** The callback is done with the page: let the hold go. */
  DROP: 1,
  /** The same two, and this was the last fragment; it counts. */
  STOP_KEEP: 2,
  STOP_DROP: 3,
} as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

/**
 * One fragment: `len` bytes from `offset` (< 4096) of `page` on; within one page, or with
 * `folioRuns` within one folio. Returns a Verdict or a negative errno. It must not touch the
 * iterator; it may walk another one.
 */
export type PageFn<T> = (page: number, offset: number, len: number, data: T) => number;

export interface ForEachPageOptions {
  /** As for `extract`; `holdOf(iter, hold)` says what the callback is given. */
  readonly hold: HoldKind;
  /** Consecutive pages of one folio, within one segment, come as one fragment. */
  readonly folioRuns: boolean;
  /** Fragments that are held before the first of them is handed out, 1..256. Invisible. */
  readonly batch: number;
  /** Asked between batches; a set flag ends the walk with -EINTR, like a fault. */
  readonly signal: { readonly aborted: boolean } | null;
}

const FOR_EACH_PAGE_BATCH_MAX = 256;

/** Pins, page by page, the batch of Linux's direct I/O. */
export const EACH_PAGE_PINNED: ForEachPageOptions = Object.freeze({
  hold: HoldKind.PINNED,
  folioRuns: false,
  batch: 64,
  signal: null,
});

/** Both halves of the answer: progress does not hide the error. */
export class ForEachPageResult {
  /** Bytes of the fragments that count. The iterator stands behind them. */
  bytes = 0;
  /** 0, or what stopped the walk. */
  error = 0;
}

/** As a system call says it: bytes if there are any, else the error. */
export function shortResult(result: ForEachPageResult): number {
  return result.bytes > 0 ? result.bytes : result.error;
}

// Batches of all walks, as a stack: a walk inside a callback takes the rows above. No walk takes
// more than a quarter of what is free, so nesting makes batches small, which nobody can see, and
// finds no row at all only at a depth of more than 20 (which cannot wait: it is a bug).
const SCRATCH_ROWS = 1024;
const scratch = new BvecTable(SCRATCH_ROWS);
let scratchTop = 0;

/** Rows that walks hold at this moment: 0 outside of every callback. */
export function scratchRowsUsed(): number {
  return scratchTop;
}

/**
 * Hands every fragment of the next min(bytesMax, count) bytes to `fn`, in order, with its hold.
 *
 * After a stop, an error or a fault each hold that was not handed over is released once, and the
 * iterator stands exactly behind the counted bytes. Adjacent segments in one page give two
 * fragments with a hold each. When `fn` throws, the same is done for what it did not accept.
 * Linux: iov_iter_for_each_page(), proposed in 2017 and not merged.
 */
export function forEachPage<T>(
  iter: IovIter,
  bytesMax: number,
  fn: PageFn<T>,
  data: T,
  options: ForEachPageOptions,
  result: ForEachPageResult,
): ForEachPageResult {
  assert(options.batch >= 1 && options.batch <= FOR_EACH_PAGE_BATCH_MAX, 'forEachPage: batch');
  const first = scratchTop;
  const free = SCRATCH_ROWS - first;
  assert(free > 0, 'forEachPage: nested without end');
  const rows = Math.min(options.batch, Math.max(1, free >>> 2));
  const hold = holdOf(iter, options.hold);
  scratchTop += rows;
  result.bytes = 0;
  result.error = 0;
  try {
    let isOver = false;
    while (!isOver && result.bytes < bytesMax && iter.count > 0) {
      if (options.signal?.aborted === true) {
        result.error = -Errno.EINTR;
        break;
      }
      const error = gather(iter, bytesMax - result.bytes, first, rows, hold, options.folioRuns);
      if (iter.rowsOut === 0) {
        result.error = error;
        break;
      }
      isOver = handOut(iter, first, hold, fn, data, result);
    }
  } finally {
    scratchTop = first;
  }
  return result;
}

/** Fills a batch and moves the iterator behind it. 0, or the errno that ended it early. */
function gather(
  iter: IovIter,
  bytesMax: number,
  first: number,
  rows: number,
  hold: HoldKind,
  folioRuns: boolean,
): number {
  if (hold !== HoldKind.BORROWED) {
    const { kind } = iter;
    if (kind === IterKind.USER) return gatherUser(iter, bytesMax, first, rows, hold, folioRuns);
    iter.rowsOut = 0;
    if (kind === IterKind.KERNEL) return -Errno.EFAULT; // As `extract`: no references there.
  }
  const access = iter.access;
  const end = first + rows;
  let row = first - 1;
  let left = bytesMax < MAX_RW_COUNT ? bytesMax : MAX_RW_COUNT;
  let segment = -1;
  let error = 0;
  while (left > 0) {
    const found = iter.piece(access, left);
    error = iter.view === null || found <= 0 ? found : -Errno.EFAULT;
    if (error <= 0) break;
    const { page, pageOffset } = iter;
    const grows =
      folioRuns &&
      iter.segment === segment &&
      rowJoinsInFolio(scratch, row, page, pageOffset, hold);
    if (!grows && row + 1 === end) break;
    segment = iter.segment;
    const edge = folioRuns ? folioHead(page) + folioPages(page) : page + 1;
    const room = (edge - page) * PAGE_BYTES - pageOffset;
    const wanted = found < room ? found : room;
    // A run can only grow at a page boundary: within a segment no page comes twice in a row.
    const taken =
      hold === HoldKind.BORROWED ? wanted : holdBytes(page, pageOffset, wanted, 0, hold);
    if (taken > 0) {
      if (grows) scratch.len[row] += taken;
      else scratch.set(++row, page, pageOffset, taken, hold);
      left -= taken;
      iter.advance(taken);
    }
    if (taken < wanted) {
      error = -Errno.EFAULT;
      break;
    }
  }
  iter.rowsOut = row + 1 - first;
  return error < 0 ? error : 0;
}

/** The same for pages that the space holds itself, many in one step. */
function gatherUser(
  iter: IovIter,
  bytesMax: number,
  first: number,
  rows: number,
  hold: HoldKind,
  folioRuns: boolean,
): number {
  const { access } = iter;
  const { base, len } = iter.iovec;
  const space = iter.space as AddressSpace;
  const end = first + rows;
  const most = Math.min(bytesMax, iter.count, MAX_RW_COUNT);
  let segment = iter.index;
  let done = iter.offset;
  let next = first;
  let bytes = 0;
  let got = 0;
  // Rows that are full can still grow by the next page of a folio.
  while (bytes < most && (next < end || folioRuns)) {
    while (done >= len[segment]) {
      segment++;
      done = 0;
    }
    const addr = base[segment] + done;
    let offset = addr & (PAGE_BYTES - 1);
    let room = Math.min(len[segment] - done, most - bytes);
    const wanted = Math.min(pagesUnder(offset, room), Math.max(end - next, 1));
    got = userBatch.take(space, addr, wanted, access, hold);
    if (got < 0) break;
    const { frames, first: at } = userBatch;
    let grows = folioRuns && next > first && done > 0; // A run begins anew with its segment.
    let used = 0;
    for (; used < got; used++) {
      const page = frames[at + used];
      const taken = PAGE_BYTES - offset < room ? PAGE_BYTES - offset : room;
      if (grows && rowJoinsInFolio(scratch, next - 1, page, offset, hold)) {
        scratch.len[next - 1] += taken;
      } else if (next < end) {
        scratch.set(next++, page, offset, taken, hold);
      } else {
        break;
      }
      grows = folioRuns;
      room -= taken;
      done += taken;
      bytes += taken;
      offset = 0;
    }
    if (used < got) {
      userBatch.release(at + used, got - used, hold);
      break;
    }
  }
  iter.rowsOut = next - first;
  iter.advance(bytes);
  return got < 0 ? got : 0;
}

/** Hands the gathered rows out. True when the walk is over. */
function handOut<T>(
  iter: IovIter,
  first: number,
  hold: HoldKind,
  fn: PageFn<T>,
  data: T,
  result: ForEachPageResult,
): boolean {
  const { page: pages, offset: offsets, len: lens } = scratch;
  const end = first + iter.rowsOut;
  let row = first;
  let bytes = 0;
  let isOver = false;
  try {
    while (row < end && !isOver) {
      const page = pages[row];
      const offset = offsets[row];
      const len = lens[row];
      const verdict = fn(page, offset, len, data);
      if (verdict < 0) {
        result.error = verdict;
        isOver = true;
        break;
      }
      assert(verdict <= Verdict.STOP_DROP, 'forEachPage: no such verdict');
      isOver = verdict >= Verdict.STOP_KEEP;
      bytes += len;
      row++;
      if ((verdict & Verdict.DROP) !== 0) releaseHold(hold, page, pagesUnder(offset, len));
    }
  } finally {
    result.bytes += bytes;
    if (row < end) giveBack(iter, row, end, hold);
  }
  return isOver;
}

/** What was gathered and not accepted: also when the callback threw. */
function giveBack(iter: IovIter, first: number, end: number, hold: HoldKind): void {
  const { page, offset, len } = scratch;
  let unused = 0;
  for (let row = first; row < end; row++) {
    unused += len[row];
    releaseHold(hold, page[row], pagesUnder(offset[row], len[row]));
  }
  iter.revert(unused);
}
