import { assert } from '../base/assert.ts';
import { BvecCursor } from '../bvec/bvec-cursor.ts';
import type { BvecTable } from '../bvec/bvec-table.ts';
import { byteAt, regionOf } from '../memory/region.unsafe.ts';
import { finishGuard, updateGuard } from './guards/guard.ts';
import { GuardRun } from './guards/guard-run.ts';
import type { GuardState } from './guards/guard-state.ts';
import type { IntegrityProfile } from './integrity-profile.ts';
import { TUPLE_BYTES_MAX } from './tuple.ts';

/** A place in segment rows: bytes of `row` behind it, bytes left. */
export interface RowsAt {
  readonly table: BvecTable;
  readonly row: number;
  readonly done: number;
  readonly size: number;
}

/**
 * Walks intervals of data and their records of metadata through segment rows. Reuse one walk; it
 * allocates nothing and holds no memory.
 *
 * The vectors may be cut anywhere: as long as intervals lie in one piece of both, they come as a
 * run for the kernels (`nextRun`); the others come one by one, in pieces (`gatherInterval`).
 *
 * Separate: data here, records there. Interleaved: each interval with its record behind it, in one
 * list (extended blocks: 512 + 8 bytes).
 */
export class PiWalk {
  readonly run = new GuardRun();
  /** The tuple of an interval that came in pieces. */
  readonly tuple = new Uint8Array(TUPLE_BYTES_MAX);
  /** Intervals that are left. */
  left = 0;
  readonly #data = new BvecCursor();
  readonly #metadata = new BvecCursor();
  #intervalBytes = 0;
  #metadataBytes = 0;
  #prefixBytes = 0;
  #tupleBytes = 0;
  /** Bytes to step over after an interval, and after a record. */
  #dataGap = 0;
  #metadataGap = 0;
  // Where the last gathered record starts.
  #recordRow = 0;
  #recordDone = 0;
  #recordSize = 0;

