import { assert } from '../base/assert.ts';

// Row = one free range of the device, ascending by start.   unit     invariant
//   start   number   block    rows neither overlap nor touch
//   count   number   blocks   > 0

/**
 * Free blocks of one device, for all files on it. A dirty page over a hole *reserves* a block when
 * it becomes dirty, so that writeback, which nobody waits for, does not run out of space.
 * -ENOSPC is told to the one who writes.
 */
export class BlockAllocator {
  readonly blocks: number;
  /** The start of what `acquire` gave last. */
  start = 0;
  readonly #start: number[] = [];
  readonly #count: number[] = [];
  #free = 0;
  #reserved = 0;

  constructor(blocks: number) {
    assert(Number.isSafeInteger(blocks) && blocks >= 0, 'allocator: no whole number of blocks');
    this.blocks = blocks;
    if (blocks > 0) this.release(0, blocks);
  }

  /** Blocks that belong to no file, the reserved ones included. */
  get free(): number {
    return this.#free;
  }

  get reserved(): number {
    return this.#reserved;
  }

  /** False: there are fewer than `blocks` that nobody reserved. */
  reserve(blocks: number): boolean {
    assert(blocks >= 0, 'allocator: reserve of less than nothing');
    if (this.#free - this.#reserved < blocks) return false;
    this.#reserved += blocks;
    return true;
  }

  unreserve(blocks: number): void {
    assert(blocks >= 0 && blocks <= this.#reserved, 'allocator: unreserved twice');
    this.#reserved -= blocks;
  }

  /**
   * Up to `most` blocks in a row, at `goal` if it is free; where they start is in `start`. How
   * many; 0 = no space. With `isReserved` each comes out of a reservation, else what is reserved
   * stays free.
   */
  acquire(most: number, goal: number, isReserved: boolean): number {
    assert(most > 0, 'allocator: acquire of nothing');
    if (isReserved) assert(most <= this.#reserved, 'allocator: more than was reserved');
    const wanted = isReserved ? most : Math.min(most, this.#free - this.#reserved);
    if (wanted <= 0) return 0;
    const row = this.#choose(wanted, goal);
    assert(row >= 0, 'allocator: reserved blocks are missing');
    const isAtGoal = this.#start[row] <= goal && goal < this.#start[row] + this.#count[row];
    const start = isAtGoal ? goal : this.#start[row];
    const count = Math.min(wanted, this.#start[row] + this.#count[row] - start);
    this.#take(row, start, count);
    if (isReserved) this.#reserved -= count;
    this.start = start;
    return count;
  }

  /** Exactly [start, start + count), for a file whose place is given. False: not all free. */
  acquireAt(start: number, count: number): boolean {
    const row = this.#rowBefore(start);
    if (row < 0 || start + count > this.#start[row] + this.#count[row]) return false;
    if (this.#free - this.#reserved < count) return false;
    this.#take(row, start, count);
    return true;
  }

  release(start: number, count: number): void {
    assert(count > 0 && start >= 0 && start + count <= this.blocks, 'allocator: beyond the device');
    const row = this.#rowBefore(start);
    const isFreeBefore = row >= 0 && this.#start[row] + this.#count[row] > start;
    const isFreeBehind = row + 1 < this.#start.length && this.#start[row + 1] < start + count;
    assert(!isFreeBefore && !isFreeBehind, 'allocator: released twice');
    this.#start.splice(row + 1, 0, start);
    this.#count.splice(row + 1, 0, count);
    this.#free += count;
    this.#join(row + 1);
    if (row >= 0) this.#join(row);
  }

  /** Slow: rows in order and apart, counts right. */
  verify(): void {
    let free = 0;
    for (let row = 0; row < this.#start.length; row++) {
      assert(this.#count[row] > 0, 'allocator: an empty row');
      free += this.#count[row];
      if (row === 0) continue;
      const end = this.#start[row - 1] + this.#count[row - 1];
      assert(end < this.#start[row], 'allocator: two rows touch');
    }
    assert(free === this.#free, 'allocator: free count is wrong');
    assert(this.#reserved <= this.#free, 'allocator: more reserved than free');
  }

  /** At the goal, else the first that holds it all, else the longest. */
  #choose(wanted: number, goal: number): number {
    const before = this.#rowBefore(goal);
    if (before >= 0 && goal < this.#start[before] + this.#count[before]) return before;
    let longest = -1;
    for (let row = 0; row < this.#start.length; row++) {
      if (this.#count[row] >= wanted) return row;
      if (longest < 0 || this.#count[row] > this.#count[longest]) longest = row;
    }
    return longest;
  }

  #take(row: number, start: number, count: number): void {
    const end = this.#start[row] + this.#count[row];
    const before = start - this.#start[row];
    const behind = end - start - count;
    this.#free -= count;
    if (before > 0) {
      this.#count[row] = before;
      if (behind === 0) return;
      this.#start.splice(row + 1, 0, end - behind);
      this.#count.splice(row + 1, 0, behind);
    } else if (behind > 0) {
      this.#start[row] = end - behind;
      this.#count[row] = behind;
    } else {
      this.#start.splice(row, 1);
      this.#count.splice(row, 1);
    }
  }

  #rowBefore(block: number): number {
    let low = 0;
    let high = this.#start.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#start[middle] <= block) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #join(row: number): void {
    if (row + 1 >= this.#start.length) return;
    if (this.#start[row] + this.#count[row] !== this.#start[row + 1]) return;
    this.#count[row] += this.#count[row + 1];
    this.#start.splice(row + 1, 1);
    this.#count.splice(row + 1, 1);
  }
}
