import { BlockError } from '../base/block-error.ts';
import { MIB, PAGE_BYTES, roundUp } from '../base/units.ts';
import { BioOp } from '../bio/bio-op.ts';
import { generate } from '../integrity/generate.ts';
import { PiWalk } from '../integrity/pi-walk.ts';
import type { ArenaBuffer } from '../memory/arena-buffer.ts';
import { zeroPages } from '../memory/copy.ts';
import { BlockFit } from './block-fit.ts';
import { blocksOfStretch, CrashLog } from './crash-log.ts';
import { protectedExtents } from './extents.ts';
import { OneRow } from './fresh-tuples.ts';
import type { Layout } from './layout.ts';
import type { LogRecord } from './log-record.ts';
import { PagePins } from './page-pins.ts';
import { RowCalls } from './row-transfer.ts';
import { PageFault } from './seal.ts';
import { StoreState } from './superblock.ts';
import type { TupleStore } from './tuple-store.ts';

/** What a recovery found; blocks are listed up to a bound, and counted without one. */
export interface RecoveryReport {
  /** Stretches that were open. */
  readonly stretches: number;
  /** Records of the log that were whole. */
  readonly records: number;
  /** Holes without tuples are not looked at. */
  readonly blocksChecked: number;
  /** Blocks whose data fits a tuple of the log. */
  readonly settled: number;
  /**
   * Blocks that were written since the last flush and fit none of their tuples: a mixture of two
   * versions, or one whose record was lost with the power. Their data was taken as it is.
   */
  readonly torn: readonly number[];
  readonly tornCount: number;
  /**
   * The same without any record: what was in flight lost it with the power. Their data was taken as
   * it is; damage of the time since the last commit cannot be told from this.
   */
  readonly unlogged: readonly number[];
  readonly unloggedCount: number;
  /**
   * Blocks in open stretches that fit no tuple although every write had a record (`ordered`): bad,
   * as are those whose page of tuples was lost. Reads of them fail.
   */
  readonly bad: readonly number[];
  readonly badCount: number;
  /** Blocks that could not be read. */
  readonly unreadable: number;
}

const LIST_MAX = 1000;
const CHUNK_BYTES = MIB;

/**
 * Makes tuples and data agree again after a power cut or a crash. Only stretches that were open are
 * looked at: everywhere else the last commit is the truth. Where the data of a block fits
 *   1. the newest tuple that the log has for it, or an older one that was not overtaken by a flush,
 *   2. else the tuple of the last commit (or of the last flush),
 * that is the block's tuple. What fits none was in flight, and gets a tuple for what is there.
 */
export class Recovery {
  readonly #tuples: TupleStore;
  readonly #isReadOnly: boolean;
  readonly #calls: RowCalls;
  readonly #storeCalls: RowCalls;
  readonly #fit: BlockFit;
  readonly #pins: PagePins;
  readonly #walk = new PiWalk();
  readonly #dataRow = new OneRow();
  readonly #tupleRow = new OneRow();
  readonly #data: ArenaBuffer;
  /** A tuple page as the last commit left it, and room for one tuple behind it. */
  readonly #base: ArenaBuffer;
  #baseIndex = -1;
  #blocksChecked = 0;
  #settled = 0;
  readonly #torn: number[] = [];
  #tornCount = 0;
  readonly #unlogged: number[] = [];
  #unloggedCount = 0;
  readonly #bad: number[] = [];
  #badCount = 0;
  #unreadable = 0;

  constructor(tuples: TupleStore, isReadOnly: boolean) {
    this.#tuples = tuples;
    this.#isReadOnly = isReadOnly;
    this.#calls = new RowCalls(tuples.data, 1);
    this.#storeCalls = new RowCalls(tuples.store, 1);
    this.#fit = new BlockFit(tuples.layout);
    this.#pins = new PagePins(tuples.cache);
    const pageBytes = tuples.layout.tuplesPerPage * tuples.layout.intervalBytes;
    const bytes = Math.min(roundUp(pageBytes, PAGE_BYTES), 2 * CHUNK_BYTES);
    this.#data = tuples.arena.alloc(bytes, 'data after a crash');
    this.#base = tuples.arena.alloc(2 * PAGE_BYTES, 'tuples before a crash');
  }

