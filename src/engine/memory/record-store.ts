import { assert } from '../../base/assert.ts';
import { BvecTable } from '../../bvec/bvec-table.ts';
import type { RowsAt } from '../../integrity/pi-walk.ts';
import { CHUNK_BYTES, RamStore, STORE_ROW_BYTES } from './ram-store.ts';

/** What a byte of metadata is where nothing was written: the escape of every format. */
const BLANK_BYTE = 0xff;

/** Rows of one walk: a request and its records lie in at most three regions. */
const ROWS_MAX = 8;

/**
 * The metadata of a RAM disk. Blank bytes are 0xFF, which memory is not by itself: a chunk is made
 * blank when it is first touched, so a large disk takes no memory for records that nobody uses.
 */
export class RecordStore {
  readonly #store: RamStore;
  /** Row = one chunk of 64 KiB; 1: it was made blank. */
  readonly #isReady: Uint8Array;
  readonly #table = new BvecTable(ROWS_MAX);
  readonly #rows = { table: this.#table, row: 0, done: 0, size: 0 };

  /** Throws BlockError ENOMEM like the data's. */
  constructor(sizeBytes: number, target: string) {
    this.#store = new RamStore(sizeBytes, target);
    this.#isReady = new Uint8Array(Math.ceil(sizeBytes / CHUNK_BYTES));
  }

  get sizeBytes(): number {
    return this.#store.sizeBytes;
  }

  /** Records → segment. */
  read(at: number, page: number, offset: number, bytes: number): void {
    this.#prepare(at, at + bytes);
    this.#store.read(at, page, offset, bytes);
  }

  /** Segment → records. */
  write(at: number, page: number, offset: number, bytes: number): void {
    this.#prepare(at, at + bytes);
    this.#store.write(at, page, offset, bytes);
  }

  fill(start: number, end: number, value: number): void {
    this.#prepare(start, end);
    this.#store.fill(start, end, value);
  }

  /** Makes [start, end) blank again. */
  blank(start: number, end: number): void {
    const isReady = this.#isReady;
    for (let at = start; at < end; ) {
      const chunk = Math.floor(at / CHUNK_BYTES);
      const stop = Math.min((chunk + 1) * CHUNK_BYTES, end);
      if (isReady[chunk] === 1) this.#store.fill(at, stop, BLANK_BYTE);
      at = stop;
    }
  }

  /** The records in place, as rows for a walk; valid until the next call. */
  rowsAt(at: number, bytes: number): RowsAt {
    this.#prepare(at, at + bytes);
    const rows = this.#store.rowsAt(this.#table, at, bytes);
    assert(rows <= ROWS_MAX, 'record store: more rows than a request can have');
    this.#rows.size = bytes;
    return this.#rows;
  }

  /** All of it, with rows of its own. */
  medium(): RowsAt {
    const { sizeBytes } = this;
    this.#prepare(0, sizeBytes);
    const table = new BvecTable(Math.ceil(sizeBytes / STORE_ROW_BYTES) + 1);
    this.#store.rowsAt(table, 0, sizeBytes);
    return { table, row: 0, done: 0, size: sizeBytes };
  }

  [Symbol.dispose](): void {
    this.#store[Symbol.dispose]();
  }

  #prepare(start: number, end: number): void {
    if (start === end) return;
    const isReady = this.#isReady;
    const last = Math.floor((end - 1) / CHUNK_BYTES);
    for (let chunk = Math.floor(start / CHUNK_BYTES); chunk <= last; chunk++) {
      if (isReady[chunk] === 1) continue;
      isReady[chunk] = 1;
      const from = chunk * CHUNK_BYTES;
      this.#store.fill(from, Math.min(from + CHUNK_BYTES, this.sizeBytes), BLANK_BYTE);
    }
  }
}
