// Bios of rows that a test names: no program, no device.

import assert from 'node:assert/strict';
import type { Bio } from '../../bio/bio.ts';
import { BioFlag, BioOp } from '../../bio/bio-op.ts';
import { BioPool } from '../../bio/bio-pool.ts';
import { HoldKind } from '../../memory/holds.ts';

export type RowText = readonly [page: number, offset: number, len: number];

export const pool = new BioPool({ bios: 8, rows: 1024 });

/** An empty bio; `op` is a write unless a test asks for a read. */
export function emptyBio(vecs = 16, op: BioOp = BioOp.WRITE): Bio {
  const bio = pool.acquire(op, 0, vecs);
  assert.ok(bio !== null);
  return bio;
}

/** A bio of borrowed rows, as whoever built it left it. */
export function bioOf(rows: readonly RowText[], op: BioOp = BioOp.WRITE): Bio {
  const bio = emptyBio(rows.length, op);
  rows.forEach(([page, offset, len], i) => {
    bio.table.set(bio.first + i, page, offset, len, HoldKind.BORROWED);
    bio.size += len;
  });
  bio.vcnt = rows.length;
  return bio;
}

/** The same, of a list that belongs to somebody else. */
export function clonedBioOf(rows: readonly RowText[]): Bio {
  const bio = bioOf(rows);
  bio.flags |= BioFlag.CLONED;
  return bio;
}

export function rowsOf(bio: Bio): number[][] {
  const { page, offset, len } = bio.table;
  return Array.from({ length: bio.vcnt }, (_, i) => {
    const row = bio.first + i;
    return [page[row], offset[row], len[row]];
  });
}

export function release(bios: readonly Bio[]): void {
  for (const bio of bios) pool.release(bio);
  assert.equal(pool.busyCount, 0);
}
