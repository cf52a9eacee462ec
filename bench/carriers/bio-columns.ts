import { assert } from '../../src/base/assert.ts';
import type { CarrierCounts } from './carrier.ts';

/** Flags of a bio. */
export const BioMark = { NONE: 0, PAGE_PINNED: 1 } as const;

/** Bios of the competitors, as far as a transfer needs them: a range of the device and its vecs. */
export class BioColumns {
  readonly sector: Float64Array;
  readonly size: Uint32Array;
  /** First row of its vecs, or of its scatterlist. */
  readonly first: Int32Array;
  readonly vcnt: Uint32Array;
  readonly maxVecs: Uint32Array;
  readonly flags: Uint8Array;
  /** Parts of it that have not ended: itself, and the bios that are chained to it. */
  readonly remaining: Uint8Array;
  /** The next bio of a request, or -1. */
  readonly next: Int32Array;
  readonly #free: number[] = [];
  readonly #count: number;
  readonly #counts: CarrierCounts;

  constructor(count: number, counts: CarrierCounts) {
    this.sector = new Float64Array(count);
    this.size = new Uint32Array(count);
    this.first = new Int32Array(count);
    this.vcnt = new Uint32Array(count);
    this.maxVecs = new Uint32Array(count);
    this.flags = new Uint8Array(count);
    this.remaining = new Uint8Array(count);
    this.next = new Int32Array(count);
    this.#count = count;
    this.#counts = counts;
    for (let bio = count - 1; bio >= 0; bio--) this.#free.push(bio);
  }

  /** A bio without bytes; its vecs are rows from `first` on. Linux: bio_alloc(). */
  acquire(sector: number, first: number, maxVecs: number): number {
    const bio = this.#free.pop();
    assert(bio !== undefined, 'bios: the pool is empty');
    this.#counts.bios++;
    this.sector[bio] = sector;
    this.size[bio] = 0;
    this.first[bio] = first;
    this.vcnt[bio] = 0;
    this.maxVecs[bio] = maxVecs;
    this.flags[bio] = BioMark.NONE;
    this.remaining[bio] = 1;
    this.next[bio] = -1;
    return bio;
  }

  /** bio_endio(), then bio_put(). */
  release(bio: number): void {
    assert(this.remaining[bio] === 1, 'bios: released with parts in flight');
    this.remaining[bio] = 0;
    this.#free.push(bio);
  }

  assertFull(): void {
    assert(this.#free.length === this.#count, 'bios: some are still out');
  }
}
