import { assert } from '../base/assert.ts';
import { SECTOR_BYTES } from '../base/units.ts';
import { type Bio, endBio } from '../bio/bio.ts';
import { BioFlag, BioOp, opHasData } from '../bio/bio-op.ts';
import type { BvecTable } from '../bvec/bvec-table.ts';

/** What an engine gets: one op on one range of the device, as a list of bios in order. */
export class Request {
  /** Slot + generation; stale tags fail. */
  tag = 0;
  op: BioOp = BioOp.READ;
  /** BioFlag bits of the bio that started it. */
  flags = 0;
  /** 512-byte units. After a short transfer: where the rest starts. */
  sector = 0;
  /** Bytes left to transfer. */
  bytes = 0;
  /** Segments as limits count them: an upper bound after merges. */
  segments = 0;
  /** The same of its metadata; 0 until something joins it. */
  metadataSegments = 0;
  bio: Bio | null = null;
  bioTail: Bio | null = null;
  traceId = 0;
  /** Links of the plug (`next` alone) or of the waiting list. */
  next: Request | null = null;
  prev: Request | null = null;
  /** True from issue to completion. */
  inFlight = false;

  get sectors(): number {
    return this.bytes / SECTOR_BYTES;
  }

  get isFua(): boolean {
    return (this.flags & BioFlag.FUA) !== 0;
  }

  /** Takes `bio` as the first and only one. */
  start(tag: number, bio: Bio, segments: number): void {
    this.tag = tag;
    this.op = bio.op;
    this.flags = bio.flags & ~BioFlag.CLONED;
    this.sector = bio.sector;
    this.bytes = bio.size;
    this.segments = segments;
    this.metadataSegments = 0;
    this.bio = bio;
    this.bioTail = bio;
    this.traceId = bio.traceId;
    this.next = null;
    this.inFlight = false;
    bio.next = null;
  }
}

/**
 * Moves the start of a request `bytes` on: what was done of a short transfer. Bios that are done
 * as a whole end here, the current one advances and keeps its rows.
 * Linux: blk_update_request().
 */
export function advanceRequest(request: Request, bytes: number): void {
  assert(bytes > 0 && bytes < request.bytes, 'request: advance without progress or to its end');
  let left = bytes;
  request.sector += bytes / SECTOR_BYTES;
  request.bytes -= bytes;
  while (left > 0) {
    const { bio } = request;
    assert(bio !== null, 'request: fewer bytes in its bios than it says');
    if (left < bio.size) {
      bio.advance(left);
      return;
    }
    left -= bio.size;
    request.bio = bio.next;
    bio.next = null;
    endBio(bio);
  }
}

/**
 * Walks the segments of a request in order, over its bios: the one way by which engines read
 * segments. It leaves the bios as they are, so a walk can be repeated.
 *
 *   cursor.start(request);
 *   while (cursor.next()) use(cursor.page, cursor.offset, cursor.len);
 */
export class SegmentCursor {
  /** The current segment: physically contiguous, any number of pages. */
  page = 0;
  offset = 0;
  len = 0;
  #bio: Bio | null = null;
  #table: BvecTable | null = null;
  #row = 0;
  #done = 0;
  #left = 0;

  start(request: Request): void {
    this.#bio = opHasData(request.op) ? request.bio : null;
    this.#left = 0; // Of a walk that was left early.
    if (this.#bio !== null) this.#enter(this.#bio);
  }

  /** Loads the next segment; false when there is none. */
  next(): boolean {
    while (this.#left === 0) {
      const bio: Bio | null = this.#bio === null ? null : this.#bio.next;
      this.#bio = bio;
      if (bio === null) return false;
      this.#enter(bio);
    }
    const table = this.#table as BvecTable;
    const row = this.#row++;
    const rest = table.len[row] - this.#done;
    this.page = table.page[row];
    this.offset = table.offset[row] + this.#done;
    this.len = rest < this.#left ? rest : this.#left;
    assert(this.len > 0, 'segments: empty entry');
    this.#left -= this.len;
    this.#done = 0;
    return true;
  }

  #enter(bio: Bio): void {
    this.#table = bio.table;
    this.#row = bio.row;
    this.#done = bio.done;
    this.#left = bio.size;
  }
}