  /** Read-only: the result stays in memory, and the medium as it is. */
  async run(): Promise<RecoveryReport> {
    const tuples = this.#tuples;
    const log = await CrashLog.read(tuples);
    try {
      for (const stretch of log.stretches) await this.#mendStretch(log, stretch);
      tuples.log.head = log.end;
      if (!this.#isReadOnly) {
        await tuples.commit({ state: StoreState.CLEAN, isWholeTable: true });
      }
    } finally {
      log.release();
      this.#data.release();
      this.#base.release();
    }
    return {
      stretches: log.stretches.length,
      records: log.records,
      blocksChecked: this.#blocksChecked,
      settled: this.#settled,
      torn: this.#torn,
      tornCount: this.#tornCount,
      unlogged: this.#unlogged,
      unloggedCount: this.#unloggedCount,
      bad: this.#bad,
      badCount: this.#badCount,
      unreadable: this.#unreadable,
    };
  }

  async #mendStretch(log: CrashLog, stretch: number): Promise<void> {
    const { layout, cache } = this.#tuples;
    const [first, end] = blocksOfStretch(this.#tuples, stretch);
    const firstPage = layout.pageOf(first);
    const pages = layout.pageOf(end - 1) - firstPage + 1;
    const isAll = cache.frames === layout.pages;
    if (!isAll && cache.dirtyCount + layout.stretchPages > cache.frames) await this.#makeRoom();
    const records = log.of(stretch);
    const inHole = await this.#pagesInHoles(first, end);
    for (let i = 0; i < pages; i++) {
      if (inHole.has(firstPage + i) && ofPage(records, layout, firstPage + i).length === 0)
        continue;
      await this.#pins.pin(firstPage + i, 1);
      try {
        await this.#mendPage(records, log, firstPage + i);
      } finally {
        this.#pins.unpin(firstPage + i, 1);
      }
    }
  }

  /**
   * Pages of tuples that were never written over data that was never written either: all zeros,
   * which fit. A copy of a sparse image leaves a new store, whose stretches are all open, and most
   * of the image would be read for nothing.
   */
  async #pagesInHoles(first: number, end: number): Promise<ReadonlySet<number>> {
    const { layout, data } = this.#tuples;
    const found = new Set<number>();
    if (data.engine.extents === undefined) return found;
    const { intervalBytes } = layout;
    const extents = protectedExtents(this.#tuples, first * intervalBytes, end * intervalBytes);
    for await (const extent of extents) {
      if (extent.kind === 'data') continue;
      let index = layout.pageOf(Math.floor(extent.start / intervalBytes));
      if (layout.firstBlockOf(index) * intervalBytes < extent.start) index++;
      for (; index < layout.pages; index++) {
        const pageEnd = layout.firstBlockOf(index) + layout.blocksOn(index);
        if (pageEnd * intervalBytes > extent.end) break;
        found.add(index);
      }
    }
    return found;
  }

