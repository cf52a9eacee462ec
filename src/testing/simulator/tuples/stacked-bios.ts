import { assert } from '../../../base/assert.ts';
import { Errno } from '../../../base/errno.ts';
import { SECTOR_BYTES } from '../../../base/units.ts';
import type { Bio } from '../../../bio/bio.ts';
import { BioPool } from '../../../bio/bio-pool.ts';
import type { BlockDevice } from '../../../device/block-device.ts';
import type { BioIntegrity } from '../../../integrity/bio-integrity.ts';
import { BioIntegrityPool } from '../../../integrity/bio-integrity-pool.ts';
import type { IntegrityProfile } from '../../../integrity/integrity-profile.ts';
import { HoldKind } from '../../../memory/holds.ts';
import { holdPiece } from '../hold-piece.ts';
import type { SeededRandom } from '../seeded-random.ts';
import { AreaMemory } from './op-memory.ts';
import type { TupleOp } from './tuple-op.ts';

const PARTS_MAX = 3;
const BIOS = 96;
const ROWS = 1024;
const TRIES_MAX = 3;

/** Bytes [at, at + bytes) of an operation, as a clone of its own. */
interface Part {
  readonly whole: Whole;
  readonly at: number;
  readonly bytes: number;
  payload: BioIntegrity | null;
  tries: number;
}

interface Whole {
  readonly op: TupleOp;
  readonly source: Bio;
  readonly payload: BioIntegrity;
  partsLeft: number;
  status: number;
  shortAt: number;
}

/** Told once: 0 or -errno, and the byte of the device from which on nothing is good. */
export type StackedEnd = (op: TupleOp, status: number, shortAt: number) => void;

/**
 * What a stacking driver does: a bio with metadata of its submitter is cloned in parts, each with
 * a clone of the payload, and parts that fail are sent again.
 */
export class StackedBios {
  readonly #device: BlockDevice;
  readonly #profile: IntegrityProfile;
  readonly #random: SeededRandom;
  readonly #onEnd: StackedEnd;
  readonly #bios = new BioPool({ bios: BIOS, rows: ROWS });
  readonly #payloads: BioIntegrityPool;
  /** Parts that were sent once more. */
  resubmits = 0;

  constructor(device: BlockDevice, random: SeededRandom, onEnd: StackedEnd) {
    this.#device = device;
    this.#profile = device.engine.info.integrity as IntegrityProfile;
    this.#random = random;
    this.#onEnd = onEnd;
    const profile = this.#profile;
    this.#payloads = new BioIntegrityPool({ payloads: BIOS, rows: BIOS * 4, profile });
  }

  /** False: no bio is left now. */
  submit(op: TupleOp): boolean {
    const { data, metadata } = op;
    assert(data instanceof AreaMemory && metadata !== null, 'stacked: not of pages');
    const rows = metadata.memory as AreaMemory;
    const source = this.#bios.acquire(op.op, op.start / SECTOR_BYTES, data.pieces.length);
    const payload = source === null ? null : this.#payloads.acquire(1);
    if (source === null || payload === null) {
      if (source !== null) this.#bios.release(source);
      return false;
    }
    for (const { area, at, len } of data.pieces) {
      holdPiece(source, area.page, at, len, HoldKind.BORROWED);
    }
    for (const { area, at, len } of rows.pieces) {
      payload.addRow(area.page, at, len, HoldKind.BORROWED);
    }
    payload.check = metadata.check;
    payload.appTag = metadata.appTag;
    payload.seed = metadata.seed;
    const shortAt = Number.POSITIVE_INFINITY;
    const whole: Whole = { op, source, payload, partsLeft: 1, status: 0, shortAt };
    const unit = Math.max(
      this.#device.limits.logical_block_size,
      this.#device.limits.dma_alignment + 1,
    );
    let at = 0;
    for (let left = PARTS_MAX - 1; at < op.bytes; left--) {
      const units = (op.bytes - at) / unit;
      const bytes = left === 0 ? op.bytes - at : this.#random.between(1, units) * unit;
      whole.partsLeft++;
      this.#send({ whole, at, bytes, payload: null, tries: 0 });
      at += bytes;
    }
    this.#partEnded(whole);
    return true;
  }

  #send(part: Part): void {
    const { whole, at, bytes } = part;
    const bio = this.#bios.cloneBio(whole.source);
    const payload = this.#payloads.clone(whole.payload);
    assert(bio !== null && payload !== null, 'stacked: fewer clones than parts');
    if (at > 0) {
      bio.advance(at);
      payload.advance(at, this.#profile);
    }
    bio.size = bytes;
    payload.trim(bytes, this.#profile);
    bio.integrity = payload;
    bio.owner = part;
    bio.endIo = this.#ended;
    part.payload = payload;
    this.#device.submitBio(bio);
  }

  readonly #ended = (bio: Bio): void => {
    const part = bio.owner as Part;
    const { whole, payload } = part;
    const { status, shortAt } = bio;
    assert(payload !== null && bio.integrity === null, 'stacked: the payload was not ended');
    this.#bios.release(bio);
    this.#payloads.release(payload);
    part.payload = null;
    // What does not fit will not fit the next time either.
    const isFault = status !== 0 && status !== -Errno.EILSEQ;
    if (isFault && part.tries++ < TRIES_MAX) {
      this.resubmits++;
      this.#send(part);
      return;
    }
    if (whole.status === 0) whole.status = status;
    whole.shortAt = Math.min(whole.shortAt, shortAt);
    this.#partEnded(whole);
  };

  /** From the loop, but for the submitter's own count. */
  #partEnded(whole: Whole): void {
    whole.partsLeft--;
    if (whole.partsLeft > 0) return;
    const { op, source, payload } = whole;
    this.#payloads.release(payload);
    this.#bios.release(source);
    this.#onEnd(op, whole.status, whole.shortAt);
  }

  assertIdle(): void {
    assert(this.#bios.busyCount === 0, 'sim: a clone is left');
    assert(this.#payloads.busyCount === 0, 'sim: a payload of a clone is left');
  }
}
