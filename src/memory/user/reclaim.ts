import { maybe } from '../../base/assert.ts';
import { FrameFlag, FrameState } from '../region.unsafe.ts';
import { Pte } from './page-table.ts';
import { clearBitsOfMappings, dropReferences, unmapMappings } from './unmap-folio.ts';
import type { FolioOwner } from './user-columns.ts';
import type { UserMemory } from './user-memory.ts';
import type { UserSpace } from './user-space.ts';

const NONE = -1;
/** The hand passes a frame once to clear its accessed bits and once to take it. */
const ROUNDS = 2;

/**
 * Gives frames back under pressure: caches by their shrinkers, anonymous and shared memory by a
 * hand that goes round the frames (second chance). Linux: shrink_folio_list(), mm/vmscan.c.
 */
export class FrameReclaim {
  readonly #memory: UserMemory;
  #hand = 0;
  #isRunning = false;
  #shrinksFirst = false;

  constructor(memory: UserMemory) {
    this.#memory = memory;
  }

  /** Frames freed, at most about `pages`; 0 from inside a reclaim: a shrinker that allocates. */
  run(pages: number): number {
    if (this.#isRunning) return 0;
    this.#isRunning = true;
    try {
      // By turns, so that neither caches nor programs pay for everything.
      this.#shrinksFirst = !this.#shrinksFirst;
      let freed = this.#shrinksFirst ? this.#shrink(pages) : this.#scan(pages);
      if (freed < pages) {
        freed += this.#shrinksFirst ? this.#scan(pages - freed) : this.#shrink(pages - freed);
      }
      return freed;
    } finally {
      this.#isRunning = false;
    }
  }

  #shrink(pages: number): number {
    let freed = 0;
    for (const shrinker of this.#memory.shrinkers) {
      if (freed >= pages) break;
      freed += shrinker.shrink(pages - freed);
    }
    this.#memory.counters.shrunk += freed;
    return freed;
  }

  #scan(pages: number): number {
    const { region, columns, swap } = this.#memory;
    const { frames, state } = region;
    let freed = 0;
    for (let left = frames * ROUNDS; left > 0 && freed < pages && swap.freeSlots > 0; left--) {
      const head = this.#hand;
      this.#hand = head + 1 >= frames ? 0 : head + 1;
      if (state[head] !== FrameState.USED) continue;
      const owner = columns.owner[head];
      const isAnonymous = (region.flags[head] & FrameFlag.ANON) !== 0;
      if (isAnonymous ? columns.mapCount[head] === 0 : owner?.swappedOut === undefined) continue;
      freed += this.#reclaimFolio(head, isAnonymous ? null : owner);
    }
    return freed;
  }

  /** Every check comes before the first change: a folio that stays is as it was. */
  #reclaimFolio(head: number, owner: FolioOwner | null): number {
    const memory = this.#memory;
    const { region, columns, counters } = memory;
    const page = region.firstPage + head;
    if (region.pins[head] > 0) {
      counters.reclaimSkippedPinned++;
      return 0;
    }
    const mapped = columns.mapCount[head];
    const isHeld = region.refs[head] !== mapped + (owner === null ? 0 : owner.ownRefs);
    const isBusy = (region.flags[head] & (FrameFlag.LOCKED | FrameFlag.WRITEBACK)) !== 0;
    const pages = 1 << region.order[head];
    maybe(isHeld, 'reclaim: somebody holds the folio');
    if (isHeld || isBusy || memory.swap.freeSlots < pages || this.#wasAccessed(page)) {
      counters.reclaimKept++;
      return 0;
    }
    if (owner === null) this.#swapOut(head, pages);
    else if (!this.#swapOutShared(page, owner)) return 0;
    counters.reclaimFreed++;
    return pages;
  }

  #wasAccessed(page: number): boolean {
    return clearBitsOfMappings(this.#memory, page, Pte.ACCESSED) !== 0;
  }

  #swapOut(head: number, pages: number): void {
    const { region, columns, counters } = this.#memory;
    const mapped = columns.mapCount[head];
    for (let frame = head; frame < head + pages; frame++) {
      // A page of a larger folio that nobody maps any more takes no slot.
      if (columns.rmapFirst[frame] === NONE) continue;
      this.#swapOutPage(frame);
      counters.swappedOut++;
    }
    columns.mapCount[head] = 0;
    dropReferences(region, head, mapped);
  }

  /** Every entry of the page names the slot instead. */
  #swapOutPage(frame: number): void {
    const { region, columns, rmap, swap, spaces } = this.#memory;
    const slot = swap.store(region.firstPage + frame);
    let isFirst = true;
    for (let row = columns.rmapFirst[frame]; row !== NONE; row = columns.rmapFirst[frame]) {
      const space = spaces[rmap.space[row]] as UserSpace;
      const vpn = rmap.vpn[row];
      rmap.remove(frame, space.id, vpn);
      space.table.set(vpn, slot, Pte.SWAPPED);
      if (!isFirst) swap.acquire(slot);
      isFirst = false;
    }
  }

  #swapOutShared(page: number, owner: FolioOwner): boolean {
    const { swap, counters, region, columns } = this.#memory;
    const slot = swap.store(page);
    if (slot < 0 || owner.swappedOut?.(page, slot) !== true) {
      if (slot >= 0) swap.release(slot);
      return false;
    }
    unmapMappings(this.#memory, page);
    columns.owner[page - region.firstPage] = null;
    counters.swappedOut++;
    dropReferences(region, page - region.firstPage, owner.ownRefs);
    return true;
  }
}
