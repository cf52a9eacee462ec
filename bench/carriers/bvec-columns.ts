import { assert } from '../../src/base/assert.ts';
import { PAGE_BYTES, pagesSpanned } from '../../src/base/units.ts';
import { unpinPages } from '../../src/memory/holds.ts';
import { REGION_SHIFT } from '../../src/memory/region.unsafe.ts';
import type { DeviceList } from './device-list.ts';
import type { PageArray } from './page-array.ts';
import { RunPool } from './run-pool.ts';

/** bio_vec as it is: page, length, offset, and nothing about who holds the page. */
export class BvecColumns {
  readonly page: Uint32Array;
  readonly offset: Uint32Array;
  readonly len: Uint32Array;
  readonly runs: RunPool;

  constructor(rows: number) {
    this.page = new Uint32Array(rows);
    this.offset = new Uint32Array(rows);
    this.len = new Uint32Array(rows);
    this.runs = new RunPool(rows);
  }

  /**
   * Adds to rows first … first + count, of which the last one grows when the memory goes on there.
   * The new count. Linux: bio_add_page().
   */
  add(first: number, count: number, page: number, offset: number, len: number): number {
    const last = first + count - 1;
    if (count > 0 && goesOn(this.page[last], this.offset[last] + this.len[last], page, offset)) {
      this.len[last] += len;
      return count;
    }
    assert(last + 1 < this.page.length, 'bvecs: more rows than there are');
    this.page[last + 1] = page;
    this.offset[last + 1] = offset;
    this.len[last + 1] = len;
    return count + 1;
  }

  /** All pages of a batch. The new count. */
  addPages(first: number, count: number, pages: PageArray): number {
    const { frames } = pages;
    let { offset, bytes } = pages;
    let rows = count;
    for (let i = 0; i < pages.count; i++) {
      const room = PAGE_BYTES - offset;
      const len = bytes < room ? bytes : room;
      rows = this.add(first, rows, frames[i], offset, len);
      bytes -= len;
      offset = 0;
    }
    return rows;
  }

  toDevice(first: number, count: number, list: DeviceList): number {
    const { page, offset, len } = this;
    list.begin();
    for (let row = first; row < first + count; row++) {
      list.add(page[row] * PAGE_BYTES + offset[row], len[row]);
    }
    return list.end();
  }

  /** Unpins every page under the rows. Linux: bio_release_pages(). */
  unpin(first: number, count: number): void {
    const { page, offset, len } = this;
    for (let row = first; row < first + count; row++) unpinUnder(page[row], offset[row], len[row]);
  }
}

/** True when (page, offset) is the byte at `end` of `last`, in one region. */
export function goesOn(last: number, end: number, page: number, offset: number): boolean {
  if (last >>> REGION_SHIFT !== page >>> REGION_SHIFT) return false;
  return last * PAGE_BYTES + end === page * PAGE_BYTES + offset;
}

export function unpinUnder(page: number, offset: number, len: number): void {
  unpinPages(page + Math.floor(offset / PAGE_BYTES), pagesSpanned(offset, len));
}
