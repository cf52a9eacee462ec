import { assert } from '../../src/base/assert.ts';
import { pagesSpanned } from '../../src/base/units.ts';
import { BioColumns } from './bio-columns.ts';
import { BvecColumns } from './bvec-columns.ts';
import {
  type Carrier,
  CarrierCounts,
  type CarrierSetup,
  type DeviceRange,
  SEGMENTS_MAX,
  type Transfer,
} from './carrier.ts';
import { DeviceList } from './device-list.ts';

/**
 * One bio of bvecs that becomes ranges of the device without a scatterlist between. How the bvecs
 * are filled is what the designs differ in: `fill`.
 */
export abstract class BvecBio implements Carrier {
  readonly counts = new CarrierCounts();
  protected readonly bvecs = new BvecColumns(2 * SEGMENTS_MAX);
  readonly #bios = new BioColumns(2, this.counts);
  readonly #list: DeviceList;
  #bio = -1;
  /** Rows of the bio while it is filled. */
  protected first = 0;
  protected count = 0;

  constructor(setup: CarrierSetup) {
    this.#list = new DeviceList(setup);
  }

  /** Adds the transfer to rows first …, with a pin on each page. 0, or a negative errno. */
  protected abstract fill(transfer: Transfer): number;

  map(transfer: Transfer): number {
    const rows = rowsFor(transfer);
    const bios = this.#bios;
    this.first = this.bvecs.runs.acquire(rows);
    this.counts.tables++;
    this.count = 0;
    const bio = bios.acquire(0, this.first, rows);
    const status = this.fill(transfer);
    assert(this.count <= rows, 'bvec bio: more rows than it has');
    bios.vcnt[bio] = this.count;
    this.#bio = bio;
    if (status < 0) {
      this.#letGo();
      return status;
    }
    return this.bvecs.toDevice(bios.first[bio], bios.vcnt[bio], this.#list);
  }

  unmap(): void {
    this.#list.unmap();
    this.#letGo();
  }

  #letGo(): void {
    const { first, vcnt, maxVecs } = this.#bios;
    const bio = this.#bio;
    this.bvecs.unpin(first[bio], vcnt[bio]);
    this.bvecs.runs.release(first[bio], maxVecs[bio]);
    this.#bios.release(bio);
  }

  ranges(): DeviceRange[] {
    return this.#list.ranges();
  }

  lists(): Record<string, object> {
    return { bvecs: this.bvecs, bios: this.#bios, ranges: this.#list.out };
  }

  assertNothingOutstanding(): void {
    this.bvecs.runs.assertFull();
    this.#bios.assertFull();
  }
}

/** Rows for a bio of `transfer`: one a page, up to what a bio may have. */
export function rowsFor({ addr, bytes, cacheCount }: Transfer): number {
  return Math.min(pagesSpanned(addr % 4096, bytes) + cacheCount, SEGMENTS_MAX);
}
