import type { Bio } from '../bio/bio.ts';
import type { BvecTable } from '../bvec/bvec-table.ts';
import type { MetaPiece } from './metadata/meta-piece.ts';

/** What a bio of a mapping is doing. */
export const PiecePhase = {
  /** The bytes of the transfer itself. */
  TRANSFER: 0,
  /** Reads the whole block, because a write covers only a part of it. */
  READ_BEFORE_WRITE: 1,
} as const;
export type PiecePhase = (typeof PiecePhase)[keyof typeof PiecePhase];

/** The submitter's record of one bio; the bio's `owner`. Pooled. */
export class Piece {
  /** The transfer that it belongs to. */
  owner: object | null = null;
  /** The bio itself, while it is out. */
  bio: Bio | null = null;
  phase: PiecePhase = PiecePhase.TRANSFER;
  /** Byte of the device where the bio starts. */
  start = 0;
  /** Bytes of the bio. */
  bytes = 0;
  /** Bytes of the bio before the first one of the user's. */
  skip = 0;
  /** The user's bytes. */
  userBytes = 0;
  /** Where they start, counted from the start of the transfer. */
  userAt = 0;
  /** Covers its one block only in part. */
  isPart = false;
  /** In pages of the mapping. */
  isCopied = false;
  /** The user's pages are pinned until the copy is done. */
  isPinned = false;
  /** Pins of an address space under a copy, in the order of the user's bytes; `user-rows.ts`. */
  pins: BvecTable | null = null;
  pinRows = 0;
  /** Metadata that the program brought for it. */
  meta: MetaPiece | null = null;
  /** In the device's reserve of bounce pages. */
  usesReserve = false;
}
