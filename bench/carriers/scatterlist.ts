import { assert } from '../../src/base/assert.ts';
import { PAGE_BYTES } from '../../src/base/units.ts';
import { segmentBytes } from '../../src/bio/split-point.ts';
import type { DmaDevice } from '../../src/dma/dma-device.ts';
import type { Limits } from '../../src/limits/limits.ts';
import { goesOn, unpinUnder } from './bvec-columns.ts';
import { type CarrierCounts, type DeviceRange, SEGMENTS_MAX } from './carrier.ts';
import type { PageArray } from './page-array.ts';

// struct scatterlist as it was argued about: memory and device ranges in one array of entries.
//                unit    invariant
//   link         Uint32  frame * 4 + mark; in a chain slot the first row of the next chunk * 4
//   offset       Uint32  bytes from the start of that page
//   length       Uint32  bytes
//   dmaAddress   Float64 valid while mapped; the device's range, not that of this entry
//   dmaLength    Uint32

/** Entries of a page at 32 bytes each; a chunk that is chained gives its last one to the chain. */
const CHUNK_ENTRIES = 128;
const Mark = { NONE: 0, CHAIN: 1, END: 2 } as const;
const ANY_BYTES = Number.MAX_SAFE_INTEGER;

/** The columns, handed out in chunks of a page. */
export class ScatterlistPool {
  readonly link: Uint32Array;
  readonly offset: Uint32Array;
  readonly length: Uint32Array;
  readonly dmaAddress: Float64Array;
  readonly dmaLength: Uint32Array;
  readonly #counts: CarrierCounts;
  readonly #free: number[] = [];
  readonly #chunks: number;

  constructor(entries: number, counts: CarrierCounts) {
    this.#chunks = 1 + Math.ceil(entries / (CHUNK_ENTRIES - 1));
    this.#counts = counts;
    const rows = this.#chunks * CHUNK_ENTRIES;
    this.link = new Uint32Array(rows);
    this.offset = new Uint32Array(rows);
    this.length = new Uint32Array(rows);
    this.dmaAddress = new Float64Array(rows);
    this.dmaLength = new Uint32Array(rows);
    for (let row = rows - CHUNK_ENTRIES; row >= 0; row -= CHUNK_ENTRIES) this.#free.push(row);
  }

  take(): number {
    const first = this.#free.pop();
    assert(first !== undefined, 'scatterlist: the pool is empty');
    this.#counts.tables++;
    return first;
  }

  give(first: number): void {
    this.#free.push(first);
  }

  assertFull(): void {
    assert(this.#free.length === this.#chunks, 'scatterlist: a chunk is still out');
  }
}

/** One scatterlist that grows as it is filled. Linux: struct sg_table. */
export class Scatterlist {
  readonly pool: ScatterlistPool;
  readonly #limits: Limits | null;
  first = -1;
  nents = 0;
  dmaNents = 0;
  #last = -1;

  /** `limits`: no entry is longer than a segment of the device may be. null: of no device yet. */
  constructor(pool: ScatterlistPool, limits: Limits | null) {
    this.pool = pool;
    this.#limits = limits;
  }

  /** sg_set_page() of the next entry, or more bytes of the last one. */
  append(page: number, offset: number, len: number): void {
    const { pool } = this;
    const last = this.#last;
    if (last >= 0) {
      const end = pool.offset[last] + pool.length[last];
      const total = pool.length[last] + len;
      if (goesOn(pool.link[last] >>> 2, end, page, offset) && total <= this.#most(last)) {
        pool.length[last] = total;
        return;
      }
    }
    let left = len;
    let at = offset;
    while (left > 0) {
      const row = this.#extend();
      pool.link[row] = page << 2;
      pool.offset[row] = at;
      const most = this.#most(row);
      pool.length[row] = left < most ? left : most;
      at += pool.length[row];
      left -= pool.length[row];
    }
  }

