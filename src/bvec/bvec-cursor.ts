import { assert } from '../base/assert.ts';
import { PAGE_BYTES, PAGE_SHIFT } from '../base/units.ts';
import type { BvecTable } from './bvec-table.ts';

/**
 * A place in a segment list, with the two views of reference 2.1. Reuse one cursor per walk.
 *
 * Multi-page view: the rest of the current entry, however many pages. Single-page view: the piece
 * of it that lies in one page. Entry off=3000 len=6000 has single-page pieces of 1096, 4096, 808.
 */
export class BvecCursor {
  table: BvecTable | null = null;
  /** Current row. */
  row = 0;
  /** Bytes of the current row that are behind. */
  done = 0;
  /** Bytes left in all; may be less than the rows hold. */
  size = 0;

  /** The current piece, valid after `multi()` or `single()` answered true. */
  page = 0;
  offset = 0;
  len = 0;

  start(table: BvecTable, row: number, done: number, size: number): void {
    this.table = table;
    this.row = row;
    this.done = done;
    this.size = size;
  }

  /** Loads the multi-page piece; false at the end. */
  multi(): boolean {
    const table = this.table;
    if (this.size === 0 || table === null) return false;
    this.page = table.page[this.row] as number;
    this.offset = (table.offset[this.row] as number) + this.done;
    const rest = (table.len[this.row] as number) - this.done;
    this.len = rest < this.size ? rest : this.size;
    assert(this.len > 0, 'bvec cursor: empty entry');
    return true;
  }

  /** Loads the piece that ends with its page; false at the end. */
  single(): boolean {
    if (!this.multi()) return false;
    this.page += this.offset >>> PAGE_SHIFT;
    this.offset &= PAGE_BYTES - 1;
    const room = PAGE_BYTES - this.offset;
    if (this.len > room) this.len = room;
    return true;
  }

  /**
   * Moves `bytes` on, over entries. Beyond the end: size becomes 0, the position stays, false.
   */
  advance(bytes: number): boolean {
    if (bytes > this.size) {
      this.size = 0;
      return false;
    }
    const table = this.table as BvecTable;
    this.size -= bytes;
    let done = this.done + bytes;
    let row = this.row;
    while (done !== 0 && done >= (table.len[row] as number)) {
      done -= table.len[row] as number;
      row++;
      if (this.size === 0 && done === 0) break;
    }
    this.row = row;
    this.done = done;
    return true;
  }
}
