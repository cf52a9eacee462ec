// An address space of which a test says, page by page, how it answers: the contract of
// `AddressSpace` in the fewest lines, as a second opinion beside the real one.

import assert from 'node:assert/strict';
import { Errno } from '../base/errno.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { Access, type AddressSpace, UserHold } from '../memory/address-space.ts';
import { copyPages } from '../memory/copy.ts';
import { getPages, pinPages } from '../memory/holds.ts';

export interface FaultPage {
  frame: number;
  readOnly?: boolean;
  /** Asked for so many times it must be waited for; Infinity: until the test says otherwise. */
  waits?: number;
  /** Shared after a fork: who writes, or pins to read, gets a copy in this frame first. */
  copyTo?: number;
  /** A negative errno instead of the page. */
  error?: number;
}

export class FaultSpace implements AddressSpace {
  readonly pages = new Map<number, FaultPage>();
  /** Most pages of one `holdPages`: a space may always give fewer. */
  atOnceMost = Number.POSITIVE_INFINITY;
  /** Calls of `holdPages`, and of `pageAt`. */
  holdCalls = 0;
  pageCalls = 0;
  /** Runs inside each fault: what a handler does meanwhile. */
  onFault: ((addr: number) => void) | null = null;
  #wakes: (() => void)[] = [];

  map(addr: number, page: FaultPage): void {
    this.pages.set(Math.floor(addr / PAGE_BYTES), page);
  }

  unmap(addr: number, pages = 1): void {
    for (let i = 0; i < pages; i++) this.pages.delete(Math.floor(addr / PAGE_BYTES) + i);
  }

  get waiters(): number {
    return this.#wakes.length;
  }

  /** What was waited for is there. */
  ready(): void {
    for (const page of this.pages.values()) page.waits = 0;
    this.wakeAll();
  }

  wakeAll(): void {
    const wakes = this.#wakes;
    this.#wakes = [];
    for (const wake of wakes) wake();
  }

  pageAt(addr: number, access: Access): number {
    this.pageCalls++;
    return this.#resolve(addr, access, access === Access.WRITE);
  }

  holdPages(
    addr: number,
    count: number,
    access: Access,
    hold: UserHold,
    out: Uint32Array,
    at: number,
  ): number {
    assert.ok(count > 0 && at + count <= out.length);
    this.holdCalls++;
    const most = Math.min(count, this.atOnceMost);
    for (let i = 0; i < most; i++) {
      const breaks = access === Access.WRITE || hold === UserHold.PIN;
      const frame = this.#resolve(addr + i * PAGE_BYTES, access, breaks);
      if (frame < 0) return i > 0 ? i : frame;
      const got = hold === UserHold.PIN ? pinPages(frame, 1) : getPages(frame, 1);
      if (got === 0) return i > 0 ? i : -Errno.EFAULT;
      out[at + i] = frame;
    }
    return most;
  }

  whenReady(wake: () => void): void {
    this.#wakes.push(wake);
  }

  #resolve(addr: number, access: Access, breaksSharing: boolean): number {
    this.onFault?.(addr);
    const page = this.pages.get(Math.floor(addr / PAGE_BYTES));
    if (page === undefined) return -Errno.EFAULT;
    if (page.error !== undefined) return page.error;
    if (access === Access.WRITE && page.readOnly === true) return -Errno.EFAULT;
    if (page.waits !== undefined && page.waits > 0) {
      page.waits--;
      return -Errno.EAGAIN;
    }
    if (breaksSharing && page.copyTo !== undefined) {
      copyPages(page.copyTo, 0, page.frame, 0, PAGE_BYTES);
      page.frame = page.copyTo;
      delete page.copyTo;
    }
    return page.frame;
  }
}
