import { IOV_MAX } from '../../abi/linux-fs.ts';
import { assert } from '../../base/assert.ts';
import { type Request, SegmentCursor } from '../../queue/request.ts';
import type { Ring } from './ring.ts';
import type { RingMemory } from './ring-memory.ts';

// Row = one struct iovec, 4 words.   unit    invariant
//   0–1  iov_base   address          of arena or adopted memory, pinned by the request
//   2–3  iov_len    bytes            below 2^32, so the upper word stays 0

const ROW_WORDS = 4;
const ROWS = 4096;
const TWO_32 = 2 ** 32;

/**
 * Segments of requests as the kernel reads them. Rows are needed until the entries that name them
 * were entered (IORING_FEAT_SUBMIT_STABLE), so one area serves all requests of a batch.
 */
export class RingSegments {
  /** Of the last `load`, when it gave one row. */
  address = 0;
  /** The registered buffer that holds all rows of the last `load`, or -1. */
  buffer = -1;
  readonly #memory: RingMemory;
  readonly #rows = new Uint32Array(new SharedArrayBuffer(ROWS * ROW_WORDS * 4));
  readonly #rowsAddress: number;
  readonly #cursor = new SegmentCursor();
  #used = 0;

  constructor(ring: Ring, memory: RingMemory) {
    this.#memory = memory;
    this.#rowsAddress = ring.addressOf(this.#rows);
  }

  /** There is room for any request. */
  get hasRoom(): boolean {
    return this.#used + IOV_MAX <= ROWS;
  }

  /** Nothing that was loaded waits to be entered. */
  reset(): void {
    this.#used = 0;
  }

  /**
   * Loads the segments of `request`, neighbours in memory joined, and returns how many there are.
   * One: see `address`. More: rows at `rowsAddress`, taken by `keep`.
   */
  load(request: Request): number {
    assert(this.hasRoom, 'ring segments: no room');
    const memory = this.#memory;
    const cursor = this.#cursor;
    cursor.start(request);
    let rows = 0;
    let total = 0;
    let start = 0;
    let end = -1;
    let page = 0;
    let offset = 0;
    while (cursor.next()) {
      const at = memory.addressAt(cursor.page, cursor.offset);
      total += cursor.len;
      if (at === end) {
        end += cursor.len;
        continue;
      }
      if (rows > 0) this.#put(rows, start, end - start, page, offset);
      rows++;
      start = at;
      end = at + cursor.len;
      page = cursor.page;
      offset = cursor.offset;
    }
    assert(total === request.bytes, 'ring segments: other segments than bytes');
    if (rows > 1) {
      this.#put(rows, start, end - start, page, offset);
    } else {
      this.address = start;
      this.buffer = memory.bufferAt(page, offset, total);
    }
    return rows;
  }

  /** Where the rows of the last `load` lie. */
  get rowsAddress(): number {
    return this.#rowsAddress + this.#used * ROW_WORDS * 4;
  }

  /** The last `load` is named by an entry. */
  keep(rows: number): void {
    this.#used += rows;
  }

  /** Puts the row before `count`. */
  #put(count: number, address: number, bytes: number, page: number, offset: number): void {
    assert(count <= IOV_MAX, 'ring segments: more than one call takes');
    const words = this.#rows;
    const at = (this.#used + count - 1) * ROW_WORDS;
    const high = Math.floor(address / TWO_32);
    words[at] = address - high * TWO_32;
    words[at + 1] = high;
    words[at + 2] = bytes;
    const buffer = this.#memory.bufferAt(page, offset, bytes);
    this.buffer = count === 1 || buffer === this.buffer ? buffer : -1;
  }
}
