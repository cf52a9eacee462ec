import { assert } from '../base/assert.ts';
import { BVECS_PER_BIO_MAX, BvecRuns, bvecClassRows } from '../bvec/bvec-table.ts';
import { Bio, BioState } from './bio.ts';
import { BioFlag, type BioOp } from './bio-op.ts';

/** Bios (and full segment runs) that are kept back so that one submitter always gets on. */
export const BIO_RESERVE = 2;

export interface BioPoolOptions {
  /** Bios beside the reserve. */
  readonly bios: number;
  /** Segment rows beside the reserve. */
  readonly rows: number;
}

/**
 * Bounded pool of bios and their segment rows. `acquire` answers null when it is empty: wait for
 * a completion, never for memory. The rule that makes it safe: a submitter holds at most one bio
 * that it has not submitted (allocate, submit, allocate), and different layers have own pools.
 */
export class BioPool {
  readonly runs: BvecRuns;
  readonly #free: Bio[] = [];
  readonly #count: number;
  #acquired = 0;

  constructor(options: BioPoolOptions) {
    this.runs = new BvecRuns(options.rows, BIO_RESERVE);
    this.#count = options.bios + BIO_RESERVE;
    for (let i = 0; i < this.#count; i++) this.#free.push(new Bio(this, this.runs.table));
  }

  /** Bios that are out; 0 when nothing is in flight. */
  get busyCount(): number {
    return this.#count - this.#free.length;
  }

  /** Bios handed out since the pool was made. */
  get acquiredCount(): number {
    return this.#acquired;
  }

  /**
   * A bio with room for at least `vecs` segments: rounded up to 4, 16, 64, 128 or 256, and 256
   * from the reserve. null = empty.
   */
  acquire(op: BioOp, sector: number, vecs: number): Bio | null {
    assert(vecs >= 0 && vecs <= BVECS_PER_BIO_MAX, 'bio pool: 0 to 256 segments');
    if (this.#free.length === 0) return null;
    let rows = vecs === 0 ? 0 : bvecClassRows(vecs);
    let first = 0;
    if (rows > 0) {
      first = this.runs.acquire(rows);
      if (first < 0) {
        first = this.runs.acquireReserve();
        rows = BVECS_PER_BIO_MAX;
        if (first < 0) return null;
      }
    }
    return this.#take(op, sector, first, rows);
  }

  /**
   * A front of `bio` of `sectors`: shares its rows, owns no page. `bio` moves on by as much and
   * ends after the front. null = empty pool. Linux: bio_split() and bio_chain().
   * Pre: 0 < sectors < bio.sectors.
   */
  splitFront(bio: Bio, bytes: number): Bio | null {
    assert(bytes > 0 && bytes < bio.size, 'bio: split outside the bio');
    if (this.#free.length === 0) return null;
    const front = this.#take(bio.op, bio.sector, bio.first, 0);
    front.table = bio.table;
    front.flags = bio.flags | BioFlag.CLONED;
    front.row = bio.row;
    front.done = bio.done;
    front.size = bytes;
    front.traceId = bio.traceId;
    front.probe = bio.probe;
    front.state = BioState.SUBMITTED;
    front.parent = bio;
    bio.remaining++;
    bio.advance(bytes);
    return front;
  }

  /** A whole clone: own iterator, shared rows. The source outlives it. Linux: bio_alloc_clone(). */
  cloneBio(bio: Bio): Bio | null {
    if (this.#free.length === 0) return null;
    const clone = this.#take(bio.op, bio.sector, bio.first, 0);
    clone.table = bio.table;
    clone.flags = bio.flags | BioFlag.CLONED;
    clone.row = bio.row;
    clone.done = bio.done;
    clone.size = bio.size;
    clone.traceId = bio.traceId;
    clone.probe = bio.probe;
    return clone;
  }

  /**
   * Arms an ended bio once more with the same rows: a read that becomes the write of its block.
   * Pre: the rows still hold their pages.
   */
  rearm(bio: Bio, op: BioOp, sector: number, bytes: number): void {
    assert(bio.state === BioState.ENDED, 'bio: rearmed in flight');
    bio.state = BioState.BUILT;
    bio.op = op;
    bio.sector = sector;
    bio.size = bytes;
    bio.row = bio.first;
    bio.done = 0;
    bio.shortAt = Number.POSITIVE_INFINITY;
    bio.remaining = 1;
    bio.next = null;
  }

  /** Does not let go of data pages: that is the submitter's. */
  release(bio: Bio): void {
    assert(bio.state === BioState.ENDED || bio.state === BioState.BUILT, 'bio: release in flight');
    assert(bio.pool === this, 'bio: released to a foreign pool');
    assert(bio.integrity === null, 'bio: released with metadata');
    if (bio.maxVecs > 0) this.runs.release(bio.first, bio.maxVecs);
    bio.state = BioState.FREE;
    bio.endIo = null;
    bio.owner = null;
    bio.parent = null;
    bio.probe = null;
    bio.next = null;
    bio.table = this.runs.table;
    this.#free.push(bio);
  }

  #take(op: BioOp, sector: number, first: number, rows: number): Bio {
    const bio = this.#free.pop() as Bio;
    assert(bio.state === BioState.FREE, 'bio pool: a free bio is in use');
    this.#acquired++;
    bio.state = BioState.BUILT;
    bio.op = op;
    bio.flags = 0;
    bio.sector = sector;
    bio.size = 0;
    bio.row = first;
    bio.done = 0;
    bio.first = first;
    bio.vcnt = 0;
    bio.maxVecs = rows;
    bio.status = 0;
    bio.shortAt = Number.POSITIVE_INFINITY;
    bio.remaining = 1;
    bio.traceId = 0;
    return bio;
  }
}
