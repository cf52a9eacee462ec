import { assert } from '../base/assert.ts';
import { BVECS_PER_BIO_MAX, BvecRuns, type BvecTable, bvecClassRows } from '../bvec/bvec-table.ts';
import { BioIntegrity } from './bio-integrity.ts';
import { type IntegrityProfile, metadataBytesOf, NO_INTEGRITY } from './integrity-profile.ts';

/** Payloads (and full runs of rows) kept back, so that one submitter always gets on. */
export const PAYLOAD_RESERVE = 2;

export interface BioIntegrityPoolOptions {
  /** Payloads beside the reserve. */
  readonly payloads: number;
  /** Rows beside the reserve. */
  readonly rows: number;
  /** The format of its payloads. */
  readonly profile?: IntegrityProfile | undefined;
}

/**
 * Bounded pool of payloads and their rows; empty = null, wait for a completion. The rule of BioPool
 * holds here too: at most one unsubmitted payload for each submitter.
 */
export class BioIntegrityPool {
  readonly runs: BvecRuns;
  readonly #free: BioIntegrity[] = [];
  readonly #count: number;
  readonly #profile: IntegrityProfile;

  constructor(options: BioIntegrityPoolOptions) {
    this.runs = new BvecRuns(options.rows, PAYLOAD_RESERVE);
    this.#profile = options.profile ?? NO_INTEGRITY;
    this.#count = options.payloads + PAYLOAD_RESERVE;
    for (let i = 0; i < this.#count; i++) this.#free.push(new BioIntegrity(this, this.runs.table));
  }

  get busyCount(): number {
    return this.#count - this.#free.length;
  }

  /** A payload with room for `vecs` rows, seed 0, no flags. null = empty. */
  acquire(vecs: number): BioIntegrity | null {
    assert(vecs > 0 && vecs <= BVECS_PER_BIO_MAX, 'payload pool: 1 to 256 rows');
    if (this.#free.length === 0) return null;
    let rows = bvecClassRows(vecs);
    let first = this.runs.acquire(rows);
    if (first < 0) {
      first = this.runs.acquireReserve();
      rows = BVECS_PER_BIO_MAX;
      if (first < 0) return null;
    }
    const payload = this.#take();
    payload.first = first;
    payload.row = first;
    payload.maxVecs = rows;
    return payload;
  }

  /** A payload over rows of somebody else, who keeps them until it is released. null = empty. */
  borrow(table: BvecTable, rows: number, bytes: number): BioIntegrity | null {
    if (this.#free.length === 0) return null;
    const payload = this.#take();
    payload.table = table;
    payload.vcnt = rows;
    payload.size = bytes;
    return payload;
  }

  /** Own iterator, shared rows. null = empty. Linux: bio_integrity_clone(). */
  clone(source: BioIntegrity): BioIntegrity | null {
    if (this.#free.length === 0) return null;
    const payload = this.#take();
    payload.become(source);
    return payload;
  }

  /**
   * The part of `payload` that belongs to the first `dataBytes` of its bio; `payload` moves on by
   * as much. null = empty, and nothing moved. Linux: bio_split().
   */
  splitFront(
    payload: BioIntegrity,
    dataBytes: number,
    profile: IntegrityProfile,
  ): BioIntegrity | null {
    const bytes = metadataBytesOf(profile, dataBytes);
    assert(bytes > 0 && bytes < payload.size, 'payload: split outside');
    const front = this.clone(payload);
    if (front === null) return null;
    front.trim(dataBytes, profile);
    payload.advance(dataBytes, profile);
    return front;
  }

  /** Does not let go of pages: those are the owner's. */
  release(payload: BioIntegrity): void {
    assert(payload.pool === this && payload.isBusy, 'payload pool: released twice');
    if (payload.maxVecs > 0) this.runs.release(payload.first, payload.maxVecs);
    payload.isBusy = false;
    payload.maxVecs = 0;
    payload.vcnt = 0;
    payload.size = 0;
    payload.table = this.runs.table;
    this.#free.push(payload);
  }

  #take(): BioIntegrity {
    const payload = this.#free.pop() as BioIntegrity;
    assert(!payload.isBusy, 'payload pool: a free payload is in use');
    payload.isBusy = true;
    payload.profile = this.#profile;
    payload.keeper = null;
    payload.isPrepared = false;
    payload.flags = 0;
    payload.check = 0;
    payload.appTag = 0;
    payload.appMask = 0xffff;
    payload.seed = 0;
    payload.vcnt = 0;
    payload.maxVecs = 0;
    payload.first = 0;
    payload.row = 0;
    payload.done = 0;
    payload.size = 0;
    return payload;
  }
}
