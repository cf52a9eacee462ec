import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { type Probe, ProbePoint } from '../base/probe.ts';
import { PAGE_BYTES, SECTOR_BYTES } from '../base/units.ts';
import type { Bio } from '../bio/bio.ts';
import { BioOp, opHasData } from '../bio/bio-op.ts';
import { SplitCause, type SplitPoint } from '../bio/split-point.ts';
import { AutoAction, automaticAction, automaticChecks } from '../integrity/automatic.ts';
import {
  type BioIntegrity,
  PayloadFlag,
  type PayloadKeeper,
  payloadOf,
} from '../integrity/bio-integrity.ts';
import { BioIntegrityPool } from '../integrity/bio-integrity-pool.ts';
import { type FaultReport, reportFault } from '../integrity/fault-text.ts';
import { generate } from '../integrity/generate.ts';
import {
  IntegrityFlag,
  type IntegrityProfile,
  intervalBytes,
  metadataBytesOf,
} from '../integrity/integrity-profile.ts';
import { PayloadPages } from '../integrity/payload-pages.ts';
import { preparePayload } from '../integrity/payload-remap.ts';
import { PiWalk } from '../integrity/pi-walk.ts';
import { deviceBlock, remapRefTags } from '../integrity/remap.ts';
import { PiCheck, PiFault, verify } from '../integrity/verify.ts';
import type { Limits } from '../limits/limits.ts';
import type { Arena } from '../memory/arena.ts';
import { zeroPages } from '../memory/copy.ts';
import { IntegrityCounters } from './integrity-counters.ts';

/** Payloads of one device: as many bios as a queue has in flight, and fronts of a user's. */
const PAYLOADS_DEFAULT = 256;
/** Answer of `admit`: wait for a completion. */
export const PAYLOAD_WAIT = 1;
/** A payload of the block layer is one contiguous piece. */
const ROWS_EACH = 4;

export interface IntegrityStageOptions {
  readonly profile: IntegrityProfile;
  readonly limits: Limits;
  /** Where metadata lies that nobody brought. */
  readonly arena: Arena;
  readonly payloads?: number | undefined;
}

/** What was wrong, told before `bio` ends: the one that its submitter knows. */
export type FaultListener = (bio: Bio, report: FaultReport) => void;

/**
 * The metadata of a queue's bios, between the cut and the request (reference 7.3 to 7.5): a bio
 * without any gets a payload, with tuples made for a write and checked after a read; a user's gets
 * the ref tags of the device, and those of the user back. Linux: bio_integrity_prep(),
 * bio_integrity_endio(), blk_integrity_prepare(), blk_integrity_complete().
 */
export class IntegrityStage implements PayloadKeeper {
  readonly profile: IntegrityProfile;
  readonly counters = new IntegrityCounters();
  onFault: FaultListener | null = null;
  probe: Probe | null = null;
  readonly #payloads: BioIntegrityPool;
  readonly #pages: PayloadPages;
  readonly #unitBytes: number;
  /** Metadata of a payload of our own: as many segments as the device takes, but a block's. */
  readonly #ownBytesMax: number;
  readonly #readAction: number;
  readonly #writeAction: number;
  readonly #checks: number;
  /** A device that does not check what a user asks for: it is done here. */
  readonly #hostChecks: boolean;
  /** For the front that is about to be cut off. */
  #claimed: BioIntegrity | null = null;
  readonly #walk = new PiWalk();
  readonly #check = new PiCheck();
  readonly #fault = new PiFault();

