import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { NOT_NOW } from './dma-status.ts';

// Row = one slot of a scatterlist, memory part only; device ranges live in a DmaList.
//            unit    invariant
//   page    Uint32   frame number, global; in a chain slot the first row of the next chunk
//   offset  Uint32   bytes from the start of that page; may pass it
//   len     Uint32   bytes, > 0 in every entry that is in use
//   mark    Uint8    SgMark: 0 for an entry, CHAIN in the last slot of a chunk that goes on, END
//
// Rows are handed out in chunks. 200 entries with chunks of 128: 127 and a chain slot, then 73.

/** Entries of one chunk: a page of 4096 bytes at 32 bytes an entry (Linux: SG_MAX_SINGLE_ALLOC). */
export const SG_CHUNK_ENTRIES = 128;

export const SgMark = { NONE: 0, CHAIN: 1, END: 2 } as const;

/** Chunks for `entries`: every chunk but the last gives its last slot to the chain. */
export function sgChunksFor(entries: number, chunkEntries: number): number {
  if (entries <= chunkEntries) return 1;
  return 1 + Math.ceil((entries - chunkEntries) / (chunkEntries - 1));
}

export interface SgPoolOptions {
  readonly chunks: number;
  /** Rows of a chunk, at least 2. */
  readonly chunkEntries?: number;
}

/** Bounded pool of chunks. An empty one is back-pressure: NOT_NOW. */
export class SgPool {
  readonly chunkEntries: number;
  readonly chunks: number;
  readonly page: Uint32Array;
  readonly offset: Uint32Array;
  readonly len: Uint32Array;
  readonly mark: Uint8Array;
  /** First rows of free chunks. */
  readonly #free: Int32Array;
  #freeCount: number;

  constructor({ chunks, chunkEntries = SG_CHUNK_ENTRIES }: SgPoolOptions) {
    assert(chunks > 0 && chunkEntries >= 2, 'sg pool: at least one chunk of two rows');
    const rows = chunks * chunkEntries;
    assert(rows < 2 ** 31, 'sg pool: a row is a small integer');
    this.chunkEntries = chunkEntries;
    this.chunks = chunks;
    this.page = new Uint32Array(rows);
    this.offset = new Uint32Array(rows);
    this.len = new Uint32Array(rows);
    this.mark = new Uint8Array(rows);
    this.#free = new Int32Array(chunks);
    for (let i = 0; i < chunks; i++) this.#free[i] = (chunks - 1 - i) * chunkEntries;
    this.#freeCount = chunks;
  }

  /** Chunks that are out; 0 when every list was released. */
  get busyCount(): number {
    return this.chunks - this.#freeCount;
  }

  get freeCount(): number {
    return this.#freeCount;
  }

