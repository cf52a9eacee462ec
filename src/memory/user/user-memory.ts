import { assert, maybe } from '../../base/assert.ts';
import { BlockError } from '../../base/block-error.ts';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import type { Arena } from '../arena.ts';
import { zeroPages } from '../copy.ts';
import { getPages, putPages } from '../holds.ts';
import type { Region } from '../region.unsafe.ts';
import type { AreaOps } from './area.ts';
import { FolioLocks } from './folio-lock.ts';
import { migrateFolio } from './migrate.ts';
import { FrameReclaim } from './reclaim.ts';
import { Rmap } from './rmap.ts';
import { SwapArea } from './swap.ts';
import { cleanMappings, unmapMappings, unmapObject } from './unmap-folio.ts';
import { UserColumns } from './user-columns.ts';
import { UserMemoryCounters } from './user-counters.ts';
import { UserSpace } from './user-space.ts';
import { makePresent, takeInZone } from './zone.ts';

export interface UserMemoryOptions {
  readonly arena: Arena;
  /** Frames of the region from here on are the movable zone: no long-term pin there. */
  readonly movableFrom?: number;
  /** Pages of swap; 0: anonymous memory is never reclaimed. */
  readonly swapPages?: number;
  /** Named in errors and leak reports. */
  readonly label?: string;
}

/** Who can give memory back under pressure: page caches. */
export interface Shrinker {
  readonly name: string;
  /** Frees up to `pages` frames, at once or later; returns how many are free now. */
  shrink(pages: number): number;
}

/** How often an allocation reclaims before it says -ENOMEM. */
const RECLAIM_ROUNDS = 3;
/** Reclaim works in batches: one frame at a time would scan for each. */
const RECLAIM_PAGES = 16;

/** One machine's memory: what its address spaces and page caches share. One for an arena. */
export class UserMemory {
  readonly label: string;
  readonly arena: Arena;
  readonly region: Region;
  readonly columns: UserColumns;
  readonly rmap: Rmap;
  readonly swap: SwapArea;
  readonly locks = new FolioLocks();
  readonly counters = new UserMemoryCounters();
  /** By the id of the space; null: exited. */
  readonly spaces: (UserSpace | null)[] = [];
  readonly shrinkers: Shrinker[] = [];
  /** Mapped wherever untouched memory is read. Never counted, pinned or reclaimed. */
  readonly zeroPage: number;
  /** First frame of the movable zone; Infinity: there is none. */
  readonly movableFrom: number;
  /** Fault injection: so many allocations succeed, then -ENOMEM. */
  allocationsLeft = Number.POSITIVE_INFINITY;
  readonly #reclaim: FrameReclaim;
  readonly #freeFrame: (head: number) => void;
  readonly #freeSpaceIds: number[] = [];
  /** Page frames that this memory took from the arena and that somebody still holds. */
  #usedPages = 0;

  constructor(options: UserMemoryOptions) {
    const { region } = options.arena;
    assert(region.user === null, 'user memory: the arena has one already');
    assert(region.onFree !== null, 'user memory: the arena frees its frames');
    this.label = options.label ?? 'memory';
    this.arena = options.arena;
    this.region = region;
    this.columns = new UserColumns(region.framesMax);
    this.rmap = new Rmap(this.columns.rmapFirst);
    this.swap = new SwapArea(options.swapPages ?? 0);
    this.movableFrom = options.movableFrom ?? Number.POSITIVE_INFINITY;
    if (options.movableFrom !== undefined) makePresent(this.arena);
    this.#reclaim = new FrameReclaim(this);
    this.#freeFrame = region.onFree;
    region.user = this.columns;
    region.onFree = this.#freed;
    this.zeroPage = this.takeFolio(0, false);
    if (this.zeroPage < 0) {
      const reason = `arena '${this.arena.label}' has no page left for the zero page`;
      throw new BlockError('ENOMEM', { reason });
    }
    zeroPages(this.zeroPage, 0, PAGE_BYTES);
    region.zeroFrame = this.zeroPage - region.firstPage;
  }

