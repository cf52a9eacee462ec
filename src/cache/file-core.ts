import { assert, unreachable } from '../base/assert.ts';
import { BlockError } from '../base/block-error.ts';
import { Errno } from '../base/errno.ts';
import { PAGE_BYTES, roundUp } from '../base/units.ts';
import { BvecTable } from '../bvec/bvec-table.ts';
import type { BlockDevice, TransferOptions } from '../device/block-device.ts';
import { IovIter, IterDirection } from '../iter/iov-iter.ts';
import type { CopyPolicy } from '../map/verdict.ts';
import { HoldKind } from '../memory/holds.ts';
import type { AreaOps } from '../memory/user/area.ts';
import { BlockAllocator } from './block-allocator.ts';
import { stepRead } from './buffered-read.ts';
import { stepWrite } from './buffered-write.ts';
import { CacheArea } from './cache-area.ts';
import { CacheTag } from './cache-index.ts';
import { CacheIo } from './cache-io.ts';
import type { CacheMemory } from './cache-memory.ts';
import { stepDirectRead } from './direct-read.ts';
import { stepDirectWrite } from './direct-write.ts';
import { ErrorCursor, ErrorSequence } from './error-sequence.ts';
import { ExtentMap, ExtentRun, ExtentState } from './extent-map.ts';
import { FileLock } from './file-lock.ts';
import { type FileEnd, FileOp, FileOpKind } from './file-op.ts';
import { ExtentFileCounters, type ExtentFileOptions } from './file-options.ts';
import { type MemoryPressure, pressureOf } from './memory-pressure.ts';
import { FOLIO_ORDER_MAX, PageCache } from './page-cache.ts';
import { stepAllocate, stepPunchHole, stepTruncate } from './resize.ts';
import { stepSync } from './sync-file.ts';
import { startWriteback } from './writeback.ts';

/** Far beyond any device, and every page number of it a safe integer: 4 PiB. */
export const FILE_BYTES_MAX = 2 ** 52;
/** Zeros that one transfer takes to the device. */
const ZERO_ROWS = 16;

const POLICIES: Readonly<Record<CopyPolicy, TransferOptions>> = {
  auto: { copy: 'auto' },
  never: { copy: 'never' },
  always: { copy: 'always' },
};

/**
 * What all operations on one file share: its parts, the queue of those that can go on, and the
 * pools. Nothing here makes a promise or calls back from inside a call; results are bytes or a
 * negative errno. `ExtentFile` is its face.
 */
export class FileCore {
  readonly device: BlockDevice;
  readonly memory: CacheMemory;
  readonly cache: PageCache;
  readonly extents = new ExtentMap();
  readonly blocks: BlockAllocator;
  readonly lock = new FileLock();
  readonly errors = new ErrorSequence();
  /** Of callers who bring none. */
  readonly errorCursor = new ErrorCursor();
  readonly counters = new ExtentFileCounters();
  readonly pressure: MemoryPressure;
  readonly name: string;
  readonly defer: (run: () => void) => void;
  readonly directIoFault: 'unwritten' | 'zero-fill';
  readonly hasStablePages: boolean;
  readonly wantsStableWrites: boolean;
  readonly folioOrder: number;
  readonly dirtyPagesMax: number;
  /** Bytes. */
  size = 0;
  /** Page behind the last read: one that starts there goes on. */
  readAheadNext = 0;
  opsActive = 0;
  iosActive = 0;
  readonly #area: CacheArea;
  readonly #freeOps: FileOp[] = [];
  readonly #freeIos: CacheIo[] = [];
  /** Two lists by turns; a counter beside them, because a list cut to 0 allocates anew. */
  #ready: FileOp[] = [];
  #running: FileOp[] = [];
  #readyCount = 0;
  #isTurnComing = false;
  #isWriteOutComing = false;
  readonly #zeroTable = new BvecTable(ZERO_ROWS);
  readonly #zeroIter = new IovIter();
  readonly #run = new ExtentRun();
  #onIdle: (() => void) | null = null;

  /** Throws BlockError EINVAL when the device's blocks are larger than a page. */
  constructor(options: ExtentFileOptions) {
    const { device, memory } = options;
    this.name = options.name ?? 'file';
    if (device.limits.logical_block_size > PAGE_BYTES) {
      const reason = `a cached file needs a device whose blocks are at most ${PAGE_BYTES} bytes`;
      throw new BlockError('EINVAL', { reason, device: device.engine.info.target });
    }
    this.device = device;
    this.memory = memory;
    const wholeBlocks = Math.floor(device.engine.sizeBytes() / PAGE_BYTES);
    this.blocks = options.blocks ?? new BlockAllocator(wholeBlocks);
    this.defer = options.defer ?? ((run) => queueMicrotask(run));
    this.directIoFault = options.directIoFault ?? 'unwritten';
    this.hasStablePages = options.stablePages ?? true;
    this.wantsStableWrites = options.stableWrites ?? false;
    this.folioOrder = options.folioOrder ?? 0;
    assert(this.folioOrder <= FOLIO_ORDER_MAX, 'file: folios of at most 2 MiB');
    this.dirtyPagesMax = options.dirtyPagesMax ?? 1024;
    this.pressure = pressureOf(memory);
    for (let row = 0; row < ZERO_ROWS; row++) {
      this.#zeroTable.set(row, memory.zeroPage, 0, PAGE_BYTES, HoldKind.BORROWED);
    }
    if (options.existing !== undefined) this.#adopt(options.existing);
    this.#area = new CacheArea(this);
    this.cache = new PageCache(memory, this);
  }

