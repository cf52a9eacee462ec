import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { BioOp } from '../bio/bio-op.ts';
import { pagesAreZero } from '../memory/copy.ts';
import { folioPages, maybePinned } from '../memory/holds.ts';
import { FrameFlag } from '../memory/region.unsafe.ts';
import { CacheTag } from './cache-index.ts';
import { CACHE_IO_PAGES_MAX, type CacheIo } from './cache-io.ts';
import { ExtentRun, ExtentState } from './extent-map.ts';
import type { FileCore } from './file-core.ts';
import type { FileOp } from './file-op.ts';
import { zeroBehindEnd } from './fill.ts';
import { clearFlag, hasFlag, setFlag } from './folio-flags.ts';

// The way of dirty pages to the device. For each folio, without a wait between the steps:
//
//   lock → write-protect its mappings, take their dirty bits → DIRTY off → blocks → WRITEBACK on
//   → unlock → transfer of the page itself, borrowed → blocks are MAPPED → WRITEBACK off
//
// A write after the second step sets DIRTY again, so it is written again later. A folio that may
// be pinned is written too, but stays dirty: a device may write to it at any moment, and nobody
// will say so before the pin goes. The transfer of such a folio goes from a copy if the device
// wants bytes that do not change on the way (checksums).
// A failed write leaves the folio dirty and is told to each opener once (Linux: clean).

const run = new ExtentRun();

/**
 * Starts to write what is dirty in pages [first, end). Returns where it had to stop: at a folio
 * that is LOCKED or already under WRITEBACK and `isSync`, else at `end`.
 */
export function startWriteback(
  file: FileCore,
  first: number,
  end: number,
  isSync: boolean,
): number {
  const { cache } = file;
  let io: CacheIo | null = null;
  let stop = end;
  // A truncate may wait with pages behind the end still in the cache: they go without a write.
  const last = Math.min(end, Math.ceil(file.size / PAGE_BYTES));
  for (let at = cache.index.next(first); at >= 0 && at < last; ) {
    const head = cache.headIndex(at);
    const page = cache.pageAt(head);
    const pages = folioPages(page);
    at = cache.index.next(head + pages);
    if (hasFlag(page, FrameFlag.LOCKED | FrameFlag.WRITEBACK)) {
      if (!isSync) continue;
      stop = head;
      break;
    }
    if (!hasFlag(page, FrameFlag.DIRTY)) continue;
    if (!prepare(file, head, page, pages)) continue;
    const isPinned = maybePinned(page);
    if (io !== null && !follows(io, head, pages, isPinned)) io = send(io);
    if (io === null) {
      io = file.takeIo();
      io.begin(BioOp.WRITE, head, 0, writeEnded);
      io.isPinned = isPinned;
    }
    io.pages += pages;
  }
  if (io !== null) send(io);
  return stop;
}

/** True: the folio has blocks and WRITEBACK. False: there is no room for it; it stays dirty. */
function prepare(file: FileCore, head: number, page: number, pages: number): boolean {
  const { memory } = file;
  const isLocked = memory.tryLockFolio(page);
  assert(isLocked, 'writeback: the folio was locked inside a step');
  memory.cleanFolio(page);
  clearFlag(page, FrameFlag.DIRTY);
  const placed = placeFolio(file, head, pages);
  if (placed > 0) {
    zeroBehindEnd(file, head, page, pages);
    setFlag(page, FrameFlag.WRITEBACK);
  } else if (placed < 0) {
    file.errors.record(-Errno.ENOSPC);
    file.counters.writeErrors++;
  }
  if (placed < 0 || maybePinned(page)) setFlag(page, FrameFlag.DIRTY);
  memory.unlockFolio(page);
  return placed > 0;
}

/**
 * Gives every page of the folio that lies in the file a block; how many have one, or -1 when there
 * is no room. A page that nobody reserved a block for came into the file when its end moved, and
 * is zeros: without room it stays a hole. (Or a device wrote to it by a pin: then it is not.)
 */
