import { assert } from '../../base/assert.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { copyBetween } from '../copy.ts';
import { byteAt, createRegion, type Region, regionOf } from '../region.unsafe.ts';

/** Pages of anonymous memory that gave their frame away. A slot counts the entries that name it. */
export class SwapArea {
  readonly slots: number;
  readonly #counts: Int32Array;
  readonly #free: Int32Array;
  #freeCount: number;
  readonly #storage: Region | null;

  constructor(slots: number) {
    this.slots = slots;
    this.#counts = new Int32Array(slots);
    this.#free = new Int32Array(slots);
    this.#freeCount = slots;
    for (let i = 0; i < slots; i++) this.#free[i] = slots - 1 - i;
    const bytes = slots * PAGE_BYTES;
    this.#storage = slots === 0 ? null : createRegion(bytes, bytes, 'storage');
  }

  get freeSlots(): number {
    return this.#freeCount;
  }

  /** Entries that name the slot; 0: it is free. */
  countOf(slot: number): number {
    return this.#counts[slot];
  }

  /** Copies `page` to a free slot, whose count is 1 afterwards. -1: no slot is free. */
  store(page: number): number {
    if (this.#freeCount === 0 || this.#storage === null) return -1;
    const slot = this.#free[--this.#freeCount];
    assert(this.#counts[slot] === 0, 'swap: a free slot is in use');
    this.#counts[slot] = 1;
    copyBetween(this.#storage, slot * PAGE_BYTES, regionOf(page), byteAt(page, 0), PAGE_BYTES);
    return slot;
  }

  /** Fills `page` with the bytes of the slot. */
  load(slot: number, page: number): void {
    assert(this.#storage !== null && this.#counts[slot] > 0, 'swap: load of a free slot');
    copyBetween(regionOf(page), byteAt(page, 0), this.#storage, slot * PAGE_BYTES, PAGE_BYTES);
  }

  /** One more entry names the slot. */
  acquire(slot: number): void {
    assert(this.#counts[slot] > 0, 'swap: acquire of a free slot');
    this.#counts[slot]++;
  }

  release(slot: number): void {
    assert(this.#counts[slot] > 0, 'swap: release of a free slot');
    this.#counts[slot]--;
    if (this.#counts[slot] === 0) this.#free[this.#freeCount++] = slot;
  }

  [Symbol.dispose](): void {
    assert(this.#freeCount === this.slots, 'swap: disposed with slots in use');
    this.#storage?.[Symbol.dispose]();
  }
}
