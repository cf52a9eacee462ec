import { BvecTable } from '../../src/bvec/bvec-table.ts';
import { rowJoins } from '../../src/iter/row-join.ts';
import { HoldKind } from '../../src/memory/holds.ts';
import type { Entry, Sink } from './sink.ts';

/** The rows of a bio that is being built: physically contiguous fragments share one. */
export class BioRows implements Sink {
  hold: HoldKind = HoldKind.BORROWED;
  readonly table: BvecTable;
  readonly vecsMax: number;
  vcnt = 0;

  constructor(vecsMax: number) {
    this.table = new BvecTable(vecsMax);
    this.vecsMax = vecsMax;
  }

  get held(): readonly Entry[] {
    const { page, offset, len } = this.table;
    return Array.from({ length: this.vcnt }, (_, i) => [
      page[i] as number,
      offset[i] as number,
      len[i] as number,
    ]);
  }

  get isFull(): boolean {
    return this.vcnt === this.vecsMax;
  }

  joins(page: number, offset: number): boolean {
    return this.vcnt > 0 && rowJoins(this.table, this.vcnt - 1, page, offset, this.hold);
  }

  grow(len: number): void {
    const row = this.vcnt - 1;
    this.table.len[row] = (this.table.len[row] as number) + len;
  }

  append(page: number, offset: number, len: number): void {
    this.table.set(this.vcnt++, page, offset, len, this.hold);
  }
}
