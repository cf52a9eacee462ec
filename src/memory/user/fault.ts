import { assert, maybe } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { Access } from '../address-space.ts';
import { zeroPages } from '../copy.ts';
import { type Area, FaultFlag, FaultResult, Protection } from './area.ts';
import { copyForWriter, fillPrivate } from './cow.ts';
import { mapAnonymous } from './entry.ts';
import { fileFault, fileWriteFault, recordHandlerError } from './file-fault.ts';
import { LEAF_ENTRIES, Pte } from './page-table.ts';
import type { UserSpace } from './user-space.ts';

/** A handler that says COMPLETED but leaves no usable entry behind is asked so often. */
const COMPLETED_MAX = 8;
/** Pages of a space that are remembered as refused once; the oldest is forgotten. */
const RETRIED_MAX = 64;

/** Data plane: 0 = the entry allows `access`; -EFAULT, -ENOMEM; -EAGAIN = wait, lock dropped. */
export function handleFault(space: UserSpace, addr: number, access: Access, flags: number): number {
  assert(!space.lockHeld, 'fault: inside a fault of the same space');
  const vpn = Math.floor(addr / PAGE_BYTES);
  const { retried } = space;
  let tried = retried.size > 0 && retried.delete(vpn) ? flags | FaultFlag.TRIED : flags;
  for (let round = 0; round < COMPLETED_MAX; round++) {
    space.lockHeld = true;
    const result = faultOnce(space, vpn, access, tried);
    space.lockHeld = false;
    if (result === FaultResult.COMPLETED) {
      // The lock was dropped: the area may be another now, so everything is looked up again.
      tried |= FaultFlag.TRIED;
      continue;
    }
    if (result === -Errno.EAGAIN) rememberRetry(retried, vpn);
    assert(result <= 0, 'fault: an answer that is no result');
    return result;
  }
  const name = space.areaAt(addr)?.ops?.name ?? 'an area that is gone';
  return recordHandlerError(space, name, 'answered COMPLETED but left no usable entry');
}

/** Several faults of one process wait at the same time, each for its own page. */
function rememberRetry(retried: Set<number>, vpn: number): void {
  if (retried.size >= RETRIED_MAX) {
    for (const oldest of retried) {
      retried.delete(oldest);
      break;
    }
  }
  retried.add(vpn);
}

/** 0, a negative errno, or COMPLETED. */
function faultOnce(space: UserSpace, vpn: number, access: Access, flags: number): number {
  const area = space.areaAt(vpn * PAGE_BYTES);
  const need = access === Access.WRITE ? Protection.WRITE : Protection.READ;
  if (area === null || (area.protection & need) === 0) return -Errno.EFAULT;
  const { table } = space;
  let bits = table.bitsAt(vpn);
  if (bits === 0) {
    if (area.ops !== null) return fileFault(space, area, vpn, access, flags);
    return anonymousFault(space, area, vpn, access, flags);
  }
  if ((bits & Pte.SWAPPED) !== 0) return swapFault(space, vpn, access);
  if ((bits & Pte.HINTED) !== 0) {
    bits &= ~Pte.HINTED;
    table.setBits(vpn, bits);
    space.memory.counters.hintFaults++;
  }
  const page = table.frameAt(vpn);
  if ((bits & Pte.SPECIAL) === 0 && space.memory.isPoisoned(page)) return -Errno.EFAULT;
  if (access === Access.WRITE && (bits & Pte.WRITE) === 0) {
    space.memory.counters.writeFaults++;
    if (area.isShared) return fileWriteFault(space, area, vpn, flags);
    return copyForWriter(space, vpn, Access.WRITE);
  }
  if ((flags & FaultFlag.UNSHARE) !== 0 && access === Access.READ && !area.isShared) {
    return copyForWriter(space, vpn, Access.READ);
  }
  table.setBits(vpn, bits | bitsAfter(access));
  return 0;
}

/** What the access itself leaves in the entry. */
function bitsAfter(access: Access): number {
  return access === Access.WRITE ? Pte.ACCESSED | Pte.DIRTY : Pte.ACCESSED;
}

function anonymousFault(
  space: UserSpace,
  area: Area,
  vpn: number,
  access: Access,
  flags: number,
): number {
  const { memory, table } = space;
  memory.counters.anonymousFaults++;
  if (access === Access.READ && (flags & FaultFlag.UNSHARE) === 0) {
    memory.counters.zeroPageFaults++;
    table.set(vpn, memory.zeroPage, Pte.PRESENT | Pte.SPECIAL | Pte.ACCESSED);
    return 0;
  }
  if (area.folioOrder > 0 && hugeFault(space, area, vpn, access)) return 0;
  return fillPrivate(space, vpn, memory.zeroPage, access);
}

/** A folio of the order that the area asks for, if alignment, neighbours and memory allow it. */
function hugeFault(space: UserSpace, area: Area, vpn: number, access: Access): boolean {
  const { memory, table } = space;
  const pages = 1 << area.folioOrder;
  const first = vpn - (vpn % pages);
  if (first * PAGE_BYTES < area.start || (first + pages) * PAGE_BYTES > area.end) return false;
  const leaf = table.leafAt(vpn);
  if (leaf !== null) {
    const at = first % LEAF_ENTRIES;
    for (let i = at; i < at + pages; i++) if (leaf.bits[i] !== 0) return false;
  }
  const page = memory.tryTakeFolio(area.folioOrder, true);
  maybe(page < 0, 'fault: no folio of the order that the area asks for');
  if (page < 0) {
    memory.counters.hugeFallbacks++;
    return false;
  }
  memory.counters.hugeFaults++;
  zeroPages(page, 0, pages * PAGE_BYTES);
  memory.region.refs[page - memory.region.firstPage] += pages - 1;
  const writable = (area.protection & Protection.WRITE) !== 0 ? Pte.WRITE : 0;
  for (let i = 0; i < pages; i++) {
    mapAnonymous(
      space,
      first + i,
      page + i,
      first + i === vpn ? writable | bitsAfter(access) : writable,
    );
  }
  return true;
}

/** The bytes come back into a page of its own; a slot that others name stays theirs. */
function swapFault(space: UserSpace, vpn: number, access: Access): number {
  const { memory, table } = space;
  memory.counters.swapFaults++;
  const page = memory.takeFolio(0, true);
  if (page < 0) return page;
  const slot = table.frameAt(vpn);
  maybe(memory.swap.countOf(slot) > 1, 'fault: another process names the swap slot');
  memory.swap.load(slot, page);
  memory.swap.release(slot);
  memory.counters.swappedIn++;
  table.clear(vpn);
  const writable = access === Access.WRITE ? Pte.WRITE : 0;
  // Dirty: no copy in swap is left that could be used again.
  mapAnonymous(space, vpn, page, writable | Pte.ACCESSED | Pte.DIRTY);
  return 0;
}
