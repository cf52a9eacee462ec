import { formatSize, PAGE_BYTES, pagesSpanned } from '../base/units.ts';
import { BIO_OP_NAMES, BioFlag, opHasData } from '../bio/bio-op.ts';
import type { BvecTable } from '../bvec/bvec-table.ts';
import { IovIter, IterKind } from '../iter/iov-iter.ts';
import type { UserMeta } from '../map/passthrough/meta-rows.ts';
import type { Piece } from '../map/piece.ts';
import { HOLD_NAMES, HoldKind } from '../memory/holds.ts';
import type { Transfer } from './transfer.ts';

/** One range of pages that a live transfer holds. */
export interface LiveHold {
  readonly page: number;
  readonly pages: number;
  readonly kind: (typeof HOLD_NAMES)[number];
  /** For people: 'read 128 KiB at 4096'. */
  readonly by: string;
  /** When the transfer began, by the device's clock; 0 without one. */
  readonly sinceNs: number;
  readonly traceId: number;
  /** Tells transfers apart where several have one trace. */
  readonly transferId: number;
}

/** Control plane: walks the pieces that are out. Change nothing of the device meanwhile. */
export function* liveHolds(pieces: Iterable<Piece>): Generator<LiveHold> {
  for (const piece of pieces) {
    const { bio, pins } = piece;
    if (bio === null) continue;
    const transfer = piece.owner as Transfer;
    if (!opHasData(transfer.op)) continue;
    if ((bio.flags & BioFlag.CLONED) === 0) {
      yield* heldRows(transfer, bio.table, bio.first, bio.vcnt);
    }
    if (piece.meta !== null) yield* heldMetadata(transfer, piece.meta.user);
    if (piece.pinRows > 0) yield* heldRows(transfer, pins as BvecTable, 0, piece.pinRows);
    else if (piece.isPinned && piece.isCopied) yield* heldArrays(transfer, piece);
  }
}

function* heldRows(
  transfer: Transfer,
  table: BvecTable,
  first: number,
  rows: number,
): Generator<LiveHold> {
  for (let row = first; row < first + rows; row++) {
    const kind = table.hold[row] as HoldKind;
    const offset = table.offset[row];
    const page = table.page[row] + Math.floor(offset / PAGE_BYTES);
    const pages = pagesSpanned(offset, table.len[row]);
    if (kind !== HoldKind.BORROWED) yield hold(transfer, page, pages, kind);
  }
}

/** One pin an entry of the program, and own pages. */
function* heldMetadata(transfer: Transfer, meta: UserMeta): Generator<LiveHold> {
  if (meta.entries > 0) yield* heldRows(transfer, meta.entryRows(), 0, meta.entries);
  if (meta.vcnt > 0) yield* heldRows(transfer, meta.table, 0, meta.vcnt);
}

/** Arena memory of a program that is copied at the end of the bio: pinned without rows. */
function* heldArrays(transfer: Transfer, piece: Piece): Generator<LiveHold> {
  const { mapping } = transfer;
  const cursor = new IovIter();
  mapping.userMemory(piece, cursor);
  if (cursor.kind !== IterKind.BYTES) return;
  for (let left = piece.userBytes; left > 0; ) {
    const bytes = cursor.piece(cursor.access, left);
    if (bytes <= 0) return; // Detached since.
    if (cursor.view === null) {
      yield hold(transfer, cursor.page, pagesSpanned(cursor.pageOffset, bytes), HoldKind.PINNED);
    }
    cursor.advance(bytes);
    left -= bytes;
  }
}

function hold(transfer: Transfer, page: number, pages: number, kind: HoldKind): LiveHold {
  const { op, position, startNs: sinceNs, traceId, id: transferId } = transfer;
  const by = `${BIO_OP_NAMES[op]} ${formatSize(transfer.bytes)} at ${position}`;
  return { page, pages, kind: HOLD_NAMES[kind], by, sinceNs, traceId, transferId };
}
