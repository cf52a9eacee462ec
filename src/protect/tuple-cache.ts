import { assert } from '../base/assert.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { BioOp } from '../bio/bio-op.ts';
import type { BlockDevice } from '../device/block-device.ts';
import type { ArenaBuffer } from '../memory/arena-buffer.ts';
import { copyPages } from '../memory/copy.ts';
import type { FreshTuples } from './fresh-tuples.ts';
import type { GenerationTable } from './generation-table.ts';
import type { Layout } from './layout.ts';
import { RowTransfer } from './row-transfer.ts';
import { checkOf, generationOf, PageFault, PageMagic, type Seal } from './seal.ts';

// Row = one frame of the cache.   unit      invariant
//   state      Uint8    enum      FrameUse
//   index      Int32    page      of tuples that it holds; -1: none
//   pins       Uint16   requests  that use it; it stays while there are some
//   isDirty    Uint8    bool      newer than the medium; it stays until a commit
//   wasUsed    Uint8    bool      since the hand of the clock came by
//   fault      Uint8    enum      PageFault found when it was read; its tuples are poison then

const FrameUse = { FREE: 0, LOADING: 1, READY: 2, FAILED: 3 } as const;

/** Somebody who waits for pages. */
export interface PageWaiter {
  /** Pages that are still on their way. */
  pagesLoading: number;
  /** 0, or why a page could not be read. */
  pagesStatus: number;
  /** The last one is there. Runs from the loop. */
  pagesReady(): void;
}

export interface TupleCacheOptions {
  readonly layout: Layout;
  readonly seal: Seal;
  readonly table: GenerationTable;
  readonly store: BlockDevice;
  readonly fresh: FreshTuples;
  /** Its frames, one for each page of the cache. */
  readonly memory: ArenaBuffer;
}

/**
 * Tuple pages in memory: a bounded number, read when they are needed, written by a commit. A page
 * that is not the one which the table asks for is not believed: its tuples become poison, which no
 * block fits.
 */
export class TupleCache {
  readonly frames: number;
  /** Frames that a commit must write before they can be used for other pages. */
  dirtyCount = 0;
  /** Pages that were found to be stale, foreign, damaged or missing. */
  readonly badPages = new Map<number, PageFault>();
  readonly #layout: Layout;
  readonly #seal: Seal;
  readonly #table: GenerationTable;
  readonly #store: BlockDevice;
  readonly #fresh: FreshTuples;
  readonly #firstPage: number;
  /** Frame of a tuple page, or -1. */
  readonly #frameOf: Int32Array;
  readonly #state: Uint8Array;
  readonly #index: Int32Array;
  readonly #pins: Uint16Array;
  readonly #isDirty: Uint8Array;
  readonly #wasUsed: Uint8Array;
  readonly #waiters: PageWaiter[][] = [];
  readonly #freeLoads: RowTransfer[] = [];
  #hand = 0;
  #loading = 0;

  constructor(options: TupleCacheOptions) {
    this.#layout = options.layout;
    this.#seal = options.seal;
    this.#table = options.table;
    this.#store = options.store;
    this.#fresh = options.fresh;
    this.#firstPage = options.memory.page;
    this.frames = Math.floor(options.memory.length / PAGE_BYTES);
    this.#frameOf = new Int32Array(options.layout.pages).fill(-1);
    this.#state = new Uint8Array(this.frames);
    this.#index = new Int32Array(this.frames).fill(-1);
    this.#pins = new Uint16Array(this.frames);
    this.#isDirty = new Uint8Array(this.frames);
    this.#wasUsed = new Uint8Array(this.frames);
    for (let i = 0; i < this.frames; i++) this.#waiters.push([]);
  }

  get isIdle(): boolean {
    return this.#loading === 0 && this.#pins.every((count) => count === 0);
  }

  /** Page frame with tuple page `index`, or -1. */
  frameOf(index: number): number {
    const frame = this.#frameOf[index] as number;
    return frame < 0 ? -1 : this.#firstPage + frame;
  }

  isDirty(index: number): boolean {
    const frame = this.#frameOf[index] as number;
    return frame >= 0 && this.#isDirty[frame] === 1;
  }

