import { assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES, SECTOR_BYTES } from '../../base/units.ts';
import type { Bio } from '../../bio/bio.ts';
import { BioOp } from '../../bio/bio-op.ts';
import { AutoAction, automaticAction, automaticChecks } from '../../integrity/automatic.ts';
import type { PayloadKeeper } from '../../integrity/bio-integrity.ts';
import { type BioIntegrity, PayloadFlag, payloadOf } from '../../integrity/bio-integrity.ts';
import type { BioIntegrityPool } from '../../integrity/bio-integrity-pool.ts';
import { generate } from '../../integrity/generate.ts';
import { intervalBytes, metadataBytesOf } from '../../integrity/integrity-profile.ts';
import { completePayload, preparePayload } from '../../integrity/payload-remap.ts';
import { PiWalk } from '../../integrity/pi-walk.ts';
import { deviceBlock } from '../../integrity/remap.ts';
import { CheckFlag, PiCheck, PiFault, verify } from '../../integrity/verify.ts';
import type { Limits } from '../../limits/limits.ts';
import type { Profile } from '../../limits/profile.ts';
import type { Arena } from '../../memory/arena.ts';
import { zeroPages } from '../../memory/copy.ts';
import { HoldKind } from '../../memory/holds.ts';
import type { Request } from '../../queue/request.ts';
import { bytesOfHex, hexOfBytes } from './case-data.ts';
import { PayloadPlaces } from './payload-places.ts';
import type { RecordedIntegrity } from './recorded-integrity.ts';
import type { RecordedStore } from './recorded-store.ts';
import { gathered, metadataSg, scatter, segmentsOf } from './row-bytes.ts';
import type { PiRecord, ReplayableCase, RequestRecord } from './schema.ts';
import { straddles } from './straddle.ts';

export interface CasePayloadsOptions {
  readonly one: ReplayableCase;
  readonly integrity: RecordedIntegrity;
  readonly arena: Arena;
  readonly pool: BioIntegrityPool;
  readonly count: Profile['metadataCount'];
  /** Of the file. */
  readonly store: RecordedStore;
  /** The queue has a stage of its own for metadata: only the device is played here. */
  readonly hasStage: boolean;
  /** What a read of the case gives, from its first byte on; null: nobody knows. */
  readonly data: Uint8Array | null;
}

const walk = new PiWalk();
const check = new PiCheck();
const fault = new PiFault();

/**
 * The metadata of the bios of one case: what a kernel does for those that come without, and the
 * part of driver and device. `attach` when a bio is as long as its request will have it, then
 * `issue` and `complete`; the end of the bio verifies. Linux: bio_integrity_prep() and
 * bio_integrity_verify_fn(), block/bio-integrity.c; blk_integrity_prepare(), block/t10-pi.c.
 */
export class CasePayloads implements PayloadKeeper {
  readonly places: PayloadPlaces;
  /** A read whose guards could not be compared, because nobody knows its data. */
  isPartial = false;
  readonly #options: CasePayloadsOptions;
  readonly #straddles: boolean;
  /** Bios for whose read the record has no tuples of the device, and those without its data. */
  readonly #unanswered = new Set<Bio>();
  readonly #withoutData = new Set<Bio>();

  constructor(options: CasePayloadsOptions) {
    this.#options = options;
    this.#straddles = straddles(options.one, options.integrity.profile);
    this.places = new PayloadPlaces(options.arena, options.one.requests ?? []);
  }

  /** Before the bio meets others. A bio that the device takes without metadata stays as it is. */
  attach(bio: Bio): void {
    const { pool, integrity } = this.#options;
    const { profile } = integrity;
    const action = automaticAction(bio.op, bio.sectors, profile);
    if (bio.integrity !== null || action === 0) return;
    const vecs = this.places.find(bio, metadataBytesOf(profile, bio.size));
    const payload = pool.acquire(vecs.length);
    assert(payload !== null, 'replay: no payload is left');
    for (const [page, offset, bytes] of vecs) {
      payload.addRow(page, offset, bytes, HoldKind.BORROWED);
      if ((action & AutoAction.ZERO) !== 0) zeroPages(page, offset, bytes);
    }
    payload.profile = profile;
    payload.keeper = this;
    payload.seed = bio.sector;
    payload.flags = PayloadFlag.BLOCK | (integrity.marksIp ? PayloadFlag.IP_CHECKSUM : 0);
    payload.check = (action & AutoAction.CHECK) === 0 ? 0 : automaticChecks(profile);
    bio.integrity = payload;
    if (bio.op !== BioOp.WRITE || payload.check === 0) return;
    walk.startSeparate(profile, bio, payload);
    generate(walk, profile, payload.seed);
  }

