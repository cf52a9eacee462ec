import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { BvecTable } from '../bvec/bvec-table.ts';
import { folioHead, folioPages, HoldKind, releaseHold } from '../memory/holds.ts';
import type { IovIter } from './iov-iter.ts';
import { MAX_RW_COUNT } from './iovec.ts';
import { holdBytes, holdOf, pagesUnder } from './iter-extract.ts';
import { rowJoinsInFolio } from './row-join.ts';

/** What the callback did with a fragment; any negative errno stops and does not count it. */
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

export const FOR_EACH_PAGE_BATCH_MAX = 256;

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

/** Hands the gathered rows out. True when the walk is over. */
function handOut<T>(
  iter: IovIter,
  first: number,
  hold: HoldKind,
  fn: PageFn<T>,
  data: T,
  result: ForEachPageResult,
): boolean {
  const end = first + iter.rowsOut;
  let row = first;
  let isOver = false;
  try {
    while (row < end && !isOver) {
      const len = scratch.len[row];
      const verdict = fn(scratch.page[row], scratch.offset[row], len, data);
      if (verdict < 0) {
        result.error = verdict;
        isOver = true;
        break;
      }
      assert(verdict <= Verdict.STOP_DROP, 'forEachPage: no such verdict');
      if (verdict === Verdict.DROP || verdict === Verdict.STOP_DROP) letGo(row, hold);
      isOver = verdict >= Verdict.STOP_KEEP;
      result.bytes += len;
      row++;
    }
  } finally {
    // What was gathered and not accepted: also when the callback threw.
    let unused = 0;
    for (; row < end; row++) {
      unused += scratch.len[row];
      letGo(row, hold);
    }
    iter.revert(unused);
  }
  return isOver;
}

function letGo(row: number, hold: HoldKind): void {
  releaseHold(hold, scratch.page[row], pagesUnder(scratch.offset[row], scratch.len[row]));
}
