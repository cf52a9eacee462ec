import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { PAGE_BYTES, roundUp } from '../base/units.ts';
import { FrameFlag } from '../memory/region.unsafe.ts';
import { reserveFolio } from './buffered-write.ts';
import { CacheTag } from './cache-index.ts';
import { ExtentRun, ExtentState } from './extent-map.ts';
import type { FileCore } from './file-core.ts';
import type { FileOp } from './file-op.ts';
import { Need } from './fill.ts';
import { hasFlag } from './folio-flags.ts';
import { forgetPages, needToZero, zeroInPage, zeroReady, zeroTail } from './zero-range.ts';

// Operations on the shape of a file, alone in it. Pages go out of the cache at once, pinned or not:
// their memory lives until the last hold, and what a device writes there later is lost. Pages that
// the cache itself is reading or writing are waited for, so that blocks are never given to another
// file while bytes are on their way to them.

const run = new ExtentRun();

/** The file ends at `op.end` from now on. True: it has ended. */
export function stepTruncate(op: FileOp): boolean {
  const { file } = op;
  if (!op.lockFile(true)) return false;
  if (op.state === 0) {
    const need = op.end > file.size ? zeroTail(op, op.end) : zeroEdge(op);
    if (need !== Need.READY) return need === Need.FAILED;
    file.size = op.end; // In the same breath as the zeros: nobody writes behind them in between.
    op.state = 1;
  }
  const first = Math.ceil(op.end / PAGE_BYTES);
  if (!forgetPages(op, first, Number.POSITIVE_INFINITY)) return false;
  freeBlocks(file, first, Number.POSITIVE_INFINITY);
  return true;
}

function zeroEdge(op: FileOp): Need {
  const from = op.end % PAGE_BYTES;
  if (from === 0 || op.end === op.file.size) return Need.READY;
  return zeroInPage(op, Math.floor(op.end / PAGE_BYTES), from, PAGE_BYTES);
}

/** Bytes [start, end) read as zeros from now on; whole blocks of them go back to the device. */
export function stepPunchHole(op: FileOp): boolean {
  const { file } = op;
  if (!op.lockFile(true)) return false;
  const end = op.end >= file.size ? Math.max(roundUp(op.end, PAGE_BYTES), op.end) : op.end;
  const need = zeroEdges(op, op.start, end);
  if (need !== Need.READY) return need === Need.FAILED;
  const first = Math.ceil(op.start / PAGE_BYTES);
  const behind = Math.floor(end / PAGE_BYTES);
  if (first >= behind) return true;
  if (!forgetPages(op, first, behind)) return false;
  freeBlocks(file, first, behind);
  // A dirty folio that reaches into the hole is written whole. What it needs was just freed.
  keepReserved(file, first);
  keepReserved(file, behind - 1);
  return true;
}

/** Both edges or none: the second may turn out to be unreadable. */
function zeroEdges(op: FileOp, start: number, end: number): Need {
  const { file } = op;
  const first = Math.floor(start / PAGE_BYTES);
  const last = Math.floor(end / PAGE_BYTES);
  const hasFirst = start % PAGE_BYTES !== 0 && start < file.size;
  const hasLast = end % PAGE_BYTES !== 0 && !(hasFirst && last === first);
  if (hasFirst) {
    const need = needToZero(op, first);
    if (need !== Need.READY) return need;
  }
  if (hasLast) {
    const need = needToZero(op, last);
    if (need !== Need.READY) return need;
  }
  const firstEnd = Math.min(end - first * PAGE_BYTES, PAGE_BYTES);
  if (hasFirst) zeroReady(file, first, start % PAGE_BYTES, firstEnd);
  if (hasLast) zeroReady(file, last, 0, end % PAGE_BYTES);
  return Need.READY;
}

function keepReserved(file: FileCore, index: number): void {
  const page = file.cache.pageAt(index);
  if (page < 0 || !hasFlag(page, FrameFlag.DIRTY)) return;
  const isKept = reserveFolio(file, index, 0);
  assert(isKept, 'punch: freed blocks are missing');
}

function freeBlocks(file: FileCore, first: number, end: number): void {
  file.extents.remove(first, end, (device, count) => file.blocks.release(device, count));
}

/**
 * Blocks under every hole of [start, end), unwritten, and the size up to `end` unless it stays.
 * All or nothing: -ENOSPC changes nothing. Linux: fallocate(), mode 0 or KEEP_SIZE.
 */
export function stepAllocate(op: FileOp): boolean {
  const { file } = op;
  if (!op.lockFile(true)) return false;
  const first = Math.floor(op.start / PAGE_BYTES);
  const behind = Math.ceil(op.end / PAGE_BYTES);
  if (!op.keepsSize) {
    const need = zeroTail(op, op.end);
    if (need !== Need.READY) return need === Need.FAILED;
  }
  const holes = countHoles(file, first, behind);
  const promised = countReserved(file, first, behind);
  const { blocks } = file;
  if (holes - promised > blocks.free - blocks.reserved) {
    op.error = -Errno.ENOSPC;
    return true;
  }
  file.unreservePages(first, behind);
  for (let block = first; block < behind; ) {
    file.extents.lookup(block, run);
    if (run.state !== ExtentState.HOLE) {
      block = run.end;
      continue;
    }
    const wanted = Math.min(run.end, behind) - block;
    const count = blocks.acquire(wanted, file.goalFor(block), false);
    assert(count > 0, 'allocate: counted blocks are missing');
    file.extents.insert(block, count, blocks.start, ExtentState.UNWRITTEN);
    block += count;
  }
  if (!op.keepsSize && op.end > file.size) file.size = op.end;
  return true;
}

function countHoles(file: FileCore, first: number, end: number): number {
  let holes = 0;
  for (let block = first; block < end; block = run.end) {
    file.extents.lookup(block, run);
    if (run.state === ExtentState.HOLE) holes += Math.min(run.end, end) - block;
  }
  return holes;
}

function countReserved(file: FileCore, first: number, end: number): number {
  const { cache } = file;
  let count = 0;
  for (let at = cache.index.next(first); at >= 0 && at < end; at = cache.index.next(at + 1)) {
    if (cache.hasTag(at, CacheTag.RESERVED)) count++;
  }
  return count;
}