  /**
   * A request of `bios` goes to the device, which takes what is written and answers what is read.
   * What the tracer writes down of its metadata.
   */
  issue(parts: readonly Request[], bios: readonly Bio[], limits: Limits): Partial<RequestRecord> {
    if (!this.#options.hasStage) for (const bio of bios) this.attach(bio);
    const isWrite = parts[0].op === BioOp.WRITE;
    const pi = isWrite ? this.#describe(bios) : [];
    for (const bio of bios) {
      if (isWrite) this.#write(bio);
      else this.#read(bio);
    }
    const after = this.#describe(bios);
    if (after.length === 0) return {};
    const exact = bios.reduce((sum, bio) => sum + segmentsOf(bio, limits), 0);
    const counted = parts.reduce((sum, part) => sum + part.metadataSegments, 0);
    const nrIntegritySegments = this.#options.count === 'exact' ? exact : counted;
    const sg = metadataSg(bios, limits);
    const base = this.#options.arena.region.firstPage * PAGE_BYTES;
    const lists = {
      nrIntegritySegments,
      integritySg: sg.map(([address, length]) => [address - base, length]),
    };
    if (isWrite) return { ...lists, pi, driverPi: after };
    return bios.some((bio) => this.#unanswered.has(bio))
      ? { ...lists, pi: after }
      : { ...lists, deviceTuples: after };
  }

  /** The driver's part, after a request that succeeded. */
  complete(request: Request): void {
    if (this.#options.hasStage) return;
    const { profile } = this.#options.integrity;
    for (let bio: Bio | null = request.bio; bio !== null; bio = bio.next) {
      const payload = payloadOf(bio);
      if (payload === null || bio.op !== BioOp.READ) continue;
      const intervals = payload.size / profile.metadata_size;
      completePayload(payload, profile, deviceBlock(bio.sector, profile), intervals);
    }
  }

  #describe(bios: readonly Bio[]): PiRecord[] {
    return bios.flatMap((bio) => {
      const payload = payloadOf(bio);
      if (payload === null) return [];
      const { seed, size: bytes, flags } = payload;
      const isAnswered = !this.#unanswered.has(bio);
      const tuples = isAnswered ? { tuples: hexOfBytes(gathered(payload)) } : {};
      return [{ seed, bytes, flags, vecs: this.#vecsOf(payload), ...tuples }];
    });
  }

  #write(bio: Bio): void {
    const { one, store, integrity } = this.#options;
    const { profile } = integrity;
    const payload = payloadOf(bio);
    const block = deviceBlock(bio.sector, profile);
    if (payload !== null) preparePayload(payload, profile, block);
    const data = gathered(bio);
    const records = payload === null ? null : gathered(payload);
    const bytes = intervalBytes(profile);
    for (let i = 0; i * bytes < data.length; i++) {
      const start = i * profile.metadata_size;
      const record = records?.slice(start, start + profile.metadata_size);
      store.put(one.device, block + i, {
        data: data.slice(i * bytes, (i + 1) * bytes),
        record: record ?? store.at(one.device, block + i).record,
        straddles: this.#straddles,
      });
    }
  }

  #read(bio: Bio): void {
    const { profile } = this.#options.integrity;
    const bytes = intervalBytes(profile);
    const payload = payloadOf(bio);
    const block = deviceBlock(bio.sector, profile);
    // An interval of which the record does not say what came gets the escape: nothing is checked.
    const unchecked = 'ff'.repeat(profile.metadata_size);
    const records: string[] = [];
    for (let i = 0; i * bytes < bio.size; i++) {
      const sector = bio.sector + (i * bytes) / SECTOR_BYTES;
      const data = this.#dataAt(sector, block + i);
      if (data === null) this.#withoutData.add(bio);
      else scatter(bio, i * bytes, data);
      const record = this.places.answerAt(sector, profile) ?? unchecked;
      // A stage of the queue cannot be told to leave a guard alone.
      this.isPartial ||= this.#options.hasStage && data === null && record !== unchecked;
      records.push(record);
    }
    if (payload === null) return;
    if (!this.places.hasAnswer(bio.sector)) this.#unanswered.add(bio);
    scatter(payload, 0, bytesOfHex(records.join('')));
  }

  payloadEnded(payload: BioIntegrity, bio: Bio): void {
    const { pool, integrity } = this.#options;
    const isToVerify = bio.op === BioOp.READ && bio.status === 0 && payload.check !== 0;
    if (isToVerify) {
      const hasData = !this.#withoutData.has(bio);
      this.isPartial ||= !hasData;
      check.flags = hasData ? payload.check : payload.check & ~CheckFlag.GUARD;
      check.seed = payload.seed;
      walk.startSeparate(integrity.profile, bio, payload);
      if (verify(walk, integrity.profile, check, fault) !== 0) bio.status = -Errno.EILSEQ;
    }
    this.#unanswered.delete(bio);
    this.#withoutData.delete(bio);
    bio.integrity = null;
    pool.release(payload);
  }

  [Symbol.dispose](): void {
    this.places[Symbol.dispose]();
  }

  #dataAt(sector: number, block: number): Uint8Array | null {
    const { one, data, store, integrity } = this.#options;
    if (data === null || !('fileOffset' in one)) return store.at(one.device, block).data;
    const at = sector * SECTOR_BYTES - one.fileOffset;
    return data.subarray(at, at + intervalBytes(integrity.profile));
  }

  #vecsOf({ table, first, vcnt }: BioIntegrity): number[][] {
    const { firstPage } = this.#options.arena.region;
    return Array.from({ length: vcnt }, (_, i) => [
      table.page[first + i] - firstPage,
      table.offset[first + i],
      table.len[first + i],
    ]);
  }
}