  newSpace(label: string): UserSpace {
    const id = this.#freeSpaceIds.pop() ?? this.spaces.length;
    const space = new UserSpace(this, id, label);
    this.spaces[id] = space;
    return space;
  }

  /** For `UserSpace.exit` alone. */
  forgetSpace(space: UserSpace): void {
    assert(this.spaces[space.id] === space, 'user memory: exit of a stranger');
    this.spaces[space.id] = null;
    this.#freeSpaceIds.push(space.id);
  }

  /** A folio with one reference, after reclaim if needed; -ENOMEM. Give it back: `putPage`. */
  allocPage(options: { zeroed: boolean; movable: boolean; order?: number }): number {
    const order = options.order ?? 0;
    const page = this.takeFolio(order, options.movable);
    if (page >= 0 && options.zeroed) zeroPages(page, 0, PAGE_BYTES * 2 ** order);
    return page;
  }

  /** The same with contents as left by the last user. Data plane. */
  takeFolio(order: number, movable: boolean): number {
    let page = this.tryTakeFolio(order, movable);
    for (let round = 0; page < 0 && round < RECLAIM_ROUNDS; round++) {
      if (this.allocationsLeft <= 0) break;
      if (this.reclaim(Math.max(2 ** order, RECLAIM_PAGES)) === 0) break;
      page = this.tryTakeFolio(order, movable);
    }
    maybe(page < 0, 'user memory: no page even after reclaim');
    if (page < 0) this.counters.allocFailures++;
    return page < 0 ? -Errno.ENOMEM : page;
  }

  /** The same without reclaim: -1 when no folio of that order is free. */
  tryTakeFolio(order: number, movable: boolean): number {
    if (this.allocationsLeft <= 0) return -1;
    const page = this.#take(order, movable);
    if (page < 0) return -1;
    this.allocationsLeft--;
    this.columns.taken[page - this.region.firstPage] = 1;
    this.#usedPages += 2 ** order;
    return page;
  }

