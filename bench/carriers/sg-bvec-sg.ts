import { BioColumns } from './bio-columns.ts';
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

/**
 * What there was: whoever makes I/O has a scatterlist (SCSI targets, crypto, the sg driver), the
 * block layer wants bio_vecs, and the driver below it a scatterlist again.
 */
export class SgBvecSg implements Carrier {
  readonly counts = new CarrierCounts();
  readonly #setup: CarrierSetup;
  readonly #pages = new PageArray(BATCH_PAGES);
  readonly #upper: Scatterlist;
  readonly #lower: Scatterlist;
  readonly #bvecs = new BvecColumns(2 * SEGMENTS_MAX);
  readonly #bios = new BioColumns(2, this.counts);
  readonly #lowerPool: ScatterlistPool;
  #bio = -1;

  constructor(setup: CarrierSetup) {
    this.#setup = setup;
    const { limits, pagesMax } = setup;
    this.#upper = new Scatterlist(new ScatterlistPool(SEGMENTS_MAX, this.counts), null);
    this.#lowerPool = new ScatterlistPool(entriesMax(pagesMax, limits), this.counts);
    this.#lower = new Scatterlist(this.#lowerPool, limits);
  }

  map(transfer: Transfer): number {
    const upper = this.#upper;
    const pages = this.#pages;
    pages.start(transfer, true);
    while (pages.next()) upper.appendPages(pages);
    upper.end();
    if (pages.status < 0) {
      this.#letGo();
      return pages.status;
    }
    this.#toBio();
    return this.#toDriver();
  }

  unmap(): void {
    this.#lower.unmapDma(this.#setup.device);
    this.#lower.release();
    const bio = this.#bio;
    this.#bvecs.runs.release(this.#bios.first[bio], this.#bios.maxVecs[bio]);
    this.#bios.release(bio);
    this.#letGo();
  }

  /** A bvec for every entry of the upper list. */
  #toBio(): void {
    const upper = this.#upper;
    const { link, offset, length } = upper.pool;
    const bios = this.#bios;
    const first = this.#bvecs.runs.acquire(upper.nents);
    this.counts.tables++;
    const bio = bios.acquire(0, first, upper.nents);
    let count = 0;
    let bytes = 0;
    for (let row = upper.first; row >= 0; row = upper.after(row)) {
      count = this.#bvecs.add(first, count, link[row] >>> 2, offset[row], length[row]);
      bytes += length[row];
    }
    bios.vcnt[bio] = count;
    bios.size[bio] = bytes;
    this.#bio = bio;
  }

  /** blk_rq_map_sg() and dma_map_sg(). */
  #toDriver(): number {
    const lower = this.#lower;
    const bvecs = this.#bvecs;
    const first = this.#bios.first[this.#bio];
    const end = first + this.#bios.vcnt[this.#bio];
    for (let row = first; row < end; row++) {
      lower.append(bvecs.page[row], bvecs.offset[row], bvecs.len[row]);
    }
    lower.end();
    return lower.mapDma(this.#setup.device);
  }

  #letGo(): void {
    this.#upper.unpin();
    this.#upper.release();
  }

  ranges(): DeviceRange[] {
    return this.#lower.ranges();
  }

  lists(): Record<string, object> {
    return {
      'page array': this.#pages,
      'upper sg': this.#upper.pool,
      bvecs: this.#bvecs,
      bios: this.#bios,
      'lower sg': this.#lowerPool,
    };
  }

  assertNothingOutstanding(): void {
    this.#upper.pool.assertFull();
    this.#lowerPool.assertFull();
    this.#bvecs.runs.assertFull();
    this.#bios.assertFull();
  }
}
