import { assert } from '../../base/assert.ts';
import { putPages } from '../holds.ts';
import { FrameFlag } from '../region.unsafe.ts';
import { LEAF_ENTRIES, type PageTableLeaf, Pte } from './page-table.ts';
import type { UserSpace } from './user-space.ts';

// The only places where entries come and go, so that table, reverse map, map count and reference
// change together.

/** Present and usable without a fault. */
export function isUsable(bits: number): boolean {
  return (bits & (Pte.PRESENT | Pte.HINTED)) === Pte.PRESENT;
}

/** Writes an entry where none is. Takes over one reference on the folio of `page`. */
export function mapEntry(space: UserSpace, vpn: number, page: number, bits: number): void {
  const { region, columns, rmap } = space.memory;
  const frame = page - region.firstPage;
  assert(frame >= 0 && frame < region.frames, 'entry: the page is not of this memory');
  assert(space.table.bitsAt(vpn) === 0, 'entry: mapped over another');
  columns.mapCount[region.head[frame]]++;
  rmap.add(frame, space.id, vpn);
  space.table.set(vpn, page, bits);
}

/** The same for a fresh folio of anonymous memory, which this space has for itself. */
export function mapAnonymous(space: UserSpace, vpn: number, page: number, bits: number): void {
  const { region, columns } = space.memory;
  const frame = page - region.firstPage;
  region.flags[region.head[frame]] |= FrameFlag.ANON;
  columns.exclusive[frame] = 1;
  mapEntry(space, vpn, page, bits | Pte.PRESENT);
}

/** Takes the entry of `vpn` away, if there is one, with all that it stood for. */
export function unmapEntry(space: UserSpace, vpn: number): void {
  const leaf = space.table.leafAt(vpn);
  if (leaf === null || leaf.bits[vpn % LEAF_ENTRIES] === 0) return;
  dropEntry(space, leaf, vpn);
  if (leaf.used === 0) space.table.dropLeaf(Math.floor(vpn / LEAF_ENTRIES));
}

/** All entries of pages [first, end). Pins outlive them. */
export function unmapRange(space: UserSpace, first: number, end: number): void {
  for (const number of space.table.leavesIn(first, end)) {
    const leaf = space.table.leafAt(number * LEAF_ENTRIES);
    if (leaf === null) continue;
    const { bits } = leaf;
    const to = Math.min(end, (number + 1) * LEAF_ENTRIES);
    for (let vpn = Math.max(first, number * LEAF_ENTRIES); vpn < to; vpn++) {
      if (bits[vpn % LEAF_ENTRIES] !== 0) dropEntry(space, leaf, vpn);
    }
    space.table.dropLeaf(number);
  }
}

function dropEntry(space: UserSpace, leaf: PageTableLeaf, vpn: number): void {
  const at = vpn % LEAF_ENTRIES;
  const bits = leaf.bits[at];
  const frame = leaf.frame[at];
  leaf.bits[at] = 0;
  leaf.frame[at] = 0;
  leaf.used--;
  if ((bits & Pte.SWAPPED) !== 0) space.memory.swap.release(frame);
  else if ((bits & Pte.SPECIAL) === 0) dropMapping(space, vpn, frame, bits);
}

/** The dirty bit goes to the owner before the reference goes, so that no write is forgotten. */
function dropMapping(space: UserSpace, vpn: number, page: number, bits: number): void {
  const { region, columns, rmap } = space.memory;
  const frame = page - region.firstPage;
  const head = region.head[frame];
  rmap.remove(frame, space.id, vpn);
  columns.mapCount[head]--;
  assert(columns.mapCount[head] >= 0, 'entry: more entries gone than came');
  if ((bits & Pte.DIRTY) !== 0) columns.owner[head]?.dirtied(page);
  putPages(page, 1);
}
