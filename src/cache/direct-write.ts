import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { PAGE_BYTES, roundUp } from '../base/units.ts';
import { BioOp } from '../bio/bio-op.ts';
import { folioPages, maybePinned } from '../memory/holds.ts';
import { FrameFlag } from '../memory/region.unsafe.ts';
import { writePages } from './buffered-write.ts';
import { retryPrefix, sendData, transferEnded } from './direct-read.ts';
import { ExtentRun, ExtentState } from './extent-map.ts';
import type { FileOp } from './file-op.ts';
import { Need } from './fill.ts';
import { hasFlag } from './folio-flags.ts';
import { flushPages } from './writeback.ts';
import { zeroTail } from './zero-range.ts';

// A write from the caller's memory to the device. Extent by extent: blocks are allocated UNWRITTEN,
// the caller's bytes go there, the rest of a first or last block that was never written gets zeros,
// and only then are the blocks MAPPED. So memory that cannot be had leaves old bytes, or blocks
// that read as zeros; it never sends zeros to the device in their place.
//
// Cached pages of the range are written and dropped before, and dropped again after it. If that
// cannot be (one may be pinned, or is dirty again), the bytes go through the cache.

const State = {
  LOCK: 0,
  TAIL: 1,
  FLUSH: 2,
  DROP: 4,
  NEXT: 5,
  HEAD_WRITTEN: 6,
  DATA: 7,
  DATA_WRITTEN: 8,
  ZEROS: 9,
  COMMIT: 10,
  DROP_AGAIN: 11,
  BUFFERED: 12,
  BUFFERED_FLUSH: 13,
  BUFFERED_END: 15,
} as const;

const run = new ExtentRun();

/** True: it has ended. An error of the device is the result even after bytes; a fault is not. */
export function stepDirectWrite(op: FileOp): boolean {
  if (op.iter.count === 0 && op.state === State.LOCK) return true;
  for (;;) {
    const isOver = op.state < State.NEXT ? stepBefore(op) : stepRun(op);
    if (isOver) return true;
    if (op.isWaiting) return false;
  }
}

/** Up to the first byte: lock, zeros behind the old end, cached pages. */
function stepBefore(op: FileOp): boolean {
  const { file } = op;
  const first = Math.floor(op.start / PAGE_BYTES);
  const end = Math.ceil(op.end / PAGE_BYTES);
  switch (op.state) {
    case State.LOCK: {
      op.end = op.start + op.iter.count;
      if (!op.lockFile(op.isExclusive || needsAll(op))) return false;
      if (op.isExclusive || !needsAll(op)) op.state = State.TAIL;
      else startAlone(op); // While it waited, a truncate may have put the end before it.
      return false;
    }
    case State.TAIL: {
      const need = zeroTail(op, op.start);
      if (need === Need.READY) op.state = State.FLUSH;
      return need === Need.FAILED;
    }
    case State.DROP: {
      const dropped = dropPages(op, first, end);
      if (dropped === Dropped.ALL) op.state = State.NEXT;
      else if (dropped === Dropped.BLOCKED) throughCache(op);
      return false;
    }
    default: {
      const tail = Math.floor(Math.min(op.start, file.size) / PAGE_BYTES);
      flushPages(op, Math.min(first, tail), end, State.FLUSH);
      return false;
    }
  }
}

/** Alone in the file: what makes it longer, changes a part of a block, or meets cached pages. */
function needsAll(op: FileOp): boolean {
  const { size, cache } = op.file;
  if (op.end > size || op.start % PAGE_BYTES !== 0 || op.end % PAGE_BYTES !== 0) return true;
  const next = cache.index.next(op.start / PAGE_BYTES);
  return next >= 0 && next < op.end / PAGE_BYTES;
}

const Dropped = { ALL: 0, WAITS: 1, BLOCKED: 2 } as const;
type Dropped = (typeof Dropped)[keyof typeof Dropped];

