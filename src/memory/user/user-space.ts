import { assert } from '../../base/assert.ts';
import { BlockError } from '../../base/block-error.ts';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES, roundUp } from '../../base/units.ts';
import { Access, type AddressSpace, type PageRuns, UserHold } from '../address-space.ts';
import { Area, type AreaOps, FaultRequest, Protection, type Wait } from './area.ts';
import { AreaList, PLACE_START } from './area-list.ts';
import { unmapRange } from './entry.ts';
import { handleFault } from './fault.ts';
import { faultInRange } from './fault-in.ts';
import { forkSpace } from './fork.ts';
import { hintRange } from './hint.ts';
import { protectRange } from './mprotect.ts';
import { remapRange } from './mremap.ts';
import { PageTable, USER_END } from './page-table.ts';
import { PinFlag, tryHoldRuns, tryPinUserPages } from './pin-user-pages.ts';
import { SharedPages } from './shared-pages.ts';
import {
  clearUser,
  copyFromUser,
  copyToUser,
  pageForCpu,
  readUser,
  writeUser,
} from './user-copy.ts';
import type { UserMemory } from './user-memory.ts';

export interface MapOptions {
  /** Exactly here, over whatever is there (MAP_FIXED). Page-aligned. */
  readonly addr?: number;
  /** Rather from here on, where there is room. */
  readonly hint?: number;
  readonly bytes: number;
  /** Protection bits; WRITE includes READ, as on x86-64. */
  readonly protection: number;
  readonly shared?: boolean;
  /** Where the pages come from; null: anonymous memory. */
  readonly ops?: AreaOps | null;
  /** Page of the backing object under the first byte. */
  readonly index?: number;
  /** log2 of the folio that a fault tries first: 0 … 9. Anonymous private memory only. */
  readonly folioOrder?: number;
  /** Device registers: faults for copies by the CPU, never held. */
  readonly io?: boolean;
}

/** The largest folio of an area: one leaf of the page table, 2 MiB. */
const FOLIO_ORDER_MAX = 9;

/** The memory of one process. Linux: mm_struct. */
export class UserSpace implements AddressSpace {
  readonly memory: UserMemory;
  /** Number in `memory.spaces` and in the reverse map. */
  readonly id: number;
  readonly label: string;
  readonly table = new PageTable();
  readonly areaList = new AreaList();
  /** Sticky: a page of this space was pinned some day, so a fork must look. */
  hasPinned = false;
  /** Most pages that may be mapped (RLIMIT_AS); null: no limit. */
  pageLimit: number | null = null;
  /** Pages of all areas. */
  mappedPages = 0;
  /** The fault in progress holds the lock; a handler drops it with `dropLock`. */
  lockHeld = false;
  /** The first handler that broke the contract, until the control plane throws it. */
  handlerError: BlockError | null = null;
  /** Why the last copy stopped early: a negative errno. */
  copyError = 0;
  /** For faults alone: the request on its way, what it waits for, pages to be tried again. */
  readonly request = new FaultRequest();
  wait: Wait | null = null;
  readonly retried = new Set<number>();
  #hasExited = false;

  /** Made by `memory.newSpace`. */
  constructor(memory: UserMemory, id: number, label: string) {
    this.memory = memory;
    this.id = id;
    this.label = label;
  }

  get hasExited(): boolean {
    return this.#hasExited;
  }

  get areas(): readonly Area[] {
    return this.areaList.areas;
  }

  areaAt(addr: number): Area | null {
    return this.areaList.find(addr);
  }

