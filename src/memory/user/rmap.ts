import { assert } from '../../base/assert.ts';

// Row = one page table entry that maps a page.   unit    invariant
//   space   Int32     id      of the address space
//   vpn     Float64   pages   virtual page number there; below 2^35
//   next    Int32     row     next entry of the same page, or -1; chains free rows as well
//
// The chain of a page starts at `UserColumns.rmapFirst`. It is as long as the page has entries: 1
// for private memory, 1 for each process after forks.

const NONE = -1;
const ROWS_FIRST = 1024;

/** Which address spaces map a page, and where. Linux: the reverse mapping, mm/rmap.c. */
export class Rmap {
  space = new Int32Array(ROWS_FIRST);
  vpn = new Float64Array(ROWS_FIRST);
  next = new Int32Array(ROWS_FIRST);
  readonly #first: Int32Array;
  #free = NONE;
  #end = 0;
  #used = 0;

  /** `first`: the start of the chain of each frame. */
  constructor(first: Int32Array) {
    this.#first = first;
  }

  /** Entries in all address spaces. */
  get used(): number {
    return this.#used;
  }

  add(frame: number, space: number, vpn: number): void {
    let row = this.#free;
    if (row !== NONE) this.#free = this.next[row];
    else row = this.#append();
    this.space[row] = space;
    this.vpn[row] = vpn;
    this.next[row] = this.#first[frame];
    this.#first[frame] = row;
    this.#used++;
  }

  remove(frame: number, space: number, vpn: number): void {
    const { next } = this;
    let before = NONE;
    let row = this.#first[frame];
    while (row !== NONE && !(this.vpn[row] === vpn && this.space[row] === space)) {
      before = row;
      row = next[row];
    }
    assert(row !== NONE, 'rmap: the page is not mapped there');
    if (before === NONE) this.#first[frame] = next[row];
    else next[before] = next[row];
    next[row] = this.#free;
    this.#free = row;
    this.#used--;
  }

  /** The entry at `from` stands at `to` now. */
  move(frame: number, space: number, from: number, to: number): void {
    let row = this.#first[frame];
    while (row !== NONE && !(this.vpn[row] === from && this.space[row] === space)) {
      row = this.next[row];
    }
    assert(row !== NONE, 'rmap: the page is not mapped there');
    this.vpn[row] = to;
  }

  /** True when exactly one entry maps the page. */
  isMappedOnce(frame: number): boolean {
    const row = this.#first[frame];
    return row !== NONE && this.next[row] === NONE;
  }

  /** The whole chain of `from` becomes that of `to`, which has none. */
  moveChain(from: number, to: number): void {
    assert(this.#first[to] === NONE, 'rmap: the new page is mapped already');
    this.#first[to] = this.#first[from];
    this.#first[from] = NONE;
  }

  #append(): number {
    if (this.#end === this.next.length) {
      const rows = this.#end * 2;
      this.space = grown(new Int32Array(rows), this.space);
      this.vpn = grown(new Float64Array(rows), this.vpn);
      this.next = grown(new Int32Array(rows), this.next);
    }
    return this.#end++;
  }
}

function grown<T extends Int32Array | Float64Array>(to: T, from: T): T {
  to.set(from);
  return to;
}
