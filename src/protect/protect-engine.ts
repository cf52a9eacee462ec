import { assert } from '../base/assert.ts';
import { BlockError } from '../base/block-error.ts';
import { Errno } from '../base/errno.ts';
import { slotOf } from '../base/slots.ts';
import { PAGE_BYTES, roundUp, SECTOR_BYTES } from '../base/units.ts';
import { BioOp } from '../bio/bio-op.ts';
import { RangeLocks } from '../device/range-locks.ts';
import type { Engine, EngineInfo, Extent } from '../engine/contract.ts';
import { CompletionRing, type Defer } from '../engine/memory/completion-ring.ts';
import { rangeStatus } from '../engine/memory/medium.ts';
import type { ArenaBuffer } from '../memory/arena-buffer.ts';
import type { Request } from '../queue/request.ts';
import type { RequestTable } from '../queue/request-table.ts';
import { protectedExtents } from './extents.ts';
import type { Layout } from './layout.ts';
import { WriteMender } from './mend-write.ts';
import { requestPagesMax } from './protect-limits.ts';
import { ProtectSlot } from './protect-slot.ts';
import type { RecoveryReport } from './recovery.ts';
import { StretchMap } from './stretch-map.ts';
import { FreshBlocks, isUnclosed, StoreState } from './superblock.ts';
import type { TupleStore } from './tuple-store.ts';

/** How a device is left. */
export interface CloseWish {
  /** False: what is in the host's cache stays there, as after the close of a file. */
  readonly isDurable: boolean;
  /** The run of the host, for a close that is not durable. */
  readonly boot: Uint8Array | null;
}

export interface ProtectEngineOptions {
  readonly tuples: TupleStore;
  readonly info: EngineInfo;
  readonly close: CloseWish;
  /** What a recovery found when it was opened; null: none was needed. */
  readonly report: RecoveryReport | null;
  readonly defer: Defer;
  /** After everything is closed: for what the opener made. */
  readonly onClosed?: (() => void) | undefined;
}

/** A log that is so full is emptied: 1 GiB written in order in requests of 1 MiB fills 4.5 MiB. */
const LOG_FULL = 0.75;
/** After a flush so many open stretches are closed by a commit: 1 GiB of reading after a crash. */
const STRETCHES_AFTER_FLUSH = 32;

/** A device with tuples over one that has none; see `docs/protect.md`. */
export class ProtectEngine implements Engine {
  readonly info: EngineInfo;
  readonly tuples: TupleStore;
  readonly layout: Layout;
  readonly stretches: StretchMap;
  readonly recovery: RecoveryReport | null;
  readonly #close: CloseWish;
  readonly #mender: WriteMender;
  readonly #ring: CompletionRing;
  readonly #locks = new RangeLocks<ProtectSlot>();
  readonly #memory: ArenaBuffer;
  readonly #free: ProtectSlot[] = [];
  readonly #active: ProtectSlot[] = [];
  /** Writes that wait for a commit, in order. */
  #parked: ProtectSlot[] = [];
  #table: RequestTable | null = null;
  #writes = 0;
  /** Tuple pages that admitted writes may make dirty. */
  #pagesReserved = 0;
  readonly #dirtyMax: number;
  #wantsCommit = false;
  /** The commit that is under way. */
  #committing: Promise<void> | null = null;
  #isClosed = false;
  readonly #onClosed: (() => void) | undefined;

