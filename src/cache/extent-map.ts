import { assert } from '../base/assert.ts';

// Row = one extent of the file, ascending by start.   unit     invariant
//   start    number   block    of the file; rows do not overlap
//   count    number   blocks   > 0
//   device   number   block    of the device under `start`
//   state    number   enum     MAPPED or UNWRITTEN; what no row covers is a hole
//
// Neighbours that could be one row are one row: the next start, the next device block, same state.

/** What stands behind a range of a file. */
export const ExtentState = {
  /** No blocks: reads as zeros. */
  HOLE: 0,
  /** Blocks with the file's bytes. */
  MAPPED: 1,
  /** Blocks that nobody has written since they were allocated: reads as zeros. */
  UNWRITTEN: 2,
} as const;
export type ExtentState = (typeof ExtentState)[keyof typeof ExtentState];

/** The answer of `lookup`: one stretch of the file that is all the same. Blocks. */
export class ExtentRun {
  state: ExtentState = ExtentState.HOLE;
  start = 0;
  /** Infinity for the hole behind the last extent. */
  end = 0;
  /** Device block under `start`; 0 for a hole. */
  device = 0;
}

/**
 * Which blocks of a device a file lies in. Decides nothing and moves no byte.
 * Linux: the extent tree behind struct iomap.
 */
export class ExtentMap {
  readonly #start: number[] = [];
  readonly #count: number[] = [];
  readonly #device: number[] = [];
  readonly #state: ExtentState[] = [];
  #blocks = 0;

  /** Extents. */
  get rows(): number {
    return this.#start.length;
  }

  /** Blocks of the device that the file has. */
  get blocks(): number {
    return this.#blocks;
  }

  /** Fills `run` with the stretch that block `block` of the file lies in, from its very start. */
  lookup(block: number, run: ExtentRun): void {
    const row = this.#rowBefore(block);
    const end = row < 0 ? 0 : this.#end(row);
    if (row >= 0 && block < end) {
      run.state = this.#state[row];
      run.start = this.#start[row];
      run.end = end;
      run.device = this.#device[row];
      return;
    }
    run.state = ExtentState.HOLE;
    run.start = end;
    run.end = row + 1 < this.rows ? this.#start[row + 1] : Number.POSITIVE_INFINITY;
    run.device = 0;
  }

  /** Puts blocks under a hole. Pre: the whole range is one. */
  insert(start: number, count: number, device: number, state: ExtentState): void {
    assert(count > 0 && state !== ExtentState.HOLE, 'extents: insert of nothing');
    const row = this.#rowBefore(start);
    assert(row < 0 || this.#end(row) <= start, 'extents: insert over an extent');
    const isFree = row + 1 >= this.rows || start + count <= this.#start[row + 1];
    assert(isFree, 'extents: insert over the next extent');
    this.#insertRow(row + 1, start, count, device, state);
    this.#blocks += count;
    this.#join(row + 1);
    if (row >= 0) this.#join(row);
  }

  /** The bytes of [start, end) are on the device now. Pre: no hole in it. */
  convert(start: number, end: number): void {
    assert(start < end, 'extents: convert of nothing');
    const first = this.#cut(start);
    const behind = this.#cut(end);
    let at = start;
    for (let row = first; row < behind; row++) {
      assert(this.#start[row] === at, 'extents: convert of a hole');
      this.#state[row] = ExtentState.MAPPED;
      at = this.#end(row);
    }
    assert(at === end, 'extents: convert of a hole');
    for (let row = behind; row >= first - 1; row--) if (row >= 0) this.#join(row);
  }

  /** Makes [start, end) a hole; `freed` hears of each range of device blocks, in file order. */
  remove(start: number, end: number, freed: (device: number, count: number) => void): void {
    if (start >= end) return;
    const first = this.#cut(start);
    const behind = this.#cut(end);
    for (let row = first; row < behind; row++) {
      this.#blocks -= this.#count[row];
      freed(this.#device[row], this.#count[row]);
    }
    const rows = behind - first;
    this.#start.splice(first, rows);
    this.#count.splice(first, rows);
    this.#device.splice(first, rows);
    this.#state.splice(first, rows);
  }

  /** Slow: order, counts, joints, and that no device block is there twice. */
  verify(): void {
    let blocks = 0;
    for (let row = 0; row < this.rows; row++) {
      assert(this.#count[row] > 0, 'extents: an empty row');
      assert(this.#state[row] !== ExtentState.HOLE, 'extents: a hole has a row');
      blocks += this.#count[row];
      if (row === 0) continue;
      assert(this.#end(row - 1) <= this.#start[row], 'extents: rows overlap');
      assert(!this.#isJoint(row - 1), 'extents: two rows that are one');
    }
    assert(blocks === this.#blocks, 'extents: block count is wrong');
    const byDevice = [...this.#device.keys()].sort((a, b) => this.#device[a] - this.#device[b]);
    for (let i = 1; i < byDevice.length; i++) {
      const [a, b] = [byDevice[i - 1], byDevice[i]];
      const isApart = this.#device[a] + this.#count[a] <= this.#device[b];
      assert(isApart, 'extents: a device block has two places');
    }
  }

  #end(row: number): number {
    return this.#start[row] + this.#count[row];
  }

  /** The last row that starts at or before `block`, or -1. */
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

  /** Makes a row end at `block` if one runs over it. The first row that starts at or behind it. */
  #cut(block: number): number {
    const row = this.#rowBefore(block);
    if (row < 0) return 0;
    const kept = block - this.#start[row];
    if (kept === 0) return row;
    const rest = this.#count[row] - kept;
    if (rest <= 0) return row + 1;
    this.#count[row] = kept;
    this.#insertRow(row + 1, block, rest, this.#device[row] + kept, this.#state[row]);
    return row + 1;
  }

  #isJoint(row: number): boolean {
    if (row + 1 >= this.rows) return false;
    return (
      this.#state[row] === this.#state[row + 1] &&
      this.#end(row) === this.#start[row + 1] &&
      this.#device[row] + this.#count[row] === this.#device[row + 1]
    );
  }

  /** Makes `row` and the one behind it one row if they can be. */
  #join(row: number): void {
    if (!this.#isJoint(row)) return;
    this.#count[row] += this.#count[row + 1];
    this.#start.splice(row + 1, 1);
    this.#count.splice(row + 1, 1);
    this.#device.splice(row + 1, 1);
    this.#state.splice(row + 1, 1);
  }

  #insertRow(at: number, start: number, count: number, device: number, state: ExtentState): void {
    this.#start.splice(at, 0, start);
    this.#count.splice(at, 0, count);
    this.#device.splice(at, 0, device);
    this.#state.splice(at, 0, state);
  }
}
