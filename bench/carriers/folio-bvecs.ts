import { assert } from '../../src/base/assert.ts';
import { Errno } from '../../src/base/errno.ts';
import { PAGE_BYTES, pagesSpanned } from '../../src/base/units.ts';
import { Access, holdUserPages, UserHold } from '../../src/memory/address-space.ts';
import { HOLDS_MAX, pinPages, pinTotals } from '../../src/memory/holds.ts';
import { FrameFlag, frameOf, regionOf } from '../../src/memory/region.unsafe.ts';
import { LEAF_ENTRIES, type PageTableLeaf, Pte } from '../../src/memory/user/page-table.ts';
import type { UserSpace } from '../../src/memory/user/user-space.ts';
import { BvecBio } from './bvec-bio.ts';
import type { Transfer } from './carrier.ts';

/**
 * 2018: get_user_pages() itself fills the bvecs, a folio at a time, and there is no array of pages.
 * The page tables here have an entry a page also for large folios, so each entry is looked at, but
 * written down, counted and joined is only the run.
 */
export class FolioBvecs extends BvecBio {
  readonly #single = new Uint32Array(1);
  /** What `#pinRun` found: the frame that the run starts with. */
  #page = 0;

  protected override fill(transfer: Transfer): number {
    const { space, addr, bytes } = transfer;
    let done = 0;
    while (done < bytes) {
      const offset = (addr + done) % PAGE_BYTES;
      const left = bytes - done;
      let pages = this.#pinRun(space, addr + done, pagesSpanned(offset, left));
      if (pages === 0) pages = this.#faultIn(space, addr + done);
      if (pages < 0) return pages;
      const room = pages * PAGE_BYTES - offset;
      const len = left < room ? left : room;
      this.count = this.bvecs.add(this.first, this.count, this.#page, offset, len);
      done += len;
    }
    const { cachePages, cacheFirst, cacheCount } = transfer;
    for (let i = cacheFirst; i < cacheFirst + cacheCount; i++) {
      pinPages(cachePages[i], 1);
      this.count = this.bvecs.add(this.first, this.count, cachePages[i], 0, PAGE_BYTES);
    }
    return 0;
  }

  /** Pins the entries from `addr` on that are frames in a row of one folio. 0: a fault first. */
  #pinRun(space: UserSpace, addr: number, most: number): number {
    const vpn = Math.floor(addr / PAGE_BYTES);
    const leaf = space.table.leafAt(vpn);
    if (leaf === null) return 0;
    const entry = vpn % LEAF_ENTRIES;
    const end = entry + most < LEAF_ENTRIES ? entry + most : LEAF_ENTRIES;
    space.hasPinned = true;
    this.#page = leaf.frame[entry];
    return pinRun(leaf, entry, end);
  }

  /** The slow way, one page: whatever the space has to do for it. */
  #faultIn(space: UserSpace, addr: number): number {
    const got = holdUserPages(space, addr, 1, Access.READ, UserHold.PIN, this.#single, 0);
    this.#page = this.#single[0];
    return got === 0 ? -Errno.EFAULT : got;
  }
}

const MASK = Pte.PRESENT | Pte.SPECIAL | Pte.HINTED;

/** How many entries from `first` on, each of them checked as `holdTable` of the library does. */
function pinRun(leaf: PageTableLeaf, first: number, end: number): number {
  const { frame: frames, bits } = leaf;
  const page = frames[first];
  if ((bits[first] & MASK) !== Pte.PRESENT) return 0;
  const region = regionOf(page);
  const { user, head: heads, order, pins, flags } = region;
  assert(user !== null, 'folio bvecs: a mapped page outside of user memory');
  const { exclusive, poisoned } = user;
  const frame = frameOf(page);
  const head = heads[frame];
  const isAnon = (flags[head] & FrameFlag.ANON) !== 0;
  const inFolio = head + (1 << order[head]) - frame;
  const until = inFolio < end - first ? first + inFolio : end;
  let entry = first;
  while (entry < until && (bits[entry] & MASK) === Pte.PRESENT) {
    const at = frame + entry - first;
    if (frames[entry] !== page + entry - first || poisoned[at] !== 0) break;
    if (isAnon && exclusive[at] === 0) break;
    entry++;
  }
  const pages = entry - first;
  if (pins[head] > HOLDS_MAX - pages) return 0;
  pins[head] += pages;
  region.pinnedPages += pages;
  pinTotals.acquired += pages;
  return pages;
}
