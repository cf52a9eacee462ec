import { assert } from '../../src/base/assert.ts';
import { Errno } from '../../src/base/errno.ts';
import { PAGE_BYTES, pagesSpanned } from '../../src/base/units.ts';
import { Access, holdUserPages, UserHold } from '../../src/memory/address-space.ts';
import { HOLDS_MAX, pinPages, pinTotals } from '../../src/memory/holds.ts';
import { FrameFlag, frameOf, REGION_SHIFT, regionOf } from '../../src/memory/region.unsafe.ts';
import { LEAF_ENTRIES, Pte } from '../../src/memory/user/page-table.ts';
import type { UserSpace } from '../../src/memory/user/user-space.ts';
import { BvecBio } from './bvec-bio.ts';
import type { Transfer } from './carrier.ts';

const MASK = Pte.PRESENT | Pte.SPECIAL | Pte.HINTED;

/**
 * 2018: get_user_pages() itself fills the bvecs, a folio at a time, and there is no array of pages.
 * The page tables here have an entry a page also for large folios, so each entry is looked at, but
 * written down, counted and joined is only the run.
 */
export class FolioBvecs extends BvecBio {
  readonly #single = new Uint32Array(1);

  protected override fill(transfer: Transfer): number {
    const { space, addr, bytes } = transfer;
    space.hasPinned = true;
    let done = 0;
    while (done < bytes) {
      const at = addr + done;
      const offset = at % PAGE_BYTES;
      const left = bytes - done;
      let pages = this.#pinLeaf(space, at, left);
      if (pages === 0) pages = this.#faultIn(space, at, left);
      if (pages < 0) return pages;
      const room = pages * PAGE_BYTES - offset;
      done += left < room ? left : room;
    }
    const { cachePages, cacheFirst, cacheCount } = transfer;
    for (let i = cacheFirst; i < cacheFirst + cacheCount; i++) {
      pinPages(cachePages[i], 1);
      this.count = this.bvecs.add(this.first, this.count, cachePages[i], 0, PAGE_BYTES);
    }
    return 0;
  }

  /**
   * Pins what the entries of one leaf from `addr` on give as they are, each checked as `holdTable`
   * of the library does, and adds a row for each run of one folio. How many pages.
   */
  #pinLeaf(space: UserSpace, addr: number, bytes: number): number {
    const vpn = Math.floor(addr / PAGE_BYTES);
    const leaf = space.table.leafAt(vpn);
    if (leaf === null) return 0;
    const { frame: frames, bits } = leaf;
    const first = vpn % LEAF_ENTRIES;
    if ((bits[first] & MASK) !== Pte.PRESENT) return 0;
    let offset = addr % PAGE_BYTES;
    const end = Math.min(first + pagesSpanned(offset, bytes), LEAF_ENTRIES);
    const region = regionOf(frames[first]);
    const { index, user, head: heads, order, pins, flags } = region;
    assert(user !== null, 'folio bvecs: a mapped page outside of user memory');
    const { exclusive, poisoned } = user;
    let left = bytes;
    let entry = first;
    while (entry < end) {
      const page = frames[entry];
      if (page >>> REGION_SHIFT !== index) break;
      const frame = frameOf(page);
      const head = heads[frame];
      const mayShare = (flags[head] & FrameFlag.ANON) === 0 ? 1 : 0;
      const inFolio = head + (1 << order[head]) - frame;
      const until = inFolio < end - entry ? entry + inFolio : end;
      let next = entry;
      for (; next < until && (bits[next] & MASK) === Pte.PRESENT; next++) {
        const at = frame + next - entry;
        if (frames[next] !== page + next - entry || poisoned[at] !== 0) break;
        if ((exclusive[at] | mayShare) === 0) break;
      }
      const pages = next - entry;
      if (pages === 0 || pins[head] > HOLDS_MAX - pages) break;
      pins[head] += pages;
      const room = pages * PAGE_BYTES - offset;
      const len = left < room ? left : room;
      this.count = this.bvecs.add(this.first, this.count, page, offset, len);
      left -= len;
      offset = 0;
      entry = next;
    }
    region.pinnedPages += entry - first;
    pinTotals.acquired += entry - first;
    return entry - first;
  }

  /** The slow way, one page: whatever the space has to do for it. */
  #faultIn(space: UserSpace, addr: number, bytes: number): number {
    const got = holdUserPages(space, addr, 1, Access.READ, UserHold.PIN, this.#single, 0);
    if (got <= 0) return got === 0 ? -Errno.EFAULT : got;
    const offset = addr % PAGE_BYTES;
    const len = Math.min(bytes, PAGE_BYTES - offset);
    this.count = this.bvecs.add(this.first, this.count, this.#single[0], offset, len);
    return got;
  }
}
