import { assert, fail } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { offsetIn, PAGE_BYTES } from '../base/units.ts';
import { getPages, pinPages } from './holds.ts';
import { frameOf, pageExists } from './region.unsafe.ts';
import { LEAF_ENTRIES, PageTable, type PageTableLeaf, Pte } from './user/page-table.ts';

/** What a transfer does to the memory: a device that reads a disk writes the memory. */
export const Access = { READ: 0, WRITE: 1 } as const;
export type Access = (typeof Access)[keyof typeof Access];

/** How `holdPages` keeps the pages. */
export const UserHold = { PIN: 0, GET: 1 } as const;
export type UserHold = (typeof UserHold)[keyof typeof UserHold];

/** Columns that take runs of pages; the rows of a segment table will do. */
export interface PageRuns {
  /** First page frame of the run. */
  readonly page: Uint32Array;
  /** Pages of the run. */
  readonly len: Uint32Array;
}

/**
 * Addresses of a program → page frames: the program's own memory, where an address is frame * 4096
 * + offset; a table of mapped pages; or the memory of a process, which faults (`UserSpace`).
 */
export interface AddressSpace {
  /**
   * The page frame under `addr` for a copy by the CPU, faulted in if that needs no waiting.
   * -EFAULT: absent, or forbids `access`. -EAGAIN: wait first, see `whenReady`. -ENOMEM.
   */
  pageAt(addr: number, access: Access): number;
  /**
   * Pins or references 1..count pages, each once, from the page of `addr` on, and writes their
   * frames to `out[at…]`. Partial: what was had; entries behind it are not written. A negative
   * errno only when not even the first page was had: -EFAULT, -EAGAIN (wait), -ENOMEM. 0 only for
   * count 0. `access`: what the device does to the memory.
   */
  holdPages(
    addr: number,
    count: number,
    access: Access,
    hold: UserHold,
    out: Uint32Array,
    at: number,
  ): number;
  /**
   * As `holdPages`, but writes runs, at most `runsMax`, to rows at … of `runs`: page frames with
   * neighbouring numbers in one region, so that a large folio is one step. Returns how many runs;
   * fewer pages than `count` are no error: ask again behind them. A space without it is asked page
   * by page.
   */
  holdRuns?(
    addr: number,
    count: number,
    access: Access,
    hold: UserHold,
    runs: PageRuns,
    at: number,
    runsMax: number,
  ): number;
  /** After -EAGAIN: calls `wake` once, later, when asking again may give another answer. */
  whenReady(wake: () => void): void;
}

/** Frame numbers are Uint32 in the columns; a larger one would name a stranger. */
const PAGES_END = 2 ** 32;

/** The program's own view of arena memory: virtual = physical. */
export const ARENA_SPACE: AddressSpace = {
  pageAt(addr: number): number {
    const page = Math.floor(addr / PAGE_BYTES);
    return page < PAGES_END && pageExists(page) ? page : -Errno.EFAULT;
  },

  holdPages(
    addr: number,
    count: number,
    _access: Access,
    hold: UserHold,
    out: Uint32Array,
    at: number,
  ): number {
    if (count === 0) return 0;
    const page = Math.floor(addr / PAGE_BYTES);
    if (page >= PAGES_END || !pageExists(page)) return -Errno.EFAULT;
    const got = hold === UserHold.PIN ? pinPages(page, count) : getPages(page, count);
    for (let i = 0; i < got; i++) out[at + i] = page + i;
    return got > 0 ? got : -Errno.EFAULT;
  },

  holdRuns(
    addr: number,
    count: number,
    _access: Access,
    hold: UserHold,
    runs: PageRuns,
    at: number,
    runsMax: number,
  ): number {
    if (count === 0 || runsMax === 0) return 0;
    const page = Math.floor(addr / PAGE_BYTES);
    if (page >= PAGES_END || !pageExists(page)) return -Errno.EFAULT;
    const got = hold === UserHold.PIN ? pinPages(page, count) : getPages(page, count);
    if (got === 0) return -Errno.EFAULT;
    runs.page[at] = page;
    runs.len[at] = got;
    return 1;
  },

  whenReady(): void {
    fail('address space: memory of the program never waits');
  },
};

/** Pages at any address in any order, some of them read-only. */
export class MappedSpace implements AddressSpace {
  readonly #table = new PageTable();

