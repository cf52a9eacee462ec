import { assert } from '../../src/base/assert.ts';
import { PAGE_BYTES, pagesSpanned } from '../../src/base/units.ts';
import { unpinPages } from '../../src/memory/holds.ts';
import { BioColumns } from './bio-columns.ts';
import { rowsFor } from './bvec-bio.ts';
import { goesOn } from './bvec-columns.ts';
import {
  BATCH_PAGES,
  type Carrier,
  CarrierCounts,
  type CarrierSetup,
  type DeviceRange,
  SEGMENTS_MAX,
  type Transfer,
} from './carrier.ts';
import { DeviceList } from './device-list.ts';
import { PageArray } from './page-array.ts';
import { RunPool } from './run-pool.ts';

/** How one word of a bvec says a page and whether it is pinned. */
export interface PageTag {
  pack(page: number, isPinned: boolean): number;
  page(word: number): number;
  isPinned(word: number): boolean;
}

/** 2019: bv_pfn, a frame number with flags above it; half of the frames can be named. */
export const PFN_FLAGS: PageTag = {
  pack: (page, isPinned) => (isPinned ? (page | 0x80000000) >>> 0 : page),
  page: (word) => word & 0x7fffffff,
  isPinned: (word) => word >>> 31 !== 0,
};

/** 2019: the low bit of the page pointer, which is even: here the frame number is doubled. */
export const POINTER_BIT: PageTag = {
  pack: (page, isPinned) => (page << 1) | (isPinned ? 1 : 0),
  page: (word) => word >>> 1,
  isPinned: (word) => (word & 1) !== 0,
};

class TaggedColumns {
  readonly word: Uint32Array;
  readonly offset: Uint32Array;
  readonly len: Uint32Array;

  constructor(rows: number) {
    this.word = new Uint32Array(rows);
    this.offset = new Uint32Array(rows);
    this.len = new Uint32Array(rows);
  }
}

/** bvecs that say with the page who holds it. One bio may mix them; every reader unpacks. */
export class TaggedPages implements Carrier {
  readonly counts = new CarrierCounts();
  readonly #tag: PageTag;
  readonly #pages = new PageArray(BATCH_PAGES);
  readonly #bvecs = new TaggedColumns(2 * SEGMENTS_MAX);
  readonly #runs = new RunPool(2 * SEGMENTS_MAX);
  readonly #bios = new BioColumns(2, this.counts);
  readonly #list: DeviceList;
  #bio = -1;

  constructor(setup: CarrierSetup, tag: PageTag) {
    this.#tag = tag;
    this.#list = new DeviceList(setup);
  }

  map(transfer: Transfer): number {
    const rows = rowsFor(transfer);
    const first = this.#runs.acquire(rows);
    this.counts.tables++;
    const bio = this.#bios.acquire(0, first, rows);
    const pages = this.#pages;
    let count = 0;
    pages.start(transfer, false);
    while (pages.next()) count = this.#addPages(first, count, pages);
    this.#bios.vcnt[bio] = count;
    this.#bio = bio;
    if (pages.status < 0) {
      this.#letGo();
      return pages.status;
    }
    return this.#toDevice(first, count);
  }

  unmap(): void {
    this.#list.unmap();
    this.#letGo();
  }

  #addPages(first: number, before: number, pages: PageArray): number {
    const tag = this.#tag;
    const { word, offset: offsets, len: lens } = this.#bvecs;
    const { frames, isUser } = pages;
    let { offset, bytes } = pages;
    let count = before;
    for (let i = 0; i < pages.count; i++) {
      const room = PAGE_BYTES - offset;
      const len = bytes < room ? bytes : room;
      const last = first + count - 1;
      if (count > 0 && this.#joins(last, frames[i], offset, isUser)) {
        lens[last] += len;
      } else {
        assert(last + 1 < word.length, 'tagged pages: more rows than there are');
        word[last + 1] = tag.pack(frames[i], isUser);
        offsets[last + 1] = offset;
        lens[last + 1] = len;
        count++;
      }
      bytes -= len;
      offset = 0;
    }
    return count;
  }

  /** Only what is held in the same way. */
  #joins(last: number, page: number, offset: number, isPinned: boolean): boolean {
    const { word, offset: offsets, len } = this.#bvecs;
    const tag = this.#tag;
    if (tag.isPinned(word[last]) !== isPinned) return false;
    return goesOn(tag.page(word[last]), offsets[last] + len[last], page, offset);
  }

  #toDevice(first: number, count: number): number {
    const { word, offset, len } = this.#bvecs;
    const list = this.#list;
    const tag = this.#tag;
    list.begin();
    for (let row = first; row < first + count; row++) {
      list.add(tag.page(word[row]) * PAGE_BYTES + offset[row], len[row]);
    }
    return list.end();
  }

  #letGo(): void {
    const { word, offset, len } = this.#bvecs;
    const tag = this.#tag;
    const bio = this.#bio;
    const first = this.#bios.first[bio];
    const end = first + this.#bios.vcnt[bio];
    for (let row = first; row < end; row++) {
      if (!tag.isPinned(word[row])) continue;
      const page = tag.page(word[row]) + Math.floor(offset[row] / PAGE_BYTES);
      unpinPages(page, pagesSpanned(offset[row], len[row]));
    }
    this.#runs.release(first, this.#bios.maxVecs[bio]);
    this.#bios.release(bio);
  }

  ranges(): DeviceRange[] {
    return this.#list.ranges();
  }

  lists(): Record<string, object> {
    return {
      'page array': this.#pages,
      bvecs: this.#bvecs,
      bios: this.#bios,
      ranges: this.#list.out,
    };
  }

  assertNothingOutstanding(): void {
    this.#runs.assertFull();
    this.#bios.assertFull();
  }
}
