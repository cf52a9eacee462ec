import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES, roundUp } from '../../base/units.ts';
import { Area } from './area.ts';
import { PLACE_START } from './area-list.ts';
import { LEAF_ENTRIES, Pte, USER_END } from './page-table.ts';
import type { UserSpace } from './user-space.ts';

/** See `UserSpace.mremap`. Linux: mremap(2) without MREMAP_FIXED and MREMAP_DONTUNMAP. */
export function remapRange(
  space: UserSpace,
  addr: number,
  oldBytes: number,
  newBytes: number,
  mayMove: boolean,
): number {
  const before = roundUp(oldBytes, PAGE_BYTES);
  const after = roundUp(newBytes, PAGE_BYTES);
  if (addr % PAGE_BYTES !== 0 || !(before > 0) || !(after > 0)) return -Errno.EINVAL;
  const area = space.areaAt(addr);
  if (area === null || addr + before > area.end) return -Errno.EFAULT;
  if (after <= before) {
    if (after < before) space.unmap(addr + after, addr + before);
    return addr;
  }
  const more = (after - before) / PAGE_BYTES;
  if (space.pageLimit !== null && space.mappedPages + more > space.pageLimit) return -Errno.ENOMEM;
  const end = addr + before;
  const hasRoom = addr + after <= USER_END && space.areaList.isFree(end, addr + after);
  if (end === area.end && hasRoom) {
    growArea(space, area, addr + after);
    return addr;
  }
  return mayMove ? moveRange(space, addr, before, after) : -Errno.ENOMEM;
}

/** Pre: nothing lies behind the area. */
function growArea(space: UserSpace, area: Area, end: number): void {
  space.mappedPages += (end - area.end) / PAGE_BYTES;
  area.end = end;
  space.areaList.mergeAround(area.start, end);
}

/** Entries move with their folios, pins and exclusivity: only the address changes. */
function moveRange(space: UserSpace, addr: number, before: number, after: number): number {
  const { areaList } = space;
  const align = PAGE_BYTES * 2 ** (space.areaAt(addr)?.folioOrder ?? 0);
  const target = areaList.place(after, align, PLACE_START);
  if (target < 0) return -Errno.ENOMEM;
  areaList.splitAt(addr);
  areaList.splitAt(addr + before);
  const source = space.areaAt(addr) as Area;
  space.insertArea(new Area({ ...source, start: target, end: target + after }));
  moveEntries(space, addr / PAGE_BYTES, target / PAGE_BYTES, before / PAGE_BYTES);
  space.removeArea(source);
  return target;
}

function moveEntries(space: UserSpace, from: number, to: number, pages: number): void {
  const { table } = space;
  for (const number of table.leavesIn(from, from + pages)) {
    const leaf = table.leafAt(number * LEAF_ENTRIES);
    if (leaf === null) continue;
    const end = Math.min(from + pages, (number + 1) * LEAF_ENTRIES);
    for (let vpn = Math.max(from, number * LEAF_ENTRIES); vpn < end; vpn++) {
      const at = vpn % LEAF_ENTRIES;
      const bits = leaf.bits[at];
      if (bits === 0) continue;
      moveEntry(space, vpn, vpn - from + to, leaf.frame[at], bits);
      leaf.bits[at] = 0;
      leaf.frame[at] = 0;
      leaf.used--;
    }
    table.dropLeaf(number);
  }
}

function moveEntry(space: UserSpace, from: number, to: number, frame: number, bits: number): void {
  space.table.set(to, frame, bits);
  if ((bits & (Pte.SWAPPED | Pte.SPECIAL)) !== 0) return;
  const { region, rmap } = space.memory;
  rmap.move(frame - region.firstPage, space.id, from, to);
}
