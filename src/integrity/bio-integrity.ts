import { assert } from '../base/assert.ts';
import { PAGE_BYTES } from '../base/units.ts';
import type { Bio, BioPayload } from '../bio/bio.ts';
import { BvecCursor } from '../bvec/bvec-cursor.ts';
import type { BvecTable } from '../bvec/bvec-table.ts';
import { gapBetween, physMergeable } from '../bvec/contiguity.ts';
import type { Limits } from '../limits/limits.ts';
import type { HoldKind } from '../memory/holds.ts';
import type { BioIntegrityPool } from './bio-integrity-pool.ts';
import {
  type IntegrityProfile,
  intervalsOf,
  metadataBytesOf,
  NO_INTEGRITY,
} from './integrity-profile.ts';
import type { RowsAt } from './pi-walk.ts';
import { CheckFlag } from './verify.ts';

/** Linux: enum bip_flags. */
export const PayloadFlag = {
  /** Made, filled and released by the block layer; without it the submitter owns the payload. */
  BLOCK: 1,
  /** Ref tags are those of the device: `remapRefTags` has run, and does not run again. */
  MAPPED: 2,
  /** The guard is the IP checksum. */
  IP_CHECKSUM: 16,
  /** The rows are a bounce buffer; the user's memory is the submitter's own affair. */
  COPY_USER: 32,
} as const;
/** A clone has these of its source: not who owns the rows. */
const CLONE_FLAGS = PayloadFlag.MAPPED | PayloadFlag.IP_CHECKSUM;

/** Who has to know that a bio with metadata has ended. */
export interface PayloadKeeper {
  /** Runs inside `endBio`, before anybody above hears of the end. May set the bio's status. */
  payloadEnded(payload: BioIntegrity, bio: Bio): void;
}

/** A place in rows that was marked before something moves on from it. */
class RowsMark implements RowsAt {
  table: BvecTable;
  row = 0;
  done = 0;
  size = 0;

  constructor(table: BvecTable) {
    this.table = table;
  }

  load(from: RowsAt): void {
    this.table = from.table;
    this.row = from.row;
    this.done = from.done;
    this.size = from.size;
  }
}

/**
 * The metadata of one bio: segment rows of its own, and an iterator that moves with that of the
 * data. Pooled: get one from a BioIntegrityPool. Linux: struct bio_integrity_payload.
 */
export class BioIntegrity implements BioPayload {
  readonly pool: BioIntegrityPool;
  isBusy = false;
  /** The format of the device. */
  profile: IntegrityProfile = NO_INTEGRITY;
  keeper: PayloadKeeper | null = null;
  flags = 0;
  /** CheckFlag: what the device, or the host on completion, is to check. */
  check = 0;
  appTag = 0;
  appMask = 0xffff;
  /** Ref tag of the first interval that is left, before its lower bits are taken. */
  seed = 0;
  table: BvecTable;
  /** The owner's rows: first … first + vcnt, of maxVecs; a clone has none of its own. */
  first = 0;
  vcnt = 0;
  maxVecs = 0;
  /** Iterator: current row, bytes of it that are behind, bytes of metadata left. */
  row = 0;
  done = 0;
  size = 0;
  /** True from the moment when it is ready to go out; what follows is marked then. */
  isPrepared = false;
  /** The data that it belongs to, as it was before a short transfer moved the bio on. */
  readonly data: RowsMark;
  readonly records: RowsMark;
  startSector = 0;
  startSeed = 0;

  constructor(pool: BioIntegrityPool, table: BvecTable) {
    this.pool = pool;
    this.table = table;
    this.data = new RowsMark(table);
    this.records = new RowsMark(table);
  }

  get isUserOwned(): boolean {
    return (this.flags & PayloadFlag.BLOCK) === 0;
  }

  /** Adds a row. False: there is no room, the hold stays with the caller. */
  addRow(page: number, offset: number, len: number, hold: HoldKind): boolean {
    assert(this.isBusy && this.maxVecs > 0, 'payload: add to a clone');
    if (this.vcnt >= this.maxVecs) return false;
    this.table.set(this.first + this.vcnt, page, offset, len, hold);
    this.vcnt++;
    this.size += len;
    return true;
  }

  /**
   * Moves on by `dataBytes` of the bio's data. Linux: bio_integrity_advance().
   * Pre: whole intervals, no more than are left.
   */
  advance(dataBytes: number, profile: IntegrityProfile = this.profile): void {
    const intervals = intervalsOf(profile, dataBytes);
    const bytes = metadataBytesOf(profile, dataBytes);
    assert(intervals * 2 ** profile.interval_exp === dataBytes, 'payload: part of an interval');
    assert(bytes <= this.size, 'payload: advance beyond the end');
    this.seed += intervals;
    this.size -= bytes;
    const { len } = this.table;
    let row = this.row;
    let done = this.done + bytes;
    while (done > 0 && done >= (len[row] as number)) {
      done -= len[row] as number;
      row++;
    }
    this.row = row;
    this.done = done;
  }

