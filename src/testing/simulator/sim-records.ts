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
import { TupleFormat } from './tuples/tuple-format.ts';

const BLANK = 0xff;

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
  readonly format: TupleFormat;
  readonly #cursor = new MetadataCursor();
  readonly #zeros: Uint8Array;

  constructor(profile: IntegrityProfile, sizeBytes: number) {
    this.format = new TupleFormat(profile);
    this.medium = new SimMedium(metadataBytesOf(profile, sizeBytes));
    this.medium.poke(0, new Uint8Array(this.medium.sizeBytes).fill(BLANK));
    this.#zeros = new Uint8Array(this.format.intervalBytes);
  }

  /**
   * Records [first, end) of a request, counted in its intervals; `shift` bytes from their place.
   * Of a write without metadata the device makes them from what is in `data` now.
   */
  move(request: Request, first: number, end: number, shift: number, data: SimMedium): void {
    const { metadataBytes, intervalBytes } = this.format;
    const start = (request.sector * SECTOR_BYTES + shift) / intervalBytes;
    const cursor = this.#cursor;
    if (!cursor.start(request)) {
      assert(this.format.isDeviceMade || !this.format.verifies, 'simulator: no metadata');
      if (request.op === BioOp.WRITE) this.#insert(start + first, start + end, data);
      return;
    }
    const base = start * metadataBytes;
    const from = first * metadataBytes;
    const to = end * metadataBytes;
    for (let at = 0; at < to && cursor.next(); at += cursor.len) {
      const skip = Math.max(from - at, 0);
      const len = Math.min(cursor.len, to - at) - skip;
      if (len <= 0) continue;
      const { page, offset } = cursor;
      if (request.op === BioOp.READ) this.medium.read(base + at + skip, page, offset + skip, len);
      else this.medium.write(base + at + skip, page, offset + skip, len);
    }
  }

  #insert(first: number, end: number, data: SimMedium): void {
    const { intervalBytes, metadataBytes } = this.format;
    const record = new Uint8Array(metadataBytes);
    for (let block = first; block < end; block++) {
      this.format.make(data.peek(block * intervalBytes, intervalBytes), 0, record, 0, block);
      this.medium.poke(block * metadataBytes, record);
    }
  }

  /** Discarded intervals have escapes; zeroed ones tuples that are right for zeros. */
  clear(request: Request): void {
    for (let bio: Bio | null = request.bio; bio !== null; bio = bio.next) {
      const first = (bio.sector * SECTOR_BYTES) / this.format.intervalBytes;
      const records = new Uint8Array(this.format.intervals(bio.size) * this.format.metadataBytes);
      if (request.op === BioOp.WRITE_ZEROES) this.ofZeros(records, first);
      else records.fill(BLANK);
      this.medium.poke(first * this.format.metadataBytes, records);
    }
  }

  /** Records of zeros: the device makes their tuples, whoever makes those of writes. */
  ofZeros(records: Uint8Array, firstBlock: number): void {
    const { format } = this;
    for (let at = 0; at < records.length; at += format.metadataBytes) {
      const block = firstBlock + at / format.metadataBytes;
      format.makeWith(this.#zeros, 0, records, at, { app: 0, ref: format.countsRef ? block : 0 });
    }
  }
}
