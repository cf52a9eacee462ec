import { assert } from '../base/assert.ts';
import { SECTOR_BYTES } from '../base/units.ts';
import { BioOp } from '../bio/bio-op.ts';
import { BvecTable } from '../bvec/bvec-table.ts';
import type { RangeHolder } from '../device/range-locks.ts';
import { copyPages } from '../memory/copy.ts';
import { HoldKind } from '../memory/holds.ts';
import { MetadataCursor } from '../queue/metadata-cursor.ts';
import { type Request, SegmentCursor } from '../queue/request.ts';
import type { LogWaiter } from './intent-log.ts';
import { RecordKind } from './log-record.ts';
import type { ProtectEngine } from './protect-engine.ts';
import { RowTransfer } from './row-transfer.ts';
import type { StretchWaiter } from './stretch-map.ts';
import type { PageWaiter } from './tuple-cache.ts';

/** Segments of one request. */
export const SLOT_SEGMENTS_MAX = 256;

const cursor = new SegmentCursor();
const metadata = new MetadataCursor();

/**
 * One request at work. A read: pages of tuples and data at once. A write: its place in the log and
 * in the open stretches, then log and data at once, then the tuples into the cache; until then
 * nobody else reads or writes these blocks.
 */
export class ProtectSlot implements RangeHolder, PageWaiter, LogWaiter, StretchWaiter {
  readonly engine: ProtectEngine;
  tag = 0;
  op: BioOp = BioOp.READ;
  request: Request | null = null;
  isFua = false;
  /** Blocks. */
  first = 0;
  count = 0;
  /** Bytes of the request that lie on the device. */
  bytes = 0;
  isExclusive = false;
  lockStart = 0;
  lockEnd = 0;
  pagesLoading = 0;
  pagesStatus = 0;
  lsn = -1;
  /** Bytes of the log that are set aside for a stretch's mark. */
  markReserve = 0;
  logStatus = 0;
  /** The data, and for a flush the data's device. */
  readonly rows: RowTransfer;
  /** New tuples of a write, in frames of the engine's. */
  readonly tuplePage: number;
  readonly #storeFlush: RowTransfer;
  readonly #pageRows: BvecTable;
  /** Events that are still to come before the next step. */
  #waits = 0;
  #isStarted = false;
  #isDataSent = false;

  constructor(engine: ProtectEngine, tuplePage: number, pagesMax: number) {
    this.engine = engine;
    this.tuplePage = tuplePage;
    this.rows = new RowTransfer(SLOT_SEGMENTS_MAX, () => this.#came());
    this.#storeFlush = new RowTransfer(1, () => this.#came());
    this.#pageRows = new BvecTable(pagesMax);
  }

  get isRead(): boolean {
    return this.op === BioOp.READ;
  }

  get firstPage(): number {
    return this.engine.layout.pageOf(this.first);
  }

  get lastPage(): number {
    return this.engine.layout.pageOf(this.first + this.count - 1);
  }

  get firstStretch(): number {
    return this.engine.layout.stretchOf(this.first);
  }

  get lastStretch(): number {
    return this.engine.layout.stretchOf(this.first + this.count - 1);
  }

  get logKind(): RecordKind {
    if (this.op === BioOp.WRITE) return RecordKind.TUPLES;
    return this.op === BioOp.WRITE_ZEROES ? RecordKind.ZEROES : RecordKind.UNCHECKED;
  }

  get logFirst(): number {
    return this.first;
  }

  get logCount(): number {
    return this.count;
  }

  get logPage(): number {
    return this.tuplePage;
  }

  get logPayload(): number {
    return this.op === BioOp.WRITE ? this.count * this.engine.layout.tupleBytes : 0;
  }

  get logDurable(): boolean {
    return this.isFua || this.engine.tuples.isOrdered;
  }

  /** Takes a request over, of which `bytes` lie on the device. */
  take(tag: number, request: Request, bytes: number): void {
    const { layout } = this.engine;
    this.tag = tag;
    this.op = request.op;
    this.request = request;
    this.isFua = request.isFua;
    this.bytes = bytes;
    this.first = (request.sector * SECTOR_BYTES) / layout.intervalBytes;
    this.count = bytes / layout.intervalBytes;
    this.isExclusive = this.op !== BioOp.READ;
    this.lockStart = this.first;
    this.lockEnd = this.first + this.count;
    this.pagesLoading = 0;
    this.pagesStatus = 0;
    this.lsn = -1;
    this.logStatus = 0;
    this.#isStarted = false;
    this.#isDataSent = false;
    this.rows.clear();
    if (this.op !== BioOp.READ && this.op !== BioOp.WRITE) {
      this.rows.bytes = bytes;
      return;
    }
    cursor.start(request);
    for (let left = bytes; left > 0; ) {
      assert(cursor.next(), 'protect: fewer segments than bytes');
      const len = cursor.len < left ? cursor.len : left;
      this.rows.add(cursor.page, cursor.offset, len);
      left -= len;
    }
  }

  startFlush(): void {
    this.#waits = 2;
    this.#isStarted = true;
    this.rows.start(this.engine.tuples.data, BioOp.FLUSH, 0);
    this.#storeFlush.start(this.engine.tuples.store, BioOp.FLUSH, 0);
  }

  /** Has its range. */
  granted(): void {
    const { cache, data } = this.engine.tuples;
    this.#waits = 1; // Ours: nothing goes on before this function ends.
    for (let index = this.firstPage; index <= this.lastPage; index++) {
      assert(cache.pin(index, this), 'protect: more requests than pages in memory');
    }
    if (this.pagesLoading > 0) this.#waits++;
    if (this.isRead) {
      this.#isStarted = true;
      this.#waits++;
      this.rows.start(data, BioOp.READ, this.first * this.engine.layout.intervalBytes);
    } else if (this.engine.stretches.open(this)) {
      this.engine.giveMark(this);
    } else {
      this.#waits++;
    }
    this.#came();
  }

  pagesReady(): void {
    this.#came();
  }

  stretchesOpen(status: number): void {
    this.engine.giveMark(this);
    if (status !== 0) this.pagesStatus = status;
    this.#came();
  }

  logWritten(status: number): void {
    this.logStatus = status;
    this.#came();
  }

  #came(): void {
    this.#waits--;
    assert(this.#waits >= 0, 'protect: more events than were waited for');
    if (this.#waits > 0) return;
    if (!this.#isStarted) this.#sendWrite();
    else if (this.op === BioOp.READ) this.#endRead();
    else if (this.op === BioOp.FLUSH) this.#endFlush();
    else if (!this.#isDataSent && this.logStatus === 0) this.#sendData();
    else this.#endWrite();
  }

  #sendWrite(): void {
    const { engine } = this;
    this.#isStarted = true;
    if (this.pagesStatus !== 0) {
      engine.refuseWrite(this);
      return;
    }
    this.#makeTuples();
    this.#waits = 1;
    engine.tuples.log.append(this);
    if (!engine.tuples.isOrdered) this.#sendData();
    engine.tuples.log.kick();
  }

  /** Beside its record, or after it where that must be on the medium first. */
  #sendData(): void {
    const { layout, tuples } = this.engine;
    this.#waits++;
    this.#isDataSent = true;
    this.rows.start(tuples.data, this.op, this.first * layout.intervalBytes, this.isFua);
  }

  #makeTuples(): void {
    const { fresh } = this.engine.tuples;
    const { first, count, tuplePage } = this;
    if (this.op === BioOp.WRITE) this.#takeTuples();
    else if (this.op === BioOp.WRITE_ZEROES) fresh.fillZeros(tuplePage, 0, first, count);
    else fresh.fillUnchecked(tuplePage, 0, count);
  }

  /** The tuples that came with a write. */
  #takeTuples(): void {
    const hasSome = metadata.start(this.request as Request);
    assert(hasSome, 'protect: a write without metadata');
    const bytes = this.count * this.engine.layout.tupleBytes;
    let done = 0;
    while (metadata.next()) {
      copyPages(this.tuplePage, done, metadata.page, metadata.offset, metadata.len);
      done += metadata.len;
    }
    assert(done === bytes, 'protect: a write has other metadata than data');
  }

