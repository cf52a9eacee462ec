import { assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import type { PageRuns } from '../address-space.ts';
import { PinFlag } from './hold-entries.ts';
import { HoldResult, holdRange, holdWaiting } from './hold-range.ts';
import { holdRuns } from './hold-runs.ts';
import { pinLongTerm, tryPinLongTerm } from './long-term-pins.ts';
import { USER_END } from './page-table.ts';
import type { UserSpace } from './user-space.ts';

export { PinFlag } from './hold-entries.ts';

/** Addresses are 64 bits wide; a range that passes the end is -EOVERFLOW. */
const ADDRESSES_END = 2 ** 64;
const USER_PAGES = USER_END / PAGE_BYTES;
const ALL_FLAGS =
  PinFlag.WRITE |
  PinFlag.LONGTERM |
  PinFlag.NOFAULT |
  PinFlag.NOWAIT |
  PinFlag.GET |
  PinFlag.FAST_ONLY;
// Written last by each call, so that a handler may pin pages itself.
const shared = new HoldResult();

/**
 * Pins the `count` pages from the page of `addr` on, each once, and writes their frames to
 * out[at…]. `flags`: PinFlag; with GET, references instead of pins.
 *
 * Returns 1..count: what was had, all of it the caller's now; the rest is found by asking again
 * from there. 0 only for count 0, or with FAST_ONLY. Else nothing is held and `out` is as it was:
 * -EINVAL flags that contradict each other; -EOVERFLOW, -EFAULT a range past the addresses, or
 * past those of a program; -EFAULT no area, registers, no permission, a broken page, or absent
 * with NOFAULT; -ENOMEM no memory, or HOLDS_MAX holds on the folio; -EAGAIN the first page must be
 * waited for: `space.whenReady`, and ask again. LONGTERM alone allocates, and also gives -EBUSY:
 * a page that must stay movable cannot be moved now.
 * Linux: pin_user_pages_fast(), get_user_pages_fast().
 */
export function tryPinUserPages(
  space: UserSpace,
  addr: number,
  count: number,
  flags: number,
  out: Uint32Array,
  at: number,
): number {
  const error = rangeError(addr, count, flags);
  if (error < 0 || count === 0) return error;
  assert(at >= 0 && at + count <= out.length, 'pin: no room for the frames');
  if ((flags & PinFlag.LONGTERM) !== 0) return tryPinLongTerm(space, addr, count, flags, out, at);
  const held = holdRange(space, addr, count, flags, 0, out, at, shared);
  return held > 0 ? held : shared.error;
}

/**
 * The same as runs of neighbouring pages (`AddressSpace.holdRuns`), at most `runsMax` of them in
 * rows at … of `runs`, and not beyond the leaf of the page table that `addr` lies in. Runs, or the
 * errors of `tryPinUserPages`. What the table does not give at once is had page by page: after the
 * fault of the first page its neighbours are mostly there.
 * Pre: `flags` is WRITE, GET, both or 0; count > 0, runsMax > 0.
 */
export function tryHoldRuns(
  space: UserSpace,
  addr: number,
  count: number,
  flags: number,
  runs: PageRuns,
  at: number,
  runsMax: number,
): number {
  assert((flags & ~(PinFlag.WRITE | PinFlag.GET)) === 0, 'pin: runs are held for one transfer');
  assert(count > 0 && runsMax > 0 && at + runsMax <= runs.page.length, 'pin: no room for the runs');
  const vpn = Math.floor(addr / PAGE_BYTES);
  if (vpn + count > USER_PAGES) return rangeError(addr, count, flags);
  if ((flags & PinFlag.GET) === 0) space.hasPinned = true;
  const held = holdRuns(space.table, vpn, count, flags, runs, at, runsMax);
  if (held > 0) return held;
  const result = tryPinUserPages(space, addr, 1, flags, runs.page, at);
  if (result === 1) runs.len[at] = 1;
  return result;
}

/** References instead of pins: for who reads a page or keeps it, not for who writes into it. */
export function tryGetUserPages(
  space: UserSpace,
  addr: number,
  count: number,
  flags: number,
  out: Uint32Array,
  at: number,
): number {
  return tryPinUserPages(space, addr, count, flags | PinFlag.GET, out, at);
}

/**
 * As `tryPinUserPages`, but waits for faults: after each wait one page is asked for again, until
 * it is there or fails, then the rest. Control plane. Never -EAGAIN but with NOWAIT. `signal` ends
 * it with what was had, or -EINTR. Pre: `out` is the call's own until it settles.
 */
export async function pinUserPages(
  space: UserSpace,
  addr: number,
  count: number,
  flags: number,
  out: Uint32Array,
  at: number,
  signal: AbortSignal | null = null,
): Promise<number> {
  const error = rangeError(addr, count, flags);
  if (error < 0 || count === 0) return error;
  assert(at >= 0 && at + count <= out.length, 'pin: no room for the frames');
  const noWait = PinFlag.NOWAIT | PinFlag.FAST_ONLY;
  if ((flags & noWait) !== 0) return tryPinUserPages(space, addr, count, flags, out, at);
  if ((flags & PinFlag.LONGTERM) !== 0) {
    return pinLongTerm(space, addr, count, flags, out, at, signal);
  }
  return holdWaiting(space, addr, count, flags, out, at, signal);
}

export function getUserPages(
  space: UserSpace,
  addr: number,
  count: number,
  flags: number,
  out: Uint32Array,
  at: number,
  signal: AbortSignal | null = null,
): Promise<number> {
  return pinUserPages(space, addr, count, flags | PinFlag.GET, out, at, signal);
}

/** 0, or what is wrong with the question itself. The address counts from its page on. */
function rangeError(addr: number, count: number, flags: number): number {
  assert(addr >= 0 && Number.isInteger(addr), 'pin: an address is a whole number');
  assert(count >= 0 && Number.isInteger(count), 'pin: a count is a whole number');
  if ((flags & ~ALL_FLAGS) !== 0) return -Errno.EINVAL;
  const { LONGTERM, GET, FAST_ONLY, NOWAIT } = PinFlag;
  if ((flags & LONGTERM) !== 0 && (flags & (GET | FAST_ONLY)) !== 0) return -Errno.EINVAL;
  // Who never faults has nothing not to wait for.
  if ((flags & FAST_ONLY) !== 0 && (flags & NOWAIT) !== 0) return -Errno.EINVAL;
  const end = (Math.floor(addr / PAGE_BYTES) + count) * PAGE_BYTES;
  if (end >= ADDRESSES_END) return -Errno.EOVERFLOW;
  return end > USER_END ? -Errno.EFAULT : 0;
}
