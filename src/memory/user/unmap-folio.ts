import { PAGE_BYTES } from '../../base/units.ts';
import { putPages } from '../holds.ts';
import type { Region } from '../region.unsafe.ts';
import type { AreaOps } from './area.ts';
import { unmapEntry, unmapRange } from './entry.ts';
import { Pte } from './page-table.ts';
import type { UserMemory } from './user-memory.ts';
import type { UserSpace } from './user-space.ts';

// Walks over everybody who maps a folio: page by page, and along the chain of each.

const NONE = -1;

/** Takes the folio of `page` out of every address space. Linux: try_to_unmap(). */
export function unmapMappings(memory: UserMemory, page: number): void {
  const { region, columns, rmap } = memory;
  const head = region.head[page - region.firstPage];
  const end = head + (1 << region.order[head]);
  for (let frame = head; frame < end && columns.mapCount[head] > 0; frame++) {
    for (let row = columns.rmapFirst[frame]; row !== NONE; row = columns.rmapFirst[frame]) {
      unmapEntry(memory.spaces[rmap.space[row]] as UserSpace, rmap.vpn[row]);
    }
  }
}

/** Linux: unmap_mapping_range() with even_cows. */
export function unmapObject(memory: UserMemory, ops: AreaOps, first: number, end: number): void {
  for (const space of memory.spaces) {
    if (space === null) continue;
    for (const area of space.areas) {
      if (area.ops !== ops) continue;
      const vpn = area.start / PAGE_BYTES;
      const pages = area.end / PAGE_BYTES - vpn;
      const from = Math.max(first - area.startIndex, 0);
      const to = Math.min(end - area.startIndex, pages);
      if (from < to) unmapRange(space, vpn + from, vpn + to);
    }
  }
}

/** Takes the bits of `mask` out of every entry of the folio. Returns which were set somewhere. */
export function clearBitsOfMappings(memory: UserMemory, page: number, mask: number): number {
  const { region, columns, rmap } = memory;
  const head = region.head[page - region.firstPage];
  const end = head + (1 << region.order[head]);
  let seen = 0;
  if (columns.mapCount[head] === 0) return 0;
  for (let frame = head; frame < end; frame++) {
    for (let row = columns.rmapFirst[frame]; row !== NONE; row = rmap.next[row]) {
      const { table } = memory.spaces[rmap.space[row]] as UserSpace;
      const bits = table.bitsAt(rmap.vpn[row]);
      if ((bits & mask) === 0) continue;
      seen |= bits & mask;
      table.setBits(rmap.vpn[row], bits & ~mask);
    }
  }
  return seen;
}

/** Linux: folio_mkclean(). */
export function cleanMappings(memory: UserMemory, page: number): boolean {
  return (clearBitsOfMappings(memory, page, Pte.WRITE | Pte.DIRTY) & Pte.DIRTY) !== 0;
}

/** Drops `count` references of one folio at once; it is freed when they were the last. */
export function dropReferences(region: Region, head: number, count: number): void {
  if (count === 0) return;
  region.refs[head] -= count - 1;
  putPages(region.firstPage + head, 1);
}
