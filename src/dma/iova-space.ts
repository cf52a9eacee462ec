import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { NOT_NOW } from './dma-status.ts';

// Row = one granule of the address space of a device.   unit    invariant
//   freeOrder   Int8     log2    of the free block that starts here, or -1
//   size        Uint32   count   granules of the allocation that starts here, or 0
//   next/prev   Int32    index   free list of its order, or -1
//
// Buddies: a block of order k starts at a multiple of 2^k granules of the whole address space, so
// an allocation of n granules is aligned to the next power of two. That alignment is what keeps a
// short range inside one window of the segment boundary, and starts a long one at a window. What a
// power of two is too much is given back: 5 granules of 8 leave 1 + 2 free.

const NONE = -1;
const ORDER_MAX = 31;

export class IovaSpace {
  /** First granule; the end is `first + granules`. */
  readonly first: number;
  readonly granules: number;
  /** Granules of the largest allocation that an empty space serves. */
  readonly granulesMax: number;
  readonly #freeOrder: Int8Array;
  readonly #size: Uint32Array;
  readonly #next: Int32Array;
  readonly #prev: Int32Array;
  readonly #heads = new Int32Array(ORDER_MAX + 1).fill(NONE);
  #used = 0;

  constructor(first: number, granules: number) {
    assert(first >= 0 && granules > 0, 'iova space: of no granules');
    assert(first + granules < 2 ** 31, 'iova space: a granule number is a small integer');
    this.first = first;
    this.granules = granules;
    this.#freeOrder = new Int8Array(granules).fill(NONE);
    this.#size = new Uint32Array(granules);
    this.#next = new Int32Array(granules);
    this.#prev = new Int32Array(granules);
    this.#give(first, granules);
    let most = ORDER_MAX;
    while (this.#heads[most] === NONE) most--;
    this.granulesMax = 2 ** most;
  }

  /** Granules that are allocated; 0 when nothing is mapped. */
  get usedGranules(): number {
    return this.#used;
  }

  /**
   * First granule of `count` in a row, at a multiple of the next power of two; NOT_NOW when the
   * space is too full, -ENOMEM when it could never be had. Linux: alloc_iova(), size aligned.
   */
  acquire(count: number): number {
    assert(count > 0, 'iova space: an allocation of nothing');
    if (count > this.granulesMax) return -Errno.ENOMEM;
    const order = orderOf(count);
    let from = order;
    while (from <= ORDER_MAX && this.#heads[from] === NONE) from++;
    if (from > ORDER_MAX) return NOT_NOW;
    const start = this.#heads[from];
    this.#unlink(start, from);
    while (from > order) {
      from--;
      this.#push(start + (1 << from), from);
    }
    this.#give(start + count, (1 << order) - count);
    this.#size[start - this.first] = count;
    this.#used += count;
    return start;
  }

  /** Pre: `acquire(count)` returned `start`, and it was not released since. */
  release(start: number, count: number): void {
    const row = start - this.first;
    assert(row >= 0 && row < this.granules, 'iova space: released outside');
    assert(this.#size[row] === count, 'iova space: released twice, or with another size');
    this.#size[row] = 0;
    this.#used -= count;
    this.#give(start, count);
  }

  /** Frees a range as the largest aligned blocks, joined with free neighbours. */
  #give(start: number, count: number): void {
    let at = start;
    let left = count;
    while (left > 0) {
      let order = 31 - Math.clz32(left);
      while (at % (1 << order) !== 0) order--;
      this.#join(at, order);
      at += 1 << order;
      left -= 1 << order;
    }
  }

  #join(start: number, startOrder: number): void {
    const end = this.first + this.granules;
    let at = start;
    let order = startOrder;
    for (;;) {
      const size = 1 << order;
      const twin = at % (2 * size) === 0 ? at + size : at - size;
      if (twin < this.first || twin + size > end) break;
      if (this.#freeOrder[twin - this.first] !== order) break;
      this.#unlink(twin, order);
      if (twin < at) at = twin;
      order++;
    }
    this.#push(at, order);
  }

  #push(start: number, order: number): void {
    const row = start - this.first;
    const head = this.#heads[order];
    this.#freeOrder[row] = order;
    this.#next[row] = head;
    this.#prev[row] = NONE;
    if (head !== NONE) this.#prev[head - this.first] = start;
    this.#heads[order] = start;
  }

  #unlink(start: number, order: number): void {
    const row = start - this.first;
    const next = this.#next[row];
    const prev = this.#prev[row];
    if (prev === NONE) this.#heads[order] = next;
    else this.#next[prev - this.first] = next;
    if (next !== NONE) this.#prev[next - this.first] = prev;
    this.#freeOrder[row] = NONE;
  }
}

/** log2 of the power of two that holds `count`: 5 → 3. */
function orderOf(count: number): number {
  return 32 - Math.clz32(count - 1);
}
