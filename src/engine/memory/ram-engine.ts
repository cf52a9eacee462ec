import { assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { slotOf } from '../../base/slots.ts';
import { SECTOR_BYTES } from '../../base/units.ts';
import type { Bio } from '../../bio/bio.ts';
import { BioOp, opIsWrite } from '../../bio/bio-op.ts';
import { BvecTable } from '../../bvec/bvec-table.ts';
import { integrityLimits } from '../../integrity/integrity-limits.ts';
import {
  type IntegrityInput,
  type IntegrityProfile,
  validateIntegrity,
} from '../../integrity/integrity-profile.ts';
import type { RowsAt } from '../../integrity/pi-walk.ts';
import type { Limits, LimitsInput } from '../../limits/limits.ts';
import { type Request, SegmentCursor } from '../../queue/request.ts';
import type { RequestTable } from '../../queue/request-table.ts';
import type { Engine, EngineInfo, Extent } from '../contract.ts';
import { CompletionRing, type Defer } from './completion-ring.ts';
import { DEPTH_DEFAULT, memoryLimits, rangeStatus, requireWholeBlocks } from './medium.ts';
import { RamMetadata } from './ram-metadata.ts';
import { RamStore, STORE_ROW_BYTES } from './ram-store.ts';

export interface RamEngineOptions {
  /** A multiple of the logical block, at least one. */
  readonly sizeBytes: number;
  /** As the user named it. Default 'ram:SIZE'. */
  readonly target?: string | undefined;
  /** Finished requests that may wait for `reap`. Default 256. */
  readonly depth?: number | undefined;
  /** Over the preset 'unlimited'. */
  readonly limits?: LimitsInput | undefined;
  /** Metadata kept beside the data. Default: none. */
  readonly integrity?: IntegrityInput | undefined;
  readonly defer: Defer;
}

export interface RamMedium {
  readonly data: RowsAt;
  /** The records, `metadata_size` bytes for each interval. */
  readonly records: RowsAt | null;
}

/** Throws BlockError EINVAL for a bad size or format, ENOMEM when the host has no room. */
export function openRamEngine(options: RamEngineOptions): RamEngine {
  return new RamEngine(options);
}

/** A disk in page frames. Requests are done inside `submit`; their results wait for `reap`. */
export class RamEngine implements Engine {
  readonly info: EngineInfo;
  readonly #limits: Limits;
  readonly #store: RamStore;
  /** null: no metadata, which costs one branch a request. */
  readonly #metadata: RamMetadata | null;
  readonly #ring: CompletionRing;
  readonly #cursor = new SegmentCursor();
  #table: RequestTable | null = null;
  #isClosed = false;

  constructor(options: RamEngineOptions) {
    const { sizeBytes, target = `ram:${sizeBytes}`, depth = DEPTH_DEFAULT, defer } = options;
    const limits = memoryLimits(options.limits);
    const profile = validateIntegrity(options.integrity ?? {}, limits.logical_block_size);
    this.#limits = integrityLimits(limits, profile);
    requireWholeBlocks(sizeBytes, this.#limits, target);
    this.#store = new RamStore(sizeBytes, target);
    this.#metadata = this.#openMetadata(profile, target);
    this.#ring = new CompletionRing(depth, defer);
    this.info = {
      kind: 'ram',
      target,
      depth,
      limits: this.#limits,
      integrity: this.#metadata === null ? null : profile,
      byteGranular: false,
      fixedSize: true,
      facts: { volatile: true },
    };
  }

  sizeBytes(): number {
    return this.#store.sizeBytes;
  }

  attach(table: RequestTable): void {
    assert(this.#table === null, 'ram: attached twice');
    this.#table = table;
  }

  submit(tags: Uint32Array, first: number, count: number): number {
    const table = this.#table;
    assert(table !== null, 'ram: submit before attach');
    if (this.#isClosed) return -Errno.ENODEV;
    const ring = this.#ring;
    const room = ring.room;
    const accepted = count < room ? count : room;
    for (let i = first; i < first + accepted; i++) {
      const tag = tags[i];
      const request = table.get(tag);
      const result = this.#run(request);
      const slot = slotOf(tag);
      table.status[slot] = result < 0 ? result : 0;
      table.bytesDone[slot] = result < 0 ? 0 : result;
      ring.push(tag);
    }
    ring.notify();
    return accepted;
  }

  reap(tags: Uint32Array, max: number): number {
    return this.#ring.drain(tags, max);
  }

  /** Whatever was accepted is finished already. */
  cancel(tag: number): number {
    return this.#ring.find(tag);
  }

  arm(wake: () => void): void {
    this.#ring.arm(wake);
  }

  async *extents(start: number, end: number): AsyncGenerator<Extent> {
    const store = this.#store;
    const stop = Math.min(end, store.sizeBytes);
    for (let at = start; at < stop; ) {
      const runEnd = store.runEnd(at, stop);
      yield { start: at, end: runEnd, kind: store.isWritten(at) ? 'data' : 'hole' };
      at = runEnd;
    }
  }

  /**
   * The bytes of the medium in place, and its records where it keeps any: for tools and tests that
   * damage them behind everybody's back. Valid until `close`.
   */
  medium(): RamMedium {
    const table = new BvecTable(Math.ceil(this.#store.sizeBytes / STORE_ROW_BYTES) + 1);
    this.#store.rowsAt(table, 0, this.#store.sizeBytes);
    const data = { table, row: 0, done: 0, size: this.#store.sizeBytes };
    return { data, records: this.#metadata?.medium() ?? null };
  }

  async close(): Promise<void> {
    assert(this.#ring.count === 0, 'ram: closed with requests in flight');
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#store[Symbol.dispose]();
    this.#metadata?.[Symbol.dispose]();
  }

  #openMetadata(profile: IntegrityProfile, target: string): RamMetadata | null {
    if (profile.metadata_size === 0) return null;
    try {
      return new RamMetadata(profile, this.#store.sizeBytes, target);
    } catch (error) {
      this.#store[Symbol.dispose]();
      throw error;
    }
  }

  /** Bytes done, or a negative errno. */
  #run(request: Request): number {
    const start = request.sector * SECTOR_BYTES;
    if (request.op === BioOp.READ) return this.#read(request, start);
    if (opIsWrite(request.op)) {
      const status = rangeStatus(request, this.#store.sizeBytes, this.#limits);
      if (status !== 0) return status;
    }
    switch (request.op) {
      case BioOp.WRITE:
        return this.#write(request, start);
      case BioOp.DISCARD:
      case BioOp.SECURE_ERASE:
      case BioOp.WRITE_ZEROES:
        return this.#zero(request);
      case BioOp.FLUSH:
        return 0;
    }
  }

  #read(request: Request, start: number): number {
    const store = this.#store;
    const cursor = this.#cursor;
    const room = store.sizeBytes - start;
    const bytes = request.bytes < room ? request.bytes : Math.max(room, 0);
    cursor.start(request);
    for (let done = 0; done < bytes; ) {
      assert(cursor.next(), 'ram: a read has fewer segments than bytes');
      const len = cursor.len < bytes - done ? cursor.len : bytes - done;
      store.read(start + done, cursor.page, cursor.offset, len);
      done += len;
    }
    if (this.#metadata !== null) {
      const status = this.#metadata.read(request, bytes);
      if (status !== 0) return status;
    }
    return bytes;
  }

  #write(request: Request, start: number): number {
    const store = this.#store;
    const cursor = this.#cursor;
    if (this.#metadata !== null) {
      const status = this.#metadata.checkWrite(request);
      if (status !== 0) return status;
    }
    cursor.start(request);
    let done = 0;
    while (cursor.next()) {
      store.write(start + done, cursor.page, cursor.offset, cursor.len);
      done += cursor.len;
    }
    assert(done === request.bytes, 'ram: a write has other segments than bytes');
    this.#metadata?.write(request);
    return done;
  }

  /** Each bio is one range: discards of any positions join one request. */
  #zero(request: Request): number {
    for (let bio: Bio | null = request.bio; bio !== null; bio = bio.next) {
      const start = bio.sector * SECTOR_BYTES;
      this.#store.zero(start, start + bio.size);
      if (this.#metadata === null) continue;
      if (request.op === BioOp.WRITE_ZEROES) this.#metadata.zero(bio.sector, bio.size, this.#store);
      else this.#metadata.discard(bio.sector, bio.size);
    }
    return request.bytes;
  }
}
