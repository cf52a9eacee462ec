import { PAGE_BYTES, SECTOR_BYTES } from '../../src/base/units.ts';
import { unpinPages } from '../../src/memory/holds.ts';
import { BioColumns } from './bio-columns.ts';
import {
  BATCH_PAGES,
  type Carrier,
  CarrierCounts,
  type CarrierSetup,
  type DeviceRange,
  type Transfer,
} from './carrier.ts';
import { DeviceList } from './device-list.ts';
import { PageArray } from './page-array.ts';

/** The vec of each bio, in the bio itself: row i is that of bio i. */
class InlineVecs {
  readonly page: Uint32Array;
  readonly offset: Uint32Array;
  readonly len: Uint32Array;

  constructor(count: number) {
    this.page = new Uint32Array(count);
    this.offset = new Uint32Array(count);
    this.len = new Uint32Array(count);
  }
}

/**
 * The simplest submitter: a bio for each page, and merging is left to the queue, where each bio
 * is tried against the end of the request.
 */
export class OnePageBios implements Carrier {
  readonly counts = new CarrierCounts();
  readonly #pages = new PageArray(BATCH_PAGES);
  readonly #bios: BioColumns;
  readonly #vecs: InlineVecs;
  readonly #list: DeviceList;
  /** The request: its first and last bio. */
  #head = -1;
  #tail = -1;

  constructor(setup: CarrierSetup) {
    this.#bios = new BioColumns(setup.pagesMax, this.counts);
    this.#vecs = new InlineVecs(setup.pagesMax);
    this.#list = new DeviceList(setup);
  }

  map(transfer: Transfer): number {
    const pages = this.#pages;
    let bytes = 0;
    pages.start(transfer, true);
    while (pages.next()) bytes = this.#submitPages(pages, bytes);
    if (pages.status < 0) {
      this.#letGo();
      return pages.status;
    }
    const list = this.#list;
    const { next } = this.#bios;
    const { page, offset, len } = this.#vecs;
    list.begin();
    for (let bio = this.#head; bio >= 0; bio = next[bio]) {
      list.add(page[bio] * PAGE_BYTES + offset[bio], len[bio]);
    }
    return list.end();
  }

  unmap(): void {
    this.#list.unmap();
    this.#letGo();
  }

  #submitPages(pages: PageArray, before: number): number {
    const bios = this.#bios;
    const { page, offset: offsets, len: lens } = this.#vecs;
    let { offset, bytes } = pages;
    let done = before;
    for (let i = 0; i < pages.count; i++) {
      const room = PAGE_BYTES - offset;
      const len = bytes < room ? bytes : room;
      const bio = bios.acquire(done / SECTOR_BYTES, -1, 1);
      page[bio] = pages.frames[i];
      offsets[bio] = offset;
      lens[bio] = len;
      bios.vcnt[bio] = 1;
      bios.size[bio] = len;
      this.#merge(bio);
      done += len;
      bytes -= len;
      offset = 0;
    }
    return done;
  }

  /** bio_attempt_back_merge(): it goes on where the request ends on the device. */
  #merge(bio: number): void {
    const { sector, size, next } = this.#bios;
    const tail = this.#tail;
    if (tail < 0) {
      this.#head = bio;
    } else if (sector[tail] + size[tail] / SECTOR_BYTES === sector[bio]) {
      next[tail] = bio;
    }
    this.#tail = bio;
  }

  #letGo(): void {
    const bios = this.#bios;
    const { page } = this.#vecs;
    let bio = this.#head;
    while (bio >= 0) {
      const next = bios.next[bio];
      unpinPages(page[bio], 1);
      bios.release(bio);
      bio = next;
    }
    this.#head = -1;
    this.#tail = -1;
  }

  ranges(): DeviceRange[] {
    return this.#list.ranges();
  }

  lists(): Record<string, object> {
    return {
      'page array': this.#pages,
      bios: this.#bios,
      'inline vecs': this.#vecs,
      ranges: this.#list.out,
    };
  }

  assertNothingOutstanding(): void {
    this.#bios.assertFull();
  }
}
