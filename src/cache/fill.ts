import { Errno } from '../base/errno.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { BioOp } from '../bio/bio-op.ts';
import { HOLE } from '../iter/page-source.ts';
import { zeroPages } from '../memory/copy.ts';
import { folioPages, getPages, putPages } from '../memory/holds.ts';
import { FrameFlag } from '../memory/region.unsafe.ts';
import { CacheTag } from './cache-index.ts';
import { CACHE_IO_PAGES_MAX, type CacheIo } from './cache-io.ts';
import { ExtentRun, ExtentState } from './extent-map.ts';
import type { FileCore } from './file-core.ts';
import type { FileOp } from './file-op.ts';
import { hasFlag } from './folio-flags.ts';

// The way of bytes into the cache: folios are added LOCKED, neighbours on the device are read in
// one transfer, holes and unwritten blocks are zeros without a transfer. The lock goes when the
// bytes are there; whoever wants them waits for it.

const run = new ExtentRun();

/** Pages that a sequential reader has brought in ahead of it, at most: 128 KiB. */
export const READ_AHEAD_PAGES_MAX = 32;

/**
 * Starts to bring in up to `count` pages from `index` on, none behind the end of the file. Pages
 * that are there or on their way stay as they are; a folio whose read failed is read again.
 * 0: the page of `index` is up to date now, or LOCKED until it is read or failed. -ENOMEM: there is
 * no frame for it; pages behind it are never an error.
 */
export function fillCache(file: FileCore, index: number, count: number): number {
  const end = Math.min(index + count, Math.ceil(file.size / PAGE_BYTES));
  let io: CacheIo | null = null;
  let at = index;
  let error = 0;
  let kept: number = HOLE;
  while (at < end || at === index) {
    const added = takeFolio(file, at, end - at);
    if (added < 0) {
      if (at === index) error = added;
      break;
    }
    const head = file.cache.headIndex(at);
    const page = file.cache.pageAt(head);
    const pages = folioPages(page);
    if (kept === HOLE) {
      kept = page; // What comes behind it may need frames, and reclaim this very folio.
      getPages(kept, 1);
    }
    at = head + pages;
    if (added === 0) continue;
    file.extents.lookup(head, run);
    if (run.state !== ExtentState.MAPPED) {
      zeroPages(page, 0, pages * PAGE_BYTES);
      file.cache.setTag(head, CacheTag.UPTODATE);
      file.memory.unlockFolio(page);
      continue;
    }
    const device = run.device + head - run.start;
    if (io !== null && !follows(io, head, pages, device)) io = sendRead(io);
    if (io === null) {
      io = file.takeIo();
      io.begin(BioOp.READ, head, device, readEnded);
    }
    io.pages += pages;
  }
  if (io !== null) sendRead(io);
  if (kept !== HOLE) putPages(kept, 1);
  return error;
}

function follows(io: CacheIo, head: number, pages: number, device: number): boolean {
  if (io.pages + pages > CACHE_IO_PAGES_MAX) return false;
  return head === io.first + io.pages && device === io.device + io.pages;
}

function sendRead(io: CacheIo): null {
  io.send(io.first, io.pages, io.device);
  io.file.counters.pagesRead += io.pages;
  io.finish();
  return null;
}

/** 1: there is a folio at `index` now that the caller locked and must fill. 0: nothing to do. */
function takeFolio(file: FileCore, index: number, room: number): number {
  const { cache, memory } = file;
  const page = cache.pageAt(index);
  if (page === HOLE) {
    for (let order = orderFor(file, index, room); order >= 0; order--) {
      const added = cache.add(index, order);
      if (added >= 0) return 1;
      if (order === 0) return added;
    }
  }
  if (cache.hasTag(index, CacheTag.UPTODATE)) return 0;
  if (!memory.tryLockFolio(page)) return 0;
  cache.clearTag(index, CacheTag.FAILED);
  return 1;
}

/** The largest folio that lies on its own size, in the room, over nothing, and in one extent. */
function orderFor(file: FileCore, index: number, room: number): number {
  let order = file.folioOrder;
  if (order === 0) return 0;
  file.extents.lookup(index, run);
  const most = Math.min(room, run.end - index);
  while (order > 0 && (index % 2 ** order !== 0 || 2 ** order > most)) order--;
  while (order > 0 && isTaken(file, index, 2 ** order)) order--;
  return order;
}

function isTaken(file: FileCore, index: number, pages: number): boolean {
  const next = file.cache.index.next(index);
  return next >= 0 && next < index + pages;
}

function readEnded(io: CacheIo): void {
  const { file } = io;
  const { cache, memory } = file;
  if (io.error !== 0) file.counters.readErrors++;
  const end = io.first + io.pages;
  for (let index = io.first; index < end; ) {
    const page = cache.pageAt(index);
    const pages = folioPages(page);
    if (io.error === 0) {
      zeroBehindEnd(file, index, page, pages);
      cache.setTag(index, CacheTag.UPTODATE);
    } else if (io.pages === 1) {
      cache.setTag(index, CacheTag.FAILED);
    }
    // One bad block must not condemn the rest of a larger folio: its pages are read one by one.
    if (io.error !== 0 && pages > 1) cache.removeLocked(index);
    else memory.unlockFolio(page);
    index += pages;
  }
}

/** What lies behind the end of the file is zeros, whatever the device has there. */
export function zeroBehindEnd(file: FileCore, index: number, page: number, pages: number): void {
  const bytes = pages * PAGE_BYTES;
  const inFile = Math.max(file.size - index * PAGE_BYTES, 0);
  if (inFile < bytes) zeroPages(page, inFile, bytes - inFile);
}

/** What `needPage` found. */
export const Need = {
  /** The page is up to date. */
  READY: 0,
  /** The operation waits; ask again when it goes on. */
  WAITS: 1,
  /** `op.error` says why there is no such page. */
  FAILED: 2,
} as const;
export type Need = (typeof Need)[keyof typeof Need];

/**
 * One step towards an up to date page at `index`, `ahead` pages with it. After READY the page may
 * go with the next thing that runs: use it at once, or hold it.
 */
export function needPage(op: FileOp, index: number, ahead: number): Need {
  const { file } = op;
  const { cache } = file;
  const page = cache.pageAt(index);
  if (page !== HOLE && cache.hasTag(index, CacheTag.UPTODATE)) return Need.READY;
  if (page === HOLE || !hasFlag(page, FrameFlag.LOCKED)) {
    const hasWaited = op.waitedIndex === index;
    if (hasWaited && page !== HOLE && cache.hasTag(index, CacheTag.FAILED)) {
      op.error = -Errno.EIO;
      return Need.FAILED;
    }
    // After a failure of many, this page alone says whose fault it was.
    const error = fillCache(file, index, hasWaited ? 1 : ahead);
    if (error < 0) {
      if (op.waitForMemory()) return Need.WAITS;
      op.error = error;
      return Need.FAILED;
    }
    // Zeros need no device.
    if (cache.hasTag(index, CacheTag.UPTODATE)) return Need.READY;
  }
  op.waitForFolio(index);
  return Need.WAITS;
}
