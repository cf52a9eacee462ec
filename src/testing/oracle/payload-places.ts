import { assert } from '../../base/assert.ts';
import { PAGE_BYTES, SECTOR_BYTES } from '../../base/units.ts';
import type { Bio } from '../../bio/bio.ts';
import { BIO_OP_NAMES } from '../../bio/bio-op.ts';
import type { IntegrityProfile } from '../../integrity/integrity-profile.ts';
import type { Arena } from '../../memory/arena.ts';
import type { PiRecord, RequestRecord, VecRecord } from './schema.ts';

/** Where a kernel had the metadata of one bio, and what it was. */
interface Place {
  readonly op: string;
  readonly sector: number;
  /** Of data. */
  readonly bytes: number;
  readonly pi: PiRecord;
  isTaken: boolean;
}

/** Page, offset in it, bytes. */
export type PlacedVec = readonly [page: number, offset: number, bytes: number];

/**
 * Memory for the metadata of a case: where the kernel had it, because adjacent buffers are one
 * segment, else any.
 */
export class PayloadPlaces {
  readonly #arena: Arena;
  readonly #places: Place[] = [];
  readonly #claimed = new Set<number>();
  readonly #own: number[] = [];

  constructor(arena: Arena, requests: readonly RequestRecord[]) {
    this.#arena = arena;
    for (const { op, bios, pi, deviceTuples } of requests) {
      const list = pi ?? deviceTuples ?? [];
      for (const [i, record] of list.entries()) {
        const [sector, bytes] = bios[i];
        this.#places.push({ op, sector, bytes, pi: record, isTaken: false });
        for (const vec of record.vecs) this.#claim(vec);
      }
    }
  }

  /** Vectors for `bytes` of metadata of `bio`. Of bios that are alike each has its own place. */
  find(bio: Bio, bytes: number): readonly PlacedVec[] {
    const op = BIO_OP_NAMES[bio.op];
    const found = this.#places.find(
      (place) =>
        !place.isTaken &&
        place.op === op &&
        place.sector === bio.sector &&
        place.bytes === bio.size &&
        place.pi.bytes === bytes,
    );
    if (found === undefined) return this.#take(bytes);
    found.isTaken = true;
    const { firstPage } = this.#arena.region;
    return found.pi.vecs.map(([pfn, offset, len]) => [firstPage + pfn, offset, len]);
  }

  /** True when the record says what the device answered to a read from `sector` on. */
  hasAnswer(sector: number): boolean {
    return this.#answerOver(sector) !== undefined;
  }

  /**
   * The device's record of the interval at `sector`, or null: the tracer wrote down the first
   * kilobyte of a request only.
   */
  answerAt(sector: number, { interval_exp, metadata_size }: IntegrityProfile): string | null {
    const found = this.#answerOver(sector);
    if (found === undefined) return null;
    const interval = Math.floor((sector - found.sector) / 2 ** (interval_exp - 9));
    const at = interval * metadata_size * 2;
    const record = (found.pi.tuples ?? '').slice(at, at + metadata_size * 2);
    return record.length === metadata_size * 2 ? record : null;
  }

  #answerOver(sector: number): Place | undefined {
    return this.#places.find(
      ({ op, pi, sector: first, bytes }) =>
        op === 'read' &&
        pi.tuples !== undefined &&
        first <= sector &&
        sector < first + bytes / SECTOR_BYTES,
    );
  }

  [Symbol.dispose](): void {
    const { firstPage } = this.#arena.region;
    for (const frame of this.#claimed) this.#arena.putFolio(firstPage + frame);
    for (const page of this.#own) this.#arena.putFolio(page);
  }

  /** All of them before any other memory is taken. Small buffers share a page in the kernel. */
  #claim([pfn, offset, bytes]: VecRecord): void {
    const end = pfn + Math.ceil((offset + bytes) / PAGE_BYTES);
    for (let frame = pfn; frame < end; frame++) {
      if (this.#claimed.has(frame)) continue;
      assert(this.#arena.claimFolio(frame, 0), 'payload: a recorded frame is taken');
      this.#claimed.add(frame);
    }
  }

  #take(bytes: number): readonly PlacedVec[] {
    const order = Math.ceil(Math.log2(Math.ceil(bytes / PAGE_BYTES)));
    const page = this.#arena.getFolio(order);
    assert(page >= 0, 'payload: no memory is left');
    this.#own.push(page);
    return [[page, 0, bytes]];
  }
}
