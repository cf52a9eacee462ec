import { assert } from '../base/assert.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { HOLE } from '../iter/page-source.ts';
import { zeroPages } from '../memory/copy.ts';
import { folioPages } from '../memory/holds.ts';
import { FrameFlag } from '../memory/region.unsafe.ts';
import { CacheTag } from './cache-index.ts';
import { ExtentRun, ExtentState } from './extent-map.ts';
import type { FileCore } from './file-core.ts';
import type { FileOp } from './file-op.ts';
import { Need, needPage } from './fill.ts';
import { hasFlag, setFlag } from './folio-flags.ts';

const run = new ExtentRun();

/**
 * One step towards a page `index` of which a part can be made zeros at once, by `zeroReady`. What
 * is zeros on the device already needs no page.
 */
export function needToZero(op: FileOp, index: number): Need {
  const { file } = op;
  const { cache } = file;
  file.extents.lookup(index, run);
  if (run.state === ExtentState.MAPPED) {
    const need = needPage(op, index, 1);
    if (need !== Need.READY) return need;
  }
  const page = cache.pageAt(index);
  if (page === HOLE) return Need.READY;
  if (hasFlag(page, FrameFlag.LOCKED)) {
    op.waitForFolio(index);
    return Need.WAITS;
  }
  if (hasFlag(page, FrameFlag.WRITEBACK) && file.hasStablePages) {
    op.waitForWriteback(index);
    return Need.WAITS;
  }
  return Need.READY;
}

/** Bytes [from, to) of page `index` become zeros, in the cache, and so later on the device. */
export function zeroReady(file: FileCore, index: number, from: number, to: number): void {
  const { cache } = file;
  const page = cache.pageAt(index);
  file.extents.lookup(index, run);
  const isMapped = run.state === ExtentState.MAPPED;
  const isHere = page !== HOLE && cache.hasTag(index, CacheTag.UPTODATE);
  assert(isHere || !isMapped, 'zero: the page went away inside a step');
  if (!isHere) return; // Its read will find zeros.
  zeroPages(page, from, to - from);
  if (isMapped) setFlag(page, FrameFlag.DIRTY);
}

/** Both steps. Linux: iomap_zero_range(). */
export function zeroInPage(op: FileOp, index: number, from: number, to: number): Need {
  const need = needToZero(op, index);
  if (need === Need.READY) zeroReady(op.file, index, from, to);
  return need;
}

/**
 * Before bytes are put at `position` behind the end of the file: what a mapping wrote behind that
 * end, in its last page, must not become part of the file.
 */
export function zeroTail(op: FileOp, position: number): Need {
  const { size } = op.file;
  const from = size % PAGE_BYTES;
  if (position <= size || from === 0) return Need.READY;
  return zeroInPage(op, Math.floor(size / PAGE_BYTES), from, PAGE_BYTES);
}

/**
 * Takes the cached pages of bytes [start, end) out of the file, and makes zeros of those parts of
 * larger folios that lie in it. Whole pages only: the edges are `zeroInPage`'s. True: nothing of
 * it is left. False: the operation waits, and asks again from the start.
 */
export function forgetPages(op: FileOp, first: number, end: number): boolean {
  const { file } = op;
  const { cache, memory } = file;
  for (let at = cache.index.next(first); at >= 0 && at < end; ) {
    const head = cache.headIndex(at);
    const page = cache.pageAt(head);
    const pages = folioPages(page);
    if (hasFlag(page, FrameFlag.LOCKED)) {
      op.waitForFolio(head);
      return false;
    }
    if (hasFlag(page, FrameFlag.WRITEBACK)) {
      op.waitForWriteback(head);
      return false;
    }
    const from = Math.max(head, first);
    const to = Math.min(head + pages, end);
    if (to - from === pages) {
      cache.remove(head);
      file.cache.counters.removed += pages;
    } else {
      memory.unmapFolio(page);
      file.unreservePages(from, to);
      zeroPages(page, (from - head) * PAGE_BYTES, (to - from) * PAGE_BYTES);
    }
    at = cache.index.next(head + pages);
  }
  return true;
}
