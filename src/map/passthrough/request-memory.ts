import { assert } from '../../base/assert.ts';
import { PAGE_BYTES } from '../../base/units.ts';

/**
 * Pages of a driver that data of requests goes through: folios of one order, taken from `offset`
 * on. A copy that uses them never frees them. Linux: struct rq_map_data.
 */
export class RequestMemory {
  /** Heads of the folios. */
  pages: Uint32Array;
  order: number;
  /** Folios of `pages` in use. */
  entries: number;
  /** Byte from which on the next request takes them; moves with every bio that is appended. */
  offset = 0;
  /** The program sees these pages itself: nothing is copied, in either direction. */
  isNullMapped = false;
  /** A read whose memory is copied in first, because the command uses both ways. */
  isFromUser = false;

  constructor(pages: Uint32Array, order: number, entries = pages.length) {
    assert(entries >= 0 && entries <= pages.length, 'request memory: more folios than it has');
    this.pages = pages;
    this.order = order;
    this.entries = entries;
  }

  get bytes(): number {
    return this.entries * 2 ** this.order * PAGE_BYTES;
  }

  /** Page `index` of the buffer, or -1 behind its end. */
  pageAt(index: number): number {
    const folio = 2 ** this.order;
    const entry = Math.floor(index / folio);
    if (entry >= this.entries) return -1;
    return this.pages[entry] + (index % folio);
  }
}
