import { Errno } from '../base/errno.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { copyFromIter } from '../iter/iter-copy.ts';
import { HOLE } from '../iter/page-source.ts';
import { zeroPages } from '../memory/copy.ts';
import { folioPages } from '../memory/holds.ts';
import { FrameFlag } from '../memory/region.unsafe.ts';
import { reachUser } from './buffered-read.ts';
import { CacheTag } from './cache-index.ts';
import { ExtentRun, ExtentState } from './extent-map.ts';
import type { FileCore } from './file-core.ts';
import type { FileOp } from './file-op.ts';
import { Need, needPage } from './fill.ts';
import { hasFlag, setFlag } from './folio-flags.ts';
import { zeroTail } from './zero-range.ts';

const run = new ExtentRun();

/** Pages that one write dirties before it looks at how many are dirty. */
const DIRTY_CHECK_PAGES = 16;

/** A write through the cache, alone in the file. True: it has ended. Linux: iomap_write_iter(). */
export function stepWrite(op: FileOp): boolean {
  if (!op.lockFile(true)) return false;
  if (op.state === 0) {
    const need = zeroTail(op, op.start);
    if (need === Need.WAITS) return false;
    if (need === Need.FAILED) return true;
    op.state = 1;
  }
  return writePages(op);
}

/** Pre: alone in the file; bytes between its end and the position are zeros. True: it has ended. */
export function writePages(op: FileOp): boolean {
  while (op.iter.count > 0 && op.error === 0) {
    if (op.dirtied >= DIRTY_CHECK_PAGES && !throttle(op)) return false;
    const index = Math.floor(op.position / PAGE_BYTES);
    const offset = op.position % PAGE_BYTES;
    const bytes = Math.min(PAGE_BYTES - offset, op.iter.count, op.chunk);
    if (!takePage(op, index, offset, bytes)) return !op.isWaiting;
    copyToPage(op, index, offset, bytes);
    if (op.isWaiting) return false;
  }
  return true;
}

/** A writer that is faster than the device waits for it. False: it waits. */
function throttle(op: FileOp): boolean {
  const { file } = op;
  op.dirtied = 0;
  if (file.cache.countDirty() <= file.dirtyPagesMax) return true;
  op.waitForMemory();
  return !op.isWaiting;
}

/**
 * The page at `index`, LOCKED, with its other bytes right if `bytes` from `offset` on do not cover
 * it, and with room on the device. False: the operation waits, or `op.error` says why not.
 */
function takePage(op: FileOp, index: number, offset: number, bytes: number): boolean {
  const { file } = op;
  const { cache, memory } = file;
  let page = cache.pageAt(index);
  const isCovered = offset === 0 && (bytes === PAGE_BYTES || op.position + bytes >= file.size);
  if (page === HOLE || !cache.hasTag(index, CacheTag.UPTODATE)) {
    file.extents.lookup(index, run);
    const isRead = run.state === ExtentState.MAPPED && !isCovered;
    const isFolio = page !== HOLE && folioPages(page) > 1;
    if (isRead || isFolio) {
      if (needPage(op, index, 1) !== Need.READY) return false;
      page = cache.pageAt(index);
    }
  }
  if (page === HOLE) {
    page = cache.add(index, 0);
    if (page < 0) {
      if (!op.waitForMemory()) op.error = page;
      return false;
    }
  } else if (!memory.tryLockFolio(page)) {
    op.waitForFolio(index);
    return false;
  }
  if (hasFlag(page, FrameFlag.WRITEBACK) && file.hasStablePages) {
    memory.unlockFolio(page);
    op.waitForWriteback(index);
    return false;
  }
  if (!reserveFolio(file, index, op.position + bytes)) {
    op.error = -Errno.ENOSPC;
    dropUnused(file, index);
    return false;
  }
  if (!isCovered && !cache.hasTag(index, CacheTag.UPTODATE)) {
    zeroPages(page, 0, PAGE_BYTES); // A hole: the read of it.
    cache.setTag(index, CacheTag.UPTODATE);
  }
  return true;
}

/**
 * The caller's bytes go in under the lock, as far as they can be had without waiting. A page that
 * was not up to date must be covered whole: a part of it counts as nothing, and is written again
 * as a part, after the rest was read.
 */
function copyToPage(op: FileOp, index: number, offset: number, bytes: number): void {
  const { file, iter } = op;
  const { cache, memory } = file;
  const page = cache.pageAt(index);
  let copied = copyFromIter(iter, page, offset, bytes);
  const isShort = copied < bytes;
  op.chunk = Number.POSITIVE_INFINITY;
  if (!cache.hasTag(index, CacheTag.UPTODATE)) {
    if (isShort) {
      iter.revert(copied);
      if (copied > 0) op.chunk = copied;
      copied = 0;
    } else {
      zeroPages(page, bytes, PAGE_BYTES - bytes);
      cache.setTag(index, CacheTag.UPTODATE);
    }
  }
  if (copied > 0) {
    if (!hasFlag(page, FrameFlag.DIRTY)) op.dirtied++;
    setFlag(page, FrameFlag.DIRTY);
    cache.setTag(index, CacheTag.REFERENCED);
    op.progress(copied);
    if (op.position > file.size) file.size = op.position;
    memory.unlockFolio(page);
  } else {
    dropUnused(file, index);
  }
  // Outside the lock: what the program needs now may be this very page.
  if (isShort && op.chunk === Number.POSITIVE_INFINITY) reachUser(op);
}

/** Unlocks a page that was not written; a fresh one goes, and what was reserved for it. */
function dropUnused(file: FileCore, index: number): void {
  const { cache, memory } = file;
  const page = cache.pageAt(index);
  if (!cache.hasTag(index, CacheTag.UPTODATE)) {
    cache.removeLocked(index);
    return;
  }
  if (!hasFlag(page, FrameFlag.DIRTY)) {
    const head = cache.headIndex(index);
    file.unreservePages(head, head + folioPages(page));
  }
  memory.unlockFolio(page);
}

/**
 * Every page of the folio at `index` that lies in the file, or in its first `end` bytes, gets a
 * block or the promise of one: the folio may become dirty. False: the device is full.
 */
export function reserveFolio(file: FileCore, index: number, end: number): boolean {
  const { cache } = file;
  const head = cache.headIndex(index);
  const pagesEnd = Math.ceil(Math.max(file.size, end) / PAGE_BYTES);
  const stop = Math.min(head + folioPages(cache.pageAt(head)), pagesEnd);
  for (let at = head; at < stop; at++) {
    if (cache.hasTag(at, CacheTag.RESERVED)) continue;
    file.extents.lookup(at, run);
    if (run.state !== ExtentState.HOLE) continue;
    if (!file.blocks.reserve(1)) {
      if (!hasFlag(cache.pageAt(head), FrameFlag.DIRTY)) file.unreservePages(head, at);
      return false;
    }
    cache.setTag(at, CacheTag.RESERVED);
  }
  return true;
}
