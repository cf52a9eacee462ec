import { Errno } from '../base/errno.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { getPages, pinPages } from './holds.ts';
import { pageExists } from './region.unsafe.ts';

/** What a transfer does to the memory: a device that reads a disk writes the memory. */
export const Access = { READ: 0, WRITE: 1 } as const;
export type Access = (typeof Access)[keyof typeof Access];

/**
 * Addresses of a program → page frames. Two exist today: the program's own memory, where an
 * address is frame * 4096 + offset, and a table of mapped pages.
 */
export interface AddressSpace {
  /** The page frame under `addr`, or -EFAULT when it is absent or forbids `access`. */
  pageAt(addr: number, access: Access): number;
}

/** Frame numbers are Uint32 in the columns; a larger one would name a stranger. */
const PAGES_END = 2 ** 32;

/** The program's own view of arena memory: virtual = physical. */
export const ARENA_SPACE: AddressSpace = {
  pageAt(addr: number): number {
    const page = Math.floor(addr / PAGE_BYTES);
    return page < PAGES_END && pageExists(page) ? page : -Errno.EFAULT;
  },
};

/** Pages at any address in any order, some of them read-only. */
export class MappedSpace implements AddressSpace {
  readonly #pages = new Map<number, number>();
  readonly #readOnly = new Set<number>();

  /** Maps `page` at the page-aligned `addr`, over whatever was there. */
  map(addr: number, page: number, options: { readonly readOnly?: boolean } = {}): void {
    const number = Math.floor(addr / PAGE_BYTES);
    this.#pages.set(number, page);
    if (options.readOnly === true) this.#readOnly.add(number);
    else this.#readOnly.delete(number);
  }

  unmap(addr: number): void {
    this.#pages.delete(Math.floor(addr / PAGE_BYTES));
  }

  pageAt(addr: number, access: Access): number {
    const number = Math.floor(addr / PAGE_BYTES);
    const page = this.#pages.get(number);
    if (page === undefined) return -Errno.EFAULT;
    if (access === Access.WRITE && this.#readOnly.has(number)) return -Errno.EFAULT;
    return page;
  }
}

/** How `holdUserPages` keeps the pages. */
export const UserHold = { PIN: 0, GET: 1 } as const;
export type UserHold = (typeof UserHold)[keyof typeof UserHold];

/**
 * Pins (or references) `count` pages from the page of `addr` on and writes their frame numbers to
 * `out[at…]`. Returns 1..count, or a negative errno when not even the first page could be had;
 * 0 only for count 0. Linux: gup contract, section "partial" — the rest is found by asking again.
 */
export function holdUserPages(
  space: AddressSpace,
  addr: number,
  count: number,
  access: Access,
  hold: UserHold,
  out: Uint32Array,
  at: number,
): number {
  const first = Math.floor(addr / PAGE_BYTES) * PAGE_BYTES;
  for (let i = 0; i < count; i++) {
    const page = space.pageAt(first + i * PAGE_BYTES, access);
    const got = page < 0 ? 0 : hold === UserHold.PIN ? pinPages(page, 1) : getPages(page, 1);
    if (got === 0) return i > 0 ? i : page < 0 ? page : -Errno.EFAULT;
    out[at + i] = page;
  }
  return count;
}