  /** Throws BlockError ENOMEM. */
  constructor({ profile, limits, arena, payloads = PAYLOADS_DEFAULT }: IntegrityStageOptions) {
    this.profile = profile;
    this.#payloads = new BioIntegrityPool({ payloads, rows: payloads * ROWS_EACH, profile });
    this.#pages = new PayloadPages(arena, metadataBytesOf(profile, limits.logical_block_size));
    this.#unitBytes = Math.max(limits.logical_block_size, limits.dma_alignment + 1);
    const least = metadataBytesOf(profile, this.#unitBytes);
    this.#ownBytesMax = Math.max(metadataBytesMax(limits), least);
    this.#readAction = automaticAction(BioOp.READ, 1, profile);
    this.#writeAction = automaticAction(BioOp.WRITE, 1, profile);
    this.#checks = automaticChecks(profile);
    this.#hostChecks = (profile.flags & IntegrityFlag.DEVICE_CAPABLE) === 0;
  }

  /** Payloads that are out; 0 when nothing is in flight. */
  get busyCount(): number {
    return this.#payloads.busyCount;
  }

  /**
   * Readies the metadata of what `point` says goes out next: all of `bio`, which gets it, or its
   * front (`takeFront`). The point may become a shorter front. 0; PAYLOAD_WAIT: there is no payload
   * or no memory now, and something is in flight that has it; or a negative errno.
   */
  admit(bio: Bio, point: SplitPoint): number {
    if (!opHasData(bio.op) || bio.size === 0) return 0;
    const bytes = point.bytes > 0 ? point.bytes : bio.size;
    const given = payloadOf(bio);
    let payload = this.#claimed ?? (bytes === bio.size ? given : null);
    if (payload?.isPrepared === true) {
      assert(payload.startSector === bio.sector, 'integrity: claimed for another bio');
      if (payload.data.size < bytes) shorten(point, payload.data.size);
      return 0;
    }
    if (payload === null) {
      const action = bio.op === BioOp.READ ? this.#readAction : this.#writeAction;
      if (given === null && action === 0) return 0;
      payload = given === null ? this.#make(bytes) : this.#cloneFront(given, bytes);
      if (payload === null) {
        this.counters.payloadWaits++;
        return PAYLOAD_WAIT;
      }
    }
    return this.#ready(bio, payload, bytes, point);
  }

  /** The metadata of the front that `admit` spoke of. */
  takeFront(): BioIntegrity | null {
    const payload = this.#claimed;
    this.#claimed = null;
    return payload;
  }

  /** An own payload with room for the records of `bytes`, or of what one may have here. */
  #make(bytes: number): BioIntegrity | null {
    const payload = this.#payloads.acquire(1);
    if (payload === null) return null;
    const wanted = Math.min(metadataBytesOf(this.profile, bytes), this.#ownBytesMax);
    const got = this.#pages.take(payload, wanted);
    if (got === 0) {
      this.#payloads.release(payload);
      return null;
    }
    payload.flags = PayloadFlag.BLOCK;
    return payload;
  }

  #cloneFront(given: BioIntegrity, bytes: number): BioIntegrity | null {
    const front = this.#payloads.clone(given);
    if (front !== null) front.trim(Math.min(bytes, bytesUnder(given, this.profile)), this.profile);
    return front;
  }

  /** Fills or checks `payload` for the first bytes of `bio`, and hands it over. */
  #ready(bio: Bio, payload: BioIntegrity, bytes: number, point: SplitPoint): number {
    const { profile } = this;
    const isOwn = (payload.flags & PayloadFlag.BLOCK) !== 0;
    let size = bytes;
    if (isOwn && bytesUnder(payload, profile) < bytes) {
      size = bytesUnder(payload, profile);
      size -= size % this.#unitBytes;
      payload.trim(size, profile);
      shorten(point, size);
    }
    if (isOwn) payload.seed = bio.sector;
    payload.mark(bio, size);
    const status = isOwn ? this.#fill(bio, payload) : this.#prepareUser(bio, payload);
    if (status !== 0) {
      payload.isPrepared = false; // It goes nowhere, and is told already.
      if (payload.pool === this.#payloads) this.#release(payload);
      return status;
    }
    if (this.probe !== null && bio.op === BioOp.WRITE) this.#tell(this.probe, payload, bio, 0);
    payload.keeper = this;
    if (size === bio.size) bio.integrity = payload;
    else this.#claimed = payload;
    return 0;
  }

  /** The automatic payload of a bio (reference 7.3). */
  #fill(bio: Bio, payload: BioIntegrity): number {
    const { profile } = this;
    const isWrite = bio.op === BioOp.WRITE;
    const action = isWrite ? this.#writeAction : this.#readAction;
    if (profile.csum === 'ip') payload.flags |= PayloadFlag.IP_CHECKSUM;
    if ((action & AutoAction.CHECK) !== 0) payload.check = this.#checks;
    if (!isWrite) return 0;
    const { table, first, size } = payload;
    if ((action & AutoAction.ZERO) !== 0) {
      const offset = table.offset[first];
      zeroPages(table.page[first], offset, size);
    }
    // The tags of the device at once: from the seed they would be mapped to the same.
    payload.flags |= PayloadFlag.MAPPED;
    if ((action & AutoAction.CHECK) === 0) return 0;
    this.#walk.startSeparate(profile, payload.data, payload);
    generate(this.#walk, profile, deviceBlock(bio.sector, profile));
    this.counters.bytesGenerated += size;
    return 0;
  }

  /** A user's payload: ref tags of the device; what is wrong never reaches it. */
  #prepareUser(bio: Bio, payload: BioIntegrity): number {
    const { profile } = this;
    if (payload.size < metadataBytesOf(profile, payload.data.size)) return -Errno.EINVAL;
    if (bio.op !== BioOp.WRITE) return 0;
    preparePayload(payload, profile, deviceBlock(bio.sector, profile));
    if (payload.check === 0 || !this.#hostChecks) return 0;
    return this.#verify(payload, payload.data.size) === 0 ? 0 : this.#report(bio, payload);
  }

