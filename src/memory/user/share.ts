import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { pagesAreEqual } from '../copy.ts';
import { FrameFlag } from '../region.unsafe.ts';
import { isUsable, mapEntry, unmapEntry } from './entry.ts';
import { Pte } from './page-table.ts';
import type { UserSpace } from './user-space.ts';

// Transitions that take a page away from the process that has it for itself. A page that anybody
// else holds must refuse them: a device would go on with memory that is no longer the process's.

/**
 * Two anonymous pages with equal bytes become one, read-only and shared: `b` gets the page of `a`.
 * 0; -EINVAL: not such pages, or not equal; -EBUSY: one of them is held, locked or pinned.
 * Linux: try_to_merge_two_pages(), mm/ksm.c.
 */
export function mergePages(a: UserSpace, aAddr: number, b: UserSpace, bAddr: number): number {
  const { memory } = a;
  const { region, columns, counters } = memory;
  const aVpn = Math.floor(aAddr / PAGE_BYTES);
  const bVpn = Math.floor(bAddr / PAGE_BYTES);
  const aPage = anonymousPageAt(a, aVpn);
  const bPage = anonymousPageAt(b, bVpn);
  if (aPage < 0 || bPage < 0 || aPage === bPage) return -Errno.EINVAL;
  if (isHeldByOthers(a, aPage) || isHeldByOthers(b, bPage)) {
    counters.mergesRefused++;
    return -Errno.EBUSY;
  }
  if (!pagesAreEqual(aPage, 0, bPage, 0, PAGE_BYTES)) return -Errno.EINVAL;
  columns.exclusive[aPage - region.firstPage] = 0;
  a.table.setBits(aVpn, a.table.bitsAt(aVpn) & ~Pte.WRITE);
  const bits = b.table.bitsAt(bVpn) & ~Pte.WRITE;
  memory.getPage(aPage);
  unmapEntry(b, bVpn);
  mapEntry(b, bVpn, aPage, bits);
  counters.merged++;
  return 0;
}

/**
 * The page at `from` goes to `to`, where nothing is, without a copy. 0; -EINVAL: the addresses;
 * -EBUSY: the page is not the process's alone, or pinned. Linux: UFFDIO_MOVE.
 */
export function movePage(space: UserSpace, from: number, to: number): number {
  const { memory, table } = space;
  const { region, columns } = memory;
  const fromVpn = Math.floor(from / PAGE_BYTES);
  const toVpn = Math.floor(to / PAGE_BYTES);
  const page = anonymousPageAt(space, fromVpn);
  const area = space.areaAt(to);
  if (page < 0 || area === null || area.ops !== null) return -Errno.EINVAL;
  if (area.protection !== space.areaAt(from)?.protection) return -Errno.EINVAL;
  if (table.bitsAt(toVpn) !== 0) return -Errno.EINVAL;
  const isExclusive = columns.exclusive[page - region.firstPage] === 1;
  if (!isExclusive || isHeldByOthers(space, page)) return -Errno.EBUSY;
  const bits = table.bitsAt(fromVpn);
  memory.getPage(page);
  unmapEntry(space, fromVpn);
  mapEntry(space, toVpn, page, bits);
  return 0;
}

/** A present anonymous page of order 0, or -1. */
function anonymousPageAt(space: UserSpace, vpn: number): number {
  const { region } = space.memory;
  const bits = space.table.bitsAt(vpn);
  if (!isUsable(bits) || (bits & Pte.SPECIAL) !== 0) return -1;
  const page = space.table.frameAt(vpn);
  const frame = page - region.firstPage;
  const isSingle = region.head[frame] === frame && region.order[frame] === 0;
  return isSingle && (region.flags[frame] & FrameFlag.ANON) !== 0 ? page : -1;
}

/** Anybody but page table entries: a reference, the lock, writeback, a pin. */
function isHeldByOthers(space: UserSpace, page: number): boolean {
  const { region, columns } = space.memory;
  const frame = page - region.firstPage;
  if (region.refs[frame] !== columns.mapCount[frame]) return true;
  if ((region.flags[frame] & (FrameFlag.LOCKED | FrameFlag.WRITEBACK)) !== 0) return true;
  return region.pins[frame] > 0;
}
