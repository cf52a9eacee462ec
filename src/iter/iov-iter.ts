import { assert, unreachable } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { PAGE_BYTES } from '../base/units.ts';
import type { BvecTable } from '../bvec/bvec-table.ts';
import { Access, type AddressSpace } from '../memory/address-space.ts';
import { pageExists } from '../memory/region.unsafe.ts';
import { Iovec, MAX_RW_COUNT, OUTSIDE } from './iovec.ts';
import type { PageSource } from './page-source.ts';

// The kinds before PAGES have segments; the others are one range that count alone bounds.
export const IterKind = {
  /** Arrays of the program; those in an arena have page frames, the others none. */
  BYTES: 0,
  /** Ranges of an address space, whose pages may be absent. */
  USER: 1,
  /** Rows of a segment table. */
  BVEC: 2,
  /** Ranges of the kernel's own addresses, page by page; its pages are always there. */
  KERNEL: 3,
  /** A range of file positions. */
  PAGES: 4,
  /** Nothing behind it: takes any bytes. */
  DISCARD: 5,
} as const;
export type IterKind = (typeof IterKind)[keyof typeof IterKind];

export const IterDirection = {
  /** Bytes flow out of the memory: a write to the device. */
  SOURCE: 0,
  /** Bytes flow into the memory: a read of the device. */
  DEST: 1,
} as const;
export type IterDirection = (typeof IterDirection)[keyof typeof IterDirection];

/** A remembered position. One object serves any number of saves. */
export class IterState {
  index = 0;
  offset = 0;
  nrSegs = 0;
  count = 0;
}

const NO_IOVEC = new Iovec(1);

/**
 * One cursor over every kind of memory. Pooled: an `init*` method re-arms the same object.
 *
 * Invariants: count <= bytes of the remaining segments (truncation makes it less, and every walk
 * ends at count); 0 <= offset <= length of the current segment. The end of segment i and the start
 * of i + 1 are the same place: never compare two positions field by field.
 * Linux: struct iov_iter.
 */
export class IovIter {
  kind: IterKind = IterKind.DISCARD;
  direction: IterDirection = IterDirection.DEST;
  /** Bytes left. */
  count = 0;
  /** Current segment: row of `iovec` or `table`, 0 for the others. */
  index = 0;
  /** Bytes of the current segment that are behind. */
  offset = 0;
  /** Segments left, the current one included. */
  nrSegs = 0;
  /** Rows that the last `extract` filled. */
  rowsOut = 0;

  iovec: Iovec = NO_IOVEC;
  space: AddressSpace | null = null;
  table: BvecTable | null = null;
  source: PageSource | null = null;
  /** PAGES: the file position of offset 0. */
  position = 0;

  // What `piece` found. `view` is the program's own array when the memory has no page frame.
  page = 0;
  pageOffset = 0;
  segment = 0;
  view: Uint8Array | null = null;

  #firstIndex = 0;
  readonly #one = new Iovec(1);

  /** All of `iovec`, which was filled by `importViews`. */
  initBytes(direction: IterDirection, iovec: Iovec): void {
    this.#arm(IterKind.BYTES, direction, 0, iovec.rows, 0, iovec.totalBytes);
    this.iovec = iovec;
  }

