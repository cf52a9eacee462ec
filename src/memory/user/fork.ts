import { maybe } from '../../base/assert.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { copyPages } from '../copy.ts';
import { FrameFlag } from '../region.unsafe.ts';
import { Area } from './area.ts';
import { mapAnonymous, mapEntry } from './entry.ts';
import { LEAF_ENTRIES, Pte } from './page-table.ts';
import type { UserSpace } from './user-space.ts';

/**
 * A second process with the same memory, or null for -ENOMEM: the child is gone without a trace
 * then, and every byte of the parent is where it was.
 *
 * Shared areas and pages of files come to the child by its own faults. An anonymous page is shared
 * read-only until somebody writes; but a pinned one is copied for the child at once, so that the
 * parent keeps the page that a device writes into. Linux: copy_present_ptes(), mm/memory.c.
 */
export function forkSpace(parent: UserSpace, label: string): UserSpace | null {
  const child = parent.memory.newSpace(label);
  child.pageLimit = parent.pageLimit;
  for (const area of parent.areas) {
    child.insertArea(new Area(area));
    if (!area.isShared && !forkEntries(parent, child, area)) {
      child.exit();
      return null;
    }
  }
  parent.memory.counters.forks++;
  return child;
}

function forkEntries(parent: UserSpace, child: UserSpace, area: Area): boolean {
  const first = area.start / PAGE_BYTES;
  const end = area.end / PAGE_BYTES;
  const { table } = parent;
  for (const number of table.leavesIn(first, end)) {
    const leaf = table.leafAt(number * LEAF_ENTRIES);
    if (leaf === null) continue;
    const to = Math.min(end, (number + 1) * LEAF_ENTRIES);
    for (let vpn = Math.max(first, number * LEAF_ENTRIES); vpn < to; vpn++) {
      // Read anew each time: a copy allocates, and that may swap neighbours out.
      const bits = leaf.bits[vpn % LEAF_ENTRIES];
      if (bits === 0 || (bits & Pte.SPECIAL) !== 0) continue;
      if (!forkEntry(parent, child, vpn, leaf.frame[vpn % LEAF_ENTRIES], bits)) return false;
    }
  }
  return true;
}

function forkEntry(
  parent: UserSpace,
  child: UserSpace,
  vpn: number,
  page: number,
  bits: number,
): boolean {
  const { memory } = parent;
  const { region, columns } = memory;
  if ((bits & Pte.SWAPPED) !== 0) {
    memory.swap.acquire(page);
    child.table.set(vpn, page, bits);
    return true;
  }
  const frame = page - region.firstPage;
  const head = region.head[frame];
  if ((region.flags[head] & FrameFlag.ANON) === 0) return true;
  if (columns.exclusive[frame] === 1) {
    const mustCopy = parent.hasPinned && region.pins[head] > 0;
    maybe(mustCopy, 'fork: a pinned page is copied for the child');
    if (mustCopy) return copyForChild(child, vpn, page, bits);
    columns.exclusive[frame] = 0;
  }
  memory.getPage(page);
  parent.table.setBits(vpn, bits & ~Pte.WRITE);
  mapEntry(child, vpn, page, bits & ~(Pte.WRITE | Pte.ACCESSED));
  return true;
}

function copyForChild(child: UserSpace, vpn: number, page: number, bits: number): boolean {
  const { memory } = child;
  // The pin keeps the parent's page where it is while this allocates.
  const copy = memory.takeFolio(0, true);
  if (copy < 0) return false;
  copyPages(copy, 0, page, 0, PAGE_BYTES);
  mapAnonymous(child, vpn, copy, bits & (Pte.WRITE | Pte.DIRTY | Pte.HINTED));
  memory.counters.forkCopies++;
  return true;
}