  /** What is settled is true for good: nobody writes, and a second recovery finds the same. */
  async #makeRoom(): Promise<void> {
    if (this.#isReadOnly) {
      const reason = 'too much was in flight to look at it read-only; open it for writing once';
      throw new BlockError('EROFS', { reason });
    }
    const { state } = this.#tuples; // OPEN or NEW: no more and no less is to be looked at.
    await this.#tuples.commit({ state, isWholeTable: true, keepsLog: true });
  }

  async #mendPage(records: readonly LogRecord[], log: CrashLog, index: number): Promise<void> {
    const { layout, cache } = this.#tuples;
    const first = layout.firstBlockOf(index);
    const count = layout.blocksOn(index);
    const own = ofPage(records, layout, index);
    this.#baseIndex = -1;
    for (const record of own) {
      const from = Math.max(record.first, first);
      const to = Math.min(record.first + record.count, first + count);
      for (let block = from; block < to; block++) {
        log.putTuple(record, block, cache.frameOf(index), layout.tupleAt(block));
      }
    }
    if (own.length > 0) cache.markDirty(index);
    const chunk = Math.floor(this.#data.length / layout.intervalBytes);
    for (let done = 0; done < count; done += chunk) {
      await this.#checkBlocks(own, log, first + done, Math.min(chunk, count - done));
    }
  }

  async #checkBlocks(
    records: readonly LogRecord[],
    log: CrashLog,
    first: number,
    count: number,
  ): Promise<void> {
    const { layout, cache } = this.#tuples;
    if (!(await this.#read(first, count))) {
      if (count === 1) this.#unreadable++;
      else for (let i = 0; i < count; i++) await this.#checkBlocks(records, log, first + i, 1);
      return;
    }
    this.#blocksChecked += count;
    const page = cache.frameOf(layout.pageOf(first));
    for (let done = 0; done < count; ) {
      const block = first + done;
      const at = done * layout.intervalBytes;
      const tupleAt = layout.tupleAt(block);
      done += this.#fit.fitting(block, count - done, this.#data.page, at, page, tupleAt);
      if (done === count) break;
      await this.#settle(records, log, first + done, done * layout.intervalBytes);
      done++;
    }
  }

  #read(first: number, count: number): Promise<boolean> {
    const { intervalBytes } = this.#tuples.layout;
    return this.#calls.canRead(first * intervalBytes, this.#data.page, count * intervalBytes);
  }

  /** A block that does not fit its newest tuple. `dataAt`: its bytes in the buffer. */
  async #settle(
    records: readonly LogRecord[],
    log: CrashLog,
    block: number,
    dataAt: number,
  ): Promise<void> {
    const { layout, cache } = this.#tuples;
    const index = layout.pageOf(block);
    const scratch = this.#base.page + 1;
    let isInFlight = false;
    let isAcked = false;
    for (let i = records.length - 1; i >= 0 && !isAcked; i--) {
      const record = records[i] as LogRecord;
      if (!covers(record, block, block + 1)) continue;
      log.putTuple(record, block, scratch, 0);
      isAcked = record.lsn < log.acked;
      if (!isAcked) isInFlight = true;
      if (this.#takeIfFits(block, dataAt, scratch, 0)) return;
    }
    if (!isAcked) {
      await this.#loadBase(index);
      if (this.#takeIfFits(block, dataAt, this.#base.page, layout.tupleAt(block))) return;
    }
    const fault = cache.badPages.get(index) ?? PageFault.NONE;
    const isTupleLost = fault !== PageFault.NONE && !isAcked;
    if (isInFlight) note(this.#torn, block, ++this.#tornCount);
    else if (isTupleLost || this.#tuples.superblock.isOrdered) {
      note(this.#bad, block, ++this.#badCount);
      return;
    } else note(this.#unlogged, block, ++this.#unloggedCount);
    this.#acceptData(block, dataAt);
  }

  #takeIfFits(block: number, dataAt: number, page: number, offset: number): boolean {
    if (this.#fit.fitting(block, 1, this.#data.page, dataAt, page, offset) === 0) return false;
    this.#tuples.cache.store(block, 1, page, offset);
    this.#settled++;
    return true;
  }

  #acceptData(block: number, dataAt: number): void {
    const { profile, intervalBytes, tupleBytes } = this.#tuples.layout;
    const scratch = this.#base.page + 1;
    zeroPages(scratch, 0, tupleBytes);
    const data = this.#dataRow.rows(this.#data.page, dataAt, intervalBytes);
    this.#walk.startSeparate(profile, data, this.#tupleRow.rows(scratch, 0, tupleBytes));
    generate(this.#walk, profile, block);
    this.#tuples.cache.store(block, 1, scratch, 0);
  }

  /** The page as the last commit left it: the cache has newer tuples in it. */
  async #loadBase(index: number): Promise<void> {
    if (this.#baseIndex === index) return;
    const { table, layout, fresh, cache } = this.#tuples;
    const { page } = this.#base;
    if (table.generations[index] === 0) fresh.fillPage(page, index);
    else if (cache.badPages.has(index)) fresh.poisonPage(page, index);
    else {
      const at = layout.tuplePageAt(index, table.slotOf(index));
      await this.#storeCalls.pages(BioOp.READ, at, page, 1);
    }
    this.#baseIndex = index;
  }
}

function ofPage(records: readonly LogRecord[], layout: Layout, index: number): LogRecord[] {
  const first = layout.firstBlockOf(index);
  const end = first + layout.blocksOn(index);
  return records.filter((record) => covers(record, first, end));
}

function covers(record: LogRecord, first: number, end: number): boolean {
  return record.first < end && first < record.first + record.count;
}

function note(list: number[], block: number, count: number): void {
  if (count <= LIST_MAX) list.push(block);
}
