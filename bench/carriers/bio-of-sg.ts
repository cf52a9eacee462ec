import { BioColumns } from './bio-columns.ts';
import {
  BATCH_PAGES,
  type Carrier,
  CarrierCounts,
  type CarrierSetup,
  type DeviceRange,
  type Transfer,
} from './carrier.ts';
import { PageArray } from './page-array.ts';
import { entriesMax, Scatterlist, ScatterlistPool } from './scatterlist.ts';

/**
 * 2009, option 2: a bio points at a scatterlist instead of an array of bio_vecs, and the driver
 * maps the same list. Who fills it must know the limits of the device; and a request is one bio,
 * because two lists are no list, and half a list is none either.
 */
export class BioOfSg implements Carrier {
  readonly counts = new CarrierCounts();
  readonly #setup: CarrierSetup;
  readonly #pages = new PageArray(BATCH_PAGES);
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
    const sg = this.#sg;
    const pages = this.#pages;
    pages.start(transfer, true);
    while (pages.next()) sg.appendPages(pages);
    sg.end();
    if (pages.status < 0) {
      this.#letGo();
      return pages.status;
    }
    const bio = this.#bios.acquire(0, sg.first, sg.nents);
    this.#bios.vcnt[bio] = sg.nents;
    this.#bio = bio;
    return sg.mapDma(this.#setup.device);
  }

  unmap(): void {
    this.#sg.unmapDma(this.#setup.device);
    this.#bios.release(this.#bio);
    this.#letGo();
  }

  #letGo(): void {
    this.#sg.unpin();
    this.#sg.release();
  }

  ranges(): DeviceRange[] {
    return this.#sg.ranges();
  }

  lists(): Record<string, object> {
    return { 'page array': this.#pages, bios: this.#bios, sg: this.#sg.pool };
  }

  assertNothingOutstanding(): void {
    this.#sg.pool.assertFull();
    this.#bios.assertFull();
  }
}
