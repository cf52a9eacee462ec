import { PiWalk } from '../integrity/pi-walk.ts';
import { CheckFlag, PiCheck, PiFault, verify } from '../integrity/verify.ts';
import { OneRow } from './fresh-tuples.ts';
import type { Layout } from './layout.ts';

/** Asks of blocks in memory whether tuples fit them. Allocates nothing. */
export class BlockFit {
  /** Of the last question that was answered by less than all blocks. */
  readonly fault = new PiFault();
  readonly #layout: Layout;
  readonly #walk = new PiWalk();
  readonly #check = new PiCheck();
  readonly #data = new OneRow();
  readonly #tuples = new OneRow();

  constructor(layout: Layout) {
    this.#layout = layout;
    this.#check.flags = CheckFlag.GUARD | CheckFlag.REF;
  }

  /** Blocks from `block` on that their tuples fit: `count`, or fewer and then a `fault`. */
  fitting(
    block: number,
    count: number,
    dataPage: number,
    dataOffset: number,
    tuplePage: number,
    tupleOffset: number,
  ): number {
    const { profile, intervalBytes, tupleBytes } = this.#layout;
    const data = this.#data.rows(dataPage, dataOffset, count * intervalBytes);
    const tuples = this.#tuples.rows(tuplePage, tupleOffset, count * tupleBytes);
    this.#walk.startSeparate(profile, data, tuples);
    this.#check.seed = block;
    return verify(this.#walk, profile, this.#check, this.fault) === 0 ? count : this.fault.interval;
  }
}
