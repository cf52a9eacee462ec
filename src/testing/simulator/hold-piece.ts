import { assert } from '../../base/assert.ts';
import type { Bio } from '../../bio/bio.ts';
import { addSegment } from '../../bio/bio-add.ts';
import { getPages, HoldKind, pinPages } from '../../memory/holds.ts';

/** Adds a piece with a hold of each page that it touches, as extraction does. */
export function holdPiece(bio: Bio, page: number, at: number, len: number, hold: HoldKind): void {
  const first = page + Math.floor(at / 4096);
  const pages = Math.floor((at + len - 1) / 4096) - Math.floor(at / 4096) + 1;
  if (hold === HoldKind.PINNED) assert(pinPages(first, pages) === pages, 'sim: pin');
  if (hold === HoldKind.REFERENCED) assert(getPages(first, pages) === pages, 'sim: reference');
  assert(addSegment(bio, page, at, len, hold) === len, 'sim: the bio is full');
}
