import { PAGE_BYTES } from '../base/units.ts';
import { BvecTable } from '../bvec/bvec-table.ts';
import { generate } from '../integrity/generate.ts';
import { PiWalk, type RowsAt } from '../integrity/pi-walk.ts';
import { appTagStart, refTagStart, writeTags } from '../integrity/tuple.ts';
import type { Arena } from '../memory/arena.ts';
import type { ArenaBuffer } from '../memory/arena-buffer.ts';
import { copyPages, zeroPages } from '../memory/copy.ts';
import { HoldKind } from '../memory/holds.ts';
import { byteAt, regionOf } from '../memory/region.unsafe.ts';
import type { Layout } from './layout.ts';
import { FreshBlocks } from './superblock.ts';

/** Blocks whose ref tags have all but the last byte in common. */
const REF_RUN = 256;

/** Tuples that are made without looking at data: of zeros, of blocks nobody knows, of lost ones. */
export class FreshTuples {
  readonly #layout: Layout;
  readonly #fresh: FreshBlocks;
  /** The tuple of an interval of zeros, but for its ref tag. */
  readonly #zero: Uint8Array;

  constructor(layout: Layout, fresh: FreshBlocks, arena: Arena) {
    this.#layout = layout;
    this.#fresh = fresh;
    this.#zero = zeroTuple(layout, arena);
  }

  /** A whole page of blocks that nobody wrote. */
  fillPage(page: number, index: number): void {
    zeroPages(page, 0, PAGE_BYTES);
    const first = this.#layout.firstBlockOf(index);
    const count = this.#layout.blocksOn(index);
    const at = this.#layout.tupleAt(first);
    if (this.#fresh === FreshBlocks.ZEROS) this.fillZeros(page, at, first, count);
    else this.fillUnchecked(page, at, count);
  }

  /** `count` tuples of zeros from byte `offset` of `page` on. */
  fillZeros(page: number, offset: number, first: number, count: number): void {
    const { tupleBytes } = this.#layout;
    for (let done = 0; done < count; ) {
      const run = Math.min(REF_RUN - ((first + done) % REF_RUN), count - done);
      this.#fillRun(page, offset + done * tupleBytes, first + done, run);
      done += run;
    }
  }

  /** Blocks whose ref tags differ in the last byte alone: the first tuple, copied and counted. */
  #fillRun(page: number, offset: number, first: number, count: number): void {
    const { tupleBytes, profile } = this.#layout;
    const { u8 } = regionOf(page);
    const at = byteAt(page, offset);
    const bytes = count * tupleBytes;
    u8.set(this.#zero, at);
    writeTags(profile.csum, u8, at, 0, first);
    for (let done = tupleBytes; done < bytes; done *= 2) {
      copyPages(page, offset + done, page, offset, Math.min(done, bytes - done));
    }
    const last = at + tupleBytes - 1;
    for (let i = 1; i < count; i++) u8[last + i * tupleBytes] = first + i;
  }

  /** Tuples that switch checking off: every byte 0xFF. */
  fillUnchecked(page: number, offset: number, count: number): void {
    const at = byteAt(page, offset);
    regionOf(page).u8.fill(0xff, at, at + count * this.#layout.tupleBytes);
  }

  /** Tuples that no block fits: their ref tag is every bit of the right one turned over. */
  poisonPage(page: number, index: number): void {
    const { tupleBytes, profile } = this.#layout;
    const first = this.#layout.firstBlockOf(index);
    const { u8 } = regionOf(page);
    zeroPages(page, 0, PAGE_BYTES);
    for (let i = 0; i < this.#layout.blocksOn(index); i++) {
      const at = byteAt(page, this.#layout.tupleAt(first + i));
      writeTags(profile.csum, u8, at, 0, first + i);
      const ref = at + refTagStart(profile.csum);
      for (let byte = ref; byte < at + tupleBytes; byte++) u8[byte] = ~(u8[byte] as number);
    }
  }
}

/** The memory of one row, for a walk. */
export class OneRow {
  readonly #table = new BvecTable(1);

  rows(page: number, offset: number, bytes: number): RowsAt {
    this.#table.set(0, page, offset, bytes, HoldKind.BORROWED);
    return { table: this.#table, row: 0, done: 0, size: bytes };
  }
}

function zeroTuple(layout: Layout, arena: Arena): Uint8Array {
  const { intervalBytes, profile, tupleBytes } = layout;
  const data: ArenaBuffer = arena.alloc(intervalBytes, 'zero interval');
  const tuple: ArenaBuffer = arena.alloc(tupleBytes, 'zero tuple');
  zeroPages(data.page, 0, intervalBytes);
  zeroPages(tuple.page, 0, tupleBytes);
  const walk = new PiWalk();
  const dataRow = new OneRow().rows(data.page, 0, intervalBytes);
  walk.startSeparate(profile, dataRow, new OneRow().rows(tuple.page, 0, tupleBytes));
  generate(walk, profile, 0);
  const bytes = tuple.copy();
  data.release();
  tuple.release();
  bytes.fill(0, appTagStart(profile.csum));
  return bytes;
}
