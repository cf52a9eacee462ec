// The subjects of `npm run bench -- carriers`: the same I/O through the designs that were argued
// over. None of them is part of the library. Each takes memory of a program (and, for mixed I/O,
// pages of a cache), gives a device its list of ranges, and lets everything go again. They differ
// in what stands between, and all are written as the library is: columns of numbers, pools, no
// allocation of JavaScript objects.

import type { DmaDevice } from '../../src/dma/dma-device.ts';
import type { Limits } from '../../src/limits/limits.ts';
import type { UserSpace } from '../../src/memory/user/user-space.ts';

/** Most entries of any list, and so most segments of one I/O. */
export const SEGMENTS_MAX = 256;
/** Pages that are held in one step where no design argues about it: as many as the library has. */
export const BATCH_PAGES = 256;

/** One write to a device: bytes of a program, and behind them whole pages of a page cache. */
export class Transfer {
  readonly space: UserSpace;
  addr = 0;
  bytes = 0;
  /** Frames of cachePages[cacheFirst …], kept by their owner: nobody has to hold them. */
  readonly cachePages: Uint32Array;
  cacheFirst = 0;
  cacheCount = 0;

  constructor(space: UserSpace, cachePages: Uint32Array) {
    this.space = space;
    this.cachePages = cachePages;
  }
}

/** What every carrier is made with. */
export interface CarrierSetup {
  readonly device: DmaDevice;
  readonly limits: Limits;
  /** Most pages of one transfer: for designs that have an entry or a bio for each. */
  readonly pagesMax: number;
}

/** Taken from pools since the carrier was made. */
export class CarrierCounts {
  bios = 0;
  /** Runs of bvecs, chunks of scatterlists. */
  tables = 0;
}

/** A range as the device sees it. */
export interface DeviceRange {
  readonly address: number;
  readonly bytes: number;
}

/** One design. A transfer at a time, which is what one slot of a driver has. */
export interface Carrier {
  readonly counts: CarrierCounts;
  /**
   * Everything from the program's addresses to what the device reads. How many ranges, or a
   * negative errno, and then nothing is held, mapped or taken.
   */
  map(transfer: Transfer): number;
  /** Lets all of it go. Pre: `map` gave ranges. */
  unmap(): void;
  /** Before anything is measured: what the compiler has to see of this design. */
  warmUp?(transfer: Transfer): void;
  /** What the device has. For who compares; no part of what is measured. */
  ranges(): DeviceRange[];
  /** Objects whose typed arrays are the lists of this design, by name of the list. */
  lists(): Readonly<Record<string, object>>;
  /** Throws when a pool is not full again. */
  assertNothingOutstanding(): void;
}