  /** One array of the program. The bytes: its length, at most MAX_RW_COUNT. */
  initView(direction: IterDirection, view: Uint8Array): number {
    const bytes = this.#one.importView(view);
    this.initBytes(direction, this.#one);
    return bytes;
  }

  /** All of `iovec`, which was filled by `importRanges` (Linux: IOVEC). */
  initUser(direction: IterDirection, space: AddressSpace, iovec: Iovec): void {
    this.#arm(IterKind.USER, direction, 0, iovec.rows, 0, iovec.totalBytes);
    this.iovec = iovec;
    this.space = space;
  }

  /** One range (Linux: UBUF). Its bytes, or -EINVAL or -EFAULT, and then the iterator is empty. */
  initUserRange(direction: IterDirection, space: AddressSpace, base: number, len: number): number {
    const bytes = this.#one.importRange(base, len);
    this.initUser(direction, space, this.#one);
    return bytes;
  }

  /**
   * All of `iovec` in addresses of the kernel itself: contiguous there, scattered in memory, as
   * vmalloc makes them. Nobody pins such pages; who maps them keeps them. A fault is a bug.
   * Linux: iov_iter_kvec().
   */
  initKernel(direction: IterDirection, space: AddressSpace, iovec: Iovec): void {
    this.#arm(IterKind.KERNEL, direction, 0, iovec.rows, 0, iovec.totalBytes);
    this.iovec = iovec;
    this.space = space;
  }

  /**
   * `count` bytes of rows firstRow … firstRow + rows, the first `done` of them behind. The memory
   * under the rows stays alive by the owner's doing.
   */
  initBvec(
    direction: IterDirection,
    table: BvecTable,
    firstRow: number,
    rows: number,
    done: number,
    count: number,
  ): void {
    assert(firstRow >= 0 && firstRow + rows <= table.rows, 'iter: rows outside the table');
    let bytes = -done;
    for (let row = firstRow; row < firstRow + rows; row++) bytes += table.len[row];
    assert(done >= 0 && count >= 0 && count <= bytes, 'iter: more bytes than the rows hold');
    assert(rows === 0 || done <= table.len[firstRow], 'iter: done passes the first row');
    this.#arm(IterKind.BVEC, direction, firstRow, rows, done, count);
    this.table = table;
  }

  /** File positions position … position + count. Linux: XARRAY. */
  initPages(direction: IterDirection, source: PageSource, position: number, count: number): void {
    assert(Number.isSafeInteger(position) && position >= 0, 'iter: position is no byte number');
    assert(Number.isSafeInteger(position + count) && count >= 0, 'iter: range beyond 2^53');
    this.#arm(IterKind.PAGES, direction, 0, 1, 0, count);
    this.source = source;
    this.position = position;
  }

  /** A sink for `count` bytes; always DEST. */
  initDiscard(count: number): void {
    assert(Number.isSafeInteger(count) && count >= 0, 'iter: count is no byte number');
    this.#arm(IterKind.DISCARD, IterDirection.DEST, 0, 1, 0, count);
  }

  /** Makes this a second cursor at the place of `other`, over the same memory and columns. */
  assign(other: IovIter): void {
    assert(other !== this, 'iter: assigned to itself');
    this.#arm(other.kind, other.direction, other.index, other.nrSegs, other.offset, other.count);
    this.#firstIndex = other.#firstIndex;
    this.space = other.space;
    this.table = other.table;
    this.source = other.source;
    this.position = other.position;
    this.iovec = other.iovec;
    if (other.iovec !== other.#one) return;
    // The other's own row will be overwritten when it is armed again.
    this.#one.copyFirst(other.#one);
    this.iovec = this.#one;
  }

  /** Lets every object of the program go. */
  clear(): void {
    this.#one.reset();
    this.#arm(IterKind.DISCARD, IterDirection.DEST, 0, 0, 0, 0);
  }

  #arm(
    kind: IterKind,
    direction: IterDirection,
    index: number,
    nrSegs: number,
    offset: number,
    count: number,
  ): void {
    this.kind = kind;
    this.direction = direction;
    this.index = index;
    this.#firstIndex = index;
    this.offset = offset;
    this.nrSegs = nrSegs;
    this.count = count;
    this.rowsOut = 0;
    this.iovec = NO_IOVEC;
    this.space = null;
    this.table = null;
    this.source = null;
    this.view = null;
  }

  /** True when the memory is a program's: pages must be pinned, and copies may fault. */
  get isUserBacked(): boolean {
    return this.kind === IterKind.BYTES || this.kind === IterKind.USER;
  }

  /** What the transfer does to the memory. */
  get access(): Access {
    return this.direction === IterDirection.DEST ? Access.WRITE : Access.READ;
  }

  /** Bytes of segment `index`; without end for PAGES and DISCARD, which count alone bounds. */
  segmentBytes(index: number): number {
    switch (this.kind) {
      case IterKind.BYTES:
      case IterKind.USER:
      case IterKind.KERNEL:
        return this.iovec.len[index];
      case IterKind.BVEC:
        return (this.table as BvecTable).len[index];
      case IterKind.PAGES:
      case IterKind.DISCARD:
        return Number.POSITIVE_INFINITY;
      default:
        return unreachable(this.kind);
    }
  }

  /** Moves min(bytes, count) on. Cannot fault. Linux: iov_iter_advance(). */
  advance(bytes: number): void {
    assert(bytes >= 0, 'iter: advance backwards');
    let left = bytes < this.count ? bytes : this.count;
    if (left === 0) return;
    this.count -= left;
    left += this.offset;
    if (this.kind < IterKind.PAGES) {
      const end = this.index + this.nrSegs;
      let index = this.index;
      let len = 0;
      while (index < end && left >= (len = this.segmentBytes(index))) {
        left -= len;
        index++;
      }
      assert(index < end || left === 0, 'iter: count passes the segments');
      this.index = index;
      this.nrSegs = end - index;
    }
    this.offset = left;
  }

  /** The exact inverse of the advance or consumption before. Linux: iov_iter_revert(). */
  revert(bytes: number): void {
    assert(bytes >= 0 && bytes <= MAX_RW_COUNT, 'iter: revert outside 0..MAX_RW_COUNT');
    this.count += bytes;
    let left = bytes;
    while (left > this.offset) {
      assert(this.index > this.#firstIndex, 'iter: revert before the start');
      left -= this.offset;
      this.index--;
      this.nrSegs++;
      this.offset = this.segmentBytes(this.index);
    }
    this.offset -= left;
  }

  save(state: IterState): void {
    state.index = this.index;
    state.offset = this.offset;
    state.nrSegs = this.nrSegs;
    state.count = this.count;
  }

  /** Pre: `state` was saved from this iterator since it was armed. */
  restore(state: IterState): void {
    assert(
      state.index + state.nrSegs === this.index + this.nrSegs,
      'iter: state of another iterator',
    );
    this.index = state.index;
    this.offset = state.offset;
    this.nrSegs = state.nrSegs;
    this.count = state.count;
  }

  truncate(count: number): void {
    assert(count >= 0, 'iter: truncate below nothing');
    if (count < this.count) this.count = count;
  }

  /** Undoes a truncation, and only that. */
  reexpand(count: number): void {
    assert(count >= this.count, 'iter: reexpand to less');
    this.count = count;
  }

  /**
   * Finds the next physically contiguous range, in `page`, `pageOffset` (< 4096) and `segment`, or
   * in `view` and `pageOffset` when the memory has no frame. Its bytes (at most `bytesMax`), 0 at
   * the end, or a negative errno. Does not move; takes no hold.
   */
  piece(access: Access, bytesMax: number): number {
    const left = bytesMax < this.count ? bytesMax : this.count;
    if (left === 0) return 0;
    let index = this.index;
    let done = this.offset;
    if (this.kind < IterKind.PAGES) {
      const end = index + this.nrSegs;
      while (index < end && done >= this.segmentBytes(index)) {
        index++;
        done = 0;
      }
      assert(index < end, 'iter: count passes the segments');
    }
    this.segment = index;
    this.view = null;
    switch (this.kind) {
      case IterKind.BYTES:
        return this.#bytesPiece(index, done, left);
      case IterKind.USER:
        return this.#userPiece(index, done, left, access);
      case IterKind.KERNEL:
        return this.#kernelPiece(index, done, left, access);
      case IterKind.BVEC:
        return this.#bvecPiece(index, done, left);
      case IterKind.PAGES:
        return this.#filePiece(done, left);
      case IterKind.DISCARD:
        return -Errno.EFAULT;
      default:
        return unreachable(this.kind);
    }
  }

  #bytesPiece(index: number, done: number, left: number): number {
    const rest = this.iovec.len[index] - done;
    let bytes = rest < left ? rest : left;
    const base = this.iovec.base[index];
    if (base === OUTSIDE) {
      // The owner may have detached or shrunk the memory since it was imported.
      const view = this.iovec.views[index] as Uint8Array;
      if (done + bytes > view.length) bytes = view.length - done;
      this.view = view;
      this.pageOffset = done;
      return bytes > 0 ? bytes : -Errno.EFAULT;
    }
    const first = Math.floor((base + done) / PAGE_BYTES);
    if (!pageExists(first)) return -Errno.EFAULT; // The arena was disposed of.
    this.page = first;
    this.pageOffset = (base + done) & (PAGE_BYTES - 1);
    return bytes;
  }

  #userPiece(index: number, done: number, left: number, access: Access): number {
    const addr = this.iovec.base[index] + done;
    const found = (this.space as AddressSpace).pageAt(addr, access);
    if (found < 0) return found;
    this.page = found;
    this.pageOffset = addr & (PAGE_BYTES - 1);
    const rest = Math.min(this.iovec.len[index] - done, PAGE_BYTES - this.pageOffset);
    return rest < left ? rest : left;
  }

  #kernelPiece(index: number, done: number, left: number, access: Access): number {
    const bytes = this.#userPiece(index, done, left, access);
    assert(bytes > 0, 'iter: a fault in memory of the kernel');
    return bytes;
  }

  #bvecPiece(row: number, done: number, left: number): number {
    const table = this.table as BvecTable;
    const offset = table.offset[row] + done;
    this.page = table.page[row] + Math.floor(offset / PAGE_BYTES);
    this.pageOffset = offset & (PAGE_BYTES - 1);
    const rest = table.len[row] - done;
    return rest < left ? rest : left;
  }

  #filePiece(done: number, left: number): number {
    const at = this.position + done;
    const found = (this.source as PageSource).pageAt(Math.floor(at / PAGE_BYTES));
    if (found < 0) return -Errno.EFAULT;
    this.page = found;
    this.pageOffset = at & (PAGE_BYTES - 1);
    const rest = PAGE_BYTES - this.pageOffset;
    return rest < left ? rest : left;
  }
}