  /** Maps `page` at the page-aligned `addr`, over whatever was there. */
  map(addr: number, page: number, options: { readonly readOnly?: boolean } = {}): void {
    const bits = options.readOnly === true ? Pte.PRESENT : Pte.PRESENT | Pte.WRITE;
    this.#table.set(Math.floor(addr / PAGE_BYTES), page, bits);
  }

  unmap(addr: number): void {
    this.#table.clear(Math.floor(addr / PAGE_BYTES));
  }

  pageAt(addr: number, access: Access): number {
    const vpn = Math.floor(addr / PAGE_BYTES);
    const leaf = this.#table.leafAt(vpn);
    if (leaf === null) return -Errno.EFAULT;
    const at = vpn % LEAF_ENTRIES;
    const need = neededBits(access);
    return (leaf.bits[at] & need) === need ? leaf.frame[at] : -Errno.EFAULT;
  }

  holdPages(
    addr: number,
    count: number,
    access: Access,
    hold: UserHold,
    out: Uint32Array,
    at: number,
  ): number {
    const first = Math.floor(addr / PAGE_BYTES);
    const need = neededBits(access);
    let done = 0;
    while (done < count) {
      const leaf = this.#table.leafAt(first + done);
      if (leaf === null) break;
      const entry = (first + done) % LEAF_ENTRIES;
      const wanted = Math.min(count - done, LEAF_ENTRIES - entry);
      const got = holdEntries(leaf, entry, wanted, need, hold, out, at + done);
      done += got;
      if (got < wanted) break;
    }
    return done > 0 || count === 0 ? done : -Errno.EFAULT;
  }

  /** As far as one leaf of the table goes. */
  holdRuns(
    addr: number,
    count: number,
    access: Access,
    hold: UserHold,
    runs: PageRuns,
    at: number,
    runsMax: number,
  ): number {
    if (count === 0 || runsMax === 0) return 0;
    const vpn = Math.floor(addr / PAGE_BYTES);
    const need = neededBits(access);
    const leaf = this.#table.leafAt(vpn);
    if (leaf === null) return -Errno.EFAULT;
    const { frame, bits } = leaf;
    const first = offsetIn(vpn, LEAF_ENTRIES);
    const end = count < LEAF_ENTRIES - first ? first + count : LEAF_ENTRIES;
    let entry = first;
    let done = 0;
    while (done < runsMax && entry < end && (bits[entry] & need) === need) {
      const start = entry;
      const page = frame[start];
      entry++;
      while (entry < end && (bits[entry] & need) === need) {
        if (frame[entry] !== page + entry - start || frameOf(frame[entry]) === 0) break;
        entry++;
      }
      const pages = entry - start;
      const got = hold === UserHold.PIN ? pinPages(page, pages) : getPages(page, pages);
      if (got === 0) break;
      runs.page[at + done] = page;
      runs.len[at + done] = got;
      done++;
      if (got < pages) break;
    }
    return done > 0 ? done : -Errno.EFAULT;
  }

  whenReady(): void {
    fail('address space: a table of mapped pages never waits');
  }
}

function neededBits(access: Access): number {
  return access === Access.WRITE ? Pte.PRESENT | Pte.WRITE : Pte.PRESENT;
}

/** Holds entries from `entry` on, neighbouring frames in one step. Returns how many. */
function holdEntries(
  leaf: PageTableLeaf,
  entry: number,
  count: number,
  need: number,
  hold: UserHold,
  out: Uint32Array,
  at: number,
): number {
  const { frame, bits } = leaf;
  const end = entry + count;
  let next = entry;
  while (next < end && (bits[next] & need) === need) {
    const start = next;
    const page = frame[start];
    out[at + start - entry] = page;
    next++;
    while (next < end && (bits[next] & need) === need && frame[next] === page + next - start) {
      out[at + next - entry] = frame[next];
      next++;
    }
    const pages = next - start;
    const got = hold === UserHold.PIN ? pinPages(page, pages) : getPages(page, pages);
    if (got < pages) return start + got - entry;
  }
  return next - entry;
}

/** `space.holdPages`, as a function. Linux: the contract of pin_user_pages, section "partial". */
export function holdUserPages(
  space: AddressSpace,
  addr: number,
  count: number,
  access: Access,
  hold: UserHold,
  out: Uint32Array,
  at: number,
): number {
  assert(count >= 0 && at + count <= out.length, 'hold: no room for the pages');
  return space.holdPages(addr, count, access, hold, out, at);
}
