import { assert } from '../base/assert.ts';
import type { HoldKind } from '../memory/holds.ts';

// Row = one segment (bvec): one physically contiguous range.
//             unit    invariant
//   page      Uint32  frame number, global
//   offset    Uint32  bytes from the start of that page; may pass it (up to the whole folio)
//   len       Uint32  bytes, > 0 in every row that is in use
//   hold      Uint8   HoldKind: how the pages under the row are kept, and so how they are let go
//
// This list is the one carrier: pinning fills it, the bio holds it, the engine reads it.

/** Most segments of one bio (Linux: BIO_MAX_VECS). */
export const BVECS_PER_BIO_MAX = 256;
/** Sizes in which rows are handed out; a request is rounded up to the next one. */
const CLASS_ROWS = [4, 16, 64, 128, 256] as const;

/** The class that serves `rows`: 5 → 16. */
export function bvecClassRows(rows: number): number {
  for (const size of CLASS_ROWS) if (rows <= size) return size;
  return rows;
}

/** Segment columns. Rows are used directly (a plain array) or handed out in runs by a pool. */
export class BvecTable {
  readonly rows: number;
  readonly page: Uint32Array;
  readonly offset: Uint32Array;
  readonly len: Uint32Array;
  readonly hold: Uint8Array;

  constructor(rows: number) {
    assert(rows > 0 && rows <= 2 ** 31, 'bvec: table of no rows');
    this.rows = rows;
    this.page = new Uint32Array(rows);
    this.offset = new Uint32Array(rows);
    this.len = new Uint32Array(rows);
    this.hold = new Uint8Array(rows);
  }

  set(row: number, page: number, offset: number, len: number, hold: HoldKind): void {
    assert(row >= 0 && row < this.rows, 'bvec: row outside its table');
    assert(len > 0, 'bvec: empty segment');
    this.page[row] = page;
    this.offset[row] = offset;
    this.len[row] = len;
    this.hold[row] = hold;
  }

  copyRow(to: number, from: BvecTable, row: number): void {
    this.page[to] = from.page[row] as number;
    this.offset[to] = from.offset[row] as number;
    this.len[to] = from.len[row] as number;
    this.hold[to] = from.hold[row] as number;
  }
}

/**
 * Runs of rows of one table, in the five sizes. Bounded: an empty pool answers -1 and the caller
 * waits for a completion. `reserveRuns` runs of 256 rows are kept for `acquireReserve`.
 */
export class BvecRuns {
  readonly table: BvecTable;
  readonly #firstFree: Int32Array;
  readonly #nextFree: Int32Array;
  readonly #reserve: number[] = [];
  readonly #reserveFirst: number;
  #fresh = 0;
  #rowsUsed = 0;

  constructor(rows: number, reserveRuns: number) {
    const reserveRows = reserveRuns * BVECS_PER_BIO_MAX;
    this.table = new BvecTable(rows + reserveRows);
    this.#firstFree = new Int32Array(CLASS_ROWS.length).fill(-1);
    this.#nextFree = new Int32Array(rows + reserveRows);
    this.#reserveFirst = rows;
    for (let i = 0; i < reserveRuns; i++) this.#reserve.push(rows + i * BVECS_PER_BIO_MAX);
  }

  get rowsUsed(): number {
    return this.#rowsUsed;
  }

  /** First row of a run of `size` rows (a class size), or -1. */
  acquire(size: number): number {
    const index = classIndex(size);
    const free = this.#firstFree[index] as number;
    if (free >= 0) {
      this.#firstFree[index] = this.#nextFree[free] as number;
      this.#rowsUsed += size;
      return free;
    }
    if (this.#fresh + size > this.#reserveFirst) return -1;
    const first = this.#fresh;
    this.#fresh += size;
    this.#rowsUsed += size;
    return first;
  }

  /** A run of 256 rows of the reserve, or -1. */
  acquireReserve(): number {
    const first = this.#reserve.pop();
    if (first === undefined) return -1;
    this.#rowsUsed += BVECS_PER_BIO_MAX;
    return first;
  }

  release(first: number, size: number): void {
    this.#rowsUsed -= size;
    assert(this.#rowsUsed >= 0, 'bvec: run released twice');
    if (first >= this.#reserveFirst) {
      this.#reserve.push(first);
      return;
    }
    const index = classIndex(size);
    this.#nextFree[first] = this.#firstFree[index] as number;
    this.#firstFree[index] = first;
  }
}

function classIndex(size: number): number {
  for (let i = 0; i < CLASS_ROWS.length; i++) if (CLASS_ROWS[i] === size) return i;
  return assert(false, 'bvec: no class of that size') as never;
}
