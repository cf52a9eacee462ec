import { assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { SECTOR_BYTES } from '../../base/units.ts';
import type { Bio } from '../../bio/bio.ts';
import { BvecTable } from '../../bvec/bvec-table.ts';
import { automaticChecks } from '../../integrity/automatic.ts';
import { payloadOf } from '../../integrity/bio-integrity.ts';
import { generate } from '../../integrity/generate.ts';
import {
  IntegrityFlag,
  type IntegrityProfile,
  intervalsOf,
  metadataBytesOf,
} from '../../integrity/integrity-profile.ts';
import { PiWalk, type RowsAt } from '../../integrity/pi-walk.ts';
import { deviceBlock } from '../../integrity/remap.ts';
import { PiCheck, PiFault, verify } from '../../integrity/verify.ts';
import { MetadataCursor } from '../../queue/metadata-cursor.ts';
import type { Request } from '../../queue/request.ts';
import type { RamStore } from './ram-store.ts';
import { RecordStore } from './record-store.ts';

const APP_MASK_ALL = 0xffff;

/**
 * What a RAM disk with protection information does with its records. It stores and gives back what
 * comes with a request. It makes and checks tuples by itself where none come, and, with
 * DEVICE_CAPABLE, checks what the request asks for.
 */
export class RamMetadata {
  readonly profile: IntegrityProfile;
  readonly #records: RecordStore;
  readonly #cursor = new MetadataCursor();
  readonly #walk = new PiWalk();
  readonly #check = new PiCheck();
  readonly #fault = new PiFault();
  readonly #checks: boolean;
  /** A range of at most 4 GiB lies in at most four rows of the store. */
  readonly #zeroRows = new BvecTable(4);
  /** The whole intervals of a bio; filled before each walk. */
  readonly #data: { table: BvecTable; row: number; done: number; size: number };

  /** Throws BlockError ENOMEM. */
  constructor(profile: IntegrityProfile, dataBytes: number, target: string) {
    this.profile = profile;
    this.#records = new RecordStore(metadataBytesOf(profile, dataBytes), target);
    this.#data = { table: this.#zeroRows, row: 0, done: 0, size: 0 };
    this.#checks = (profile.flags & IntegrityFlag.DEVICE_CAPABLE) !== 0;
  }

  /** Before the data of a write is stored. 0, or -EILSEQ: nothing may be stored. */
  checkWrite(request: Request): number {
    return this.#checks ? this.#checkBios(request, request.bytes) : 0;
  }

  /** The records of a write. */
  write(request: Request): void {
    const { profile } = this;
    const cursor = this.#cursor;
    if (!cursor.start(request)) {
      this.#generate(request);
      return;
    }
    let at = this.#recordAt(request.sector);
    const end = at + metadataBytesOf(profile, request.bytes);
    while (cursor.next()) {
      this.#records.write(at, cursor.page, cursor.offset, cursor.len);
      at += cursor.len;
    }
    assert(at === end, 'ram: a write has other metadata than data');
  }

  /** The records of a read whose first `bytes` are in its segments. 0 or -EILSEQ. */
  read(request: Request, bytes: number): number {
    const { profile } = this;
    const cursor = this.#cursor;
    if (!cursor.start(request)) return this.#verifyOwn(request, bytes);
    let at = this.#recordAt(request.sector);
    const end = at + metadataBytesOf(profile, bytes);
    while (at < end) {
      assert(cursor.next(), 'ram: a read has less metadata than data');
      const len = cursor.len < end - at ? cursor.len : end - at;
      this.#records.read(at, cursor.page, cursor.offset, len);
      at += len;
    }
    return this.#checks ? this.#checkBios(request, bytes) : 0;
  }

  /** The blocks of `bytes` from `sector` on were discarded: escapes. */
  discard(sector: number, bytes: number): void {
    const at = this.#recordAt(sector);
    this.#records.blank(at, at + metadataBytesOf(this.profile, bytes));
  }

  /** They are zeros now, in `store`: tuples that are right for them, and zeros around those. */
  zero(sector: number, dataBytes: number, store: RamStore): void {
    const { profile } = this;
    const at = this.#recordAt(sector);
    const bytes = metadataBytesOf(profile, dataBytes);
    this.#records.fill(at, at + bytes, 0);
    const data = this.#data;
    store.rowsAt(this.#zeroRows, sector * SECTOR_BYTES, dataBytes);
    data.table = this.#zeroRows;
    data.row = 0;
    data.done = 0;
    data.size = dataBytes;
    this.#walk.startSeparate(profile, data, this.#records.rowsAt(at, bytes));
    generate(this.#walk, profile, deviceBlock(sector, profile));
  }

  medium(): RowsAt {
    return this.#records.medium();
  }

  [Symbol.dispose](): void {
    this.#records[Symbol.dispose]();
  }

  #recordAt(sector: number): number {
    return deviceBlock(sector, this.profile) * this.profile.metadata_size;
  }

  /** As a controller that inserts tuples (NVMe: PRACT): bytes around them are 0. */
  #generate(request: Request): void {
    const { profile } = this;
    for (let bio: Bio | null = request.bio; bio !== null; bio = bio.next) {
      const at = this.#recordAt(bio.sector);
      const bytes = metadataBytesOf(profile, bio.size);
      if (profile.metadata_size > profile.tuple_size) this.#records.fill(at, at + bytes, 0);
      this.#walk.startSeparate(profile, bio, this.#records.rowsAt(at, bytes));
      generate(this.#walk, profile, deviceBlock(bio.sector, profile));
    }
  }

  /** As a controller that strips them. */
  #verifyOwn(request: Request, bytes: number): number {
    const check = this.#check;
    check.flags = automaticChecks(this.profile);
    check.appMask = APP_MASK_ALL;
    let left = bytes;
    for (let bio: Bio | null = request.bio; bio !== null && left > 0; bio = bio.next) {
      const size = Math.min(bio.size, left);
      const recordBytes = metadataBytesOf(this.profile, size);
      const records = this.#records.rowsAt(this.#recordAt(bio.sector), recordBytes);
      if (this.#verify(bio, size, records) !== 0) return -Errno.EILSEQ;
      left -= size;
    }
    return 0;
  }

  /** What the payloads ask the device to check, in the memory of the host. */
  #checkBios(request: Request, bytes: number): number {
    const check = this.#check;
    let left = bytes;
    for (let bio: Bio | null = request.bio; bio !== null && left > 0; bio = bio.next) {
      const payload = payloadOf(bio);
      const size = Math.min(bio.size, left);
      left -= size;
      if (payload === null || payload.check === 0) continue;
      check.flags = payload.check;
      check.appTag = payload.appTag;
      check.appMask = payload.appMask;
      if (this.#verify(bio, size, payload) !== 0) return -Errno.EILSEQ;
    }
    return 0;
  }

  #verify(bio: Bio, size: number, records: RowsAt): number {
    const { profile } = this;
    const data = this.#data;
    data.table = bio.table;
    data.row = bio.row;
    data.done = bio.done;
    data.size = intervalsOf(profile, size) << profile.interval_exp;
    this.#walk.startSeparate(profile, data, records);
    this.#check.seed = deviceBlock(bio.sector, profile);
    return verify(this.#walk, profile, this.#check, this.#fault);
  }
}