  #adopt(existing: { readonly block: number; readonly bytes: number }): void {
    const count = Math.ceil(existing.bytes / PAGE_BYTES);
    if (!this.blocks.acquireAt(existing.block, count)) {
      const reason = `blocks ${existing.block} … of '${this.name}' are not free on the device`;
      throw new BlockError('EINVAL', { reason });
    }
    this.extents.insert(0, count, existing.block, ExtentState.MAPPED);
    this.size = existing.bytes;
  }

  /** For mmap: pages of this file. One object for all areas. */
  areaOps(): AreaOps {
    return this.#area;
  }

  /** Areas of programs that map it. */
  get areas(): number {
    return this.#area.areas;
  }

  get isIdle(): boolean {
    return this.opsActive === 0 && this.iosActive === 0 && !this.#isWriteOutComing;
  }

  /**
   * Starts a read or write of `iter.count` bytes at `position`. The caller's cursor is copied.
   * `onEnd` runs later, from the loop: bytes, fewer at the end of the file, a fault or a full
   * device; or a negative errno when there are none.
   */
  startTransfer(
    kind: FileOpKind,
    position: number,
    iter: IovIter,
    copy: CopyPolicy,
    onEnd: FileEnd,
  ): FileOp {
    const isWrite = kind === FileOpKind.WRITE || kind === FileOpKind.DIRECT_WRITE;
    const wanted = isWrite ? IterDirection.SOURCE : IterDirection.DEST;
    assert(kind <= FileOpKind.DIRECT_WRITE, 'file: no transfer');
    assert(iter.direction === wanted, 'file: the iterator points the other way');
    const op = this.#takeOp();
    op.begin(kind, position, position + iter.count);
    op.iter.assign(iter);
    op.copy = copy;
    op.onEnd = onEnd;
    return this.#start(op);
  }

  /** Starts an operation on the range [start, end) of bytes, or of pages for SYNC. */
  startRange(kind: FileOpKind, start: number, end: number, onEnd: FileEnd): FileOp {
    assert(kind >= FileOpKind.SYNC, 'file: no range operation');
    assert(start >= 0 && start <= end, 'file: a range that ends before it starts');
    const op = this.#takeOp();
    op.begin(kind, start, end);
    op.onEnd = onEnd;
    return this.#start(op);
  }

  /** fsync, or msync of pages [first, end). `cursor` is the opener's, or the file's own. */
  startSync(
    onEnd: FileEnd,
    cursor: ErrorCursor | null = null,
    first = 0,
    end = Number.POSITIVE_INFINITY,
  ): FileOp {
    const op = this.startRange(FileOpKind.SYNC, first, end, onEnd);
    op.cursor = cursor;
    return op;
  }

  /** Starts to write everything dirty, without waiting. Not from inside an allocation. */
  writeOut(): void {
    startWriteback(this, 0, Number.POSITIVE_INFINITY, false);
  }

  /** For reclaim, which may be called from anywhere: the same from the loop. */
  writeOutSoon(): void {
    if (this.#isWriteOutComing) return;
    this.#isWriteOutComing = true;
    this.pressure.started();
    this.defer(this.#writeOutNow);
  }

  readonly #writeOutNow = (): void => {
    this.#isWriteOutComing = false;
    this.writeOut();
    this.pressure.ended();
    this.#tellIdle();
  };

  unreserve(blocks: number): void {
    this.blocks.unreserve(blocks);
  }

  /** Gives up what is reserved for pages [first, end). */
  unreservePages(first: number, end: number): void {
    const { cache } = this;
    for (let at = cache.index.next(first); at >= 0 && at < end; at = cache.index.next(at + 1)) {
      if (!cache.hasTag(at, CacheTag.RESERVED)) continue;
      cache.clearTag(at, CacheTag.RESERVED);
      this.blocks.unreserve(1);
    }
  }

  /** Where block `block` of the file would lie best: behind the one before it. */
  goalFor(block: number): number {
    if (block === 0) return 0;
    this.extents.lookup(block - 1, this.#run);
    return this.#run.state === ExtentState.HOLE ? 0 : this.#run.device + block - this.#run.start;
  }

  /** A cursor over at most `bytes` zeros, good until the next call. */
  zeroIter(bytes: number): IovIter {
    const count = Math.min(bytes, ZERO_ROWS * PAGE_BYTES);
    const rows = roundUp(count, PAGE_BYTES) / PAGE_BYTES;
    this.#zeroIter.initBvec(IterDirection.SOURCE, this.#zeroTable, 0, rows, 0, count);
    return this.#zeroIter;
  }

  transferOptions(copy: CopyPolicy): TransferOptions {
    return POLICIES[copy];
  }

  /** An operation that can go on: it runs in the next turn. */
  ready(op: FileOp): void {
    this.#ready[this.#readyCount++] = op;
    if (this.#isTurnComing) return;
    this.#isTurnComing = true;
    this.defer(this.#turn);
  }

  /** Everything that was ready when it began, once: the stack is bounded, and so is the turn. */
  readonly #turn = (): void => {
    this.#isTurnComing = false;
    const batch = this.#ready;
    const count = this.#readyCount;
    this.#ready = this.#running;
    this.#readyCount = 0;
    this.#running = batch;
    for (let i = 0; i < count; i++) {
      const op = batch[i] as FileOp;
      if (op.isRefused || step(op)) this.#end(op);
      else assert(op.isWaiting, 'file: an operation stopped without a wake-up');
    }
  };

  takeIo(): CacheIo {
    this.iosActive++;
    return this.#freeIos.pop() ?? new CacheIo(this);
  }

  giveIo(io: CacheIo): void {
    this.iosActive--;
    this.#freeIos.push(io);
    this.#tellIdle();
  }

  #takeOp(): FileOp {
    this.opsActive++;
    return this.#freeOps.pop() ?? new FileOp(this);
  }

  #start(op: FileOp): FileOp {
    const makesLonger = op.kind === FileOpKind.WRITE || op.kind === FileOpKind.DIRECT_WRITE;
    const isRange = op.kind === FileOpKind.TRUNCATE || op.kind === FileOpKind.ALLOCATE;
    op.isRefused = (makesLonger || isRange) && op.end > FILE_BYTES_MAX;
    if (op.isRefused) op.error = -Errno.EFBIG;
    this.ready(op);
    return op;
  }

  #end(op: FileOp): void {
    assert(!op.isWaiting, 'file: an operation ended while it waits');
    if (op.hasLock) this.lock.release(op);
    const { onEnd } = op;
    assert(onEnd !== null, 'file: nobody waits for the operation');
    op.isActive = false;
    try {
      onEnd(op, op.outcome);
    } finally {
      op.iter.clear();
      op.onEnd = null;
      op.owner = null;
      this.opsActive--;
      this.#freeOps.push(op);
      this.#tellIdle();
    }
  }

  /** Calls `then` when nothing is in flight: now, or later. */
  whenIdle(then: () => void): void {
    assert(this.#onIdle === null, 'file: two wait for the end');
    this.#onIdle = then;
    this.#tellIdle();
  }

  #tellIdle(): void {
    const { isIdle } = this;
    const then = this.#onIdle;
    if (!isIdle || then === null) return;
    this.#onIdle = null;
    then();
  }

  /** Throws ERR_BIOVEC_LEAK unless every operation has ended. */
  assertNothingOutstanding(): void {
    if (this.isIdle && this.lock.isIdle) return;
    const left = `${this.opsActive} operations and ${this.iosActive} transfers of its cache`;
    throw new BlockError('ERR_BIOVEC_LEAK', { reason: `'${this.name}' still has ${left}` });
  }

  /** Slow: map, allocator and cache agree with themselves and each other. */
  verify(): void {
    this.extents.verify();
    this.blocks.verify();
    this.cache.verify();
  }

  /** All blocks go back to the device. Pre: idle. The file is empty then. */
  freeAll(): void {
    assert(this.isIdle, 'file: freed while it is in use');
    for (let at = this.cache.index.next(0); at >= 0; at = this.cache.index.next(0)) {
      this.cache.remove(at);
    }
    const free = (device: number, count: number): void => this.blocks.release(device, count);
    this.extents.remove(0, Number.POSITIVE_INFINITY, free);
    this.size = 0;
  }

  /** Pre: idle. Pages leave the memory, dirty ones are lost; extents stay as they are. */
  [Symbol.dispose](): void {
    this.assertNothingOutstanding();
    this.cache[Symbol.dispose]();
  }
}

/** True: the operation has ended. */
function step(op: FileOp): boolean {
  const { kind } = op;
  switch (kind) {
    case FileOpKind.READ:
      return stepRead(op);
    case FileOpKind.WRITE:
      return stepWrite(op);
    case FileOpKind.DIRECT_READ:
      return stepDirectRead(op);
    case FileOpKind.DIRECT_WRITE:
      return stepDirectWrite(op);
    case FileOpKind.SYNC:
      return stepSync(op);
    case FileOpKind.TRUNCATE:
      return stepTruncate(op);
    case FileOpKind.PUNCH_HOLE:
      return stepPunchHole(op);
    case FileOpKind.ALLOCATE:
      return stepAllocate(op);
    default:
      return unreachable(kind);
  }
}
