import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { PAGE_BYTES, pagesSpanned } from '../base/units.ts';
import { Access, type AddressSpace, holdUserPages, UserHold } from '../memory/address-space.ts';
import { dirtyRange, unpinPages } from '../memory/holds.ts';
import { mightSleep } from './atomic-section.ts';
import { DmaDir, NOT_NOW } from './dma-status.ts';
import { SgCursor, type SgList } from './sg-list.ts';
import { sgFromPages } from './sg-pages.ts';

/** Bytes of a program, as `getUserSg` takes them. */
export interface UserRange {
  readonly space: AddressSpace;
  readonly addr: number;
  readonly bytes: number;
}

export interface UserSgLimits {
  /** Most entries, after joining. */
  readonly entriesMax: number;
  /** Bytes of one entry, rounded down to pages. */
  readonly segBytesMax: number;
}

/** Addresses end here, so that a page number of a program is exact. */
const ADDRESS_END = 2 ** 52;
const cursor = new SgCursor();
/** Frames of the range that is pinned now; grows to the longest range and stays. */
let frames = new Uint32Array(1024);

/**
 * Pins `range` and fills `list` with it, ready to be mapped for a device: frames that follow each
 * other share an entry. All or nothing; after an error nothing is pinned and the list has no table.
 *
 * 0; -EFAULT when any page cannot be had (for FROM_DEVICE: written); -E2BIG when it takes more
 * than `entriesMax` entries; -EINVAL for no bytes or a segment below a page; -ENOMEM without a
 * table; -EAGAIN when the space must be waited for (`space.whenReady`). May sleep.
 * Linux: get_user_sg() as proposed in 2018.
 */
export function getUserSg(
  list: SgList,
  range: UserRange,
  dir: DmaDir,
  { entriesMax, segBytesMax }: UserSgLimits,
): number {
  mightSleep();
  assert(list.first < 0, 'user sg: the list has a table already');
  const { space, addr, bytes } = range;
  if (!(bytes > 0) || segBytesMax < PAGE_BYTES) return -Errno.EINVAL;
  if (!(addr >= 0) || addr + bytes > ADDRESS_END) return -Errno.EFAULT;
  const offset = addr % PAGE_BYTES;
  const pages = pagesSpanned(offset, bytes);
  // No joining makes it fit, so nothing is pinned for it; this also bounds `frames`.
  if (bytes > entriesMax * segBytesMax) return -Errno.E2BIG;
  if (pages > frames.length) frames = new Uint32Array(2 ** Math.ceil(Math.log2(pages)));
  const access = dir === DmaDir.TO_DEVICE ? Access.READ : Access.WRITE;
  const pinned = pinAll(space, addr, pages, access);
  if (pinned < 0) return pinned;
  const result = sgFromPages(list, { pages: frames, first: 0, offset, bytes }, segBytesMax);
  if (result === 0 && list.nents <= entriesMax) {
    list.isPinned = true;
    return 0;
  }
  if (result === 0) list.release();
  unpinFirst(pages);
  if (result === 0) return -Errno.E2BIG;
  return result === NOT_NOW ? -Errno.ENOMEM : result; // -EAGAIN is the answer of the space alone.
}

/** Frame numbers into `frames`. `pages`, or a negative errno and then nothing is pinned. */
function pinAll(space: AddressSpace, addr: number, pages: number, access: Access): number {
  const first = addr - (addr % PAGE_BYTES);
  let done = 0;
  while (done < pages) {
    const at = first + done * PAGE_BYTES;
    const got = holdUserPages(space, at, pages - done, access, UserHold.PIN, frames, done);
    if (got <= 0) {
      unpinFirst(done);
      return got < 0 ? got : -Errno.EFAULT;
    }
    done += got;
  }
  return pages;
}

function unpinFirst(count: number): void {
  for (let i = 0; i < count; i++) unpinPages(frames[i], 1);
}

/**
 * Lets a list of `getUserSg` go: dirty first when the device wrote there, then unpins each page
 * that the entries span, then the table. The second call does nothing.
 * Pre: no device has the list mapped. Linux: put_user_sg() as proposed in 2018.
 */
export function putUserSg(list: SgList, dirty: boolean): void {
  if (list.first < 0) return;
  assert(list.mappings === 0, 'user sg: put while a device has it');
  assert(list.isPinned, 'user sg: put of a list that getUserSg did not make');
  cursor.start(list);
  while (cursor.next()) {
    const { page, offset, len } = cursor;
    if (dirty) dirtyRange(page, offset, len);
    unpinPages(page + Math.floor(offset / PAGE_BYTES), pagesSpanned(offset, len));
  }
  list.isPinned = false;
  list.release();
}
