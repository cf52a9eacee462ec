import { assert } from './assert.ts';

// A tag is slot + generation in one Uint32: slot in the low 20 bits, generation above them.
// The top bit stays clear, because V8 boxes numbers from 2^31 on and the path allocates nothing.
// Releasing bumps the generation, so a stale tag fails loudly instead of naming a stranger.

const TAG_SLOT_BITS = 20;
export const TAG_SLOTS_MAX = 2 ** TAG_SLOT_BITS;
export const TAG_NONE = 0xffffffff;
const SLOT_MASK = TAG_SLOTS_MAX - 1;
const GENERATIONS = 2 ** (31 - TAG_SLOT_BITS);

export function slotOf(tag: number): number {
  return tag & SLOT_MASK;
}

export function generationOf(tag: number): number {
  return tag >>> TAG_SLOT_BITS;
}

/** A bounded set of slots. An empty set is back-pressure, never an error. */
export class Slots {
  readonly capacity: number;
  readonly #free: Uint32Array;
  readonly #generation: Uint16Array;
  readonly #busy: Uint8Array;
  #freeCount: number;

  constructor(capacity: number) {
    // The last slot with the last generation would read as TAG_NONE.
    assert(capacity > 0 && capacity < TAG_SLOTS_MAX, 'slots: capacity outside 1..2^20 - 1');
    this.capacity = capacity;
    this.#free = new Uint32Array(capacity);
    this.#generation = new Uint16Array(capacity);
    this.#busy = new Uint8Array(capacity);
    this.#freeCount = capacity;
    for (let i = 0; i < capacity; i++) this.#free[i] = capacity - 1 - i;
  }

  get busyCount(): number {
    return this.capacity - this.#freeCount;
  }

  /** A tag, or TAG_NONE when every slot is taken. */
  acquire(): number {
    if (this.#freeCount === 0) return TAG_NONE;
    const slot = this.#free[--this.#freeCount] as number;
    assert(this.#busy[slot] === 0, 'slots: a free slot is busy');
    this.#busy[slot] = 1;
    return (((this.#generation[slot] as number) << TAG_SLOT_BITS) | slot) >>> 0;
  }

  /** True while `tag` names a taken slot of its own generation. */
  isLive(tag: number): boolean {
    const slot = slotOf(tag);
    if (slot >= this.capacity || this.#busy[slot] === 0) return false;
    return this.#generation[slot] === generationOf(tag);
  }

  release(tag: number): void {
    assert(this.isLive(tag), 'slots: release of a stale tag');
    const slot = slotOf(tag);
    this.#busy[slot] = 0;
    this.#generation[slot] = ((this.#generation[slot] as number) + 1) % GENERATIONS;
    this.#free[this.#freeCount++] = slot;
  }
}