/** Drops the cached pages [first, end). Linux: invalidate_inode_pages2_range(). */
function dropPages(op: FileOp, first: number, end: number): Dropped {
  const { cache, memory } = op.file;
  let isBlocked = false;
  for (let at = cache.index.next(first); at >= 0 && at < end; ) {
    const head = cache.headIndex(at);
    const page = cache.pageAt(head);
    const pages = folioPages(page);
    if (hasFlag(page, FrameFlag.LOCKED)) {
      op.waitForFolio(head);
      return Dropped.WAITS;
    }
    if (hasFlag(page, FrameFlag.WRITEBACK)) {
      op.waitForWriteback(head);
      return Dropped.WAITS;
    }
    at = cache.index.next(head + pages);
    if (!hasFlag(page, FrameFlag.DIRTY) && !maybePinned(page)) memory.unmapFolio(page);
    if (hasFlag(page, FrameFlag.DIRTY) || maybePinned(page)) isBlocked = true;
    else {
      cache.remove(head);
      cache.counters.removed += pages;
    }
  }
  return isBlocked ? Dropped.BLOCKED : Dropped.ALL;
}

/** From the first extent to the end. */
function stepRun(op: FileOp): boolean {
  const { file } = op;
  switch (op.state) {
    case State.NEXT:
      nextRun(op);
      return false;
    case State.HEAD_WRITTEN:
      op.state = op.result < 0 ? failed(op, op.result) : State.DATA;
      return false;
    case State.DATA: {
      const bytes = Math.min(op.runEnd - op.position, op.chunk);
      sendData(op, BioOp.WRITE, deviceOf(op, op.position), bytes);
      op.state = State.DATA_WRITTEN;
      return false;
    }
    case State.DATA_WRITTEN:
      dataWritten(op);
      return false;
    case State.ZEROS:
      zerosWritten(op);
      return false;
    case State.COMMIT:
      commit(op);
      return false;
    case State.DROP_AGAIN: {
      const first = Math.floor(op.start / PAGE_BYTES);
      const dropped = dropPages(op, first, Math.ceil(op.end / PAGE_BYTES));
      if (dropped === Dropped.WAITS) return false;
      if (dropped === Dropped.BLOCKED) file.counters.staleAfterDirect++;
      // A write of nothing leaves the end where it is, wherever it was to begin.
      const isLonger = !op.isFailed && op.done > 0 && op.position > file.size;
      if (isLonger) file.size = op.position;
      if (op.isFailed || op.position < op.end) freeBehindEnd(op);
      return true;
    }
    default:
      return stepBuffered(op);
  }
}

/**
 * What a write put behind the end of the file, or allocated there, before it failed or ended early:
 * the bytes must not turn up when the file grows, and the blocks are another's to have. Only who is
 * alone in the file has anything there. Linux: ext4_truncate_failed_write().
 */
function freeBehindEnd(op: FileOp): void {
  const { file } = op;
  const first = Math.max(Math.ceil(file.size / PAGE_BYTES), Math.floor(op.start / PAGE_BYTES));
  const end = Math.ceil(op.end / PAGE_BYTES);
  file.extents.remove(first, end, (device, count) => file.blocks.release(device, count));
}

/** The extent at the position, with blocks under a hole. */
function nextRun(op: FileOp): void {
  const { file } = op;
  if (op.position >= op.end || op.error !== 0) {
    op.state = State.DROP_AGAIN;
    return;
  }
  const block = Math.floor(op.position / PAGE_BYTES);
  file.extents.lookup(block, run);
  if (run.state === ExtentState.HOLE) {
    const wanted = Math.min(Math.ceil(op.end / PAGE_BYTES), run.end) - block;
    const count = file.blocks.acquire(wanted, file.goalFor(block), false);
    if (count === 0) {
      op.error = -Errno.ENOSPC; // After bytes a short count; the next call hears of it.
      op.state = State.DROP_AGAIN;
      return;
    }
    file.extents.insert(block, count, file.blocks.start, ExtentState.UNWRITTEN);
    file.extents.lookup(block, run);
  }
  op.runStart = op.position;
  op.dataEnd = op.position;
  op.runEnd = Math.min(run.end * PAGE_BYTES, op.end);
  op.runDevice = (run.device - run.start) * PAGE_BYTES;
  op.isUnwritten = run.state === ExtentState.UNWRITTEN;
  op.chunk = Number.POSITIVE_INFINITY;
  op.state = State.DATA;
  if (!op.isUnwritten || op.position % PAGE_BYTES === 0) return;
  op.zeroEnd = op.position;
  sendZeros(op, block * PAGE_BYTES);
  op.state = State.HEAD_WRITTEN;
}

function deviceOf(op: FileOp, position: number): number {
  return op.runDevice + position;
}

function failed(op: FileOp, error: number): number {
  op.error = error;
  op.isFailed = true;
  return State.COMMIT;
}

