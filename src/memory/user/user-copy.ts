import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { Access } from '../address-space.ts';
import { copyIn, copyOut, copyPages, zeroPages } from '../copy.ts';
import { FaultFlag } from './area.ts';
import { LEAF_ENTRIES, Pte } from './page-table.ts';
import type { UserSpace } from './user-space.ts';

// Copies by the CPU between a program's addresses and frames or bytes of the outside. All of them
// return exactly the bytes that were moved; the byte behind them could not be reached, and
// `space.copyError` says why. Linux: copy_from_user(), copy_to_user(), clear_user().

const READ_BITS = Pte.PRESENT | Pte.HINTED;
const WRITE_BITS = Pte.PRESENT | Pte.HINTED | Pte.WRITE;

/** The frame under `addr`, faulted in if need be; the entry remembers the access. Or the errno. */
export function pageForCpu(space: UserSpace, addr: number, access: Access): number {
  const vpn = Math.floor(addr / PAGE_BYTES);
  const page = accessEntry(space, vpn, access);
  if (page >= 0) return page;
  const error = space.fault(addr, access, FaultFlag.ALLOW_RETRY);
  if (error < 0) return error;
  const faulted = accessEntry(space, vpn, access);
  return faulted >= 0 ? faulted : -Errno.EFAULT;
}

/** What the hardware does: the frame, or -1 for a fault. */
function accessEntry(space: UserSpace, vpn: number, access: Access): number {
  const leaf = space.table.leafAt(vpn);
  if (leaf === null) return -1;
  const at = vpn % LEAF_ENTRIES;
  const bits = leaf.bits[at];
  const page = leaf.frame[at];
  if (access === Access.WRITE) {
    if ((bits & WRITE_BITS) !== (Pte.PRESENT | Pte.WRITE)) return -1;
    leaf.bits[at] = bits | Pte.ACCESSED | Pte.DIRTY;
  } else {
    if ((bits & READ_BITS) !== Pte.PRESENT) return -1;
    leaf.bits[at] = bits | Pte.ACCESSED;
  }
  return (bits & Pte.SPECIAL) === 0 && space.memory.isPoisoned(page) ? -1 : page;
}

/** Bytes from `at` to the end of its page, at most `bytes`. */
function chunkAt(at: number, bytes: number): number {
  const room = PAGE_BYTES - (at % PAGE_BYTES);
  return room < bytes ? room : bytes;
}

export function copyFromUser(
  space: UserSpace,
  page: number,
  offset: number,
  addr: number,
  bytes: number,
): number {
  let done = 0;
  while (done < bytes) {
    const at = addr + done;
    const source = pageForCpu(space, at, Access.READ);
    if (source < 0) return stopped(space, source, done);
    const chunk = chunkAt(at, bytes - done);
    copyPages(page, offset + done, source, at % PAGE_BYTES, chunk);
    done += chunk;
  }
  return done;
}

export function copyToUser(
  space: UserSpace,
  page: number,
  offset: number,
  addr: number,
  bytes: number,
): number {
  let done = 0;
  while (done < bytes) {
    const at = addr + done;
    const target = pageForCpu(space, at, Access.WRITE);
    if (target < 0) return stopped(space, target, done);
    const chunk = chunkAt(at, bytes - done);
    copyPages(target, at % PAGE_BYTES, page, offset + done, chunk);
    done += chunk;
  }
  return done;
}

export function readUser(space: UserSpace, addr: number, into: Uint8Array): number {
  const bytes = into.length;
  let done = 0;
  while (done < bytes) {
    const at = addr + done;
    const source = pageForCpu(space, at, Access.READ);
    if (source < 0) return stopped(space, source, done);
    const chunk = chunkAt(at, bytes - done);
    copyOut(into, done, source, at % PAGE_BYTES, chunk);
    done += chunk;
  }
  return done;
}

export function writeUser(space: UserSpace, addr: number, from: Uint8Array): number {
  const bytes = from.length;
  let done = 0;
  while (done < bytes) {
    const at = addr + done;
    const target = pageForCpu(space, at, Access.WRITE);
    if (target < 0) return stopped(space, target, done);
    const chunk = chunkAt(at, bytes - done);
    copyIn(target, at % PAGE_BYTES, from, done, chunk);
    done += chunk;
  }
  return done;
}

export function clearUser(space: UserSpace, addr: number, bytes: number): number {
  let done = 0;
  while (done < bytes) {
    const at = addr + done;
    const target = pageForCpu(space, at, Access.WRITE);
    if (target < 0) return stopped(space, target, done);
    const chunk = chunkAt(at, bytes - done);
    zeroPages(target, at % PAGE_BYTES, chunk);
    done += chunk;
  }
  return done;
}

function stopped(space: UserSpace, error: number, done: number): number {
  space.copyError = error;
  return done;
}