  /** Keeps what belongs to `dataBytes` of data. Linux: bio_integrity_trim(). */
  trim(dataBytes: number, profile: IntegrityProfile): void {
    const bytes = metadataBytesOf(profile, dataBytes);
    assert(bytes <= this.size, 'payload: trim beyond the end');
    this.size = bytes;
  }

  /** Marks where it and the first `dataBytes` of `bio` start, for the check at the end. */
  mark(bio: Bio, dataBytes: number): void {
    this.isPrepared = true;
    this.data.load(bio);
    this.data.size = dataBytes;
    this.records.load(this);
    this.startSector = bio.sector;
    this.startSeed = this.seed;
  }

  ended(bio: Bio): void {
    if (this.keeper !== null) this.keeper.payloadEnded(this, bio);
  }

  /** Bookkeeping of a clone: shares the rows of `source`, which outlives it. */
  become(source: BioIntegrity): void {
    this.profile = source.profile;
    this.flags = source.flags & CLONE_FLAGS;
    this.check = source.check;
    this.appTag = source.appTag;
    this.appMask = source.appMask;
    this.seed = source.seed;
    this.table = source.table;
    this.first = source.first;
    this.vcnt = source.vcnt;
    this.row = source.row;
    this.done = source.done;
    this.size = source.size;
  }
}

/** The metadata of `bio`, or null. */
export function payloadOf(bio: Bio): BioIntegrity | null {
  const { integrity } = bio;
  if (integrity === null) return null;
  assert(integrity instanceof BioIntegrity, 'bio: metadata of another kind');
  return integrity;
}

const cursor = new BvecCursor();

/**
 * Segments that the metadata needs: pieces within a page, joined where they touch and
 * max_segment_size allows. Linux: blk_rq_count_integrity_sg().
 */
export function integritySegments(payload: BioIntegrity, limits: Limits): number {
  cursor.start(payload.table, payload.row, payload.done, payload.size);
  let segments = 0;
  let segmentBytes = 0;
  let prevAddr = 0;
  let prevLen = 0;
  while (cursor.single()) {
    const { len } = cursor;
    const addr = cursor.page * PAGE_BYTES + cursor.offset;
    const joins =
      segments > 0 &&
      segmentBytes + len <= limits.max_segment_size &&
      physMergeable(prevAddr, prevLen, addr, len, limits.seg_boundary_mask);
    if (joins) {
      segmentBytes += len;
    } else {
      segments++;
      segmentBytes = len;
    }
    prevAddr = addr;
    prevLen = len;
    cursor.advance(len);
  }
  return segments;
}

/** Last bio of the front, first bio of the back, with the segments of all bios on each side. */
export interface PayloadJoint {
  readonly front: BioIntegrity | null;
  readonly frontSegments: number;
  readonly back: BioIntegrity | null;
  readonly backSegments: number;
}

/**
 * Whether the metadata lets two bios be one request: both have some or neither; the same flags and
 * checks; where app tags are checked, the same one; few enough segments; no virtual boundary at the
 * joint. Linux: blk_integrity_merge_rq(), blk_integrity_merge_bio().
 */
export function canMergePayloads(joint: PayloadJoint, limits: Limits): boolean {
  const { front, back } = joint;
  if (front === null || back === null) return front === back;
  if (front.flags !== back.flags || front.check !== back.check) return false;
  if ((front.check & CheckFlag.APP) !== 0) {
    if (front.appTag !== back.appTag || front.appMask !== back.appMask) return false;
  }
  const most = limits.max_integrity_segments;
  if (most !== 0 && joint.frontSegments + joint.backSegments > most) return false;
  return !hasGap(front, back, limits.virt_boundary_mask);
}

function hasGap(front: BioIntegrity, back: BioIntegrity, virtMask: number): boolean {
  if (virtMask === 0 || front.size === 0 || back.size === 0) return false;
  cursor.start(front.table, front.row, front.done, front.size);
  let offset = 0;
  let len = 0;
  while (cursor.multi()) {
    offset = cursor.offset;
    len = cursor.len;
    cursor.advance(len);
  }
  const next = (back.table.offset[back.row] as number) + back.done;
  return gapBetween(offset, len, next, virtMask);
}