  constructor(options: ProtectEngineOptions) {
    this.info = options.info;
    this.tuples = options.tuples;
    this.layout = options.tuples.layout;
    this.stretches = new StretchMap(options.tuples);
    this.recovery = options.report;
    this.#close = options.close;
    this.#onClosed = options.onClosed;
    this.#mender = new WriteMender(options.tuples);
    const { depth } = options.info;
    this.#ring = new CompletionRing(depth, options.defer);
    const { layout, tuples } = this;
    const pagesMax = requestPagesMax(layout);
    const { max_sectors } = options.info.limits;
    const blocks = (max_sectors * SECTOR_BYTES) / layout.intervalBytes;
    const slotBytes = roundUp(blocks * layout.tupleBytes, PAGE_BYTES);
    this.#memory = tuples.arena.alloc(depth * slotBytes, 'new tuples');
    for (let i = 0; i < depth; i++) {
      const page = this.#memory.page + (i * slotBytes) / PAGE_BYTES;
      this.#free.push(new ProtectSlot(this, page, pagesMax));
    }
    const { frames } = tuples.cache;
    this.#dirtyMax = frames >= layout.pages ? layout.pages : frames - depth * pagesMax;
    assert(this.#dirtyMax >= Math.min(pagesMax, layout.pages), 'protect: too few pages in memory');
  }

  /** Every block that nobody wrote is zeros, and its tuple says so. */
  get isFresh(): boolean {
    return this.tuples.superblock.fresh === FreshBlocks.ZEROS;
  }

  sizeBytes(): number {
    return this.layout.dataBytes;
  }

  attach(table: RequestTable): void {
    assert(this.#table === null, 'protect: attached twice');
    this.#table = table;
  }

  submit(tags: Uint32Array, first: number, count: number): number {
    const table = this.#table;
    assert(table !== null, 'protect: submit before attach');
    if (this.#isClosed) return -Errno.ENODEV;
    const room = Math.min(this.#free.length, this.#ring.room - this.#active.length);
    const accepted = count < room ? count : Math.max(room, 0);
    for (let i = first; i < first + accepted; i++) {
      const tag = tags[i] as number;
      this.#begin(tag, table.get(tag));
    }
    this.#ring.notify();
    return accepted;
  }

  reap(tags: Uint32Array, max: number): number {
    return this.#ring.drain(tags, max);
  }

  /** What was begun ends by itself. */
  cancel(tag: number): number {
    return this.#active.some((slot) => slot.tag === tag) ? 0 : this.#ring.find(tag);
  }

  arm(wake: () => void): void {
    this.#ring.arm(wake);
  }

  extents(start: number, end: number): AsyncIterable<Extent> {
    return protectedExtents(this.tuples, start, end);
  }

  /** Commits what there is and closes both devices. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    assert(this.#active.length === 0, 'protect: closed with requests in flight');
    this.#isClosed = true;
    const { tuples } = this;
    try {
      await this.#committing;
      const isOurs = isUnclosed(tuples.superblock) && !this.info.limits.read_only;
      if (isOurs && !tuples.isBroken) await this.#commitAtEnd();
    } finally {
      this.#memory.release();
      tuples.release();
      await tuples.data.close();
      await tuples.store.close();
      this.#onClosed?.();
    }
  }

  async #commitAtEnd(): Promise<void> {
    const { isDurable, boot } = this.#close;
    if (isDurable || boot === null) await this.tuples.commit({ state: StoreState.CLEAN });
    else await this.tuples.commit({ state: StoreState.UNFLUSHED, isDurable: false, boot });
  }

  #begin(tag: number, request: Request): void {
    const { info, layout } = this;
    let status = 0;
    let bytes = request.bytes;
    if (request.op === BioOp.READ) {
      bytes = Math.max(Math.min(bytes, layout.dataBytes - request.sector * SECTOR_BYTES), 0);
    } else if (request.op !== BioOp.FLUSH) {
      status = rangeStatus(request, layout.dataBytes, info.limits);
      if (status === 0 && this.tuples.isBroken) status = -Errno.EIO;
    }
    if (status !== 0 || (bytes === 0 && request.op !== BioOp.FLUSH)) {
      this.#finish(tag, status, 0);
      return;
    }
    const slot = this.#free.pop() as ProtectSlot;
    this.#active.push(slot);
    slot.take(tag, request, bytes);
    if (slot.op === BioOp.FLUSH) {
      slot.lsn = this.#floor();
      slot.startFlush();
    } else if (slot.op === BioOp.READ) this.#lock(slot);
    else this.#admit(slot);
  }

  #lock(slot: ProtectSlot): void {
    if (this.#locks.acquire(slot)) slot.granted();
  }

  /** A write goes on when log and cache have room for it; a commit makes some. */
  #admit(slot: ProtectSlot): void {
    if (this.#parked.length > 0 || !this.#hasRoom(slot)) {
      this.#parked.push(slot);
      this.#wantCommit();
      return;
    }
    this.#writes++;
    this.#lock(slot);
  }

  #hasRoom(slot: ProtectSlot): boolean {
    if (this.#wantsCommit) return false;
    const { log, cache } = this.tuples;
    const pages = slot.lastPage - slot.firstPage + 1;
    const isAll = this.#dirtyMax === this.layout.pages;
    if (!isAll && cache.dirtyCount + this.#pagesReserved + pages > this.#dirtyMax) return false;
    const mark = log.costOf(0);
    if (!log.reserve(log.costOf(slot.logPayload) + mark)) return false;
    slot.markReserve = mark;
    this.#pagesReserved += pages;
    return true;
  }

  /** Its stretches are open: what was set aside for a mark is free, unless a mark was written. */
  giveMark(slot: ProtectSlot): void {
    this.tuples.log.reserved -= slot.markReserve;
    slot.markReserve = 0;
  }

  /** A write that did not get its pages or stretches; nothing was sent. */
  refuseWrite(slot: ProtectSlot): void {
    const { log } = this.tuples;
    log.reserved -= log.costOf(slot.logPayload);
    this.complete(slot, slot.pagesStatus, 0);
  }

  /** A write failed: first it is found out what became of its blocks. */
  mendWrite(slot: ProtectSlot): void {
    const status = slot.rows.status !== 0 ? slot.rows.status : slot.logStatus;
    void this.#mender.mend(slot).then(() => this.complete(slot, status, 0));
  }

  /** Everything that was written before this flush began is on the medium. */
  flushed(slot: ProtectSlot): void {
    const { log } = this.tuples;
    log.acked = Math.max(log.acked, slot.lsn);
    this.stretches.isKept = true;
    if (this.stretches.openCount > STRETCHES_AFTER_FLUSH) this.#wantCommit();
  }

  /** The end of every request that had a slot. */
  complete(slot: ProtectSlot, status: number, bytesDone: number): void {
    const at = this.#active.indexOf(slot);
    this.#active[at] = this.#active[this.#active.length - 1] as ProtectSlot;
    this.#active.pop();
    this.#free.push(slot);
    this.#finish(slot.tag, status, bytesDone);
    if (slot.op !== BioOp.FLUSH) {
      const { cache, log } = this.tuples;
      for (let index = slot.firstPage; index <= slot.lastPage; index++) cache.unpin(index);
      if (slot.op !== BioOp.READ) {
        this.#writes--;
        this.#pagesReserved -= slot.lastPage - slot.firstPage + 1;
        if (log.used > LOG_FULL * this.layout.logBytes) this.#wantCommit();
      }
      this.#locks.release(slot, grant);
    }
    if (this.#wantsCommit) this.#commitIfQuiet();
    this.#ring.notify();
  }

  #finish(tag: number, status: number, bytesDone: number): void {
    const table = this.#table as RequestTable;
    table.status[slotOf(tag)] = status;
    table.bytesDone[slotOf(tag)] = bytesDone;
    this.#ring.push(tag);
  }

  /** lsn before which every record belongs to a write that has ended. */
  #floor(): number {
    let floor = this.tuples.log.head;
    for (const slot of this.#active) {
      if (slot.isExclusive && slot.lsn >= 0 && slot.lsn < floor) floor = slot.lsn;
    }
    return floor;
  }

  #wantCommit(): void {
    this.#wantsCommit = true;
    this.#commitIfQuiet();
  }

  /** New writes wait, those that were admitted end, then all tuples go out. Reads go on. */
  #commitIfQuiet(): void {
    if (this.#committing !== null || this.#writes > 0) return;
    this.#committing = this.#commit();
  }

  async #commit(): Promise<void> {
    let isDone = false;
    try {
      await this.tuples.commit({ state: StoreState.OPEN });
      this.stretches.closeAll();
      isDone = true;
    } catch (error) {
      if (!(error instanceof BlockError)) throw error; // A bug. A failure is told to who waits.
    }
    this.#committing = null;
    this.#wantsCommit = false;
    const parked = this.#parked;
    this.#parked = [];
    for (const slot of parked) {
      if (isDone) this.#admit(slot);
      else this.#refuseParked(slot);
    }
    this.#ring.notify();
  }

  #refuseParked(slot: ProtectSlot): void {
    const at = this.#active.indexOf(slot);
    this.#active.splice(at, 1);
    this.#free.push(slot);
    this.#finish(slot.tag, -Errno.EIO, 0);
  }
}

function grant(slot: ProtectSlot): void {
  slot.granted();
}
