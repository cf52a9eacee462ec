import { assert } from '../base/assert.ts';
import { BlockError } from '../base/block-error.ts';
import { formatSize, MIB, PAGE_BYTES } from '../base/units.ts';
import { ArenaBuffer } from './arena-buffer.ts';
import { Buddy, ORDER_MAX } from './buddy.ts';
import { adoptRegion, createRegion, REGION_BYTES_MAX, type Region } from './region.unsafe.ts';

export interface ArenaOptions {
  /** Byte budget, of which whole pages are used. Default 256 MiB, at most 4 GiB. */
  readonly maxBytes?: number;
  /** Named in errors and leak reports. */
  readonly label?: string;
  /** Remember the stack of each `alloc`, so that a leak names its place. Default true. */
  readonly places?: boolean;
}

export interface ArenaStats {
  readonly label: string;
  readonly maxBytes: number;
  /** Bytes of memory that the host has given so far; never given back. */
  readonly presentBytes: number;
  readonly usedBytes: number;
  readonly usedBytesMost: number;
  readonly freeBytes: number;
  readonly pinnedPages: number;
  readonly buffers: number;
  /** By order: how often a folio could not be had although enough frames were free. */
  readonly failuresByOrder: readonly number[];
}

/** The step by which an arena grows: large enough that growth is rare. */
const GROW_BYTES = 4 * MIB;

/**
 * Page frames for a program: memory that is page-aligned, never moves, cannot be detached, and
 * returns to the pool only when its last hold is gone (design D1, D3).
 */
export class Arena {
  readonly label: string;
  readonly maxBytes: number;
  readonly region: Region;
  readonly #buddy: Buddy;
  readonly #places: boolean;
  readonly #buffers = new Set<ArenaBuffer>();
  #usedFrames = 0;
  #usedFramesMost = 0;
  readonly #failures: number[] = new Array(ORDER_MAX + 1).fill(0);

  constructor(options: ArenaOptions = {}) {
    const maxBytes = options.maxBytes ?? 256 * MIB;
    if (!Number.isSafeInteger(maxBytes) || maxBytes < PAGE_BYTES || maxBytes > REGION_BYTES_MAX) {
      const reason = `maxBytes is ${maxBytes}; an arena has 4096 bytes to 4 GiB`;
      throw new BlockError('EINVAL', { reason });
    }
    this.label = options.label ?? 'arena';
    this.maxBytes = maxBytes;
    this.#places = options.places ?? true;
    this.region = createRegion(0, maxBytes);
    this.region.onFree = (head) => this.#freed(head);
    this.#buddy = new Buddy(this.region);
  }

  /** The arena that devices use when none is given. Made on first use. */
  static shared(): Arena {
    sharedArena ??= new Arena({ label: 'shared', maxBytes: 1024 * MIB });
    return sharedArena;
  }

  /**
   * Memory for `bytes`, contiguous and page-aligned, contents as left by its last user.
   * Throws ENOMEM, naming the budget, when there is no room.
   */
  alloc(bytes: number, label = 'buffer'): ArenaBuffer {
    if (!Number.isSafeInteger(bytes) || bytes <= 0) {
      const reason = `cannot allocate ${bytes} bytes; the size must be a positive whole number`;
      throw new BlockError('EINVAL', { reason });
    }
    const frames = Math.ceil(bytes / PAGE_BYTES);
    const first = this.#allocFrames(frames);
    if (first < 0) {
      const reason =
        `no ${formatSize(bytes)} left in arena '${this.label}': ` +
        `${formatSize(this.#usedFrames * PAGE_BYTES)} of ${formatSize(this.maxBytes)} are in use`;
      throw new BlockError('ENOMEM', { reason });
    }
    const place = this.#places ? new Error('acquired here') : null;
    const page = this.region.firstPage + first;
    const buffer = new ArenaBuffer(this.region, page, frames, bytes, label, place, this.#forget);
    this.#buffers.add(buffer);
    return buffer;
  }

  readonly #forget = (buffer: ArenaBuffer): void => {
    this.#buffers.delete(buffer);
  };

