import { assert } from '../base/assert.ts';
import type { Probe } from '../base/probe.ts';
import { ProbePoint } from '../base/probe.ts';
import { SECTOR_BYTES } from '../base/units.ts';
import type { BvecTable } from '../bvec/bvec-table.ts';
import { BioFlag, BioOp, opHasData } from './bio-op.ts';
import type { BioPool } from './bio-pool.ts';

/** FREE → BUILT (acquired, segments may be added) → SUBMITTED → ENDED → FREE, or armed again. */
export const BioState = { FREE: 0, BUILT: 1, SUBMITTED: 2, ENDED: 3 } as const;
export type BioState = (typeof BioState)[keyof typeof BioState];

export const BIO_NEXT: Readonly<Record<BioState, readonly BioState[]>> = {
  [BioState.FREE]: [BioState.BUILT],
  [BioState.BUILT]: [BioState.SUBMITTED, BioState.FREE],
  [BioState.SUBMITTED]: [BioState.ENDED],
  [BioState.ENDED]: [BioState.FREE, BioState.BUILT],
};

/** What 32 bits of bytes can say (Linux: BIO_MAX_SIZE). */
export const BIO_BYTES_MAX = 2 ** 32 - 1;

/** Metadata beside the data of a bio, as far as a bio knows it; `integrity/` has the class. */
export interface BioPayload {
  /** The bio moves on by as much of its data: so does this. */
  advance(dataBytes: number): void;
  /** Every part of the bio is done, and nobody above has heard of it: check, and let go. */
  ended(bio: Bio): void;
}

/** Runs once, when the last part of the bio is done. A plain function: one for all bios. */
export type BioEnd = (bio: Bio) => void;

/**
 * One range of the device and the segments for it. Pooled: get one from a BioPool.
 *
 * The iterator (sector, size, row, done) moves as parts are split off or completed; the owner's
 * rows (first … first + vcnt) do not.
 */
export class Bio {
  readonly pool: BioPool;
  state: BioState = BioState.FREE;
  op: BioOp = BioOp.READ;
  flags = 0;
  /** Iterator: where the rest starts on the device, 512-byte units. */
  sector = 0;
  /** Iterator: bytes left. */
  size = 0;
  /** Iterator: current row of `table`. */
  row = 0;
  /** Iterator: bytes of that row that are behind. */
  done = 0;
  table: BvecTable;
  /** The owner's first row and how many of `maxVecs` it filled. */
  first = 0;
  vcnt = 0;
  maxVecs = 0;
  /** 0 or the first negative errno of any part. */
  status = 0;
  /** Byte of the device from which on nothing was transferred: the end of a short read. */
  shortAt = Number.POSITIVE_INFINITY;
  /** Parts that have not completed: itself and the fronts split off it. */
  remaining = 0;
  /** A front that was split off completes into this bio. */
  parent: Bio | null = null;
  endIo: BioEnd | null = null;
  /** The submitter's own object. */
  owner: object | null = null;
  /** Metadata of this range; null on devices that have none. Linux: bi_integrity. */
  integrity: BioPayload | null = null;
  /** Kept by splits, merges and bounces. */
  traceId = 0;
  probe: Probe | null = null;
  /** Link of the one list that the bio is in: pending, or its request. */
  next: Bio | null = null;

  constructor(pool: BioPool, table: BvecTable) {
    this.pool = pool;
    this.table = table;
  }

  /** Exact also where a byte-granular target ends a bio inside a sector: 700 bytes are 1.367. */
  get sectors(): number {
    return this.size / SECTOR_BYTES;
  }

  get hasData(): boolean {
    return opHasData(this.op);
  }

  /** Moves the iterator `bytes` on. Data-less ops have no rows to move over. */
  advance(bytes: number): void {
    assert(bytes <= this.size, 'bio: advance beyond the end');
    this.sector += bytes / SECTOR_BYTES;
    this.size -= bytes;
    if (!opHasData(this.op)) return;
    if (this.integrity !== null) this.integrity.advance(bytes);
    const len = this.table.len;
    let done = this.done + bytes;
    let row = this.row;
    while (done >= (len[row] as number) && done > 0) {
      done -= len[row] as number;
      row++;
    }
    this.row = row;
    this.done = done;
  }
}

/**
 * One part of `bio` is done. When it was the last, the bio ends: into its parent if it was split
 * off one, else by `endIo`. A chain of any length is walked in a loop, never by recursion.
 * Linux: bio_endio(), block/bio.c.
 */
export function endBio(bio: Bio): void {
  let current = bio;
  for (;;) {
    assert(current.state === BioState.SUBMITTED, 'bio: ended in a wrong state');
    assert(current.remaining > 0, 'bio: ended more often than it has parts');
    current.remaining--;
    if (current.remaining > 0) return;
    if (current.integrity !== null) endPayload(current, current.integrity);
    const parent: Bio | null = current.parent;
    current.state = BioState.ENDED;
    if (parent === null) break;
    if (parent.status === 0) parent.status = current.status; // The first error wins.
    if (current.shortAt < parent.shortAt) parent.shortAt = current.shortAt;
    current.pool.release(current);
    current = parent;
  }
  if (current.probe !== null) {
    const { traceId, status, sector, size } = current;
    current.probe.hit(ProbePoint.BIO_END, traceId, current, status, sector, size);
  }
  assert(current.endIo !== null, 'bio: no endIo');
  current.endIo(current);
}

function endPayload(bio: Bio, payload: BioPayload): void {
  bio.integrity = null;
  payload.ended(bio);
}

/**
 * Makes `child` part of `parent`: the parent ends after it. Pre: the child has no endIo and owner.
 * Linux: bio_chain().
 */
export function chainBio(child: Bio, parent: Bio): void {
  assert(child.endIo === null && child.owner === null, 'bio: a chained child has no endIo');
  assert(child.parent === null, 'bio: chained twice');
  child.parent = parent;
  parent.remaining++;
}

/** Software contiguity allows any size; only `isFull` and 2^32 - 1 bytes end a bio. */
export function isFull(bio: Bio): boolean {
  return bio.vcnt >= bio.maxVecs || bio.size >= BIO_BYTES_MAX;
}

export function isMergeable(bio: Bio): boolean {
  if ((bio.flags & (BioFlag.NOMERGE | BioFlag.FUA)) !== 0) return false;
  return bio.op !== BioOp.FLUSH && bio.op !== BioOp.WRITE_ZEROES;
}
