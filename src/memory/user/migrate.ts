import { maybe } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { copyPages } from '../copy.ts';
import { putPages } from '../holds.ts';
import { FrameFlag } from '../region.unsafe.ts';
import { dropReferences } from './unmap-folio.ts';
import type { UserMemory } from './user-memory.ts';
import type { UserSpace } from './user-space.ts';

const NONE = -1;

/**
 * Moves a folio of any order to other frames: bytes, entries, exclusivity and references.
 * 0; -EAGAIN when anybody but the entries and the owner holds it (a pin is such a hold), it is
 * locked or under writeback, or its owner refuses; -ENOMEM. Nothing has changed then.
 * Linux: folio_migrate_mapping(), refs must equal the expected count.
 */
export function migrateFolio(memory: UserMemory, page: number, movable: boolean): number {
  const { region, counters } = memory;
  const head = region.head[page - region.firstPage];
  const result = isMovableNow(memory, head, 0) ? moveFolio(memory, head, movable) : -Errno.EAGAIN;
  if (result === 0) counters.migrated++;
  else if (result === -Errno.EAGAIN) counters.migrationsRefused++;
  return result;
}

/** `extra`: references that the migration itself holds. */
function isMovableNow(memory: UserMemory, head: number, extra: number): boolean {
  const { region, columns } = memory;
  const owner = columns.owner[head];
  const isAnonymous = (region.flags[head] & FrameFlag.ANON) !== 0;
  if (!isAnonymous && owner === null) return false;
  if ((region.flags[head] & (FrameFlag.LOCKED | FrameFlag.WRITEBACK)) !== 0) return false;
  if (region.pins[head] > 0) return false;
  const expected = columns.mapCount[head] + (owner === null ? 0 : owner.ownRefs) + extra;
  return expected > extra && region.refs[head] === expected;
}

function moveFolio(memory: UserMemory, head: number, movable: boolean): number {
  const { region, columns } = memory;
  const from = region.firstPage + head;
  const order = region.order[head];
  // The allocation may reclaim: a reference of our own keeps this folio out of its reach.
  memory.getPage(from);
  const to = memory.takeFolio(order, movable);
  maybe(to < 0, 'migration: no memory for the new place');
  if (to < 0 || !isMovableNow(memory, head, 1)) {
    if (to >= 0) putPages(to, 1);
    putPages(from, 1);
    return to < 0 ? -Errno.ENOMEM : -Errno.EAGAIN;
  }
  const target = to - region.firstPage;
  const refs = region.refs[head] - 1;
  const owner = columns.owner[head];
  copyPages(to, 0, from, 0, PAGE_BYTES * 2 ** order);
  memory.tryLockFolio(from);
  memory.tryLockFolio(to);
  region.refs[target] += refs;
  const hasAgreed = owner === null || owner.replaced(from, to);
  if (hasAgreed) {
    moveEntries(memory, head, target, 1 << order);
    region.flags[target] |= region.flags[head] & (FrameFlag.DIRTY | FrameFlag.ANON);
    columns.owner[target] = owner;
    columns.owner[head] = null;
  }
  memory.unlockFolio(to);
  memory.unlockFolio(from);
  dropReferences(region, hasAgreed ? head : target, refs);
  putPages(from, 1);
  putPages(to, 1);
  return hasAgreed ? 0 : -Errno.EAGAIN;
}

function moveEntries(memory: UserMemory, from: number, to: number, pages: number): void {
  const { region, columns, rmap, spaces } = memory;
  for (let i = 0; i < pages; i++) {
    rmap.moveChain(from + i, to + i);
    for (let row = columns.rmapFirst[to + i]; row !== NONE; row = rmap.next[row]) {
      const { table } = spaces[rmap.space[row]] as UserSpace;
      const vpn = rmap.vpn[row];
      table.set(vpn, region.firstPage + to + i, table.bitsAt(vpn));
    }
    columns.exclusive[to + i] = columns.exclusive[from + i];
    columns.exclusive[from + i] = 0;
  }
  columns.mapCount[to] = columns.mapCount[from];
  columns.mapCount[from] = 0;
}