  /**
   * Memory of the program that cannot be detached gets frame numbers of its own, until every
   * buffer made of it is released and its last hold is gone.
   */
  adopt(buffer: SharedArrayBuffer, label = 'adopted'): ArenaBuffer {
    const region = adoptRegion(buffer);
    const place = this.#places ? new Error('adopted here') : null;
    const page = region.firstPage;
    const bytes = buffer.byteLength;
    const frames = region.framesMax;
    const adopted = new ArenaBuffer(region, page, frames, bytes, label, place, this.#forget);
    this.#buffers.add(adopted);
    return adopted;
  }

  /**
   * Data plane: one folio of 2^order frames with one reference, or -1 when there is none
   * (back-pressure). Release with `putFolio`.
   */
  getFolio(order: number): number {
    let head = this.#buddy.take(order);
    if (head < 0 && this.#grow(2 ** order)) head = this.#buddy.take(order);
    if (head < 0) {
      if (this.#buddy.freeFrames >= 2 ** order) this.#failures[order]++;
      return -1;
    }
    this.region.refs[head] = 1;
    this.#use(2 ** order);
    return this.region.firstPage + head;
  }

  /** Pre: `page` is the head that `getFolio` returned. Pins may outlive the reference. */
  putFolio(page: number): void {
    dropFolio(this.region, page - this.region.firstPage);
  }

  /** Exactly the folio at `frame`, for replays of recorded physical layouts. False if taken. */
  claimFolio(frame: number, order: number): boolean {
    const end = frame + 2 ** order;
    if (end > this.#buddy.endFrame && !this.#growTo(end)) return false;
    if (!this.#buddy.takeAt(frame, order)) return false;
    this.region.refs[frame] = 1;
    this.#use(2 ** order);
    return true;
  }

  stats(): ArenaStats {
    return {
      label: this.label,
      maxBytes: this.maxBytes,
      presentBytes: this.#buddy.endFrame * PAGE_BYTES,
      usedBytes: this.#usedFrames * PAGE_BYTES,
      usedBytesMost: this.#usedFramesMost * PAGE_BYTES,
      freeBytes: this.#buddy.freeFrames * PAGE_BYTES,
      pinnedPages: this.region.pinnedPages,
      buffers: this.#buffers.size,
      failuresByOrder: [...this.#failures],
    };
  }

  /** The buffers that nobody released, each with who acquired it and where. */
  report(): readonly string[] {
    return [...this.#buffers].map((buffer) => buffer.describe());
  }

  /** Throws ERR_BIOVEC_LEAK when a page is pinned or, unless told otherwise, a buffer is alive. */
  assertNothingOutstanding(options: { readonly buffers?: boolean } = {}): void {
    const lines = options.buffers === false ? [] : [...this.report()];
    if (this.region.pinnedPages !== 0) lines.push(`${this.region.pinnedPages} pages are pinned`);
    const frames = options.buffers === false ? 0 : this.#usedFrames;
    if (frames !== 0 && lines.length === 0) lines.push(`${frames} page frames are in use`);
    if (lines.length === 0) return;
    const reason = `arena '${this.label}' has outstanding holds: ${lines.join('; ')}`;
    throw new BlockError('ERR_BIOVEC_LEAK', { reason });
  }

  /** Releases the address space. Pre: nothing pinned. Views that the program kept stay readable. */
  [Symbol.dispose](): void {
    this.region[Symbol.dispose]();
  }

  #allocFrames(frames: number): number {
    const order = Math.ceil(Math.log2(frames));
    const page = order <= ORDER_MAX ? this.getFolio(order) : -1;
    if (page < 0) return this.#allocRun(frames);
    const head = page - this.region.firstPage;
    this.#trim(head, order, frames);
    return head;
  }

  /** Frames in a row that no single folio serves. */
  #allocRun(frames: number): number {
    let first = this.#buddy.takeRun(frames);
    if (first < 0 && this.#grow(frames)) first = this.#buddy.takeRun(frames);
    if (first < 0) return -1;
    const { refs, order } = this.region;
    for (let head = first; head < first + frames; head += 2 ** order[head]) refs[head] = 1;
    this.#use(frames);
    return first;
  }

  /** Gives back what a power of two is too much: 25 frames of 32 stay as 16 + 8 + 1. */
  #trim(head: number, order: number, frames: number): void {
    let at = head;
    let left = frames;
    for (let k = order; left < 2 ** k; ) {
      this.#buddy.splitFolio(at);
      k--;
      const half = 2 ** k;
      if (left > half) {
        at += half;
        left -= half;
      } else {
        dropFolio(this.region, at + half);
      }
    }
  }

  #use(frames: number): void {
    this.#usedFrames += frames;
    if (this.#usedFrames > this.#usedFramesMost) this.#usedFramesMost = this.#usedFrames;
  }

  #freed(head: number): void {
    this.#usedFrames -= 2 ** (this.region.order[head] as number);
    assert(this.#usedFrames >= 0, 'arena: more frames freed than used');
    this.#buddy.give(head);
  }

  /** Makes room for a folio of `frames`, as far as budget and host allow. True: there is more. */
  #grow(frames: number): boolean {
    const before = this.#buddy.endFrame;
    const spare = Math.max(frames * 2, GROW_BYTES / PAGE_BYTES);
    if (!this.#growTo(before + spare)) this.#growTo(before + frames);
    return this.#buddy.endFrame > before;
  }

  /** Up to `frames` in all, or to the end of the budget. False: there are fewer. */
  #growTo(frames: number): boolean {
    const end = Math.min(frames, Math.floor(this.maxBytes / PAGE_BYTES));
    if (end > this.#buddy.endFrame && this.region.grow(end)) this.#buddy.extend(end);
    return this.#buddy.endFrame >= frames;
  }
}

/** Drops the allocator's own reference on a folio. */
function dropFolio(region: Region, head: number): void {
  const refs = (region.refs[head] as number) - 1;
  assert(refs >= 0, 'arena: folio released twice');
  region.refs[head] = refs;
  if (refs === 0 && region.pins[head] === 0 && region.onFree !== null) region.onFree(head);
}

let sharedArena: Arena | null = null;
