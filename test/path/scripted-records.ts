import assert from 'node:assert/strict';
import { SECTOR_BYTES } from '../../src/base/units.ts';
import { BioOp, opHasData } from '../../src/bio/bio-op.ts';
import { IntegrityFlag, type IntegrityProfile } from '../../src/integrity/integrity-profile.ts';
import { type ModelFormat, modelGenerate } from '../../src/integrity/pi-model.fuzz.ts';
import type { Limits } from '../../src/limits/limits.ts';
import { copyIn, copyOut } from '../../src/memory/copy.ts';
import { MetadataCursor } from '../../src/queue/metadata-cursor.ts';
import type { Request } from '../../src/queue/request.ts';

const BLANK = 0xff;

/** The metadata of a scripted disk: records in a plain array, blank where nothing was written. */
export class ScriptedRecords {
  readonly profile: IntegrityProfile;
  readonly bytes: Uint8Array;
  readonly #cursor = new MetadataCursor();

  constructor(profile: IntegrityProfile, sizeBytes: number) {
    this.profile = profile;
    this.bytes = new Uint8Array(this.#recordOf(sizeBytes)).fill(BLANK);
  }

  get format(): ModelFormat {
    const { csum, interval_exp, metadata_size, pi_offset, flags } = this.profile;
    return {
      csum,
      intervalBytes: 2 ** interval_exp,
      metadataBytes: metadata_size,
      prefixBytes: pi_offset,
      countsRef: (flags & IntegrityFlag.REF_TAG) !== 0,
    };
  }

  /** Every read and write comes with as much metadata as it has data, in few enough pieces. */
  judge(request: Request, limits: Limits): void {
    if (!opHasData(request.op)) return;
    assert.ok(this.#cursor.start(request), 'a request without metadata');
    let bytes = 0;
    let segments = 0;
    let end = -1;
    while (this.#cursor.next()) {
      const { page, offset, len } = this.#cursor;
      const start = page * 4096 + offset;
      if (start !== end) segments++;
      end = start + len;
      bytes += len;
    }
    assert.equal(bytes, this.#recordOf(request.bytes), 'bytes of metadata');
    const most = limits.max_integrity_segments;
    assert.ok(most === 0 || segments <= most, `${segments} pieces of metadata, at most ${most}`);
  }

  /** Moves the records of the first `bytes` of a request. */
  move(request: Request, bytes: number): void {
    let at = this.#recordOf(request.sector * SECTOR_BYTES);
    const end = at + this.#recordOf(bytes);
    this.#cursor.start(request);
    while (at < end && this.#cursor.next()) {
      const { page, offset } = this.#cursor;
      const len = Math.min(this.#cursor.len, end - at);
      if (request.op === BioOp.READ) copyIn(page, offset, this.bytes, at, len);
      else copyOut(this.bytes, at, page, offset, len);
      at += len;
    }
  }

  /** A discard leaves escapes, zeroes the tuples of zeros. */
  zero(request: Request): void {
    if (request.op === BioOp.FLUSH) return;
    for (let bio = request.bio; bio !== null; bio = bio.next) {
      const start = bio.sector * SECTOR_BYTES;
      const own = this.bytes.subarray(this.#recordOf(start), this.#recordOf(start + bio.size));
      own.fill(request.op === BioOp.WRITE_ZEROES ? 0 : BLANK);
      if (request.op !== BioOp.WRITE_ZEROES) continue;
      const block = BigInt(start) >> BigInt(this.profile.interval_exp);
      modelGenerate(this.format, new Uint8Array(bio.size), own, block, 0);
    }
  }

  #recordOf(bytes: number): number {
    return Math.floor(bytes / 2 ** this.profile.interval_exp) * this.profile.metadata_size;
  }
}
