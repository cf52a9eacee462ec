import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { regionOfBuffer } from '../memory/region.unsafe.ts';

// Row = one segment of a program.   unit   invariant
//   base    Float64   address  of its first byte in its address space; OUTSIDE for a plain Buffer
//   len     Float64   bytes    >= 0; zero-length rows are legal and skipped everywhere
//   views   object    –        the program's array when the memory is its own, else null
//
// Addresses are doubles up to 2^53: a program may map 16 TiB, and Uint32 would truncate silently.

/** Most segments of one call (Linux: UIO_MAXIOV). */
export const IOVEC_ROWS_MAX = 1024;
/** Most bytes of one call: 2 GiB - 4096 (Linux: MAX_RW_COUNT). */
export const MAX_RW_COUNT = 0x7ffff000;
/** Address of memory that has none: it can be detached, so no page frame may stand for it. */
export const OUTSIDE = -1;
/** First address that no program has: what a double counts exactly ends here. */
export const ADDRESS_END = 2 ** 53 - PAGE_BYTES;

/**
 * The columns behind a BYTES, USER or KERNEL iterator. Set-up allocates; walking does not. An Iovec
 * stays with its iterator until the transfer has ended, then `reset` lets the program's arrays go.
 */
export class Iovec {
  base: Float64Array;
  len: Float64Array;
  readonly views: (Uint8Array | null)[] = [];
  rows = 0;
  totalBytes = 0;
  /** Non-empty rows without an address. */
  outsideRows = 0;

  constructor(capacity = 8) {
    assert(capacity > 0 && capacity <= IOVEC_ROWS_MAX, 'iovec: capacity outside 1..1024');
    this.base = new Float64Array(capacity);
    this.len = new Float64Array(capacity);
  }

  reset(): void {
    for (let row = 0; row < this.rows; row++) this.views[row] = null; // `fill` shows in profiles.
    this.rows = 0;
    this.totalBytes = 0;
    this.outsideRows = 0;
  }

  /**
   * Arrays of the program. Bytes in all, or -EINVAL above 1024 rows. The total is clipped to
   * MAX_RW_COUNT: later rows may become empty.
   */
  importViews(views: readonly Uint8Array[]): number {
    this.reset();
    if (views.length > IOVEC_ROWS_MAX) return -Errno.EINVAL;
    this.#reserve(views.length);
    for (let row = 0; row < views.length; row++) this.#setView(row, views[row]);
    this.rows = views.length;
    return this.totalBytes;
  }

  /** One array of the program, without a list around it. */
  importView(view: Uint8Array): number {
    this.reset();
    this.#setView(0, view);
    this.rows = 1;
    return this.totalBytes;
  }

  /**
   * Ranges of an address space. Bytes in all; -EINVAL above 1024 rows or for a negative length,
   * which wins over -EFAULT for a range outside the addresses a program can have: [0, addressEnd).
   * Linux: import_iovec() with access_ok(), lib/iov_iter.c.
   */
  importRanges(
    bases: ArrayLike<number>,
    lens: ArrayLike<number>,
    rows: number,
    addressEnd = ADDRESS_END,
  ): number {
    this.reset();
    assert(rows >= 0 && rows <= bases.length && rows <= lens.length, 'iovec: rows not given');
    if (rows > IOVEC_ROWS_MAX) return -Errno.EINVAL;
    for (let row = 0; row < rows; row++) {
      assert(Number.isInteger(bases[row]) && Number.isInteger(lens[row]), 'iovec: no integer');
      if (lens[row] < 0) return -Errno.EINVAL;
    }
    if (rows === 1) return this.importRange(bases[0], lens[0], addressEnd);
    this.#reserve(rows);
    for (let row = 0; row < rows; row++) {
      if (bases[row] < 0 || bases[row] + lens[row] > addressEnd) {
        this.reset();
        return -Errno.EFAULT;
      }
      this.#append(row, bases[row], lens[row]);
    }
    this.rows = rows;
    return this.totalBytes;
  }

  /** One range: clipped first and checked then. Linux: import_ubuf(). */
  importRange(base: number, len: number, addressEnd = ADDRESS_END): number {
    this.reset();
    assert(Number.isInteger(base) && Number.isInteger(len), 'iovec: range of no integers');
    if (len < 0) return -Errno.EINVAL;
    const bytes = Math.min(len, MAX_RW_COUNT);
    if (base < 0 || base + bytes > addressEnd) return -Errno.EFAULT;
    this.#append(0, base, bytes);
    this.rows = 1;
    return bytes;
  }

  /** Takes the one row of `other`. */
  copyFirst(other: Iovec): void {
    this.reset();
    if (other.rows === 0) return;
    this.#append(0, other.base[0], other.len[0]);
    this.views[0] = other.views[0] ?? null;
    this.outsideRows = other.outsideRows;
    this.rows = 1;
  }

  #setView(row: number, view: Uint8Array): void {
    const region = regionOfBuffer(view.buffer);
    const base = region === null ? OUTSIDE : region.firstPage * PAGE_BYTES + view.byteOffset;
    this.#append(row, base, view.length);
    this.views[row] = view;
    if (region === null && this.len[row] > 0) this.outsideRows++;
  }

  #append(row: number, base: number, bytes: number): void {
    this.base[row] = base;
    this.len[row] = Math.min(bytes, MAX_RW_COUNT - this.totalBytes);
    this.totalBytes += this.len[row];
  }

  #reserve(rows: number): void {
    if (rows <= this.base.length) return;
    this.base = new Float64Array(rows);
    this.len = new Float64Array(rows);
  }
}
