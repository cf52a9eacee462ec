import { assert } from '../../base/assert.ts';
import { PAGE_BYTES } from '../../base/units.ts';

// Leaf = 512 entries, 2 MiB of addresses.   unit    invariant
//   frame   Uint32    index   page frame if PRESENT, swap slot if SWAPPED, else 0
//   bits    Uint8     bits    Pte; 0 = nothing here
//
// Virtual page number = address / 4096, below 2^35: leaf number = page number / 512. Address
// 0x40_3000 is virtual page 0x403, entry 3 of leaf 2.

export const LEAF_SHIFT = 9;
export const LEAF_ENTRIES = 2 ** LEAF_SHIFT;
/** First byte that no program can map: 2^47 - 4096, as on x86-64. */
export const USER_END = 2 ** 47 - PAGE_BYTES;

export const Pte = {
  PRESENT: 1,
  /** The CPU may write. Else a write faults: read-only area, copy-on-write, clean tracking. */
  WRITE: 2,
  /** The CPU wrote since the entry was cleaned. */
  DIRTY: 4,
  ACCESSED: 8,
  /** Maps the zero page or a page without an owner: never counted, pinned or reclaimed. */
  SPECIAL: 16,
  /** Not present: `frame` is a swap slot. */
  SWAPPED: 32,
  /** Present, but made inaccessible to notice the next access (NUMA hinting). */
  HINTED: 64,
} as const;

/** 512 neighbouring entries. Loops over a range hoist `frame` and `bits`. */
export class PageTableLeaf {
  readonly frame = new Uint32Array(LEAF_ENTRIES);
  readonly bits = new Uint8Array(LEAF_ENTRIES);
  /** Entries whose bits are not 0; the leaf goes with the last. */
  used = 0;
}

/** Empty leaves of tables that shrank: mapping and unmapping by turns allocates nothing. */
const spareLeaves: PageTableLeaf[] = [];
const SPARE_LEAVES_MAX = 64;

/** The page table of one address space: virtual page number → frame and bits. */
export class PageTable {
  readonly #leaves = new Map<number, PageTableLeaf>();
  #lastNumber = -1;
  #lastLeaf: PageTableLeaf | null = null;

  /** The leaf of virtual page `vpn`, or null when nothing is mapped in its 2 MiB. */
  leafAt(vpn: number): PageTableLeaf | null {
    const number = Math.floor(vpn / LEAF_ENTRIES);
    if (number === this.#lastNumber) return this.#lastLeaf;
    const leaf = this.#leaves.get(number) ?? null;
    if (leaf !== null) this.#remember(number, leaf);
    return leaf;
  }

  bitsAt(vpn: number): number {
    const leaf = this.leafAt(vpn);
    return leaf === null ? 0 : (leaf.bits[vpn % LEAF_ENTRIES] as number);
  }

  /** Pre: `bitsAt(vpn)` is not 0. */
  frameAt(vpn: number): number {
    const leaf = this.leafAt(vpn);
    assert(leaf !== null, 'page table: nothing mapped there');
    return leaf.frame[vpn % LEAF_ENTRIES] as number;
  }

  /** Writes one entry over whatever was there. Counts and holds are the caller's. */
  set(vpn: number, frame: number, bits: number): void {
    assert(bits !== 0, 'page table: an entry without bits is cleared');
    assert(vpn >= 0 && vpn < USER_END / PAGE_BYTES, 'page table: beyond the user addresses');
    const number = Math.floor(vpn / LEAF_ENTRIES);
    let leaf = this.leafAt(vpn);
    if (leaf === null) {
      leaf = spareLeaves.pop() ?? new PageTableLeaf();
      this.#leaves.set(number, leaf);
      this.#remember(number, leaf);
    }
    const at = vpn % LEAF_ENTRIES;
    if (leaf.bits[at] === 0) leaf.used++;
    leaf.frame[at] = frame;
    leaf.bits[at] = bits;
  }

  /** Changes the bits of an entry. Pre: it is there, and stays there. */
  setBits(vpn: number, bits: number): void {
    const leaf = this.leafAt(vpn);
    assert(leaf !== null && bits !== 0, 'page table: setBits of nothing');
    assert(leaf.bits[vpn % LEAF_ENTRIES] !== 0, 'page table: setBits of nothing');
    leaf.bits[vpn % LEAF_ENTRIES] = bits;
  }

  clear(vpn: number): void {
    const leaf = this.leafAt(vpn);
    if (leaf === null) return;
    const at = vpn % LEAF_ENTRIES;
    if (leaf.bits[at] === 0) return;
    leaf.bits[at] = 0;
    leaf.frame[at] = 0;
    leaf.used--;
    if (leaf.used === 0) this.dropLeaf(Math.floor(vpn / LEAF_ENTRIES));
  }

  /** Forgets leaf `number` if it is empty, after a loop that cleared entries by its columns. */
  dropLeaf(number: number): void {
    const leaf = this.#leaves.get(number);
    if (leaf === undefined || leaf.used > 0) return;
    this.#leaves.delete(number);
    this.#lastNumber = -1;
    this.#lastLeaf = null;
    if (spareLeaves.length < SPARE_LEAVES_MAX) spareLeaves.push(leaf);
  }

  /** Numbers of the leaves that have entries in pages [first, end), ascending. */
  leavesIn(first: number, end: number): number[] {
    const from = Math.floor(first / LEAF_ENTRIES);
    const to = Math.ceil(end / LEAF_ENTRIES);
    const numbers: number[] = [];
    if (to - from <= this.#leaves.size) {
      for (let number = from; number < to; number++) {
        if (this.#leaves.has(number)) numbers.push(number);
      }
      return numbers;
    }
    for (const number of this.#leaves.keys()) {
      if (number >= from && number < to) numbers.push(number);
    }
    return numbers.sort((a, b) => a - b);
  }

  /** Virtual page numbers of all entries, leaf by leaf, ascending. Control plane. */
  *entries(): Generator<number> {
    for (const number of [...this.#leaves.keys()].sort((a, b) => a - b)) {
      const leaf = this.#leaves.get(number);
      if (leaf === undefined) continue;
      for (let at = 0; at < LEAF_ENTRIES; at++) {
        if (leaf.bits[at] !== 0) yield number * LEAF_ENTRIES + at;
      }
    }
  }

  #remember(number: number, leaf: PageTableLeaf): void {
    this.#lastNumber = number;
    this.#lastLeaf = leaf;
  }
}
