import { fail } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { Access } from '../address-space.ts';
import { getPages } from '../holds.ts';
import { type Area, FaultFlag, Protection } from './area.ts';
import { EntryState, entryState, holdTable, PinFlag, WalkFlag } from './hold-entries.ts';
import type { UserSpace } from './user-space.ts';

/** Faults in a row that a handler may call done without the entry allowing the access. */
const FAULTS_MAX = 16;

/** What ended a walk early; progress does not hide it from who goes on after a wait. */
export class HoldResult {
  /** 0: all was had, or FAST_ONLY ended. -EAGAIN: the next page must be waited for. */
  error = 0;
}

/**
 * The contract without its first checks and without LONGTERM's last one. Returns the pages held,
 * also 0. `firstFault` is added to the flags of the first fault: TRIED after a wait.
 * Pre: count > 0, the range is a program's.
 */
export function holdRange(
  space: UserSpace,
  addr: number,
  count: number,
  flags: number,
  firstFault: number,
  out: Uint32Array,
  at: number,
  result: HoldResult,
): number {
  if ((flags & PinFlag.GET) === 0) space.hasPinned = true;
  const vpn = Math.floor(addr / PAGE_BYTES);
  let done = 0;
  // LONGTERM looks at the area of each page first.
  if ((flags & PinFlag.LONGTERM) === 0) {
    done = holdTable(space.table, vpn, vpn + count, flags, out, at);
    result.error = 0;
    if (done === count || (flags & PinFlag.FAST_ONLY) !== 0) return done;
  }
  return holdSlowly(space, vpn, done, count, flags, firstFault, out, at, result);
}

function holdSlowly(
  space: UserSpace,
  vpn: number,
  had: number,
  count: number,
  flags: number,
  firstFault: number,
  out: Uint32Array,
  at: number,
  result: HoldResult,
): number {
  let done = had;
  let area: Area | null = null;
  let walk = 0;
  let faults = 0;
  let extra = firstFault;
  let error = 0;
  while (done < count) {
    const addr = (vpn + done) * PAGE_BYTES;
    if (area === null || addr >= area.end) {
      area = space.areaAt(addr);
      error = area !== null && areaAllows(area, flags) ? 0 : -Errno.EFAULT;
      if (area === null || error < 0) break;
      walk = walkFlags(area, flags);
    }
    const end = Math.min(vpn + count, area.end / PAGE_BYTES);
    let held = holdTable(space.table, vpn + done, end, walk, out, at + done);
    if (held === 0) {
      held = makeReady(space, vpn + done, walk, extra, out, at + done);
      extra = 0;
      area = null; // A handler may have dropped the lock, and the area with it.
    }
    faults = held === 0 ? faults + 1 : 0;
    error = held < 0 ? held : faults > FAULTS_MAX ? -Errno.EFAULT : 0;
    if (error < 0) break;
    done += held;
  }
  result.error = error;
  return done;
}

/** May such a hold be taken in this area at all? Linux: check_vma_flags(). */
function areaAllows(area: Area, flags: number): boolean {
  if (area.isIo) return false;
  if ((flags & PinFlag.WRITE) === 0) return (area.protection & Protection.READ) !== 0;
  if ((area.protection & Protection.WRITE) === 0) return false;
  // Nobody would tell the file when the device writes, for as long as the pin lasts.
  const tracksDirty = area.isShared && area.ops?.tracksDirty === true;
  return !(tracksDirty && (flags & PinFlag.LONGTERM) !== 0);
}

function walkFlags(area: Area, flags: number): number {
  const walk = flags | WalkFlag.AREA_CHECKED;
  // A page of the file, or the zero page, would part from the process with its first write.
  const ownOnly = (flags & PinFlag.LONGTERM) !== 0 && !area.isShared;
  return ownOnly ? walk | WalkFlag.OWN_PAGES : walk;
}

/**
 * Makes the entry such that the walk can hold it. 0: look again; 1: held here; else the errno.
 * -EAGAIN: it must be waited for.
 */
function makeReady(
  space: UserSpace,
  vpn: number,
  walk: number,
  extra: number,
  out: Uint32Array,
  at: number,
): number {
  const state = entryState(space.table, vpn, walk, space.memory.zeroPage);
  switch (state) {
    case EntryState.ZERO: {
      const page = space.memory.zeroPage;
      if ((walk & PinFlag.GET) !== 0) {
        if (getPages(page, 1) === 0) return -Errno.ENOMEM;
      }
      out[at] = page;
      return 1;
    }
    case EntryState.FORBIDDEN:
    case EntryState.POISONED:
      return -Errno.EFAULT;
    case EntryState.FULL:
      return -Errno.ENOMEM;
    case EntryState.FAULT:
    case EntryState.UNSHARE:
      break;
    default:
      fail('pin: the walk stopped at an entry that is ready');
  }
  if ((walk & PinFlag.NOFAULT) !== 0) return -Errno.EFAULT;
  let fault = FaultFlag.ALLOW_RETRY | extra;
  if ((walk & PinFlag.NOWAIT) !== 0) fault |= FaultFlag.RETRY_NOWAIT;
  if (state === EntryState.UNSHARE) fault |= FaultFlag.UNSHARE;
  const access = (walk & PinFlag.WRITE) === 0 ? Access.READ : Access.WRITE;
  const error = space.fault(vpn * PAGE_BYTES, access, fault);
  if (error === 0 || error === -Errno.EAGAIN || error === -Errno.ENOMEM) return error;
  return -Errno.EFAULT; // Whatever the handler met: the page is not to be had.
}

/**
 * `holdRange` that waits. As there: the range was checked, count > 0. Pages, or the errno.
 * Throws ERR_BIOVEC_FAULT_HANDLER when a handler broke the contract and nothing is held.
 */
export async function holdWaiting(
  space: UserSpace,
  addr: number,
  count: number,
  flags: number,
  out: Uint32Array,
  at: number,
  signal: AbortSignal | null,
): Promise<number> {
  const vpn = Math.floor(addr / PAGE_BYTES);
  let done = 0;
  let error = 0;
  let hasWaited = false;
  const result = new HoldResult();
  while (done < count && error === 0) {
    const from = (vpn + done) * PAGE_BYTES;
    // After a wait: exactly the page that was waited for.
    const want = hasWaited ? 1 : count - done;
    const extra = hasWaited ? FaultFlag.TRIED : 0;
    done += holdRange(space, from, want, flags, extra, out, at + done, result);
    error = result.error;
    hasWaited = error === -Errno.EAGAIN;
    if (!hasWaited) continue;
    if (signal?.aborted !== true) {
      await wokenOrAborted((wake) => space.whenReady(wake), signal);
    }
    error = signal?.aborted === true ? -Errno.EINTR : 0;
  }
  if (done === 0) space.throwHandlerError();
  return done > 0 ? done : error;
}

/** Until `wake` was called, or the signal fired. */
export function wokenOrAborted(
  add: (wake: () => void) => void,
  signal: AbortSignal | null,
): Promise<void> {
  return new Promise((resolve) => {
    const wake = (): void => {
      signal?.removeEventListener('abort', wake);
      resolve();
    };
    signal?.addEventListener('abort', wake);
    add(wake);
  });
}