  appendPages(pages: PageArray): void {
    const { frames } = pages;
    let { offset, bytes } = pages;
    for (let i = 0; i < pages.count; i++) {
      const room = PAGE_BYTES - offset;
      const len = bytes < room ? bytes : room;
      this.append(frames[i], offset, len);
      bytes -= len;
      offset = 0;
    }
  }

  /** sg_mark_end() of the last entry. */
  end(): void {
    if (this.#last >= 0) this.pool.link[this.#last] |= Mark.END;
  }

  /** sg_next(): the row behind, over a chain slot; -1 behind the end. */
  after(row: number): number {
    const { link } = this.pool;
    if ((link[row] & Mark.END) !== 0) return -1;
    const next = row + 1;
    return (link[next] & Mark.CHAIN) === 0 ? next : link[next] >>> 2;
  }

  /** Writes the device's ranges into the entries. How many. Linux: dma_direct_map_sg(). */
  mapDma(device: DmaDevice): number {
    const { link, offset, length, dmaAddress, dmaLength } = this.pool;
    const { dmaMask } = device;
    for (let row = this.first; row >= 0; row = this.after(row)) {
      const addr = (link[row] >>> 2) * PAGE_BYTES + offset[row];
      assert(addr + length[row] - 1 <= dmaMask, 'scatterlist: memory out of reach');
      dmaAddress[row] = addr;
      dmaLength[row] = length[row];
    }
    this.dmaNents = this.nents;
    device.mappings++;
    return this.nents;
  }

  /** A direct mapping has nothing to undo in its entries. Linux: dma_direct_unmap_sg(). */
  unmapDma(device: DmaDevice): void {
    device.mappings--;
    this.dmaNents = 0;
  }

  unpin(): void {
    const { link, offset, length } = this.pool;
    for (let row = this.first; row >= 0; row = this.after(row)) {
      unpinUnder(link[row] >>> 2, offset[row], length[row]);
    }
  }

  /** sg_free_table(). */
  release(): void {
    const { link } = this.pool;
    for (let chunk = this.first; chunk >= 0; ) {
      const slot = link[chunk + CHUNK_ENTRIES - 1];
      const next = (slot & Mark.CHAIN) === 0 ? -1 : slot >>> 2;
      link[chunk + CHUNK_ENTRIES - 1] = 0;
      this.pool.give(chunk);
      chunk = next;
    }
    this.first = -1;
    this.#last = -1;
    this.nents = 0;
  }

  ranges(): DeviceRange[] {
    const { dmaAddress, dmaLength } = this.pool;
    const ranges: DeviceRange[] = [];
    let row = this.first;
    for (let i = 0; i < this.dmaNents; i++) {
      ranges.push({ address: dmaAddress[row], bytes: dmaLength[row] });
      row = this.after(row);
    }
    return ranges;
  }

  /** Most bytes of an entry that starts where `row` does. */
  #most(row: number): number {
    if (this.#limits === null) return 2 ** 32 - 1;
    const { link, offset } = this.pool;
    const addr = (link[row] >>> 2) * PAGE_BYTES + offset[row];
    return segmentBytes(addr, ANY_BYTES, this.#limits);
  }

  /** A slot behind the last entry, in a new chunk where the old one is full. */
  #extend(): number {
    const { link } = this.pool;
    if (this.#last < 0) {
      this.first = this.pool.take();
      this.#last = this.first;
    } else {
      this.#last++;
      // The last slot of a chunk is the chain's.
      if (this.#last % CHUNK_ENTRIES === CHUNK_ENTRIES - 1) {
        const chunk = this.pool.take();
        link[this.#last] = (chunk << 2) | Mark.CHAIN;
        this.#last = chunk;
      }
    }
    this.nents++;
    return this.#last;
  }
}

/** Entries that a list may need under `limits`: `SEGMENTS_MAX`, and what is cut. */
export function entriesMax(pagesMax: number, limits: Limits): number {
  const least = Math.min(limits.max_segment_size, limits.seg_boundary_mask + 1);
  return SEGMENTS_MAX + 2 * Math.ceil((pagesMax * PAGE_BYTES) / least);
}
