// A file that is nothing but memory: its pages, a "disk" behind them, and a fault handler whose
// answers a test can choose. It loses what was written if a dirty bit gets lost on the way.

import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { copyIn, copyOut, zeroPages } from '../copy.ts';
import { pinCount, refCount } from '../holds.ts';
import { FrameFlag } from '../region.unsafe.ts';
import {
  type Area,
  type AreaOps,
  FaultFlag,
  type FaultRequest,
  FaultResult,
  type Wait,
} from './area.ts';
import type { FolioOwner } from './user-columns.ts';
import type { Shrinker, UserMemory } from './user-memory.ts';
import type { UserSpace } from './user-space.ts';

/** What stands in the file before anybody wrote: page 3 is full of 4. */
export function initialByte(index: number): number {
  return (index + 1) % 256;
}

export class ObjectFile implements AreaOps, FolioOwner, Shrinker, Wait {
  readonly name = 'the test file';
  readonly ownRefs = 1;
  readonly tracksDirty = true;
  readonly memory: UserMemory;
  sizePages: number;
  /** Faults, and writes to clean pages, that must wait first. */
  retries = 0;
  mkwriteRetries = 0;
  /** Areas that use the file. */
  openCount = 0;
  readonly pages = new Map<number, number>();
  readonly #disk = new Map<number, Uint8Array>();
  readonly #waiting: (() => void)[] = [];

  constructor(memory: UserMemory, sizePages: number) {
    this.memory = memory;
    this.sizePages = sizePages;
    memory.addShrinker(this);
  }

  opened(_area: Area): void {
    this.openCount++;
  }

  closed(_area: Area): void {
    this.openCount--;
  }

  add(wake: () => void): void {
    this.#waiting.push(wake);
  }

  /** Ends every wait. */
  fire(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }

  fault(space: UserSpace, _area: Area, request: FaultRequest): number {
    if (request.index >= this.sizePages) return -Errno.EFAULT;
    if (this.retries > 0) {
      this.retries--;
      request.wait = this;
      if ((request.flags & FaultFlag.RETRY_NOWAIT) === 0) space.dropLock();
      return FaultResult.RETRY;
    }
    const page = this.pages.get(request.index) ?? this.#load(request.index);
    if (page < 0) return page;
    this.memory.getPage(page);
    request.page = page;
    return FaultResult.DONE;
  }

  pageMkwrite(_space: UserSpace, _area: Area, request: FaultRequest): number {
    if (this.mkwriteRetries === 0) return 0;
    this.mkwriteRetries--;
    request.wait = this;
    return -Errno.EAGAIN;
  }

  replaced(from: number, to: number): boolean {
    for (const [index, page] of this.pages) {
      if (page !== from) continue;
      this.pages.set(index, to);
      return true;
    }
    return false;
  }

  dirtied(page: number): void {
    const { region } = this.memory;
    region.flags[region.head[page - region.firstPage]] |= FrameFlag.DIRTY;
  }

  isDirty(page: number): boolean {
    const { region } = this.memory;
    return (region.flags[page - region.firstPage] & FrameFlag.DIRTY) !== 0;
  }

  /** Writeback of everything that is dirty, and of nothing else. */
  sync(): void {
    for (const [index, page] of this.pages) {
      if (this.memory.cleanFolio(page)) this.dirtied(page);
      if (!this.isDirty(page)) continue;
      const { region } = this.memory;
      region.flags[page - region.firstPage] &= ~FrameFlag.DIRTY;
      const bytes = new Uint8Array(PAGE_BYTES);
      copyOut(bytes, 0, page, 0, PAGE_BYTES);
      this.#disk.set(index, bytes);
    }
  }

  /** Drops clean pages: what was not written back would be gone. */
  shrink(pages: number): number {
    let freed = 0;
    for (const [index, page] of this.pages) {
      if (freed >= pages) break;
      if (pinCount(page) > 0) continue;
      this.memory.unmapFolio(page);
      if (this.isDirty(page) || refCount(page) > 1) continue;
      this.#drop(index, page);
      freed++;
    }
    return freed;
  }

  /** Pages from `sizePages` on leave the file and every process, also the private copies. */
  truncate(sizePages: number): void {
    const before = Math.max(this.sizePages, sizePages);
    this.sizePages = sizePages;
    this.memory.unmapRangeOf(this, sizePages, before);
    for (const [index, page] of [...this.pages]) if (index >= sizePages) this.#drop(index, page);
    for (let index = sizePages; index < before; index++) {
      this.#disk.set(index, new Uint8Array(PAGE_BYTES));
    }
  }

  /** Pre: no process maps it. */
  close(): void {
    for (const [index, page] of [...this.pages]) this.#drop(index, page);
    this.memory.removeShrinker(this);
  }

  #load(index: number): number {
    const page = this.memory.allocPage({ zeroed: false, movable: true });
    if (page < 0) return page;
    const bytes = this.#disk.get(index);
    if (bytes === undefined) fillPage(page, initialByte(index));
    else copyIn(page, 0, bytes, 0, PAGE_BYTES);
    this.memory.columns.owner[page - this.memory.region.firstPage] = this;
    this.pages.set(index, page);
    return page;
  }

  #drop(index: number, page: number): void {
    this.memory.columns.owner[page - this.memory.region.firstPage] = null;
    this.pages.delete(index);
    this.memory.putPage(page);
  }
}

function fillPage(page: number, value: number): void {
  zeroPages(page, 0, PAGE_BYTES);
  copyIn(page, 0, new Uint8Array(PAGE_BYTES).fill(value), 0, PAGE_BYTES);
}
