import { Errno } from '../../base/errno.ts';
import type { Bio } from '../../bio/bio.ts';
import type { Mapping } from '../mapping.ts';
import type { Piece } from '../piece.ts';
import type { MetaMapping } from './meta-mapping.ts';

/**
 * Takes back what `fillData` did for a bio that does not go out: its metadata must wait. Post: the
 * iterator and all holds as before; the bio is to be released.
 */
export function undoFill(mapping: Mapping, bio: Bio, piece: Piece): void {
  const { status, meta, probe } = mapping;
  // A bio that failed copies nothing back and marks nothing dirty; that it failed is our secret.
  bio.status = -Errno.ECANCELED;
  mapping.meta = null;
  if (piece.pinRows === 0) mapping.probe = null; // Nobody was told of these holds yet.
  mapping.pieceEnded(bio, piece);
  mapping.probe = probe;
  mapping.meta = meta;
  mapping.status = status;
  bio.status = 0;
  mapping.iter.revert(piece.userBytes);
}

/** The metadata of a bio that has ended, before its data. */
export function endMetadata(mapping: Mapping, meta: MetaMapping, bio: Bio, piece: Piece): void {
  const result = meta.pieceEnded(bio, piece);
  if (result !== 0 && mapping.status === 0) mapping.status = result;
}
