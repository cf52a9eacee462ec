import { unreachable } from '../../base/assert.ts';
import { BvecTable } from '../../bvec/bvec-table.ts';
import { IovIter, IterKind } from '../../iter/iov-iter.ts';
import { IOVEC_ROWS_MAX, Iovec, OUTSIDE } from '../../iter/iovec.ts';

/**
 * An iterator that outlives the one it was taken from: it has columns of its own, because a caller
 * arms its own for the next call while this one is in flight. Pooled.
 */
export class SavedIter {
  readonly iter = new IovIter();
  #iovec = new Iovec();
  #table: BvecTable | null = null;

  /**
   * Takes the place and what is left of `from`. False above 1024 segments, as a system call never
   * has them; then nothing is taken.
   */
  take(from: IovIter): boolean {
    if (from.nrSegs > IOVEC_ROWS_MAX) return false;
    switch (from.kind) {
      case IterKind.BYTES:
      case IterKind.USER:
      case IterKind.KERNEL:
        this.#takeRanges(from);
        return true;
      case IterKind.BVEC:
        this.#takeRows(from);
        return true;
      case IterKind.PAGES:
      case IterKind.DISCARD:
        this.iter.assign(from);
        return true;
      default:
        return unreachable(from.kind);
    }
  }

  /** Lets every object of the program go. */
  clear(): void {
    this.iter.clear();
    this.#iovec.reset();
  }

  #takeRanges(from: IovIter): void {
    const { index, nrSegs: rows, offset, count, direction } = from;
    if (this.#iovec.base.length < rows) this.#iovec = new Iovec(rows);
    const to = this.#iovec;
    to.reset();
    for (let row = 0; row < rows; row++) {
      to.base[row] = from.iovec.base[index + row];
      to.len[row] = from.iovec.len[index + row];
      to.totalBytes += to.len[row];
      if (from.kind !== IterKind.BYTES) continue;
      to.views[row] = from.iovec.views[index + row] ?? null;
      if (to.base[row] === OUTSIDE && to.len[row] > 0) to.outsideRows++;
    }
    to.rows = rows;
    if (from.kind === IterKind.BYTES) this.iter.initBytes(direction, to);
    else if (from.space !== null && from.kind === IterKind.USER) {
      this.iter.initUser(direction, from.space, to);
    } else if (from.space !== null) this.iter.initKernel(direction, from.space, to);
    this.iter.advance(offset);
    this.iter.truncate(count);
  }

  #takeRows(from: IovIter): void {
    const { table, index, nrSegs: rows, offset, count, direction } = from;
    if (this.#table === null || this.#table.rows < rows) {
      this.#table = new BvecTable(Math.max(rows, 4));
    }
    for (let row = 0; row < rows && table !== null; row++) {
      this.#table.copyRow(row, table, index + row);
    }
    this.iter.initBvec(direction, this.#table, 0, rows, offset, count);
  }
}