  /** Pre: `metadata` has a record for each interval of `data`, which has whole intervals. */
  startSeparate(profile: IntegrityProfile, data: RowsAt, metadata: RowsAt): void {
    this.#setFormat(profile);
    const intervals = data.size / this.#intervalBytes;
    assert(Number.isInteger(intervals), 'pi walk: data is no number of whole intervals');
    assert(metadata.size >= intervals * this.#metadataBytes, 'pi walk: too little metadata');
    this.left = intervals;
    this.#dataGap = 0;
    this.#metadataGap = 0;
    this.#data.start(data.table, data.row, data.done, data.size);
    this.#metadata.start(metadata.table, metadata.row, metadata.done, metadata.size);
  }

  /** Records alone, as `remap` needs them. */
  startMetadata(profile: IntegrityProfile, metadata: RowsAt, intervals: number): void {
    this.#setFormat(profile);
    assert(metadata.size >= intervals * this.#metadataBytes, 'pi walk: too little metadata');
    this.left = intervals;
    this.#metadataGap = 0;
    this.#metadata.start(metadata.table, metadata.row, metadata.done, metadata.size);
  }

  /** Pre: `both` has whole intervals, each with its record. */
  startInterleaved(profile: IntegrityProfile, both: RowsAt): void {
    this.#setFormat(profile);
    const blockBytes = this.#intervalBytes + this.#metadataBytes;
    this.left = both.size / blockBytes;
    assert(Number.isInteger(this.left), 'pi walk: no number of whole blocks');
    this.#dataGap = this.#metadataBytes;
    this.#metadataGap = this.#intervalBytes;
    this.#data.start(both.table, both.row, both.done, both.size);
    this.#metadata.start(both.table, both.row, both.done, both.size);
    if (this.left > 0) this.#metadata.advance(this.#intervalBytes);
  }

  #setFormat(profile: IntegrityProfile): void {
    this.#intervalBytes = 1 << profile.interval_exp;
    this.#metadataBytes = profile.metadata_size;
    this.#prefixBytes = profile.pi_offset;
    this.#tupleBytes = profile.tuple_size;
  }

  /**
   * Loads `run` with the intervals from here that lie in one piece of data and of metadata.
   * How many; 0: the next one does not (`gatherInterval`). Pre: some are left.
   */
  nextRun(): number {
    const data = this.#data;
    assert(this.left > 0 && data.multi(), 'pi walk: past the end');
    const count = this.nextRecords();
    const most = Math.floor((data.len + this.#dataGap) / (this.#intervalBytes + this.#dataGap));
    const { run } = this;
    if (most < count) run.count = most;
    if (run.count === 0) return 0;
    run.data = regionOf(data.page);
    run.dataAt = byteAt(data.page, data.offset);
    run.dataStride = this.#intervalBytes + this.#dataGap;
    run.intervalBytes = this.#intervalBytes;
    return run.count;
  }

  /** The same for the metadata alone. */
  nextRecords(): number {
    const { run } = this;
    const metadata = this.#metadata;
    assert(this.left > 0 && metadata.multi(), 'pi walk: past the end of the metadata');
    const stride = this.#metadataBytes + this.#metadataGap;
    const most = Math.floor((metadata.len + this.#metadataGap) / stride);
    run.count = most < this.left ? most : this.left;
    if (run.count === 0) return 0;
    run.metadata = regionOf(metadata.page);
    run.metadataAt = byteAt(metadata.page, metadata.offset);
    run.metadataStride = stride;
    run.prefixBytes = this.#prefixBytes;
    return run.count;
  }

  /** Moves behind the run, or as many intervals of it. */
  skip(intervals: number): void {
    assert(intervals <= this.left, 'pi walk: skip beyond the end');
    this.#move(this.#data, intervals * (this.#intervalBytes + this.#dataGap));
    this.skipRecords(intervals);
  }

  skipRecords(intervals: number): void {
    this.left -= intervals;
    this.#move(this.#metadata, intervals * (this.#metadataBytes + this.#metadataGap));
  }

  /** Behind the last record of interleaved rows there is no interval to step over. */
  #move(cursor: BvecCursor, bytes: number): void {
    cursor.advance(bytes < cursor.size ? bytes : cursor.size);
  }

  /**
   * The guard of the next interval, piece by piece, into `state`; its tuple into `tuple`. Moves
   * behind it.
   */
  gatherInterval(profile: IntegrityProfile, state: GuardState): void {
    const { csum } = profile;
    state.reset();
    this.#guardPieces(profile, state, this.#data, this.#intervalBytes);
    this.#move(this.#data, this.#dataGap);
    this.#markRecord();
    this.#guardPieces(profile, state, this.#metadata, this.#prefixBytes);
    this.#readTuple();
    finishGuard(csum, state);
    this.#endRecord();
  }

  /** The tuple of the next record, into `tuple`. Moves behind the record, not over data. */
  gatherRecord(): void {
    this.#markRecord();
    this.#move(this.#metadata, this.#prefixBytes);
    this.#readTuple();
    this.#endRecord();
  }

  /** Writes `tuple` back to the record that was gathered last. */
  scatterTuple(): void {
    const cursor = this.#metadata;
    const { row, done, size } = cursor;
    const table = cursor.table as BvecTable;
    cursor.start(table, this.#recordRow, this.#recordDone, this.#recordSize);
    cursor.advance(this.#prefixBytes);
    let written = 0;
    while (written < this.#tupleBytes) {
      assert(cursor.multi(), 'pi walk: a tuple past the end');
      const { u8 } = regionOf(cursor.page);
      const at = byteAt(cursor.page, cursor.offset);
      const bytes = Math.min(cursor.len, this.#tupleBytes - written);
      for (let i = 0; i < bytes; i++) u8[at + i] = this.tuple[written + i] as number;
      cursor.advance(bytes);
      written += bytes;
    }
    cursor.start(table, row, done, size);
  }

  #markRecord(): void {
    const { row, done, size } = this.#metadata;
    this.#recordRow = row;
    this.#recordDone = done;
    this.#recordSize = size;
  }

  #readTuple(): void {
    const cursor = this.#metadata;
    let read = 0;
    while (read < this.#tupleBytes) {
      assert(cursor.multi(), 'pi walk: a tuple past the end');
      const { u8 } = regionOf(cursor.page);
      const at = byteAt(cursor.page, cursor.offset);
      const bytes = Math.min(cursor.len, this.#tupleBytes - read);
      for (let i = 0; i < bytes; i++) this.tuple[read + i] = u8[at + i] as number;
      cursor.advance(bytes);
      read += bytes;
    }
  }

  #endRecord(): void {
    const rest = this.#metadataBytes - this.#prefixBytes - this.#tupleBytes;
    this.#move(this.#metadata, rest + this.#metadataGap);
    this.left--;
  }

  #guardPieces(
    profile: IntegrityProfile,
    state: GuardState,
    cursor: BvecCursor,
    bytes: number,
  ): void {
    let left = bytes;
    while (left > 0) {
      assert(cursor.multi(), 'pi walk: an interval past the end');
      const piece = cursor.len < left ? cursor.len : left;
      const at = byteAt(cursor.page, cursor.offset);
      updateGuard(profile.csum, state, regionOf(cursor.page), at, piece);
      cursor.advance(piece);
      left -= piece;
    }
  }
}
