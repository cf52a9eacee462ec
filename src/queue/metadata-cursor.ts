import { assert } from '../base/assert.ts';
import type { Bio } from '../bio/bio.ts';
import { opHasData } from '../bio/bio-op.ts';
import type { BvecTable } from '../bvec/bvec-table.ts';
import { payloadOf } from '../integrity/bio-integrity.ts';
import type { Request } from './request.ts';

/**
 * Walks the metadata of a request in the order of its data, over the payloads of its bios: the one
 * way by which engines read it. Like SegmentCursor it leaves everything as it is. All bios of a
 * request have metadata, or none has.
 *
 *   if (cursor.start(request)) while (cursor.next()) use(cursor.page, cursor.offset, cursor.len);
 */
export class MetadataCursor {
  /** The current segment: physically contiguous, any number of pages and records, or a part. */
  page = 0;
  offset = 0;
  len = 0;
  #bio: Bio | null = null;
  #table: BvecTable | null = null;
  #row = 0;
  #done = 0;
  #left = 0;

  /** False: the request has no metadata. */
  start(request: Request): boolean {
    this.#left = 0;
    this.#bio = opHasData(request.op) ? request.bio : null;
    if (this.#bio === null || this.#bio.integrity === null) {
      this.#bio = null;
      return false;
    }
    this.#enter(this.#bio);
    return true;
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
    assert(this.len > 0, 'metadata: empty entry');
    this.#left -= this.len;
    this.#done = 0;
    return true;
  }

  #enter(bio: Bio): void {
    const payload = payloadOf(bio);
    assert(payload !== null, 'metadata: one bio of a request has none');
    this.#table = payload.table;
    this.#row = payload.row;
    this.#done = payload.done;
    this.#left = payload.size;
  }
}
