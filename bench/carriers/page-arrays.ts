import { BvecBio } from './bvec-bio.ts';
import type { CarrierSetup, Transfer } from './carrier.ts';
import { PageArray } from './page-array.ts';

/**
 * get_user_pages() into an array of 16, 64 or 256 pages, and from there into bvecs: what each of
 * the callers of 2017 does for itself. Every page has a pin, also those that somebody else keeps
 * alive, so that one release fits all: for mixed I/O this is also "a pin on every page" of 2019.
 */
export class PageArrays extends BvecBio {
  readonly #pages: PageArray;

  constructor(setup: CarrierSetup, batchPages: number) {
    super(setup);
    this.#pages = new PageArray(batchPages);
  }

  protected override fill(transfer: Transfer): number {
    const pages = this.#pages;
    pages.start(transfer, true);
    while (pages.next()) this.count = this.bvecs.addPages(this.first, this.count, pages);
    return pages.status;
  }

  override lists(): Record<string, object> {
    return { 'page array': this.#pages, ...super.lists() };
  }
}
