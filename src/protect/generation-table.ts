import { assert } from '../base/assert.ts';
import { BlockError } from '../base/block-error.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { BioOp } from '../bio/bio-op.ts';
import { zeroPages } from '../memory/copy.ts';
import { byteAt, regionOf } from '../memory/region.unsafe.ts';
import { type Layout, PAGE_HEADER_BYTES, TABLE_ENTRIES, TABLE_ENTRY_BYTES } from './layout.ts';
import { getU32, putU32, putU64 } from './le-bytes.ts';
import type { RowCalls } from './row-transfer.ts';
import { PageFault, PageMagic, type Seal, sequenceOf } from './seal.ts';
import type { Salt } from './superblock.ts';

// Row = one tuple page.      unit     invariant
//   generations  Uint32      commits  that wrote it; 0: never, its blocks are fresh; bit 0: slot
//   checks       Uint32      bits     of the seal it had then
// Row = one page of this table on the medium.
//   sequences    Float64     commit   that wrote it last; 0: never
//   slots        Uint8       0 or 1   where it stands

/** Pages of the table that are read in one call. */
export const TABLE_BATCH = 16;

/**
 * Which generation of each tuple page is the one to believe: the second level, by which a tuple
 * page that is whole, but old, is found. 8 bytes in memory for each page, 8 MiB for 1 TiB of data.
 */
export class GenerationTable {
  readonly generations: Uint32Array;
  readonly checks: Uint32Array;
  readonly #layout: Layout;
  readonly #seal: Seal;
  readonly #sequences: Float64Array;
  readonly #slots: Uint8Array;

  constructor(layout: Layout, seal: Seal) {
    this.#layout = layout;
    this.#seal = seal;
    this.generations = new Uint32Array(layout.pages);
    this.checks = new Uint32Array(layout.pages);
    this.#sequences = new Float64Array(layout.tablePages);
    this.#slots = new Uint8Array(layout.tablePages);
  }

  /** Slot in which tuple page `index` stands. Pre: it was written once. */
  slotOf(index: number): number {
    return (this.generations[index] as number) & 1;
  }

  /** Tuple page `index` is being written anew: its generation from now on. */
  raise(index: number): number {
    const generation = (this.generations[index] as number) + 1;
    assert(generation < 2 ** 32, 'protect: a tuple page was written 2^32 times');
    this.generations[index] = generation;
    return generation;
  }

  /**
   * Reads the table as commit `sequence` left it. `scratch`: 2 * TABLE_BATCH page frames. Rejects
   * with EILSEQ when it is not the table of that commit: a write of it was lost or damaged.
   */
  async load(calls: RowCalls, sequence: number, root: Salt, scratch: number): Promise<void> {
    const { tablePages } = this.#layout;
    for (let first = 0; first < tablePages; first += TABLE_BATCH) {
      const count = Math.min(TABLE_BATCH, tablePages - first);
      for (const slot of [0, 1]) {
        const page = scratch + slot * TABLE_BATCH;
        await calls.pages(BioOp.READ, this.#layout.tablePageAt(first, slot), page, count);
      }
      for (let i = 0; i < count; i++) this.#take(first + i, sequence, scratch + i);
    }
    this.#sealRoot(scratch);
    zeroPages(scratch, 0, 8);
    const { u8 } = regionOf(scratch);
    const at = byteAt(scratch, 0);
    this.#seal.put(u8, at);
    const isRoot = (getU32(u8, at) | 0) === root.low && (getU32(u8, at + 4) | 0) === root.high;
    if (isRoot) return;
    const reason =
      `the table of generations is not the one of commit ${sequence}: a write of it was lost or ` +
      'damaged, and nobody can tell good tuples from old ones; the data itself was not touched';
    throw new BlockError('EILSEQ', { reason });
  }

  /** The newer of two slots that is not newer than the commit; what is behind it was never done. */
  #take(index: number, sequence: number, scratch: number): void {
    let best = 0;
    for (const slot of [0, 1]) {
      const page = scratch + slot * TABLE_BATCH;
      if (this.#seal.checkPage(page, PageMagic.TABLE, index) !== PageFault.NONE) continue;
      const written = sequenceOf(page);
      if (written > sequence || written <= best) continue;
      best = written;
      this.#slots[index] = slot;
      this.#decode(index, page);
    }
    this.#sequences[index] = best;
  }

  #decode(index: number, page: number): void {
    const { u8 } = regionOf(page);
    const first = index * TABLE_ENTRIES;
    const count = Math.min(TABLE_ENTRIES, this.#layout.pages - first);
    let at = byteAt(page, PAGE_HEADER_BYTES);
    for (let i = first; i < first + count; i++) {
      this.generations[i] = getU32(u8, at);
      this.checks[i] = getU32(u8, at + 4);
      at += TABLE_ENTRY_BYTES;
    }
  }

  /** Page `index` of the table as it is now into the frame `page`; where it is to be written. */
  encode(index: number, sequence: number, page: number): number {
    zeroPages(page, 0, PAGE_BYTES);
    const { u8 } = regionOf(page);
    const first = index * TABLE_ENTRIES;
    const count = Math.min(TABLE_ENTRIES, this.#layout.pages - first);
    let at = byteAt(page, PAGE_HEADER_BYTES);
    for (let i = first; i < first + count; i++) {
      putU32(u8, at, this.generations[i] as number);
      putU32(u8, at + 4, this.checks[i] as number);
      at += TABLE_ENTRY_BYTES;
    }
    this.#seal.sealPage(page, { magic: PageMagic.TABLE, generation: 0, index, sequence });
    return this.#layout.tablePageAt(index, this.#otherSlot(index));
  }

  #otherSlot(index: number): number {
    return (this.#sequences[index] as number) === 0 ? 0 : 1 - (this.#slots[index] as number);
  }

  /**
   * The root that a superblock of commit `sequence` has when `indexes` were written for it.
   * `scratch`: one page frame.
   */
  rootAfter(sequence: number, indexes: readonly number[], scratch: number): Salt {
    const before = indexes.map((index) => this.#sequences[index] as number);
    for (const index of indexes) this.#sequences[index] = sequence;
    this.#sealRoot(scratch);
    indexes.forEach((index, i) => {
      this.#sequences[index] = before[i] as number;
    });
    const { u8 } = regionOf(scratch);
    const at = byteAt(scratch, 0);
    this.#seal.put(u8, at);
    return { low: getU32(u8, at) | 0, high: getU32(u8, at + 4) | 0 };
  }

  /** The commit is on the medium: what was written for it is the table now. */
  committed(sequence: number, indexes: readonly number[]): void {
    for (const index of indexes) {
      this.#slots[index] = this.#otherSlot(index);
      this.#sequences[index] = sequence;
    }
  }

  #sealRoot(scratch: number): void {
    const { u8 } = regionOf(scratch);
    const start = byteAt(scratch, 0);
    this.#seal.start();
    for (let first = 0; first < this.#layout.tablePages; first += PAGE_BYTES / 8) {
      const count = Math.min(PAGE_BYTES / 8, this.#layout.tablePages - first);
      for (let i = 0; i < count; i++)
        putU64(u8, start + i * 8, this.#sequences[first + i] as number);
      this.#seal.add(scratch, 0, count * 8);
    }
  }
}
