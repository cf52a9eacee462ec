import { assert } from '../../base/assert.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { zeroPages } from '../copy.ts';
import { type Area, type AreaOps, type FaultRequest, FaultResult } from './area.ts';
import type { FolioOwner } from './user-columns.ts';
import type { UserMemory } from './user-memory.ts';
import type { UserSpace } from './user-space.ts';

/** Memory that processes share: pages by index. Lives as long as areas use it. Linux: shmem. */
export class SharedPages implements AreaOps, FolioOwner {
  readonly name = 'shared memory';
  readonly ownRefs = 1;
  readonly tracksDirty = false;
  readonly #memory: UserMemory;
  /** Index → frame, and frame → index: reclaim and migration know the frame only. */
  readonly #pages = new Map<number, number>();
  readonly #indexes = new Map<number, number>();
  /** Index → swap slot. */
  readonly #slots = new Map<number, number>();
  #areas = 0;

  constructor(memory: UserMemory) {
    this.#memory = memory;
  }

  opened(_area: Area): void {
    this.#areas++;
  }

  /** With the last area go the pages; pins outlive them. */
  closed(_area: Area): void {
    this.#areas--;
    assert(this.#areas >= 0, 'shared memory: more areas gone than came');
    if (this.#areas > 0) return;
    const { columns, region, swap } = this.#memory;
    for (const page of this.#pages.values()) {
      columns.owner[page - region.firstPage] = null;
      this.#memory.putPage(page);
    }
    for (const slot of this.#slots.values()) swap.release(slot);
    this.#pages.clear();
    this.#indexes.clear();
    this.#slots.clear();
  }

  fault(_space: UserSpace, _area: Area, request: FaultRequest): number {
    const memory = this.#memory;
    let page = this.#pages.get(request.index) ?? -1;
    if (page < 0) page = this.#fill(request.index);
    if (page < 0) return page;
    memory.getPage(page);
    request.page = page;
    return FaultResult.DONE;
  }

  replaced(from: number, to: number): boolean {
    const index = this.#indexes.get(from);
    assert(index !== undefined, 'shared memory: a stranger moved');
    this.#indexes.delete(from);
    this.#indexes.set(to, index);
    this.#pages.set(index, to);
    return true;
  }

  /** There is no file to write to: swapping always copies. */
  dirtied(_page: number): void {}

  swappedOut(page: number, slot: number): boolean {
    const index = this.#indexes.get(page);
    assert(index !== undefined, 'shared memory: a stranger was swapped');
    this.#indexes.delete(page);
    this.#pages.delete(index);
    this.#slots.set(index, slot);
    return true;
  }

  #fill(index: number): number {
    const memory = this.#memory;
    const page = memory.takeFolio(0, true);
    if (page < 0) return page;
    const slot = this.#slots.get(index);
    if (slot === undefined) {
      zeroPages(page, 0, PAGE_BYTES);
    } else {
      memory.swap.load(slot, page);
      memory.swap.release(slot);
      this.#slots.delete(index);
      memory.counters.swappedIn++;
    }
    memory.columns.owner[page - memory.region.firstPage] = this;
    this.#pages.set(index, page);
    this.#indexes.set(page, index);
    return page;
  }
}