  payloadEnded(payload: BioIntegrity, bio: Bio): void {
    if (payload.isPrepared) {
      if (bio.op === BioOp.READ) this.#endRead(payload, bio);
      else if (bio.status === -Errno.EILSEQ) this.#nameFault(payload, bio);
    }
    payload.isPrepared = false;
    payload.keeper = null;
    if (payload.pool === this.#payloads) this.#release(payload);
  }

  /** Before anybody hears of a read that went well: is it what was written? */
  #endRead(payload: BioIntegrity, bio: Bio): void {
    if (bio.status === -Errno.EILSEQ) {
      this.#nameFault(payload, bio);
      return;
    }
    if (bio.status !== 0) return;
    const { profile } = this;
    const bytes = wholeBytes(payload, bio.shortAt, profile);
    if (this.probe !== null) this.#tell(this.probe, payload, bio, 1);
    const isOwn = (payload.flags & PayloadFlag.BLOCK) !== 0;
    if (payload.check !== 0 && bytes > 0 && (isOwn || this.#hostChecks)) {
      if (this.#verify(payload, bytes) !== 0) {
        bio.status = -Errno.EILSEQ;
        const bad = this.#fault.interval * intervalBytes(profile);
        bio.shortAt = Math.min(bio.shortAt, payload.startSector * SECTOR_BYTES + bad);
        this.#report(bio, payload);
      }
    }
    if (isOwn || bytes === 0) return;
    const block = deviceBlock(payload.startSector, profile);
    if (block === payload.startSeed) return;
    this.#walk.startMetadata(profile, payload.records, bytes / intervalBytes(profile));
    remapRefTags(this.#walk, profile, block, payload.startSeed);
  }

  #tell(probe: Probe, payload: BioIntegrity, bio: Bio, isBack: number): void {
    const block = deviceBlock(payload.startSector, this.profile);
    probe.hit(ProbePoint.METADATA, bio.traceId, payload, block, payload.records.size, isBack);
  }

  /** The device found a mismatch: which block, if it can be seen from here. */
  #nameFault(payload: BioIntegrity, bio: Bio): void {
    if (payload.check !== 0 && this.#verify(payload, payload.data.size) !== 0) {
      this.#report(bio, payload);
    }
  }

  /** The first `bytes` of the data of `payload` against its records, as they are on the device. */
  #verify(payload: BioIntegrity, bytes: number): number {
    const { profile } = this;
    const { data, records } = payload;
    const check = this.#check;
    check.flags = payload.check;
    check.seed = deviceBlock(payload.startSector, profile);
    check.appTag = payload.appTag;
    check.appMask = payload.appMask;
    const all = data.size;
    data.size = bytes;
    this.#walk.startSeparate(profile, data, records);
    data.size = all;
    this.counters.bytesVerified += metadataBytesOf(profile, bytes);
    return verify(this.#walk, profile, check, this.#fault);
  }

  #report(bio: Bio, payload: BioIntegrity): number {
    this.counters.faults++;
    if (this.onFault !== null) {
      let root = bio;
      while (root.parent !== null) root = root.parent;
      const block = deviceBlock(payload.startSector, this.profile);
      this.onFault(root, reportFault(this.#fault, this.profile, block));
    }
    return -Errno.EILSEQ;
  }

  #release(payload: BioIntegrity): void {
    if ((payload.flags & PayloadFlag.BLOCK) !== 0) this.#pages.give(payload);
    this.#payloads.release(payload);
  }

  /** Pre: nothing is in flight. */
  close(): void {
    if (this.#claimed !== null) this.#release(this.#claimed);
    this.#claimed = null;
    this.#pages.release();
  }
}

/**
 * What lies in one piece from a page on and is no more than max_integrity_segments segments. With
 * two segments and a boundary of 4096: 8192 bytes. A power of two of pages a segment, so that no
 * boundary cuts one. Linux hits a BUG_ON with more.
 */
function metadataBytesMax(limits: Limits): number {
  const { max_segment_size, seg_boundary_mask, max_integrity_segments: segments } = limits;
  if (segments === 0) return Number.POSITIVE_INFINITY;
  const window = Math.min(max_segment_size, seg_boundary_mask + 1);
  let bytes = PAGE_BYTES;
  while (2 * bytes <= window) bytes *= 2;
  return segments * bytes;
}

/** Bytes of data that `payload` has records for. */
function bytesUnder(payload: BioIntegrity, profile: IntegrityProfile): number {
  return Math.floor(payload.size / profile.metadata_size) * intervalBytes(profile);
}

/** Metadata has room for less than the limits: it goes out as a front. */
function shorten(point: SplitPoint, bytes: number): void {
  point.bytes = bytes;
  point.cause = SplitCause.METADATA;
}

/** Bytes of whole intervals that were transferred of what `payload` belongs to. */
function wholeBytes(payload: BioIntegrity, shortAt: number, profile: IntegrityProfile): number {
  const start = payload.startSector * SECTOR_BYTES;
  const all = payload.data.size;
  if (shortAt >= start + all) return all;
  const done = Math.max(shortAt - start, 0);
  return done - (done % intervalBytes(profile));
}
