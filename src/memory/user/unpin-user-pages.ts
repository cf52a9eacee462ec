import { assert } from '../../base/assert.ts';
import {
  dirtyFolio,
  folioHead,
  folioPages,
  isDirty,
  isZeroPage,
  maybePinned,
  putList,
  runInFolio,
  unpinList,
} from '../holds.ts';
import type { FolioLocks } from './folio-lock.ts';

// The order is: the transfer is complete, dirty, unpin. After the last unpin the folio may belong
// to somebody else, so dirtying what is not pinned is a bug, and is caught.

/** Unpins pages[at … at + count), each once. Linux: unpin_user_pages(). */
export function unpinUserPages(pages: Uint32Array, at: number, count: number): void {
  unpinList(pages, at, count);
}

/** The same for references. Linux: put_page() of each. */
export function putUserPages(pages: Uint32Array, at: number, count: number): void {
  putList(pages, at, count);
}

/**
 * Marks the folios under the list dirty, then unpins. For who has other protection against
 * truncation than the folio lock: a reference on the file, or the program's own memory. Returns
 * the folios that were clean.
 */
export function unpinUserPagesDirty(pages: Uint32Array, at: number, count: number): number {
  let dirtied = 0;
  for (let i = at; i < at + count; i++) {
    if (isZeroPage(pages[i])) continue;
    assert(maybePinned(pages[i]), 'unpin dirty: the folio is not pinned any more');
    if (dirtyFolio(pages[i])) dirtied++;
  }
  unpinList(pages, at, count);
  return dirtied;
}

/**
 * `dirty`: marks each clean folio under its lock, once for its neighbours in the list, then unpins.
 * Returns the entries unpinned: fewer than `count` when the folio of the next one is locked by
 * somebody; wait with `locks.whenUnlocked`, then ask again from there. `dirty` false: plain unpin.
 * A folio that is dirty already is not locked: if somebody cleans it at this moment, the check of
 * `DeferredDirty` is what sees it. Linux: unpin_user_pages_dirty_lock().
 */
export function tryUnpinUserPagesDirtyLock(
  locks: FolioLocks,
  pages: Uint32Array,
  at: number,
  count: number,
  dirty: boolean,
): number {
  const end = at + count;
  let next = dirty ? at : end;
  while (next < end) {
    const page = pages[next];
    if (!isZeroPage(page)) {
      assert(maybePinned(page), 'unpin dirty: the folio is not pinned any more');
      if (!isDirty(page) && !dirtyLocked(locks, page)) break;
    }
    next += runInFolio(pages, next, end, folioHead(page), folioPages(page));
  }
  unpinList(pages, at, next - at);
  return next - at;
}

/** False: somebody has the lock. */
function dirtyLocked(locks: FolioLocks, page: number): boolean {
  if (!locks.tryLock(page)) return false;
  dirtyFolio(page);
  locks.unlock(page);
  return true;
}

/** The same, waiting for locks. Control plane. Pre: the list stays as it is until it settles. */
export async function unpinUserPagesDirtyLock(
  locks: FolioLocks,
  pages: Uint32Array,
  at: number,
  count: number,
  dirty: boolean,
): Promise<void> {
  const end = at + count;
  let next = at;
  while (next < end) {
    next += tryUnpinUserPagesDirtyLock(locks, pages, next, end - next, dirty);
    if (next === end) break;
    const page = pages[next];
    await new Promise<void>((resolve) => locks.whenUnlocked(page, resolve));
  }
}