function dataWritten(op: FileOp): void {
  const { result, file } = op;
  const wanted = Math.min(op.runEnd - op.position, op.chunk);
  if (result === -Errno.EFAULT && retryPrefix(op, wanted)) {
    op.state = State.DATA;
    return;
  }
  op.dataEnd = op.position + Math.max(result, 0);
  op.state = State.COMMIT;
  if (result < 0 && result !== -Errno.EFAULT) {
    failed(op, result);
    return;
  }
  if (result === 0) op.error = -Errno.EIO;
  op.iter.advance(op.dataEnd - op.position);
  const isFault = result === -Errno.EFAULT || op.dataEnd < op.runEnd;
  const isPending = op.dataEnd > op.runStart; // Else no block is mapped for the page that faults.
  if (isFault && isPending && file.directIoFault === 'zero-fill') {
    // What Linux does (reference 9.1): zeros in all blocks that were mapped, and the error.
    op.error = -Errno.EFAULT;
    op.isFailed = true;
    op.zeroEnd = op.isUnwritten ? roundUp(op.runEnd, PAGE_BYTES) : op.runEnd;
    file.counters.blocksZeroFilled += Math.ceil((op.zeroEnd - op.dataEnd) / PAGE_BYTES);
  } else if (op.isUnwritten && op.dataEnd > op.position) {
    op.zeroEnd = roundUp(op.dataEnd, PAGE_BYTES);
  } else {
    return;
  }
  if (op.zeroEnd === op.dataEnd) return;
  op.zeroAt = op.dataEnd;
  op.state = State.ZEROS;
  sendZeros(op, op.zeroAt);
}

/** Zeros from `at` on, towards `op.zeroEnd`: one transfer. */
function sendZeros(op: FileOp, at: number): void {
  const { file } = op;
  const iter = file.zeroIter(op.zeroEnd - at);
  const bytes = iter.count;
  op.zeroAt = at + bytes;
  op.waitForDevice();
  const position = deviceOf(op, at);
  const transfer = file.device.transfer(BioOp.WRITE, position, iter, bytes, {}, transferEnded);
  transfer.owner = op;
}

function zerosWritten(op: FileOp): void {
  if (op.result < 0) {
    op.dataEnd = op.position; // The blocks stay UNWRITTEN: nothing of them was written.
    failed(op, op.result);
    op.state = State.COMMIT;
  } else if (op.zeroAt < op.zeroEnd) {
    sendZeros(op, op.zeroAt);
  } else {
    op.state = State.COMMIT;
  }
}

/** The bytes are on the device: they are the file's now. */
function commit(op: FileOp): void {
  const { file } = op;
  const bytes = op.dataEnd - op.position;
  assert(bytes >= 0, 'direct write: less than nothing was written');
  const isZeroFilled = op.isFailed && op.zeroEnd > op.dataEnd && op.error === -Errno.EFAULT;
  const end = isZeroFilled ? op.zeroEnd : op.dataEnd;
  if (op.isUnwritten && end > op.position) {
    file.extents.convert(Math.floor(op.runStart / PAGE_BYTES), Math.ceil(end / PAGE_BYTES));
  }
  if (bytes > 0) op.progress(bytes);
  op.state = State.NEXT;
}

/** Cached pages are in the way: the bytes go there, and from there to the device at once. */
function throughCache(op: FileOp): void {
  const { file } = op;
  if (op.isExclusive) {
    file.counters.directThroughCache++;
    op.errorsBefore = file.errors.count;
    op.runStart = 0;
    op.state = State.BUFFERED;
    return;
  }
  startAlone(op);
}

/** Others may be in the file: it starts over, when nobody is. */
function startAlone(op: FileOp): void {
  op.file.lock.release(op);
  op.hasLock = false;
  op.isExclusive = true;
  op.runStart = 0;
  op.state = State.LOCK;
}

function stepBuffered(op: FileOp): boolean {
  const { file } = op;
  if (op.state === State.BUFFERED) {
    if (!writePages(op)) return false;
    op.state = State.BUFFERED_FLUSH;
  }
  const first = Math.floor(op.start / PAGE_BYTES);
  if (op.state < State.BUFFERED_END) {
    flushPages(op, first, Math.ceil(op.position / PAGE_BYTES), State.BUFFERED_FLUSH);
    return false;
  }
  if (file.errors.count !== op.errorsBefore) {
    op.error = file.errors.last;
    op.isFailed = true;
  }
  return true;
}
