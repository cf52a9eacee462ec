import { assert } from '../../base/assert.ts';
import { BlockError } from '../../base/block-error.ts';
import { formatSize, GIB, KIB, PAGE_BYTES } from '../../base/units.ts';
import type { BvecTable } from '../../bvec/bvec-table.ts';
import { copyBetween } from '../../memory/copy.ts';
import { HoldKind } from '../../memory/holds.ts';
import {
  byteAt,
  createRegion,
  kernelsFor,
  REGION_BYTES_MAX,
  REGIONS_MAX,
  type Region,
  regionOf,
} from '../../memory/region.unsafe.ts';

// Row = one chunk of 64 KiB.   unit    invariant
//   written   Uint8    bool    0 = all zeros, and nothing but reads has touched it

/** The unit in which the store remembers what was never written. */
export const CHUNK_BYTES = 64 * KIB;

/** A row of `rowsAt` has at most this, and ends with its region. */
export const STORE_ROW_BYTES = 2 * GIB;

/** Half of the frame numbers there are: 8 TiB. The other half is for the program. */
const STORE_BYTES_MAX = (REGIONS_MAX / 2) * REGION_BYTES_MAX;

/**
 * The bytes of a RAM disk, in page frames of its own: one region for each 4 GiB. The host gives
 * the memory when it is first written, so `ram:1T` costs address space, not memory.
 */
export class RamStore {
  readonly sizeBytes: number;
  readonly #regions: Region[] = [];
  /** The first region; the only one of most disks. */
  readonly #first: Region;
  readonly #written: Uint8Array;

  /** Throws BlockError ENOMEM when it is too large or the host refuses; nothing is left then. */
  constructor(sizeBytes: number, target: string) {
    assert(Number.isSafeInteger(sizeBytes) && sizeBytes > 0, 'ram store: size');
    this.sizeBytes = sizeBytes;
    if (sizeBytes > STORE_BYTES_MAX) {
      const most = formatSize(STORE_BYTES_MAX);
      const reason = `a RAM disk has at most ${most}, not ${formatSize(sizeBytes)}`;
      throw new BlockError('ENOMEM', { reason, device: target });
    }
    try {
      for (let at = 0; at < sizeBytes; at += REGION_BYTES_MAX) {
        const bytes = Math.min(sizeBytes - at, REGION_BYTES_MAX);
        this.#regions.push(createRegion(bytes, bytes, 'storage'));
      }
      this.#written = new Uint8Array(Math.ceil(sizeBytes / CHUNK_BYTES));
    } catch (cause) {
      this[Symbol.dispose]();
      const why = cause instanceof BlockError ? cause.reason : String(cause);
      const reason = `no memory for a RAM disk of ${formatSize(sizeBytes)}: ${why}`;
      throw new BlockError('ENOMEM', { reason, device: target, cause });
    }
    this.#first = this.#regions[0] as Region;
  }

  /** Storage → segment. Pre: at + bytes <= sizeBytes. */
  read(at: number, page: number, offset: number, bytes: number): void {
    assert(at + bytes <= this.sizeBytes, 'ram store: read outside');
    const region = regionOf(page);
    let to = byteAt(page, offset);
    if (this.#regions.length === 1) {
      copyBetween(region, to, this.#first, at, bytes);
      return;
    }
    for (let from = at; from < at + bytes; ) {
      const base = from % REGION_BYTES_MAX;
      const step = Math.min(at + bytes - from, REGION_BYTES_MAX - base);
      copyBetween(region, to, this.#regionAt(from), base, step);
      from += step;
      to += step;
    }
  }

  /** Segment → storage. Pre: at + bytes <= sizeBytes. */
  write(at: number, page: number, offset: number, bytes: number): void {
    assert(at + bytes <= this.sizeBytes, 'ram store: write outside');
    const region = regionOf(page);
    let from = byteAt(page, offset);
    this.#markWritten(at, at + bytes);
    if (this.#regions.length === 1) {
      copyBetween(this.#first, at, region, from, bytes);
      return;
    }
    for (let to = at; to < at + bytes; ) {
      const base = to % REGION_BYTES_MAX;
      const step = Math.min(at + bytes - to, REGION_BYTES_MAX - base);
      copyBetween(this.#regionAt(to), base, region, from, step);
      to += step;
      from += step;
    }
  }

  /** Zeroes [start, end); whole chunks become holes again. Chunks never written stay untouched. */
  zero(start: number, end: number): void {
    assert(start <= end && end <= this.sizeBytes, 'ram store: zero outside');
    const written = this.#written;
    for (let at = start; at < end; ) {
      const chunk = Math.floor(at / CHUNK_BYTES);
      const chunkEnd = Math.min((chunk + 1) * CHUNK_BYTES, this.sizeBytes);
      const stop = Math.min(chunkEnd, end);
      if (written[chunk] === 1) {
        // A chunk never straddles two regions: 4 GiB is a multiple of 64 KiB.
        const region = this.#regionAt(at);
        kernelsFor(region, region)?.fill(at % REGION_BYTES_MAX, 0, stop - at);
        if (at === chunk * CHUNK_BYTES && stop === chunkEnd) written[chunk] = 0;
      }
      at = stop;
    }
  }

  /** Sets [start, end) to `value` as it is, whatever the store knows of it. */
  fill(start: number, end: number, value: number): void {
    assert(start <= end && end <= this.sizeBytes, 'ram store: fill outside');
    if (start < end) this.#markWritten(start, end);
    for (let at = start; at < end; ) {
      const base = at % REGION_BYTES_MAX;
      const step = Math.min(end - at, REGION_BYTES_MAX - base);
      const region = this.#regionAt(at);
      kernelsFor(region, region)?.fill(base, value, step);
      at += step;
    }
  }

  /** Puts the frames under [at, at + bytes) into rows 0 … of `table`; how many. */
  rowsAt(table: BvecTable, at: number, bytes: number): number {
    assert(at + bytes <= this.sizeBytes, 'ram store: rows outside');
    let rows = 0;
    for (let start = at; start < at + bytes; rows++) {
      const base = start % REGION_BYTES_MAX;
      const step = Math.min(at + bytes - start, REGION_BYTES_MAX - base, STORE_ROW_BYTES);
      const page = this.#regionAt(start).firstPage + Math.floor(base / PAGE_BYTES);
      table.set(rows, page, base % PAGE_BYTES, step, HoldKind.BORROWED);
      start += step;
    }
    return rows;
  }

  /** End of the run of equally written chunks that `at` lies in, at most `end`. */
  runEnd(at: number, end: number): number {
    const written = this.#written;
    let chunk = Math.floor(at / CHUNK_BYTES);
    const kind = written[chunk];
    while (chunk * CHUNK_BYTES < end && written[chunk] === kind) chunk++;
    return Math.min(chunk * CHUNK_BYTES, end);
  }

  isWritten(at: number): boolean {
    return this.#written[Math.floor(at / CHUNK_BYTES)] === 1;
  }

  [Symbol.dispose](): void {
    for (const region of this.#regions) region[Symbol.dispose]();
    this.#regions.length = 0;
  }

  #regionAt(at: number): Region {
    return this.#regions[Math.floor(at / REGION_BYTES_MAX)] as Region;
  }

  #markWritten(start: number, end: number): void {
    const written = this.#written;
    const last = Math.floor((end - 1) / CHUNK_BYTES);
    for (let chunk = Math.floor(start / CHUNK_BYTES); chunk <= last; chunk++) written[chunk] = 1;
  }
}
