import { AssertionError } from '../../../base/assert.ts';
import { byteAt, FrameFlag, frameOf, regionOf } from '../../../memory/region.unsafe.ts';
import { type Request, SegmentCursor } from '../../../queue/request.ts';
import { isWrite, type PathDisk, requestStart } from './path-disk.ts';
import { OpKind } from './path-op.ts';
import type { PathWorld } from './path-world.ts';

/** What the borrowed pages of a request held when the disk accepted it. */
interface Sums {
  readonly sum: number;
  readonly pinned: boolean;
  readonly deviceReads: number;
}

/**
 * Pages under writeback must not change between the submit and the transfer, unless a device may
 * write to them (then they are pinned): a checksum taken above would not fit.
 */
export class StableWrites {
  /** Reads of devices into memory that ended: each may have changed a pinned page. */
  deviceReads = 0;
  readonly #world: PathWorld;
  readonly #sums = new Map<Request, Sums>();
  readonly #cursor = new SegmentCursor();
  #sum = 0;
  #pinned = false;
  #borrowed = false;

  constructor(world: PathWorld) {
    this.#world = world;
  }

  readonly touched = (disk: PathDisk, request: Request, isMoved: boolean): void => {
    // Raw ranges get pages of programs as they are, which nobody promised to leave alone.
    if (!isWrite(request) || requestStart(request) >= disk.rawStart) return;
    if (!isMoved) {
      this.#world.provenance?.writesBack(request);
      this.#look(request);
      if (!this.#borrowed) return;
      const { deviceReads } = this;
      this.#sums.set(request, { sum: this.#sum, pinned: this.#pinned, deviceReads });
      return;
    }
    const before = this.#sums.get(request);
    if (before === undefined) return;
    this.#sums.delete(request);
    if (before.pinned || before.deviceReads !== this.deviceReads) return;
    const { inFlight } = this.#world.model;
    const isRead = inFlight.some(({ kind, targets }) => {
      return kind === OpKind.READ && targets.some(({ object }) => object.isFile);
    });
    if (isRead) return; // A device may have written to the page and let go of it since.
    this.#look(request);
    if (this.#pinned || this.#sum === before.sum) return;
    this.#world.counts.add('unstable writes');
    const where = `disk ${disk.index}, sector ${request.sector}`;
    throw new AssertionError(`sim: a page changed under writeback (${where})`);
  };

  /** A sum over the borrowed segments, and whether any of their pages is pinned. */
  #look(request: Request): void {
    const cursor = this.#cursor;
    this.#sum = 0;
    this.#pinned = false;
    this.#borrowed = false;
    cursor.start(request);
    while (cursor.next()) {
      const page = cursor.page + Math.floor(cursor.offset / 4096);
      const region = regionOf(page);
      const head = region.head[frameOf(page)];
      if ((region.flags[head] & FrameFlag.WRITEBACK) === 0) continue;
      this.#borrowed = true;
      if (region.pins[head] > 0) this.#pinned = true;
      const at = byteAt(cursor.page, cursor.offset);
      const words = new Int32Array(region.u8.buffer, at - (at % 4), cursor.len >>> 2);
      let sum = this.#sum;
      for (let i = 0; i < words.length; i++) sum = (Math.imul(sum, 31) + words[i]) | 0;
      this.#sum = sum;
    }
  }
}
