// Segment rows that are cut anywhere and lie anywhere, for the tests of this folder.

import { BvecTable } from '../bvec/bvec-table.ts';
import type { Arena } from '../memory/arena.ts';
import type { ArenaBuffer } from '../memory/arena-buffer.ts';
import { HoldKind } from '../memory/holds.ts';
import type { RowsAt } from './pi-walk.ts';

/** Rows over the bytes that were placed, and the way to look at them. */
export interface Placed {
  readonly rows: RowsAt;
  read(): Uint8Array;
  write(bytes: Uint8Array): void;
}

/** Hands out places in one buffer, each a few bytes from the last. */
export class TestMemory {
  readonly #buffer: ArenaBuffer;
  #at = 0;

  constructor(buffer: ArenaBuffer) {
    this.#buffer = buffer;
  }

  static of(arena: Arena, bytes: number): TestMemory {
    return new TestMemory(arena.alloc(bytes));
  }

  reset(): void {
    this.#at = 0;
  }

  /**
   * `bytes` in rows of the lengths of `cuts` (used over and over); `gaps` bytes lie between rows,
   * so that two rows do not touch by chance. No cuts: one row.
   */
  place(bytes: Uint8Array, cuts: readonly number[] = [], gap = 0): Placed {
    const places: { at: number; length: number }[] = [];
    for (let done = 0, i = 0; done < bytes.length; i++) {
      const wanted = cuts.length === 0 ? bytes.length : (cuts[i % cuts.length] as number);
      const length = Math.min(wanted, bytes.length - done);
      this.#at += gap;
      places.push({ at: this.#at, length });
      this.#at += length;
      done += length;
    }
    if (this.#at > this.#buffer.length) throw new Error('test memory: too small');
    const table = new BvecTable(Math.max(places.length, 1));
    for (const [row, { at, length }] of places.entries()) {
      const page = this.#buffer.page + Math.floor(at / 4096);
      table.set(row, page, at % 4096, length, HoldKind.BORROWED);
    }
    const memory = this.#buffer.bytes;
    const write = (from: Uint8Array): void => {
      let done = 0;
      for (const { at, length } of places) {
        memory.set(from.subarray(done, done + length), at);
        done += length;
      }
    };
    const read = (): Uint8Array => {
      const pieces = places.map(({ at, length }) => memory.slice(at, at + length));
      return Uint8Array.from(pieces.flatMap((piece) => [...piece]));
    };
    write(bytes);
    return { rows: { table, row: 0, done: 0, size: bytes.length }, read, write };
  }
}
