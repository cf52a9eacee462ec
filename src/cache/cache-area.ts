import { Errno } from '../base/errno.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { HOLE } from '../iter/page-source.ts';
import { getPages } from '../memory/holds.ts';
import { FrameFlag } from '../memory/region.unsafe.ts';
import {
  type Area,
  type AreaOps,
  FaultFlag,
  type FaultRequest,
  FaultResult,
  type Wait,
} from '../memory/user/area.ts';
import type { UserSpace } from '../memory/user/user-space.ts';
import { reserveFolio } from './buffered-write.ts';
import { CacheTag } from './cache-index.ts';
import type { FileCore } from './file-core.ts';
import { fillCache } from './fill.ts';
import { hasFlag, setFlag } from './folio-flags.ts';

/** Pages that a fault brings in around the one it is about. */
const FAULT_AHEAD_PAGES = 8;

/** Waits until the folio at `index` is neither locked nor, if asked, under writeback. */
class FolioWait implements Wait {
  readonly #file: FileCore;
  readonly #index: number;

  constructor(file: FileCore, index: number) {
    this.#file = file;
    this.#index = index;
  }

  add(wake: () => void): void {
    const { cache, memory, defer } = this.#file;
    const page = cache.pageAt(this.#index);
    if (page !== HOLE && hasFlag(page, FrameFlag.LOCKED)) memory.whenUnlocked(page, wake);
    else if (page !== HOLE && hasFlag(page, FrameFlag.WRITEBACK)) cache.whenWritten(page, wake);
    else defer(wake);
  }
}

/** Pages of a file in the address spaces of programs. Linux: filemap_fault(), page_mkwrite. */
export class CacheArea implements AreaOps {
  /** A writable mapping makes pages dirty without a call: long-term pins for write are refused. */
  readonly tracksDirty = true;
  readonly #file: FileCore;
  /** Areas that map the file now. */
  areas = 0;

  constructor(file: FileCore) {
    this.#file = file;
  }

  get name(): string {
    return `cache of ${this.#file.name}`;
  }

  /** DONE; RETRY while the page is read; -EFAULT behind the end and after an error; -ENOMEM. */
  fault(space: UserSpace, _area: Area, request: FaultRequest): number {
    const file = this.#file;
    const { cache } = file;
    const { index, flags } = request;
    if (index * PAGE_BYTES >= file.size) return -Errno.EFAULT;
    if (!this.#isHere(index)) {
      const isTried = (flags & FaultFlag.TRIED) !== 0;
      if (isTried && this.#hasFailed(index)) return -Errno.EFAULT;
      const error = fillCache(file, index, isTried ? 1 : FAULT_AHEAD_PAGES);
      if (error < 0) return this.#waitForMemory(space, request, error);
      if (!this.#isHere(index)) return retry(space, request, new FolioWait(file, index));
    }
    const page = cache.pageAt(index);
    cache.setTag(index, CacheTag.REFERENCED);
    if (getPages(page, 1) !== 1) return -Errno.ENOMEM;
    file.counters.faults++;
    request.page = page;
    return FaultResult.DONE;
  }

  #isHere(index: number): boolean {
    const { cache } = this.#file;
    return cache.pageAt(index) !== HOLE && cache.hasTag(index, CacheTag.UPTODATE);
  }

  /** The read that the last try waited for has failed. */
  #hasFailed(index: number): boolean {
    const { cache } = this.#file;
    const page = cache.pageAt(index);
    if (page === HOLE || hasFlag(page, FrameFlag.LOCKED)) return false;
    return cache.hasTag(index, CacheTag.FAILED);
  }

  /** A page that a device is reading must not change under it; a full device refuses. */
  pageMkwrite(_space: UserSpace, _area: Area, request: FaultRequest): number {
    const file = this.#file;
    const { cache } = file;
    const { index, page } = request;
    if (index * PAGE_BYTES >= file.size) return -Errno.EFAULT;
    const isBusy =
      cache.pageAt(index) !== page ||
      hasFlag(page, FrameFlag.LOCKED) ||
      (file.hasStablePages && hasFlag(page, FrameFlag.WRITEBACK));
    if (isBusy) {
      request.wait = new FolioWait(file, index);
      return -Errno.EAGAIN;
    }
    if (!reserveFolio(file, index, 0)) return -Errno.ENOSPC;
    setFlag(page, FrameFlag.DIRTY);
    return 0;
  }

  opened(): void {
    this.areas++;
  }

  closed(): void {
    this.areas--;
  }

  /** One transfer in flight may free a frame; a second try says what came of it. */
  #waitForMemory(space: UserSpace, request: FaultRequest, error: number): number {
    const { pressure } = this.#file;
    if (pressure.inFlight === 0 || (request.flags & FaultFlag.TRIED) !== 0) return error;
    const { defer } = this.#file;
    const add = (wake: () => void): void => {
      if (pressure.inFlight > 0) pressure.wait(wake);
      else defer(wake);
    };
    return retry(space, request, { add });
  }
}

/** A handler cannot sleep here: without leave to ask for a retry it has no page to give. */
function retry(space: UserSpace, request: FaultRequest, wait: Wait): number {
  if ((request.flags & FaultFlag.ALLOW_RETRY) === 0) return -Errno.EFAULT;
  request.wait = wait;
  if ((request.flags & FaultFlag.RETRY_NOWAIT) === 0) space.dropLock();
  return FaultResult.RETRY;
}
