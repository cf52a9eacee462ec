import { maybe } from '../../base/assert.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { Access } from '../address-space.ts';
import { copyPages, zeroPages } from '../copy.ts';
import { FrameFlag } from '../region.unsafe.ts';
import { mapAnonymous, unmapEntry } from './entry.ts';
import { Pte } from './page-table.ts';
import type { UserSpace } from './user-space.ts';

/**
 * A process wants a private page for itself: to write to it (copy-on-write), or because a pin for
 * reading must see what the process will write (unshare: access READ). Pre: an entry is there.
 * A page that nobody else can have is kept; else the process gets a copy. 0 or -ENOMEM.
 * Linux: do_wp_page(), wp_can_reuse_anon_folio().
 */
export function copyForWriter(space: UserSpace, vpn: number, access: Access): number {
  const { memory, table } = space;
  const { region, columns, counters } = memory;
  const bits = table.bitsAt(vpn);
  const page = table.frameAt(vpn);
  const frame = page - region.firstPage;
  const isSpecial = (bits & Pte.SPECIAL) !== 0;
  const isKept = !isSpecial && canKeep(space, frame);
  maybe(isKept, 'copy-on-write: the page is kept');
  if (isKept) {
    if (columns.exclusive[frame] === 0) counters.cowReuses++;
    columns.exclusive[frame] = 1;
    const writable = access === Access.WRITE ? Pte.WRITE | Pte.DIRTY : 0;
    table.setBits(vpn, bits | Pte.ACCESSED | writable);
    return 0;
  }
  if (access === Access.WRITE) counters.cowCopies++;
  else counters.unshares++;
  // The allocation may reclaim; a reference keeps the old page out of its reach.
  if (!isSpecial) memory.getPage(page);
  const result = fillPrivate(space, vpn, page, access);
  if (!isSpecial) memory.putPage(page);
  return result;
}

/**
 * Exclusive already; or anonymous with this entry as the page's only one and no hold on its folio
 * but those of entries: then nobody else can read or write it through anything.
 */
function canKeep(space: UserSpace, frame: number): boolean {
  const { region, columns, rmap } = space.memory;
  const head = region.head[frame];
  if ((region.flags[head] & FrameFlag.ANON) === 0) return false;
  if (columns.exclusive[frame] === 1) return true;
  if (region.refs[head] !== columns.mapCount[head] || region.pins[head] > 0) return false;
  return rmap.isMappedOnce(frame);
}

/** A new private page with the bytes of `source`, in place of whatever entry is there. */
export function fillPrivate(space: UserSpace, vpn: number, source: number, access: Access): number {
  const { memory } = space;
  const page = memory.takeFolio(0, true);
  if (page < 0) return page;
  if (source === memory.zeroPage) zeroPages(page, 0, PAGE_BYTES);
  else copyPages(page, 0, source, 0, PAGE_BYTES);
  unmapEntry(space, vpn);
  const writable = access === Access.WRITE ? Pte.WRITE | Pte.DIRTY : 0;
  mapAnonymous(space, vpn, page, Pte.ACCESSED | writable);
  return 0;
}
