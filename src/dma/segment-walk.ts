import { assert } from '../base/assert.ts';
import { PAGE_BYTES } from '../base/units.ts';
import type { Bio } from '../bio/bio.ts';
import { opHasData } from '../bio/bio-op.ts';
import { segmentBytes } from '../bio/split-point.ts';
import type { BvecTable } from '../bvec/bvec-table.ts';
import { goesOnHeldApart, physMergeable } from '../bvec/contiguity.ts';
import type { Limits } from '../limits/limits.ts';
import type { Request } from '../queue/request.ts';

/**
 * Where entries that touch are joined. 'entries': any two, of one bio or of two, as in Linux 7.1.
 * 'bios': only the last of a bio and the first of the next, as in Linux 6.1 and 6.12.
 */
export type SegmentJoint = 'entries' | 'bios';

/** Memory of a request that no bio has: the ranges of a discard. Linux: rq->special_vec. */
export interface SpecialPayload {
  readonly page: number;
  readonly offset: number;
  readonly len: number;
}

/**
 * The ranges of physical memory that a device gets for a request, one by one: cut at the segment
 * size and the segment boundary, joined where they touch. Rows that only their holds keep apart are
 * one entry. It leaves the bios as they are.
 *
 *   walk.start(request.bio, limits, 'entries');
 *   while (walk.next()) use(walk.addr, walk.len);
 *
 * Post: at most as many as `request.segments`, in all the bytes of the bios; each one obeys
 * `max_segment_size` and `seg_boundary_mask`. Linux: blk_map_iter_next(), block/blk-mq-dma.c.
 */
export class SegmentWalk {
  /** Physical address, bytes. */
  addr = 0;
  len = 0;
  #limits: Limits | null = null;
  #inBios = false;
  #bio: Bio | null = null;
  #table: BvecTable | null = null;
  /** The row behind the current entry, and bytes of it that are behind: of the first row only. */
  #row = 0;
  #done = 0;
  /** Bytes of the current bio, or of the special payload, that are in no entry yet. */
  #left = 0;
  /** Rest of the current entry: address, bytes, and bytes of it that are in earlier ranges. */
  #at = 0;
  #entry = 0;
  #cut = 0;

  /** The data of `bio` and of all bios behind it. */
  start(bio: Bio | null, limits: Limits, joint: SegmentJoint): void {
    this.#limits = limits;
    this.#inBios = joint === 'bios';
    this.#left = 0;
    this.#entry = 0;
    this.#bio = bio;
    if (bio !== null) this.#enter(bio);
  }

  startSpecial(special: SpecialPayload, limits: Limits): void {
    assert(special.len > 0, 'segment walk: an empty payload');
    this.start(null, limits, 'entries');
    this.#at = special.page * PAGE_BYTES + special.offset;
    this.#entry = special.len;
    this.#cut = 0;
  }

  /** Starts at the data of `request`, if any. Ranges of a discard are a `special` payload. */
  startRequest(
    request: Request,
    limits: Limits,
    joint: SegmentJoint = 'entries',
    special: SpecialPayload | null = null,
  ): void {
    if (special !== null) this.startSpecial(special, limits);
    else this.start(opHasData(request.op) ? request.bio : null, limits, joint);
  }

  /** Loads the next range; false when there is none. */
  next(): boolean {
    if (this.#entry === 0 && !this.#nextEntry()) return false;
    const limits = this.#limits as Limits;
    const rest = this.#entry;
    const addr = this.#at;
    this.addr = addr;
    this.len = segmentBytes(addr, rest, limits);
    this.#at = addr + this.len;
    this.#entry = rest - this.len;
    if (this.#entry > 0) {
      this.#cut += this.len;
    } else if (this.#inBios) {
      this.#joinBios(addr - this.#cut, limits);
    } else {
      this.#joinEntries(limits);
    }
    return true;
  }

  /**
   * Takes in whole entries that follow in memory, as far as one segment may reach. What is asked is
   * whether they fit, not how much would: without limits that is 2^32, a number on the heap for
   * each range.
   */
  #joinEntries(limits: Limits): void {
    const { addr } = this;
    while (this.#nextEntry()) {
      const total = this.len + this.#entry;
      if (addr + this.len !== this.#at || segmentBytes(addr, total, limits) < total) return;
      this.#takeEntry();
    }
  }

  /**
   * Takes in first entries of the bios that follow. `start` is that of the whole entry before: the
   * boundary counts from there, however it was cut.
   */
  #joinBios(start: number, limits: Limits): void {
    while (this.#left === 0) {
      const end = this.#at;
      if (!this.#nextEntry() || this.len + this.#entry > limits.max_segment_size) return;
      const mask = limits.seg_boundary_mask;
      if (!physMergeable(start, end - start, this.#at, this.#entry, mask)) return;
      this.#takeEntry();
    }
  }

  /** The whole current entry goes into the range. */
  #takeEntry(): void {
    this.len += this.#entry;
    this.#at += this.#entry;
    this.#entry = 0;
  }

  /** Loads the next entry of this bio, or the first of the next one that has bytes. */
  #nextEntry(): boolean {
    while (this.#left === 0) {
      const bio: Bio | null = this.#bio === null ? null : this.#bio.next;
      if (bio === null) return false;
      this.#bio = bio;
      this.#enter(bio);
    }
    const table = this.#table as BvecTable;
    const { len } = table;
    const left = this.#left;
    let row = this.#row;
    let bytes = len[row] - this.#done;
    this.#at = table.page[row] * PAGE_BYTES + table.offset[row] + this.#done;
    while (bytes < left && goesOnHeldApart(table, row)) bytes += len[++row];
    assert(bytes > 0, 'segment walk: empty entry');
    if (bytes > left) bytes = left;
    this.#entry = bytes;
    this.#cut = 0;
    this.#left = left - bytes;
    this.#row = row + 1;
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
