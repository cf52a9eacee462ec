import { assert } from '../base/assert.ts';
import { HOLE } from '../iter/page-source.ts';

// Leaf = 64 neighbouring pages of a file.   unit    invariant
//   frame   Uint32   index   page frame where PRESENT, else 0
//   tags    Uint8    bits    CacheTag; 0 = nothing here
//
// Page 130 of a file is entry 2 of leaf 2. Leaves stand in ascending order, so that a walk over a
// range of a sparse file meets the pages that are there, and nothing else.

const LEAF_SHIFT = 6;
const LEAF_ENTRIES = 2 ** LEAF_SHIFT;

export const CacheTag = {
  PRESENT: 1,
  /** The page has a block reserved, because it is dirty over a hole. Of each page. */
  RESERVED: 2,
  // The rest concerns a folio and stands at its first page.
  /** The bytes are the file's. */
  UPTODATE: 4,
  /** The last read failed. */
  FAILED: 8,
  /** Used since reclaim last came by. */
  REFERENCED: 16,
} as const;

class CacheLeaf {
  readonly frame = new Uint32Array(LEAF_ENTRIES);
  readonly tags = new Uint8Array(LEAF_ENTRIES);
  used = 0;
}

/** Page of a file → page frame and tags. Counts and holds are the cache's. Linux: an XArray. */
export class CacheIndex {
  /** Pages that are there. */
  count = 0;
  readonly #numbers: number[] = [];
  readonly #leaves: CacheLeaf[] = [];
  #lastNumber = -1;
  #lastLeaf: CacheLeaf | null = null;

  /** The page frame, or HOLE. */
  pageAt(index: number): number {
    const leaf = this.#leafAt(index);
    if (leaf === null) return HOLE;
    const at = index % LEAF_ENTRIES;
    return leaf.tags[at] === 0 ? HOLE : leaf.frame[at];
  }

  tagsAt(index: number): number {
    const leaf = this.#leafAt(index);
    return leaf === null ? 0 : leaf.tags[index % LEAF_ENTRIES];
  }

  /** Pre: nothing there. */
  insert(index: number, page: number, tags: number): void {
    assert((tags & CacheTag.PRESENT) !== 0, 'cache index: a page without its tag');
    const leaf = this.#leafAt(index) ?? this.#addLeaf(Math.floor(index / LEAF_ENTRIES));
    const at = index % LEAF_ENTRIES;
    assert(leaf.tags[at] === 0, 'cache index: a page is there already');
    leaf.frame[at] = page;
    leaf.tags[at] = tags;
    leaf.used++;
    this.count++;
  }

  /** Another frame for the same page. Pre: one is there. */
  replace(index: number, page: number): void {
    const leaf = this.#leafAt(index);
    assert(leaf !== null && leaf.tags[index % LEAF_ENTRIES] !== 0, 'cache index: nothing there');
    leaf.frame[index % LEAF_ENTRIES] = page;
  }

  setTags(index: number, tags: number): void {
    const leaf = this.#leafAt(index);
    assert(leaf !== null && leaf.tags[index % LEAF_ENTRIES] !== 0, 'cache index: nothing there');
    assert((tags & CacheTag.PRESENT) !== 0, 'cache index: a page without its tag');
    leaf.tags[index % LEAF_ENTRIES] = tags;
  }

  remove(index: number): void {
    const leaf = this.#leafAt(index);
    assert(leaf !== null && leaf.tags[index % LEAF_ENTRIES] !== 0, 'cache index: removed twice');
    leaf.frame[index % LEAF_ENTRIES] = 0;
    leaf.tags[index % LEAF_ENTRIES] = 0;
    leaf.used--;
    this.count--;
    if (leaf.used > 0) return;
    const at = this.#find(Math.floor(index / LEAF_ENTRIES));
    this.#numbers.splice(at, 1);
    this.#leaves.splice(at, 1);
    this.#lastNumber = -1;
    this.#lastLeaf = null;
  }

  /** The first page that is there at or behind `index`, or -1. */
  next(index: number): number {
    const leaf = this.#leafAt(index);
    if (leaf !== null) {
      const { tags } = leaf;
      const first = index - (index % LEAF_ENTRIES);
      for (let i = index % LEAF_ENTRIES; i < LEAF_ENTRIES; i++) {
        if (tags[i] !== 0) return first + i;
      }
    }
    const at = this.#find(Math.floor(index / LEAF_ENTRIES) + 1);
    if (at === this.#leaves.length) return -1;
    const { tags } = this.#leaves[at];
    let i = 0;
    while (tags[i] === 0) i++; // No leaf is empty.
    return this.#numbers[at] * LEAF_ENTRIES + i;
  }

  #leafAt(index: number): CacheLeaf | null {
    const number = Math.floor(index / LEAF_ENTRIES);
    if (number === this.#lastNumber) return this.#lastLeaf;
    const at = this.#find(number);
    if (this.#numbers[at] !== number) return null;
    this.#lastNumber = number;
    this.#lastLeaf = this.#leaves[at];
    return this.#lastLeaf;
  }

  /** Place of the first leaf whose number is at least `number`. */
  #find(number: number): number {
    let low = 0;
    let high = this.#numbers.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#numbers[middle] < number) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #addLeaf(number: number): CacheLeaf {
    const at = this.#find(number);
    const leaf = new CacheLeaf();
    this.#numbers.splice(at, 0, number);
    this.#leaves.splice(at, 0, leaf);
    this.#lastNumber = number;
    this.#lastLeaf = leaf;
    return leaf;
  }
}