function placeFolio(file: FileCore, head: number, pages: number): number {
  const { cache, extents } = file;
  const end = Math.min(head + pages, Math.ceil(file.size / PAGE_BYTES));
  let placed = 0;
  for (let index = head; index < end; index++) {
    extents.lookup(index, run);
    if (run.state !== ExtentState.HOLE) {
      file.unreservePages(index, index + 1); // A direct write brought blocks meanwhile.
      placed++;
      continue;
    }
    if (!cache.hasTag(index, CacheTag.RESERVED) && !file.blocks.reserve(1)) {
      if (pagesAreZero(cache.pageAt(index), 0, PAGE_BYTES)) continue;
      return -1;
    }
    cache.clearTag(index, CacheTag.RESERVED);
    const count = file.blocks.acquire(1, file.goalFor(index), true);
    assert(count === 1, 'writeback: a reserved block is missing');
    extents.insert(index, 1, file.blocks.start, ExtentState.UNWRITTEN);
    placed++;
  }
  return placed;
}

/** Neighbours in the file go together, pinned and other folios apart. */
function follows(io: CacheIo, head: number, pages: number, isPinned: boolean): boolean {
  const hasRoom = io.pages + pages <= CACHE_IO_PAGES_MAX;
  return hasRoom && head === io.first + io.pages && io.isPinned === isPinned;
}

/** One transfer for each range of the device that the stretch lies in. */
function send(io: CacheIo): null {
  const { file } = io;
  const end = Math.min(io.first + io.pages, Math.ceil(file.size / PAGE_BYTES));
  for (let index = io.first; index < end; ) {
    const device = deviceOf(file, index);
    if (device < 0) {
      index++;
      continue;
    }
    // Extents of different states may be neighbours on the device.
    let stop = index + 1;
    while (stop < end && deviceOf(file, stop) === device + stop - index) stop++;
    io.send(index, stop - index, device);
    file.counters.pagesWritten += stop - index;
    index = stop;
  }
  io.finish();
  return null;
}

/** The block of the device under page `index`; -1: a hole that `placeFolio` left. */
function deviceOf(file: FileCore, index: number): number {
  file.extents.lookup(index, run);
  if (run.state === ExtentState.HOLE) return -1;
  return run.device + index - run.start;
}

function writeEnded(io: CacheIo): void {
  const { file, error } = io;
  const { cache } = file;
  const end = io.first + io.pages;
  if (error === 0) convertWritten(file, io.first, Math.min(end, Math.ceil(file.size / PAGE_BYTES)));
  else {
    file.errors.record(error);
    file.counters.writeErrors++;
  }
  for (let index = io.first; index < end; ) {
    const page = cache.pageAt(index);
    if (error !== 0) setFlag(page, FrameFlag.DIRTY);
    cache.endWriteback(page);
    index += folioPages(page);
  }
}

/** The blocks of pages [first, end) have the file's bytes now. */
function convertWritten(file: FileCore, first: number, end: number): void {
  for (let index = first; index < end; ) {
    file.extents.lookup(index, run);
    const stop = Math.min(run.end, end);
    if (run.state === ExtentState.UNWRITTEN) file.extents.convert(index, stop);
    index = stop;
  }
}

/**
 * One step of writing and waiting for what is dirty in pages [first, end): false while it waits.
 * Each page is written once, so that somebody who goes on writing cannot hold the caller up; the
 * state counts from `state` (writing, from `op.runStart` on) to `state + 2` (all is written).
 */
export function flushPages(op: FileOp, first: number, end: number, state: number): boolean {
  const { file } = op;
  const { cache } = file;
  if (op.state === state) {
    if (op.runStart < first) op.runStart = first;
    op.runStart = startWriteback(file, op.runStart, end, true);
    if (op.runStart < end) {
      const page = cache.pageAt(op.runStart);
      if (hasFlag(page, FrameFlag.LOCKED)) op.waitForFolio(op.runStart);
      else op.waitForWriteback(op.runStart);
      return false;
    }
    op.state = state + 1;
  }
  for (let at = cache.index.next(first); at >= 0 && at < end; at = cache.index.next(at + 1)) {
    if (!hasFlag(cache.pageAt(at), FrameFlag.WRITEBACK)) continue;
    op.waitForWriteback(at);
    return false;
  }
  op.state = state + 2;
  return true;
}
