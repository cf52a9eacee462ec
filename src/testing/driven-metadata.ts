import { assert } from '../base/assert.ts';
import { PAGE_BYTES } from '../base/units.ts';
import type { Bio } from '../bio/bio.ts';
import { BioOp } from '../bio/bio-op.ts';
import { automaticChecks } from '../integrity/automatic.ts';
import { payloadOf } from '../integrity/bio-integrity.ts';
import { BioIntegrityPool } from '../integrity/bio-integrity-pool.ts';
import { generate } from '../integrity/generate.ts';
import { type IntegrityProfile, metadataBytesOf } from '../integrity/integrity-profile.ts';
import { PiWalk } from '../integrity/pi-walk.ts';
import { deviceBlock } from '../integrity/remap.ts';
import { PiCheck, PiFault, verify } from '../integrity/verify.ts';
import { Arena } from '../memory/arena.ts';
import type { ArenaBuffer } from '../memory/arena-buffer.ts';
import { HoldKind } from '../memory/holds.ts';
import type { Request } from '../queue/request.ts';

const POOL = { payloads: 1024, rows: 1024 * 16 };
const ARENA_BYTES = 32 * 2 ** 20;

/** Where the records of a bio lie: the bytes of its buffer, whatever they are cut into. */
export interface DrivenRecords {
  readonly bytes: Uint8Array;
  /** CheckFlag; 0: the device is not asked to check. */
  check: number;
  /** False: what is in `bytes` goes to the device, and a read is not checked here. */
  isAutomatic: boolean;
}

interface Entry extends DrivenRecords {
  readonly buffer: ArenaBuffer;
}

/**
 * Metadata for the requests that an EngineDriver builds: tuples are made when a write is offered,
 * and checked when a read is back, so that every test of data is one of metadata as well. Records
 * are cut into segments of odd lengths.
 */
export class DrivenMetadata {
  readonly profile: IntegrityProfile;
  readonly #pool: BioIntegrityPool;
  readonly #arena = new Arena({ label: 'engine suite metadata', maxBytes: ARENA_BYTES });
  readonly #entries = new Map<Bio, Entry>();
  readonly #walk = new PiWalk();
  readonly #check = new PiCheck();
  readonly #fault = new PiFault();

  constructor(profile: IntegrityProfile) {
    this.profile = profile;
    this.#pool = new BioIntegrityPool({ ...POOL, profile });
  }

  /** Pre: the bio has its data. `cut`: bytes of a segment; 0: one segment. */
  attach(bio: Bio, cut = 0): DrivenRecords {
    const bytes = metadataBytesOf(this.profile, bio.size);
    const buffer = this.#arena.alloc(Math.max(bytes, 1));
    const rows = cut === 0 ? 1 : Math.ceil(bytes / cut);
    const payload = this.#pool.acquire(Math.max(rows, 1));
    assert(payload !== null, 'driver: no payload left');
    payload.seed = bio.sector;
    for (let at = 0; at < bytes; ) {
      const len = cut === 0 ? bytes : Math.min(cut, bytes - at);
      const page = buffer.page + Math.floor(at / PAGE_BYTES);
      assert(
        payload.addRow(page, at % PAGE_BYTES, len, HoldKind.BORROWED),
        'driver: too many rows',
      );
      at += len;
    }
    bio.integrity = payload;
    const view = buffer.bytes.subarray(0, bytes);
    const entry = { bytes: view, buffer, check: 0, isAutomatic: true };
    this.#entries.set(bio, entry);
    return entry;
  }

  recordsOf(bio: Bio): DrivenRecords {
    const entry = this.#entries.get(bio);
    assert(entry !== undefined, 'driver: the bio has no metadata');
    return entry;
  }

  /** Before a request is offered. */
  prepare(request: Request): void {
    for (let bio = request.bio; bio !== null; bio = bio.next) {
      const payload = payloadOf(bio);
      if (payload === null) continue;
      const { check, isAutomatic } = this.recordsOf(bio);
      payload.check = check;
      if (request.op !== BioOp.WRITE || !isAutomatic) continue;
      this.#walk.startSeparate(this.profile, bio, payload);
      generate(this.#walk, this.profile, deviceBlock(bio.sector, this.profile));
    }
  }

  /** After a request moved `bytes` without an error. */
  judge(request: Request, bytes: number): void {
    let left = bytes;
    for (let bio = request.bio; bio !== null && left > 0; bio = bio.next) {
      const payload = payloadOf(bio);
      const size = Math.min(bio.size, left);
      left -= size;
      if (payload === null || request.op !== BioOp.READ) continue;
      if (!this.recordsOf(bio).isAutomatic) continue;
      const { table, row, done } = bio;
      const whole = size - (size % 2 ** this.profile.interval_exp);
      this.#walk.startSeparate(this.profile, { table, row, done, size: whole }, payload);
      const check = this.#check;
      check.flags = automaticChecks(this.profile);
      check.seed = deviceBlock(bio.sector, this.profile);
      const status = verify(this.#walk, this.profile, check, this.#fault);
      assert(status === 0, 'driver: the engine gave back tuples that do not fit the data');
    }
  }

  release(bio: Bio): void {
    const payload = payloadOf(bio);
    if (payload === null) return;
    bio.integrity = null;
    this.#pool.release(payload);
    const entry = this.#entries.get(bio);
    this.#entries.delete(bio);
    entry?.buffer.release();
  }

  assertNothingOutstanding(): void {
    assert(this.#pool.busyCount === 0, 'driver: payloads are taken');
    this.#arena.assertNothingOutstanding();
  }
}
