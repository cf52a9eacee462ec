import { PAGE_BYTES, PAGE_SHIFT } from '../../src/base/units.ts';
import { BioColumns } from './bio-columns.ts';
import { rowsFor } from './bvec-bio.ts';
import { BvecColumns } from './bvec-columns.ts';
import {
  BATCH_PAGES,
  type Carrier,
  CarrierCounts,
  type CarrierSetup,
  type DeviceRange,
  SEGMENTS_MAX,
  type Transfer,
} from './carrier.ts';
import { PageArray } from './page-array.ts';
import { entriesMax, Scatterlist, ScatterlistPool } from './scatterlist.ts';

/** sg_miter for bvecs: pieces that lie in one page each, and as much of each as was consumed. */
class BvecMiter {
  page = 0;
  offset = 0;
  length = 0;
  consumed = 0;
  readonly #bvecs: BvecColumns;
  #row = 0;
  #end = 0;
  /** Bytes of the row that are behind. */
  #done = 0;

  constructor(bvecs: BvecColumns) {
    this.#bvecs = bvecs;
  }

  start(first: number, count: number): void {
    this.#row = first;
    this.#end = first + count;
    this.#done = 0;
    this.length = 0;
    this.consumed = 0;
  }

  next(): boolean {
    const { page, offset, len } = this.#bvecs;
    this.#done += this.consumed;
    if (this.#row < this.#end && this.#done === len[this.#row]) {
      this.#row++;
      this.#done = 0;
    }
    if (this.#row === this.#end) return false;
    const at = offset[this.#row] + this.#done;
    this.page = page[this.#row] + (at >>> PAGE_SHIFT);
    this.offset = at & (PAGE_BYTES - 1);
    const room = PAGE_BYTES - this.offset;
    const rest = len[this.#row] - this.#done;
    this.length = rest < room ? rest : room;
    this.consumed = this.length;
    return true;
  }
}

/**
 * 2009, option 1: bio_vecs everywhere above the driver, with an iterator of mapped pages for them
 * as scatterlists have it. The driver's list is made from what the iterator yields.
 */
export class BvecsWithMiter implements Carrier {
  readonly counts = new CarrierCounts();
  readonly #setup: CarrierSetup;
  readonly #pages = new PageArray(BATCH_PAGES);
  readonly #bvecs = new BvecColumns(2 * SEGMENTS_MAX);
  readonly #miter = new BvecMiter(this.#bvecs);
  readonly #bios = new BioColumns(2, this.counts);
  readonly #sg: Scatterlist;
  #bio = -1;

  constructor(setup: CarrierSetup) {
    this.#setup = setup;
    const { limits, pagesMax } = setup;
    const pool = new ScatterlistPool(entriesMax(pagesMax, limits), this.counts);
    this.#sg = new Scatterlist(pool, limits);
  }

  map(transfer: Transfer): number {
    const status = this.#fill(transfer);
    if (status < 0) {
      this.#letGo();
      return status;
    }
    const bio = this.#bio;
    const sg = this.#sg;
    const miter = this.#miter;
    miter.start(this.#bios.first[bio], this.#bios.vcnt[bio]);
    while (miter.next()) sg.append(miter.page, miter.offset, miter.length);
    sg.end();
    return sg.mapDma(this.#setup.device);
  }

  unmap(): void {
    this.#sg.unmapDma(this.#setup.device);
    this.#sg.release();
    this.#letGo();
  }

  #fill(transfer: Transfer): number {
    const pages = this.#pages;
    const bvecs = this.#bvecs;
    const rows = rowsFor(transfer);
    const first = bvecs.runs.acquire(rows);
    this.counts.tables++;
    const bio = this.#bios.acquire(0, first, rows);
    let count = 0;
    pages.start(transfer, true);
    while (pages.next()) count = bvecs.addPages(first, count, pages);
    this.#bios.vcnt[bio] = count;
    this.#bio = bio;
    return pages.status;
  }

  #letGo(): void {
    const { first, vcnt, maxVecs } = this.#bios;
    const bio = this.#bio;
    this.#bvecs.unpin(first[bio], vcnt[bio]);
    this.#bvecs.runs.release(first[bio], maxVecs[bio]);
    this.#bios.release(bio);
  }

  ranges(): DeviceRange[] {
    return this.#sg.ranges();
  }

  lists(): Record<string, object> {
    return {
      'page array': this.#pages,
      bvecs: this.#bvecs,
      bios: this.#bios,
      sg: this.#sg.pool,
    };
  }

  assertNothingOutstanding(): void {
    this.#sg.pool.assertFull();
    this.#bvecs.runs.assertFull();
    this.#bios.assertFull();
  }
}