  #take(order: number, movable: boolean): number {
    const zone = this.movableFrom;
    if (zone === Number.POSITIVE_INFINITY) return this.arena.getFolio(order);
    const page = movable ? takeInZone(this.arena, zone, this.region.frames, order) : -1;
    return page >= 0 ? page : takeInZone(this.arena, 0, zone, order);
  }

  /** One more reference on the folio of `page`. Pre: somebody has one. */
  getPage(page: number): void {
    assert(getPages(page, 1) === 1, 'user memory: a reference on a free page');
  }

  /** Drops one reference. */
  putPage(page: number): void {
    putPages(page, 1);
  }

  /** Page frames in use, the zero page included. */
  get usedPages(): number {
    return this.#usedPages;
  }

  /** True when a long-term pin would keep the zone of `page` from staying movable. */
  isMovable(page: number): boolean {
    return page - this.region.firstPage >= this.movableFrom;
  }

  /** True when `page` is a frame of this memory. */
  isOwn(page: number): boolean {
    const frame = page - this.region.firstPage;
    return frame >= 0 && frame < this.region.frames;
  }

  addShrinker(shrinker: Shrinker): void {
    this.shrinkers.push(shrinker);
  }

  removeShrinker(shrinker: Shrinker): void {
    const index = this.shrinkers.indexOf(shrinker);
    assert(index >= 0, 'user memory: a shrinker that was never added');
    this.shrinkers.splice(index, 1);
  }

  /** Frees up to `pages` frames: clean cache pages, anonymous memory to swap. Count freed. */
  reclaim(pages: number): number {
    return this.#reclaim.run(pages);
  }

  /**
   * Moves the folio of `page` elsewhere (compaction, LONGTERM): 0; -EAGAIN: somebody holds, locks
   * or pins it; -ENOMEM. `movable`: the new place may lie in the movable zone.
   */
  migrate(page: number, movable = false): number {
    return migrateFolio(this, page, movable);
  }

  /** Takes the folio out of every address space; its dirty bits go to the owner. */
  unmapFolio(page: number): void {
    unmapMappings(this, page);
  }

  /**
   * Takes pages [firstIndex, endIndex) of the object behind `ops` out of every address space, also
   * the private copies that processes made of them: the file was truncated there. Control plane.
   */
  unmapRangeOf(ops: AreaOps, firstIndex: number, endIndex: number): void {
    unmapObject(this, ops, firstIndex, endIndex);
  }

  /** Write-protects every shared mapping of a file's folio. True: one of them was dirty. */
  cleanFolio(page: number): boolean {
    return cleanMappings(this, page);
  }

  /** The memory of this one page is broken: -EFAULT for everybody, and never used again. */
  poison(page: number): void {
    assert(page !== this.zeroPage, 'user memory: the zero page cannot be poisoned');
    const frame = page - this.region.firstPage;
    if (this.columns.poisoned[frame] === 1) return;
    this.columns.poisoned[frame] = 1;
    this.getPage(page);
  }

  unpoison(page: number): void {
    const frame = page - this.region.firstPage;
    if (this.columns.poisoned[frame] === 0) return;
    this.columns.poisoned[frame] = 0;
    putPages(page, 1);
  }

  isPoisoned(page: number): boolean {
    return this.columns.poisoned[page - this.region.firstPage] === 1;
  }

  tryLockFolio(page: number): boolean {
    return this.locks.tryLock(page);
  }

  unlockFolio(page: number): void {
    this.locks.unlock(page);
  }

  /** Calls `wake` once, after the next unlock. Pre: the folio is locked. */
  whenUnlocked(page: number, wake: () => void): void {
    this.locks.whenUnlocked(page, wake);
  }

  /** Throws ERR_BIOVEC_LEAK naming what is left: spaces, mappings, swap slots, waiters. */
  assertNothingOutstanding(): void {
    const lines = this.spaces.flatMap((space) =>
      space === null ? [] : [`space '${space.label}'`],
    );
    if (this.rmap.used > 0) lines.push(`${this.rmap.used} page table entries`);
    const slots = this.swap.slots - this.swap.freeSlots;
    if (slots > 0) lines.push(`${slots} swap slots`);
    if (this.shrinkers.length > 0) lines.push(`shrinker '${this.shrinkers[0]?.name}'`);
    if (this.locks.waitingFolios > 0) lines.push('waiters for a folio lock');
    if (this.#usedPages > 1) lines.push(`${this.#usedPages - 1} page frames`);
    if (this.region.pinnedPages > 0) lines.push(`${this.region.pinnedPages} pinned pages`);
    if (lines.length === 0) return;
    const reason = `memory '${this.label}' has outstanding: ${lines.join(', ')}`;
    throw new BlockError('ERR_BIOVEC_LEAK', { reason });
  }

  /** Pre: nothing is outstanding; else throws ERR_BIOVEC_LEAK. The arena goes on without it. */
  [Symbol.dispose](): void {
    this.assertNothingOutstanding();
    this.region.zeroFrame = -1;
    putPages(this.zeroPage, 1);
    this.region.onFree = this.#freeFrame;
    this.region.user = null;
    this.swap[Symbol.dispose]();
  }

  /** A folio without a hold: what address spaces knew of it ends here. */
  readonly #freed = (head: number): void => {
    const { columns, region } = this;
    assert(columns.mapCount[head] === 0, 'user memory: freed while mapped');
    if (columns.taken[head] === 1) {
      const pages = 1 << region.order[head];
      columns.taken[head] = 0;
      columns.owner[head] = null;
      for (let frame = head; frame < head + pages; frame++) columns.exclusive[frame] = 0;
      this.#usedPages -= pages;
    }
    this.#freeFrame(head);
  };
}
