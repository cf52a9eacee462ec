// Bios seen as what they are for: a list of addresses. The second opinion of the tests.
// One item is four bytes, which is the least that segments of the tests are made of.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { PAGE_BYTES, pagesSpanned } from '../base/units.ts';
import { HoldKind } from '../memory/holds.ts';
import type { Bio } from './bio.ts';
import { addSegment } from './bio-add.ts';
import type { BioOp } from './bio-op.ts';
import type { BioPool } from './bio-pool.ts';

/** Bytes of one item. */
export const WORD = 4;

/** Every word of a bio's rest, in order. */
export interface WordList {
  /** Physical address. */
  readonly addr: number[];
  /** Row it lies in; rows that only their holds keep apart are one, the first. */
  readonly row: number[];
  /** Offset from the start of the row's page, which virtual boundaries are counted by. */
  readonly offset: number[];
}

export function wordsOf(bio: Bio): WordList {
  const list: WordList = { addr: [], row: [], offset: [] };
  const { page, offset, len, hold } = bio.table;
  let skip = bio.done;
  let left = bio.size;
  let first = bio.row;
  for (let row = bio.row; left > 0; row++, skip = 0) {
    const addr = page[row] * PAGE_BYTES + offset[row];
    const goesOn = row > bio.row && addr === (list.addr.at(-1) as number) + WORD;
    // Virtual boundaries are counted from the first page of what is one range.
    if (!goesOn || hold[row] === hold[row - 1]) first = row;
    const base = page[first] * PAGE_BYTES;
    for (let at = skip; at < len[row] && left > 0; at += WORD, left -= WORD) {
      list.offset.push(addr + at - base);
      list.addr.push(addr + at);
      list.row.push(first);
    }
  }
  return list;
}

/** Pages that the owner's rows span, a page in two rows counted twice. */
export function pagesOf(bio: Bio): number {
  let pages = 0;
  for (let row = bio.first; row < bio.first + bio.vcnt; row++) {
    pages += pagesSpanned(bio.table.offset[row], bio.table.len[row]);
  }
  return pages;
}

export interface Segment {
  readonly page: number;
  readonly offset: number;
  readonly len: number;
  /** Default: borrowed. */
  readonly hold?: HoldKind;
}

/** A bio over memory that need not exist: nothing here is held or read. */
export function buildBio(
  pool: BioPool,
  op: BioOp,
  sector: number,
  segments: readonly Segment[],
): Bio {
  const bio = pool.acquire(op, sector, Math.max(segments.length, 1));
  assert.ok(bio !== null, 'the pool of the test is large enough');
  for (const { page, offset, len, hold = HoldKind.BORROWED } of segments) {
    assert.equal(addSegment(bio, page, offset, len, hold), len);
  }
  return bio;
}

/**
 * Segments that start at multiples of `align`, some of them adjacent, in all a multiple of `block`.
 */
export function segmentsArb(align: number, block: number): fc.Arbitrary<Segment[]> {
  const one = fc.record({
    page: fc.nat(200),
    offset: fc.oneof(
      fc.constant(0),
      fc.nat(PAGE_BYTES / align - 1).map((n) => n * align),
    ),
    len: fc.oneof(
      fc.constantFrom(PAGE_BYTES, PAGE_BYTES, 512, 2 * PAGE_BYTES),
      fc.integer({ min: 1, max: 512 }).map((n) => n * align),
      fc.integer({ min: 1, max: 8 }).map((n) => n * block),
      fc.integer({ min: 1, max: 6 }).map((n) => n * PAGE_BYTES),
    ),
    follows: fc.integer({ min: 0, max: 3 }).map((n) => n === 0),
    hold: fc.constantFrom(HoldKind.BORROWED, HoldKind.BORROWED, HoldKind.OWNED),
  });
  return fc.array(one, { minLength: 1, maxLength: 8 }).map((list) => {
    const out: Segment[] = [];
    for (const { page, offset, len, follows, hold } of list) {
      const last = out.at(-1);
      if (!follows || last === undefined) {
        out.push({ page, offset, len, hold });
        continue;
      }
      const end = last.page * PAGE_BYTES + last.offset + last.len;
      const next = Math.floor(end / PAGE_BYTES);
      out.push({ page: next, offset: end % PAGE_BYTES, len, hold });
    }
    const over = out.reduce((sum, { len }) => sum + len, 0) % block;
    const last = out.pop() as Segment;
    out.push({ ...last, len: last.len + (over === 0 ? 0 : block - over) });
    return out;
  });
}
