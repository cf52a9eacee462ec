import { assert } from '../../base/assert.ts';
import { HOLDS_MAX, pinTotals } from '../holds.ts';
import { FrameFlag, frameOf, REGION_SHIFT, regionOf } from '../region.unsafe.ts';
import { LEAF_ENTRIES, type PageTable, type PageTableLeaf, Pte } from './page-table.ts';

/** How pages of a program are held. Linux: FOLL_*; FOLL_PIN is what is done without GET. */
export const PinFlag = {
  /** The device writes: the entries must allow writing. */
  WRITE: 1,
  /** Held for longer than one transfer: nothing that must stay movable. Pins only. */
  LONGTERM: 2,
  /** An absent page is -EFAULT instead of a fault. */
  NOFAULT: 4,
  /** Faults that would have to wait end the call: -EAGAIN, or what was had. */
  NOWAIT: 8,
  /** References instead of pins. */
  GET: 16,
  /** No faults, no areas: what the page table gives at once, which may be 0 pages. */
  FAST_ONLY: 32,
} as const;

/** Why an entry cannot be held as it is. */
export const EntryState = {
  READY: 0,
  /** Absent, or it does not allow the access: a fault may help. */
  FAULT: 1,
  /** A pin for reading needs a page that no other process can part from. */
  UNSHARE: 2,
  /** The zero page: held, but not counted by a pin. */
  ZERO: 3,
  /** No page frame that anybody may hold: device registers. */
  FORBIDDEN: 4,
  POISONED: 5,
  /** The folio has HOLDS_MAX holds of this kind. */
  FULL: 6,
} as const;
export type EntryState = (typeof EntryState)[keyof typeof EntryState];

/** In which way the entries are walked; besides PinFlag, which is what the caller asked for. */
export const WalkFlag = {
  /** The area was checked: entries that only hint at their next access may be followed. */
  AREA_CHECKED: 256,
  /** LONGTERM in a private area: only pages of this process alone. */
  OWN_PAGES: 512,
} as const;

/**
 * Holds the pages under virtual pages [vpn, end) as long as the entries allow it as they are, and
 * writes their frames to out[at…]. Returns how many. No faults, no areas; entries of one folio in
 * a row count in one step. `flags`: PinFlag | WalkFlag.
 * Linux: gup_fast(), mm/gup.c; nothing can change under this walk, so nothing is checked again.
 */
export function holdTable(
  table: PageTable,
  vpn: number,
  end: number,
  flags: number,
  out: Uint32Array,
  at: number,
): number {
  let next = vpn;
  while (next < end) {
    const leaf = table.leafAt(next);
    if (leaf === null) break;
    const entry = next % LEAF_ENTRIES;
    const left = end - next;
    const until = left < LEAF_ENTRIES - entry ? entry + left : LEAF_ENTRIES;
    const held = holdLeaf(leaf, entry, until, flags, out, at + next - vpn);
    next += held;
    // An early end may be the border of a region: the next entry tells.
    if (held === 0) break;
  }
  return next - vpn;
}

function holdLeaf(
  leaf: PageTableLeaf,
  first: number,
  end: number,
  flags: number,
  out: Uint32Array,
  at: number,
): number {
  const { frame: pages, bits } = leaf;
  const mask = maskOf(flags);
  const want = mask & ~(Pte.SPECIAL | Pte.HINTED);
  if ((bits[first] & mask) !== want) return 0;
  const region = regionOf(pages[first]);
  const { index, head: heads, flags: folioFlags, user } = region;
  assert(user !== null, 'pin: a mapped page outside of user memory');
  const { exclusive, poisoned } = user;
  const counts = (flags & PinFlag.GET) === 0 ? region.pins : region.refs;
  const mayShare = sharingAllowed(flags) ? 1 : 0;
  const always = (flags & WalkFlag.OWN_PAGES) === 0 ? 0 : FrameFlag.ANON;
  const shift = at - first;
  let head = -1;
  let run = 0;
  let room = 0;
  let entry = first;
  for (; entry < end; entry++) {
    if ((bits[entry] & mask) !== want) break;
    const page = pages[entry];
    if (page >>> REGION_SHIFT !== index) break;
    const frame = frameOf(page);
    const folio = heads[frame];
    if (folio !== head) {
      if (run > 0) counts[head] += run;
      head = folio;
      run = 0;
      room = HOLDS_MAX - counts[head];
    }
    if (run === room || poisoned[frame] !== 0) break;
    if ((exclusive[frame] | mayShare) === 0) {
      if (((folioFlags[head] | always) & FrameFlag.ANON) !== 0) break;
    }
    run++;
    out[entry + shift] = page;
  }
  if (run > 0) counts[head] += run;
  const held = entry - first;
  if ((flags & PinFlag.GET) === 0) {
    region.pinnedPages += held;
    pinTotals.acquired += held;
  }
  return held;
}

/** The bits of an entry that decide; PRESENT and WRITE must be set, the others clear. */
export function maskOf(flags: number): number {
  const write = (flags & PinFlag.WRITE) === 0 ? 0 : Pte.WRITE;
  const hinted = (flags & WalkFlag.AREA_CHECKED) === 0 ? Pte.HINTED : 0;
  return Pte.PRESENT | Pte.SPECIAL | write | hinted;
}

/** A writable entry is exclusive already, and references never cared. */
export function sharingAllowed(flags: number): boolean {
  return (flags & (PinFlag.WRITE | PinFlag.GET)) !== 0;
}

/** What `holdTable` met at `vpn`. Pre: the area was checked. */
export function entryState(
  table: PageTable,
  vpn: number,
  flags: number,
  zeroPage: number,
): EntryState {
  const bits = table.bitsAt(vpn);
  if ((bits & Pte.PRESENT) === 0) return EntryState.FAULT;
  if ((flags & PinFlag.WRITE) !== 0 && (bits & Pte.WRITE) === 0) return EntryState.FAULT;
  const page = table.frameAt(vpn);
  const ownOnly = (flags & WalkFlag.OWN_PAGES) !== 0 && !sharingAllowed(flags);
  if ((bits & Pte.SPECIAL) !== 0) {
    if (page !== zeroPage) return EntryState.FORBIDDEN;
    return ownOnly ? EntryState.UNSHARE : EntryState.ZERO;
  }
  const region = regionOf(page);
  const frame = frameOf(page);
  const head = region.head[frame];
  assert(region.user !== null, 'pin: a mapped page outside of user memory');
  if (region.user.poisoned[frame] !== 0) return EntryState.POISONED;
  if (!sharingAllowed(flags) && region.user.exclusive[frame] === 0) {
    const isAnon = (region.flags[head] & FrameFlag.ANON) !== 0;
    if (isAnon || ownOnly) return EntryState.UNSHARE;
  }
  const counts = (flags & PinFlag.GET) === 0 ? region.pins : region.refs;
  return counts[head] === HOLDS_MAX ? EntryState.FULL : EntryState.READY;
}
