import { assert } from '../../base/assert.ts';
import { SECTOR_BYTES } from '../../base/units.ts';
import type { Bio } from '../../bio/bio.ts';
import { BioOp } from '../../bio/bio-op.ts';
import {
  IntegrityFlag,
  type IntegrityProfile,
  metadataBytesOf,
  validateIntegrity,
} from '../../integrity/integrity-profile.ts';
import { MetadataCursor } from '../../queue/metadata-cursor.ts';
import type { Request } from '../../queue/request.ts';
import { SimMedium } from './sim-medium.ts';

const BLANK = 0xff;
const TUPLE_BYTES = 8;

/**
 * Tuples of 8 bytes with a CRC16 for each sector: a simulated disk tears at sectors, and a sector
 * with its tuple is one thing to it, so what it has torn still fits.
 */
export function simProfile(logicalBlockBytes: number): IntegrityProfile {
  const flags = IntegrityFlag.REF_TAG | IntegrityFlag.SPLIT_INTERVAL_OK;
  return validateIntegrity({ csum: 'crc16', interval_exp: 9, flags }, logicalBlockBytes);
}

/** The records of a simulated disk; blank (0xFF) where nothing was written. */
export class SimRecords {
  readonly medium: SimMedium;
  readonly #cursor = new MetadataCursor();

  constructor(profile: IntegrityProfile, sizeBytes: number) {
    assert(profile.metadata_size === TUPLE_BYTES, 'simulator: metadata beside the tuples');
    this.medium = new SimMedium(metadataBytesOf(profile, sizeBytes));
    this.medium.poke(0, new Uint8Array(this.medium.sizeBytes).fill(BLANK));
  }

  /** Records [first, end) of a request, counted in sectors; `shift` bytes from their place. */
  move(request: Request, first: number, end: number, shift: number): void {
    const base = (request.sector + shift / SECTOR_BYTES) * TUPLE_BYTES;
    const cursor = this.#cursor;
    assert(cursor.start(request), 'simulator: a request without metadata');
    const from = first * TUPLE_BYTES;
    const to = end * TUPLE_BYTES;
    for (let at = 0; at < to && cursor.next(); at += cursor.len) {
      const skip = Math.max(from - at, 0);
      const len = Math.min(cursor.len, to - at) - skip;
      if (len <= 0) continue;
      const { page, offset } = cursor;
      if (request.op === BioOp.READ) this.medium.read(base + at + skip, page, offset + skip, len);
      else this.medium.write(base + at + skip, page, offset + skip, len);
    }
  }

  /** Discarded sectors have escapes; zeroed ones a guard of 0 (CRC16 of zeros) and their number. */
  clear(request: Request): void {
    for (let bio: Bio | null = request.bio; bio !== null; bio = bio.next) {
      const records = new Uint8Array(bio.sectors * TUPLE_BYTES).fill(BLANK);
      if (request.op === BioOp.WRITE_ZEROES) {
        const view = new DataView(records.fill(0).buffer);
        for (let i = 0; i < bio.sectors; i++) view.setUint32(i * TUPLE_BYTES + 4, bio.sector + i);
      }
      this.medium.poke(bio.sector * TUPLE_BYTES, records);
    }
  }
}