  /**
   * Pins page `index` for `waiter`, who hears of it by `pagesReady` if it must be read first.
   * False: every frame is in use.
   */
  pin(index: number, waiter: PageWaiter): boolean {
    let frame = this.#frameOf[index] as number;
    if (frame < 0) {
      frame = this.#evict();
      if (frame < 0) return false;
      this.#begin(frame, index);
    }
    this.#pins[frame]++;
    this.#wasUsed[frame] = 1;
    if (this.#state[frame] === FrameUse.FAILED) {
      this.#state[frame] = FrameUse.LOADING; // Tried once more for the next one who asks.
      this.#load(frame);
    }
    if (this.#state[frame] === FrameUse.LOADING) {
      waiter.pagesLoading++;
      (this.#waiters[frame] as PageWaiter[]).push(waiter);
    }
    return true;
  }

  unpin(index: number): void {
    const frame = this.#frameOf[index] as number;
    assert(frame >= 0 && (this.#pins[frame] as number) > 0, 'protect: a page was unpinned twice');
    this.#pins[frame]--;
  }

  /** Pre: pinned and there. */
  markDirty(index: number): void {
    const frame = this.#frameOf[index] as number;
    assert(this.#state[frame] === FrameUse.READY, 'protect: tuples for a page that is not there');
    if (this.#isDirty[frame] === 1) return;
    this.#isDirty[frame] = 1;
    this.dirtyCount++;
  }

  /** Tuples of blocks first … first + count, from `page`, `offset` on, into pinned pages. */
  store(first: number, count: number, page: number, offset: number): void {
    const { tupleBytes, tuplesPerPage } = this.#layout;
    for (let done = 0; done < count; ) {
      const block = first + done;
      const index = this.#layout.pageOf(block);
      const take = Math.min(tuplesPerPage - (block % tuplesPerPage), count - done);
      const to = this.frameOf(index);
      copyPages(
        to,
        this.#layout.tupleAt(block),
        page,
        offset + done * tupleBytes,
        take * tupleBytes,
      );
      this.markDirty(index);
      done += take;
    }
  }

  /** Indexes of dirty pages, ascending. Control plane. */
  dirtyPages(): number[] {
    const list: number[] = [];
    for (let frame = 0; frame < this.frames; frame++) {
      if (this.#isDirty[frame] === 1) list.push(this.#index[frame] as number);
    }
    return list.sort((a, b) => a - b);
  }

  /** A commit wrote page `index`. */
  markClean(index: number): void {
    const frame = this.#frameOf[index] as number;
    assert(frame >= 0 && this.#isDirty[frame] === 1, 'protect: a clean page was written');
    this.#isDirty[frame] = 0;
    this.dirtyCount--;
    this.badPages.delete(index);
  }

  #begin(frame: number, index: number): void {
    this.#frameOf[index] = frame;
    this.#index[frame] = index;
    if (this.#table.generations[index] === 0) {
      this.#fresh.fillPage(this.#firstPage + frame, index);
      this.#state[frame] = FrameUse.READY;
      return;
    }
    this.#state[frame] = FrameUse.LOADING;
    this.#load(frame);
  }

  /** A clean frame that nobody uses, empty; -1: there is none. */
  #evict(): number {
    for (let tries = 0; tries < 2 * this.frames; tries++) {
      const frame = this.#hand;
      this.#hand = frame + 1 === this.frames ? 0 : frame + 1;
      if (this.#state[frame] === FrameUse.FREE) return frame;
      if (this.#pins[frame] !== 0 || this.#isDirty[frame] === 1) continue;
      if (this.#state[frame] === FrameUse.LOADING) continue;
      if (this.#wasUsed[frame] === 1) {
        this.#wasUsed[frame] = 0;
        continue;
      }
      this.#frameOf[this.#index[frame] as number] = -1;
      this.#state[frame] = FrameUse.FREE;
      return frame;
    }
    return -1;
  }

  #load(frame: number): void {
    const index = this.#index[frame] as number;
    const load = this.#freeLoads.pop() ?? new RowTransfer(1, this.#loaded);
    this.#loading++;
    load.owner = frame;
    load.clear();
    load.add(this.#firstPage + frame, 0, PAGE_BYTES);
    const at = this.#layout.tuplePageAt(index, this.#table.slotOf(index));
    load.start(this.#store, BioOp.READ, at);
  }

  readonly #loaded = (load: RowTransfer): void => {
    const frame = load.owner;
    assert(this.#state[frame] === FrameUse.LOADING, 'protect: a page was read twice');
    this.#freeLoads.push(load);
    this.#loading--;
    this.#state[frame] = load.status === 0 ? FrameUse.READY : FrameUse.FAILED;
    if (load.status === 0) this.#judge(frame);
    const waiters = this.#waiters[frame].splice(0);
    for (const waiter of waiters) {
      waiter.pagesLoading--;
      if (load.status !== 0) waiter.pagesStatus = load.status;
      if (waiter.pagesLoading === 0) waiter.pagesReady();
    }
  };

  /** A page that is not the one of the last commit has no say. */
  #judge(frame: number): void {
    const index = this.#index[frame] as number;
    const page = this.#firstPage + frame;
    let fault = this.#seal.checkPage(page, PageMagic.TUPLES, index);
    if (fault === PageFault.NONE) {
      const isCurrent = generationOf(page) === this.#table.generations[index];
      if (!isCurrent || checkOf(page) !== this.#table.checks[index]) fault = PageFault.STALE;
    }
    if (fault === PageFault.NONE) return;
    this.badPages.set(index, fault);
    this.#fresh.poisonPage(page, index);
  }
}