  /** The tuples for whoever reads, and compares. */
  #giveTuples(): void {
    const hasSome = metadata.start(this.request as Request);
    assert(hasSome, 'protect: a read without metadata');
    this.#findTuples();
    const table = this.#pageRows;
    const size = this.count * this.engine.layout.tupleBytes;
    let row = 0;
    let at = 0;
    for (let done = 0; done < size; ) {
      assert(metadata.next(), 'protect: a read has less metadata than data');
      for (let used = 0; used < metadata.len && done < size; ) {
        const left = (table.len[row] as number) - at;
        const len = left < metadata.len - used ? left : metadata.len - used;
        const from = (table.offset[row] as number) + at;
        copyPages(metadata.page, metadata.offset + used, table.page[row] as number, from, len);
        used += len;
        done += len;
        at += len;
        if (at < (table.len[row] as number)) continue;
        row++;
        at = 0;
      }
    }
  }

  /** Rows over the tuples in the cache. Pre: the pages are pinned and there. */
  #findTuples(): void {
    const { layout, tuples } = this.engine;
    const { tupleBytes, tuplesPerPage } = layout;
    const end = this.first + this.count;
    let row = 0;
    for (let block = this.first; block < end; ) {
      const take = Math.min(tuplesPerPage - (block % tuplesPerPage), end - block);
      const page = tuples.cache.frameOf(layout.pageOf(block));
      const at = layout.tupleAt(block);
      this.#pageRows.set(row++, page, at, take * tupleBytes, HoldKind.BORROWED);
      block += take;
    }
  }

  #endRead(): void {
    const status = this.rows.status !== 0 ? this.rows.status : this.pagesStatus;
    if (status === 0) this.#giveTuples();
    this.engine.complete(this, status, status === 0 ? this.bytes : 0);
  }

  #endFlush(): void {
    const status = this.rows.status !== 0 ? this.rows.status : this.#storeFlush.status;
    if (status === 0) this.engine.flushed(this);
    this.engine.complete(this, status, 0);
  }

  #endWrite(): void {
    const { engine } = this;
    if (this.rows.status !== 0 || this.logStatus !== 0) {
      engine.mendWrite(this);
      return;
    }
    engine.tuples.cache.store(this.first, this.count, this.tuplePage, 0);
    engine.complete(this, 0, this.bytes);
  }
}
