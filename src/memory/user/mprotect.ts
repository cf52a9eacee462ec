import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { type Area, Protection } from './area.ts';
import { LEAF_ENTRIES, Pte } from './page-table.ts';
import type { UserSpace } from './user-space.ts';

/**
 * See `UserSpace.mprotect`. A right that is added comes with the next fault, which knows about
 * copy-on-write and files; a right that is taken goes at once.
 */
export function protectRange(
  space: UserSpace,
  start: number,
  end: number,
  protection: number,
): number {
  const { areaList } = space;
  areaList.splitAt(start);
  areaList.splitAt(end);
  let at = start;
  for (let index = areaList.indexFrom(start); at < end; index++) {
    const area = areaList.areas[index];
    if (area === undefined || area.start > at) break;
    area.protection = protection;
    protectEntries(space, area);
    at = area.end;
  }
  areaList.mergeAround(start, end);
  return at < end ? -Errno.ENOMEM : 0;
}

function protectEntries(space: UserSpace, area: Area): void {
  const first = area.start / PAGE_BYTES;
  const end = area.end / PAGE_BYTES;
  const remove = (area.protection & Protection.WRITE) === 0 ? Pte.WRITE : 0;
  // Present, but inaccessible: the same bit that notices an access for NUMA hinting.
  const add = area.protection === Protection.NONE ? Pte.HINTED : 0;
  for (const number of space.table.leavesIn(first, end)) {
    const leaf = space.table.leafAt(number * LEAF_ENTRIES);
    if (leaf === null) continue;
    const to = Math.min(end, (number + 1) * LEAF_ENTRIES);
    for (let vpn = Math.max(first, number * LEAF_ENTRIES); vpn < to; vpn++) {
      const at = vpn % LEAF_ENTRIES;
      const bits = leaf.bits[at];
      if ((bits & Pte.PRESENT) === 0) continue;
      leaf.bits[at] = (bits & ~(remove | Pte.HINTED)) | add;
    }
  }
}
