import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { pagesSpanned, roundDown } from '../base/units.ts';
import type { Bio } from '../bio/bio.ts';
import { releaseRows, trimRows } from '../bio/bio-add.ts';
import { BvecTable } from '../bvec/bvec-table.ts';
import type { IovIter } from '../iter/iov-iter.ts';
import { faultInReadable } from '../iter/iter-copy.ts';
import { EXTRACT_ALL, extract } from '../iter/iter-extract.ts';
import { Access } from '../memory/address-space.ts';
import { copyIntoRows } from './bio-rows.ts';
import { BOUNCE_BYTES_MAX } from './bounce.ts';
import { FAULT_WAIT, type MapContext, NO_MEMORY } from './map-context.ts';
import { freeOwnPages, takeOwnPages } from './own-pages.ts';
import type { Piece } from './piece.ts';

// Copies of memory of an address space: it may be absent, make the transfer wait, or change.
//
// A whole write is a snapshot of the call and needs no hold: pages are asked for one after the
// other, and a fault ends the copy with the bytes before it. A read reaches memory only when it
// ends, a partial write after its block was read. By then the program may have unmapped it, forked
// or gone, and the same addresses mean other pages, or none. So the pages are pinned once, at the
// call, and kept as rows of the piece: the bytes go to what was meant, and each pin has its end.
//
// The rows are columns of the piece itself, which is pooled, and not runs of a shared pool: there
// is no second pool that could be empty while a bio is held, and so nothing to wait for.

/** Pages of 1 MiB and as many ends of segments again. */
const ROWS_FIRST = 512;

/**
 * Pins what lies under the next `bytes` of `iter` into the rows of `piece` and moves behind it.
 * Bytes: a multiple of `unit` when it is less than all. A negative errno when not even one unit
 * could be had, of what stood in the way; then nothing is held, and the iterator is where it was.
 */
export function pinRows(piece: Piece, iter: IovIter, bytes: number, unit: number): number {
  assert(piece.pinRows === 0, 'user rows: pinned twice');
  piece.pins ??= new BvecTable(ROWS_FIRST);
  let got = 0;
  let error = 0;
  while (got < bytes && error === 0) {
    if (piece.pinRows === piece.pins.rows) {
      if (got >= unit) break; // The rest is another piece.
      piece.pins = grown(piece.pins); // Hundreds of ranges of a few bytes: rare, and kept.
    }
    const room = piece.pins.rows - piece.pinRows;
    const taken = extract(iter, piece.pins, piece.pinRows, room, bytes - got, EXTRACT_ALL);
    if (taken < 0) error = taken;
    else got += taken;
    piece.pinRows += iter.rowsOut;
  }
  const over = got < bytes ? got % unit : 0;
  if (over > 0) {
    trimPins(piece, over);
    iter.revert(over);
  }
  return got > over ? got - over : error;
}

/** Cuts `bytes` off the end of what is pinned. */
function trimPins(piece: Piece, bytes: number): void {
  assert(piece.pins !== null, 'user rows: nothing is pinned');
  piece.pinRows = trimRows(piece.pins, 0, piece.pinRows, bytes);
}

/** Lets all of it go, after the folios under its first `dirtyBytes` were marked dirty. */
export function unpinRows(piece: Piece, dirtyBytes: number): void {
  assert(piece.pins !== null, 'user rows: nothing is pinned');
  releaseRows(piece.pins, 0, piece.pinRows, dirtyBytes);
  piece.pinRows = 0;
}

export function pinnedPages(piece: Piece): number {
  let pages = 0;
  for (let row = 0; row < piece.pinRows; row++) {
    const { offset, len } = piece.pins as BvecTable;
    pages += pagesSpanned(offset[row], len[row]);
  }
  return pages;
}

function grown(table: BvecTable): BvecTable {
  const larger = new BvecTable(table.rows * 2);
  for (let row = 0; row < table.rows; row++) larger.copyRow(row, table, row);
  return larger;
}

/**
 * A read, or a part of a block: pins now, copies when the bio ends. 0, NO_MEMORY, FAULT_WAIT or a
 * negative errno, and then nothing is held. The pins come before own pages, so that a fault finds
 * all the memory that there is. A part of a block is taken whole, or up to where memory ends; never
 * up to what must be waited for: its rest would be a second write of the same block beside it.
 */
export function fillLater(context: MapContext, bio: Bio, piece: Piece, iter: IovIter): number {
  const want = Math.min(piece.userBytes, BOUNCE_BYTES_MAX);
  let pinned = pinRows(piece, iter, want, piece.isPart ? want : context.blockBytes);
  const isEnd = pinned < 0 && pinned !== -Errno.EAGAIN;
  if (isEnd && piece.isPart) pinned = pinRows(piece, iter, want, 1);
  if (pinned < 0) return pinned === -Errno.EAGAIN ? FAULT_WAIT : pinned;
  if (!piece.isPart) piece.bytes = pinned;
  const got = takeOwnPages(context, bio, piece);
  const used = Math.min(Math.max(got - piece.skip, 0), pinned);
  trimPins(piece, pinned - used);
  iter.revert(pinned - used);
  if (got === 0) return NO_MEMORY;
  piece.userBytes = used;
  piece.bytes = got;
  return 0;
}

/**
 * A write of whole blocks: copies now. The same answers. Memory is faulted in before own pages are
 * taken; a copy that ends early all the same is a shorter piece.
 */
export function fillNow(context: MapContext, bio: Bio, piece: Piece, iter: IovIter): number {
  const { blockBytes } = context;
  const want = Math.min(piece.userBytes, BOUNCE_BYTES_MAX);
  const there = roundDown(want - faultInReadable(iter, want), blockBytes);
  if (there === 0) return faultOf(iter, want);
  piece.bytes = there;
  if (takeOwnPages(context, bio, piece) === 0) return NO_MEMORY;
  const copied = copyIntoRows(bio, 0, iter, bio.size);
  const kept = roundDown(copied, blockBytes);
  iter.revert(copied - kept);
  if (kept === 0) {
    freeOwnPages(context, bio, piece);
    return faultOf(iter, want);
  }
  bio.size = kept;
  piece.bytes = kept;
  piece.userBytes = kept;
  return 0;
}

/** Why less than a block of the next `bytes` can be read. Moves nothing. */
function faultOf(iter: IovIter, bytes: number): number {
  const there = bytes - faultInReadable(iter, bytes);
  iter.advance(there);
  const error = iter.piece(Access.READ, 1);
  iter.revert(there);
  if (error === -Errno.EAGAIN) return FAULT_WAIT;
  return error < 0 ? error : -Errno.EFAULT;
}