  /** First row of a chunk. Pre: one is free. */
  takeChunk(): number {
    assert(this.#freeCount > 0, 'sg pool: taken from an empty pool');
    return this.#free[--this.#freeCount];
  }

  giveChunk(first: number): void {
    assert(this.#freeCount < this.chunks, 'sg pool: a chunk came back twice');
    this.#free[this.#freeCount++] = first;
  }

  /** The slot behind `row`, over a chain slot. Pre: there is one. */
  slotAfter(row: number): number {
    const next = row + 1;
    return this.mark[next] === SgMark.CHAIN ? this.page[next] : next;
  }
}

/**
 * A scatterlist: a table of entries with room for `origNents`, of which `nents` are in use. Make
 * one per slot of a driver and use it again and again.
 * Linux: struct sg_table.
 */
export class SgList {
  readonly pool: SgPool;
  /** First row, or -1 while the list has no table. */
  first = -1;
  /** Row with the end mark. */
  end = -1;
  /** Entries in use: what a walk visits. */
  nents = 0;
  /** Entries that the table has room for. */
  origNents = 0;
  /** Device mappings of this list that are alive. It cannot be released before the last. */
  mappings = 0;
  /** True when each page under the entries has a pin of this list (`getUserSg`). */
  isPinned = false;

  constructor(pool: SgPool) {
    this.pool = pool;
  }

  /**
   * A table of `entries`. 0, -EINVAL for no entries, -ENOMEM when the pool could never serve so
   * many, NOT_NOW; after an error nothing was taken.
   * Linux: sg_alloc_table().
   */
  acquire(entries: number): number {
    assert(this.first < 0, 'sg list: acquired twice');
    if (entries <= 0) return -Errno.EINVAL;
    const { pool } = this;
    const chunks = sgChunksFor(entries, pool.chunkEntries);
    if (chunks > pool.chunks) return -Errno.ENOMEM;
    if (chunks > pool.freeCount) return NOT_NOW;
    this.first = pool.takeChunk();
    let last = this.first;
    for (let i = 1; i < chunks; i++) last = this.#chain(last);
    const before = (chunks - 1) * (pool.chunkEntries - 1);
    this.origNents = entries;
    this.use(entries, last + entries - before - 1);
    return 0;
  }

  /** Puts the end mark on `row`, the last of `nents` entries. */
  use(nents: number, row: number): void {
    assert(nents > 0 && nents <= this.origNents, 'sg list: more entries than its table has');
    const { mark } = this.pool;
    if (this.end >= 0) mark[this.end] = SgMark.NONE;
    mark[row] = SgMark.END;
    this.end = row;
    this.nents = nents;
  }

  /** No entry in use, but the table is kept: a request without data. */
  useNone(): void {
    if (this.end >= 0) this.pool.mark[this.end] = SgMark.NONE;
    this.end = -1;
    this.nents = 0;
  }

  set(row: number, page: number, offset: number, len: number): void {
    assert(len > 0, 'sg list: an empty entry');
    const { pool } = this;
    pool.page[row] = page;
    pool.offset[row] = offset;
    pool.len[row] = len;
  }

  /**
   * Room for `entries` more behind the last one, which may move to another row. 0, -ENOMEM or
   * NOT_NOW; after an error nothing changed. Pre: the whole table is in use.
   */
  grow(entries: number): number {
    assert(this.first >= 0 && this.nents === this.origNents, 'sg list: grown with room left');
    const { pool } = this;
    const { chunkEntries } = pool;
    const chunk = this.end - (this.end % chunkEntries);
    const total = this.end - chunk + 1 + entries;
    if (total > chunkEntries) {
      const chunks = sgChunksFor(total - (chunkEntries - 1), chunkEntries);
      if (pool.busyCount + chunks > pool.chunks) return this.#tooMany(chunks);
      let last = this.#chainMoving(chunk);
      for (let i = 1; i < chunks; i++) last = this.#chain(last);
    }
    this.origNents += entries;
    return 0;
  }

  /** Gives the table back, once. Pre: no device mapping, no pins. Linux: sg_free_table(). */
  release(): void {
    assert(this.first >= 0, 'sg list: released twice');
    assert(this.mappings === 0, 'sg list: released while a device has it');
    assert(!this.isPinned, 'sg list: released with the pins of a program');
    const { pool } = this;
    this.useNone();
    let chunk = this.first;
    for (;;) {
      const last = chunk + pool.chunkEntries - 1;
      const next = pool.mark[last] === SgMark.CHAIN ? pool.page[last] : -1;
      pool.mark[last] = SgMark.NONE;
      pool.len[chunk] = 0; // A walk that was left behind fails at once.
      pool.giveChunk(chunk);
      if (next < 0) break;
      chunk = next;
    }
    this.first = -1;
    this.origNents = 0;
  }

  /** A chain slot at the end of `chunk`, which leads to a new chunk. */
  #chain(chunk: number): number {
    const { pool } = this;
    const slot = chunk + pool.chunkEntries - 1;
    const next = pool.takeChunk();
    pool.mark[slot] = SgMark.CHAIN;
    pool.page[slot] = next;
    pool.len[slot] = 0;
    return next;
  }

  /** The same where an entry may stand in the slot that the chain needs: it moves on. */
  #chainMoving(chunk: number): number {
    const { pool } = this;
    const slot = chunk + pool.chunkEntries - 1;
    const { page, offset, len } = pool;
    const moves = this.end === slot;
    const movedPage = page[slot];
    const movedLen = len[slot];
    const next = this.#chain(chunk);
    if (moves) {
      this.set(next, movedPage, offset[slot], movedLen);
      pool.mark[next] = SgMark.END;
      this.end = next;
    }
    return next;
  }

  #tooMany(chunks: number): number {
    const own = sgChunksFor(this.origNents, this.pool.chunkEntries);
    return own + chunks > this.pool.chunks ? -Errno.ENOMEM : NOT_NOW;
  }
}

/**
 * Walks the entries of a list in order, over chain slots, up to its end mark.
 *
 *   cursor.start(list);
 *   while (cursor.next()) use(cursor.page, cursor.offset, cursor.len);
 *
 * Linux: for_each_sg(), sg_next().
 */
export class SgCursor {
  row = -1;
  page = 0;
  offset = 0;
  len = 0;
  #pool: SgPool | null = null;
  #next = -1;

  start(list: SgList): void {
    assert(list.first >= 0, 'sg cursor: the list has no table');
    this.#pool = list.pool;
    this.row = -1;
    this.#next = list.nents === 0 ? -1 : list.first;
  }

  /** Loads the next entry; false when there is none. */
  next(): boolean {
    const row = this.#next;
    if (row < 0) return false;
    const pool = this.#pool as SgPool;
    this.row = row;
    this.page = pool.page[row];
    this.offset = pool.offset[row];
    this.len = pool.len[row];
    assert(this.len > 0, 'sg cursor: empty entry');
    this.#next = pool.mark[row] === SgMark.END ? -1 : pool.slotAfter(row);
    return true;
  }
}
