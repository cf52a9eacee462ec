import { assert } from '../../src/base/assert.ts';
import { Errno } from '../../src/base/errno.ts';
import { PAGE_BYTES } from '../../src/base/units.ts';
import type { Bio } from '../../src/bio/bio.ts';
import { addSegment, releasePages } from '../../src/bio/bio-add.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { BioPool } from '../../src/bio/bio-pool.ts';
import { gatherBio } from '../../src/bio/gather.ts';
import { DmaIter, mapRequest } from '../../src/dma/dma-iter.ts';
import { DmaList } from '../../src/dma/dma-list.ts';
import { IovIter, IterDirection } from '../../src/iter/iov-iter.ts';
import { DEFAULT_PROFILE } from '../../src/limits/profile.ts';
import { HoldKind } from '../../src/memory/holds.ts';
import { Request } from '../../src/queue/request.ts';
import { rowsFor } from './bvec-bio.ts';
import {
  type Carrier,
  CarrierCounts,
  type CarrierSetup,
  type DeviceRange,
  SEGMENTS_MAX,
  type Transfer,
} from './carrier.ts';
import { rangesMax, rangesOf } from './device-list.ts';

/**
 * This project: rows of page, offset, length and hold, filled by the iterator, held by the bio,
 * read by the driver, which writes ranges of the device into a list of its own. Library code only.
 */
export class Columns implements Carrier {
  readonly counts = new CarrierCounts();
  readonly bios = new BioPool({ bios: 2, rows: 2 * SEGMENTS_MAX });
  readonly #setup: CarrierSetup;
  readonly #iter = new IovIter();
  readonly #request = new Request();
  readonly #dma = new DmaIter();
  readonly #out: DmaList;
  #bio: Bio | null = null;

  constructor(setup: CarrierSetup) {
    this.#setup = setup;
    this.#out = new DmaList(rangesMax(setup.pagesMax, setup.limits));
  }

  map(transfer: Transfer): number {
    const bio = this.bios.acquire(BioOp.WRITE, 0, rowsFor(transfer));
    if (bio === null) return -Errno.EAGAIN;
    this.counts.bios++;
    this.counts.tables++;
    this.#bio = bio;
    const status = this.#fill(bio, transfer);
    if (status < 0) {
      this.#letGo();
      return status;
    }
    const request = this.#request;
    const { device, limits } = this.#setup;
    request.start(0, bio, bio.vcnt);
    return mapRequest(this.#dma, device, request, limits, this.#out);
  }

  unmap(): void {
    this.#setup.device.unmap(this.#out);
    this.#letGo();
  }

  /** Pinned rows of the program, and behind them borrowed ones of the cache, in one bio. */
  #fill(bio: Bio, { space, addr, bytes, cachePages, cacheFirst, cacheCount }: Transfer): number {
    const iter = this.#iter;
    iter.initUserRange(IterDirection.SOURCE, space, addr, bytes);
    const result = gatherBio(bio, iter, 1, DEFAULT_PROFILE);
    if (result < 0 || iter.count > 0) return -Errno.EFAULT;
    for (let i = cacheFirst; i < cacheFirst + cacheCount; i++) {
      const added = addSegment(bio, cachePages[i], 0, PAGE_BYTES, HoldKind.BORROWED);
      assert(added > 0, 'columns: more rows than the bio has');
    }
    return 0;
  }

  #letGo(): void {
    const bio = this.#bio as Bio;
    releasePages(bio, false);
    this.bios.release(bio);
    this.#bio = null;
  }

  ranges(): DeviceRange[] {
    return rangesOf(this.#out);
  }

  lists(): Record<string, object> {
    return { rows: this.bios.runs.table, ranges: this.#out };
  }

  assertNothingOutstanding(): void {
    assert(this.bios.busyCount === 0, 'columns: a bio is still out');
  }
}