  /**
   * Maps memory; nothing is allocated before it is touched. Returns the address; -EINVAL for a
   * length of 0 or an address between pages, -ENOMEM without room or past `pageLimit`.
   */
  mmap(options: MapOptions): number {
    const { addr, shared = false, io = false, folioOrder = 0 } = options;
    assert(!this.#hasExited, 'mmap: the process is gone');
    assert(folioOrder >= 0 && folioOrder <= FOLIO_ORDER_MAX, 'mmap: folio order outside 0..9');
    const bytes = roundUp(options.bytes, PAGE_BYTES);
    if (!(bytes > 0) || (addr !== undefined && addr % PAGE_BYTES !== 0)) return -Errno.EINVAL;
    const align = PAGE_BYTES * 2 ** folioOrder;
    const start = addr ?? this.#place(bytes, align, options.hint ?? PLACE_START);
    if (start < 0 || start + bytes > USER_END) return -Errno.ENOMEM;
    if (this.pageLimit !== null) {
      const replaced = this.#pagesIn(start, start + bytes);
      if (this.mappedPages - replaced + bytes / PAGE_BYTES > this.pageLimit) return -Errno.ENOMEM;
    }
    if (addr !== undefined) this.unmap(start, start + bytes);
    const given = options.ops ?? null;
    const ops = given ?? (shared ? new SharedPages(this.memory) : null);
    const isAnonymous = ops === null;
    this.insertArea(
      new Area({
        start,
        end: start + bytes,
        protection: impliedProtection(options.protection),
        isShared: shared,
        ops,
        startIndex: isAnonymous ? start / PAGE_BYTES : (options.index ?? 0),
        isIo: io,
        folioOrder: isAnonymous ? folioOrder : 0,
      }),
    );
    return start;
  }

  /** 0, or -EINVAL. Holes are fine. Pins outlive the mapping. */
  munmap(addr: number, bytes: number): number {
    const end = addr + roundUp(bytes, PAGE_BYTES);
    if (addr % PAGE_BYTES !== 0 || !(bytes > 0) || addr < 0 || end > USER_END) return -Errno.EINVAL;
    this.unmap(addr, end);
    return 0;
  }

  /** 0; -EINVAL; -ENOMEM at the first hole, what lies before it has changed. */
  mprotect(addr: number, bytes: number, protection: number): number {
    const end = addr + roundUp(bytes, PAGE_BYTES);
    if (addr % PAGE_BYTES !== 0 || bytes < 0 || addr < 0 || end > USER_END) return -Errno.EINVAL;
    return protectRange(this, addr, end, impliedProtection(protection));
  }

  /**
   * Shrinks or grows a mapping, elsewhere if `mayMove` and there is no room. Returns the address;
   * -EINVAL; -EFAULT: not one area; -ENOMEM.
   */
  mremap(addr: number, oldBytes: number, newBytes: number, mayMove: boolean): number {
    return remapRange(this, addr, oldBytes, newBytes, mayMove);
  }

  /**
   * One page fault. 0: the entry now allows `access`. -EFAULT, -ENOMEM, or what the handler
   * answered; -EAGAIN: wait (`whenReady`), the lock is dropped. `flags`: FaultFlag.
   */
  fault(addr: number, access: Access, flags: number): number {
    return handleFault(this, addr, access, flags);
  }

  /**
   * Faults a range in, waiting where it must. Returns the bytes that are not reachable: 0 = all.
   * Throws ERR_BIOVEC_FAULT_HANDLER when a handler broke the contract.
   */
  faultIn(addr: number, bytes: number, access: Access): Promise<number> {
    return faultInRange(this, addr, bytes, access);
  }

  /** For fault handlers: required before RETRY (without RETRY_NOWAIT) and COMPLETED. */
  dropLock(): void {
    assert(this.lockHeld, 'fault: the lock was dropped twice');
    this.lockHeld = false;
  }

  /** Throws, once, the first answer of a handler that broke the contract. */
  throwHandlerError(): void {
    const error = this.handlerError;
    this.handlerError = null;
    if (error !== null) throw error;
  }

  pageAt(addr: number, access: Access): number {
    return pageForCpu(this, addr, access);
  }

  holdPages(
    addr: number,
    count: number,
    access: Access,
    hold: UserHold,
    out: Uint32Array,
    at: number,
  ): number {
    const write = access === Access.WRITE ? PinFlag.WRITE : 0;
    const get = hold === UserHold.GET ? PinFlag.GET : 0;
    return tryPinUserPages(this, addr, count, write | get, out, at);
  }

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
    const write = access === Access.WRITE ? PinFlag.WRITE : 0;
    const get = hold === UserHold.GET ? PinFlag.GET : 0;
    return tryHoldRuns(this, addr, count, write | get, runs, at, runsMax);
  }

