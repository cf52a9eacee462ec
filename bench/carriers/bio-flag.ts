import { PAGE_BYTES } from '../../src/base/units.ts';
import { BioColumns, BioMark } from './bio-columns.ts';
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
import { DeviceList } from './device-list.ts';
import { PageArray } from './page-array.ts';

/**
 * 2019, and what Linux has since 6.3: a flag of the bio says that all of its pages are pinned.
 * Pages of a program and of a cache need a bio each; the second is chained to the first.
 */
export class FlagPerBio implements Carrier {
  readonly counts = new CarrierCounts();
  readonly #pages = new PageArray(BATCH_PAGES);
  readonly #bvecs = new BvecColumns(4 * SEGMENTS_MAX);
  readonly #bios = new BioColumns(4, this.counts);
  readonly #list: DeviceList;
  #parent = -1;

  constructor(setup: CarrierSetup) {
    this.#list = new DeviceList(setup);
  }

  map(transfer: Transfer): number {
    const pages = this.#pages;
    const bios = this.#bios;
    const rows = rowsFor(transfer);
    let bio = -1;
    pages.start(transfer, false);
    while (pages.next()) {
      const flags = pages.isUser ? BioMark.PAGE_PINNED : BioMark.NONE;
      if (bio < 0 || bios.flags[bio] !== flags) bio = this.#chain(bio, rows, flags);
      bios.vcnt[bio] = this.#bvecs.addPages(bios.first[bio], bios.vcnt[bio], pages);
      bios.size[bio] += pages.bytes;
    }
    if (pages.status < 0) {
      this.#letGo();
      return pages.status;
    }
    return this.#toDevice();
  }

  unmap(): void {
    this.#list.unmap();
    this.#letGo();
  }

  /** A new bio behind `before`, which ends for both: bio_chain(). */
  #chain(before: number, rows: number, flags: number): number {
    const bios = this.#bios;
    const bio = bios.acquire(0, this.#bvecs.runs.acquire(rows), rows);
    this.counts.tables++;
    bios.flags[bio] = flags;
    if (before < 0) {
      this.#parent = bio;
    } else {
      bios.next[before] = bio;
      bios.sector[bio] = bios.sector[before] + bios.size[before] / 512;
      bios.remaining[this.#parent]++;
    }
    return bio;
  }

  #toDevice(): number {
    const list = this.#list;
    const { first, vcnt, next } = this.#bios;
    const { page, offset, len } = this.#bvecs;
    list.begin();
    for (let bio = this.#parent; bio >= 0; bio = next[bio]) {
      const end = first[bio] + vcnt[bio];
      for (let row = first[bio]; row < end; row++) {
        list.add(page[row] * PAGE_BYTES + offset[row], len[row]);
      }
    }
    return list.end();
  }

  /** Children end first, and then the parent. */
  #letGo(): void {
    const { next, remaining } = this.#bios;
    const parent = this.#parent;
    if (parent < 0) return;
    let child = next[parent];
    while (child >= 0) {
      const behind = next[child];
      remaining[parent]--;
      this.#end(child);
      child = behind;
    }
    this.#end(parent);
    this.#parent = -1;
  }

  #end(bio: number): void {
    const { first, vcnt, maxVecs, flags } = this.#bios;
    if (flags[bio] === BioMark.PAGE_PINNED) this.#bvecs.unpin(first[bio], vcnt[bio]);
    this.#bvecs.runs.release(first[bio], maxVecs[bio]);
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
    this.#bvecs.runs.assertFull();
    this.#bios.assertFull();
  }
}
