import { PAGE_BYTES } from '../../src/base/units.ts';
import { unpinPages } from '../../src/memory/holds.ts';
import { BvecBio } from './bvec-bio.ts';
import { BATCH_PAGES, type Transfer } from './carrier.ts';
import { PageArray } from './page-array.ts';

/** 0: go on; a negative errno ends the walk. The page is the callback's from then on. */
type PageFn = (page: number, offset: number, len: number, data: PageCallback) => number;

/**
 * The loop of 2017: it alone knows about batches, and a function of the caller hears of each page.
 * Linux: iov_iter_for_each_page() as proposed.
 */
function forEachPage(pages: PageArray, transfer: Transfer, fn: PageFn, data: PageCallback): number {
  pages.start(transfer, true);
  while (pages.next()) {
    const { frames, count } = pages;
    let { offset, bytes } = pages;
    for (let i = 0; i < count; i++) {
      const room = PAGE_BYTES - offset;
      const len = bytes < room ? bytes : room;
      const result = fn(frames[i], offset, len, data);
      if (result < 0) return result;
      bytes -= len;
      offset = 0;
    }
  }
  return pages.status;
}

/** A callback for each page: here the one that adds it to a bio. */
export class PageCallback extends BvecBio {
  readonly #pages = new PageArray(BATCH_PAGES);
  /** What the other callers make of the pages. */
  result = 0;

  protected override fill(transfer: Transfer): number {
    return forEachPage(this.#pages, transfer, addToBio, this);
  }

  add(page: number, offset: number, len: number): void {
    this.count = this.bvecs.add(this.first, this.count, page, offset, len);
  }

  /**
   * The loop is shared by nine callers, so its compiler does not know whom it calls. With one alone
   * V8 would put the callback into the loop, and the design would be measured without its price.
   */
  warmUp(transfer: Transfer): void {
    for (const fn of OTHER_CALLERS) forEachPage(this.#pages, transfer, fn, this);
  }

  override lists(): Record<string, object> {
    return { 'page array': this.#pages, ...super.lists() };
  }
}

/** A full bio would end the walk; here it has rows for every segment. */
const addToBio: PageFn = (page, offset, len, data) => {
  data.add(page, offset, len);
  return 0;
};

/** Bytes, pages, the highest page, whole pages: each lets its page go. */
const OTHER_CALLERS: readonly PageFn[] = [
  (page, _offset, len, data) => {
    data.result += len;
    unpinPages(page, 1);
    return 0;
  },
  (page, _offset, _len, data) => {
    data.result++;
    unpinPages(page, 1);
    return 0;
  },
  (page, _offset, _len, data) => {
    if (page > data.result) data.result = page;
    unpinPages(page, 1);
    return 0;
  },
  (page, offset, len, data) => {
    if (offset === 0 && len === PAGE_BYTES) data.result++;
    unpinPages(page, 1);
    return 0;
  },
  (page, offset, _len, data) => {
    data.result ^= page + offset;
    unpinPages(page, 1);
    return 0;
  },
];