  whenReady(wake: () => void): void {
    const { wait } = this;
    assert(wait !== null, 'fault: nothing to wait for');
    wait.add(wake);
  }

  /** Bytes copied into the frames from (page, offset) on; fewer: `copyError` says why. */
  copyFromUser(page: number, offset: number, addr: number, bytes: number): number {
    return copyFromUser(this, page, offset, addr, bytes);
  }

  /** Bytes copied from the frames to the program's memory. */
  copyToUser(page: number, offset: number, addr: number, bytes: number): number {
    return copyToUser(this, page, offset, addr, bytes);
  }

  /** The program reads its memory: bytes read; fewer: `copyError` says why. */
  read(addr: number, into: Uint8Array): number {
    return readUser(this, addr, into);
  }

  write(addr: number, from: Uint8Array): number {
    return writeUser(this, addr, from);
  }

  /** Bytes set to zero. */
  clearUser(addr: number, bytes: number): number {
    return clearUser(this, addr, bytes);
  }

  /** NUMA hinting: the next access of each page faults. Pages marked; pinned ones are refused. */
  hint(addr: number, bytes: number): number {
    return hintRange(this, addr, addr + roundUp(bytes, PAGE_BYTES));
  }

  /** A copy of the process; throws ENOMEM, and nothing has changed for this one. */
  fork(label: string): UserSpace {
    const child = forkSpace(this, label);
    if (child === null) {
      const reason = `no page left for what the fork of '${this.label}' must copy`;
      throw new BlockError('ENOMEM', { reason, syscall: 'fork' });
    }
    return child;
  }

  /** The same without an exception: null for -ENOMEM. */
  tryFork(label: string): UserSpace | null {
    return forkSpace(this, label);
  }

  /** Drops every mapping. Pins outlive the process. */
  exit(): void {
    assert(!this.#hasExited, 'exit: twice');
    this.unmap(0, USER_END);
    assert(this.mappedPages === 0, 'exit: areas are left');
    this.memory.forgetSpace(this);
    this.#hasExited = true;
  }

  /** Pre: [start, end) is page-aligned. Areas and entries there are gone afterwards. */
  unmap(start: number, end: number): void {
    assert(!this.lockHeld, 'munmap: inside a fault');
    const { areaList, retried } = this;
    for (const vpn of retried) {
      if (vpn * PAGE_BYTES >= start && vpn * PAGE_BYTES < end) retried.delete(vpn);
    }
    areaList.splitAt(start);
    areaList.splitAt(end);
    let index = areaList.indexFrom(start);
    for (let area = areaList.areas[index]; area !== undefined && area.start < end; ) {
      unmapRange(this, area.start / PAGE_BYTES, area.end / PAGE_BYTES);
      this.removeArea(area);
      index = areaList.indexFrom(start);
      area = areaList.areas[index];
    }
  }

  /** For calls that change areas: enters one where nothing is, joined to its neighbours. */
  insertArea(area: Area): void {
    this.areaList.insert(area);
    this.mappedPages += (area.end - area.start) / PAGE_BYTES;
    area.ops?.opened?.(area);
    this.areaList.mergeAround(area.start, area.end);
  }

  /** Pre: its entries are gone. */
  removeArea(area: Area): void {
    this.areaList.remove(area);
    this.mappedPages -= (area.end - area.start) / PAGE_BYTES;
    area.ops?.closed?.(area);
  }

  #place(bytes: number, align: number, from: number): number {
    const start = this.areaList.place(bytes, align, from);
    return start >= 0 || from === PLACE_START
      ? start
      : this.areaList.place(bytes, align, PLACE_START);
  }

  #pagesIn(start: number, end: number): number {
    let pages = 0;
    for (const area of this.areas) {
      const overlap = Math.min(end, area.end) - Math.max(start, area.start);
      if (overlap > 0) pages += overlap / PAGE_BYTES;
    }
    return pages;
  }
}

function impliedProtection(protection: number): number {
  return (protection & Protection.WRITE) !== 0 ? protection | Protection.READ : protection;
}
