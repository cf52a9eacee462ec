import { PAGE_BYTES } from '../../base/units.ts';
import { isUsable } from './entry.ts';
import { Pte } from './page-table.ts';
import type { UserSpace } from './user-space.ts';

/**
 * Marks present pages so that the next access is noticed; a page that may be pinned is left alone,
 * because it could not be moved anyway. Linux: change_prot_numa().
 */
export function hintRange(space: UserSpace, start: number, end: number): number {
  const { memory, table } = space;
  const { region } = memory;
  let marked = 0;
  for (let addr = start; addr < end; addr += PAGE_BYTES) {
    const vpn = addr / PAGE_BYTES;
    const bits = table.bitsAt(vpn);
    // Nor what is marked already, or mapped without any access.
    if (!isUsable(bits) || (bits & Pte.SPECIAL) !== 0) continue;
    const head = region.head[table.frameAt(vpn) - region.firstPage];
    if (region.pins[head] > 0) {
      memory.counters.hintsRefusedPinned++;
      continue;
    }
    table.setBits(vpn, bits | Pte.HINTED);
    marked++;
  }
  return marked;
}
