import { assert } from '../base/assert.ts';
import { DmaDir } from './dma-status.ts';

// Row = one range as the device sees it.   unit    invariant
//   address   Float64   bytes   bus address: an IOVA, or a physical address
//   len       Uint32    bytes   > 0
//
// A list of its own: row i does not describe entry i of the memory it was made from, and there may
// be fewer rows than entries.

/** What filled the list, and so how it is let go. */
export const DmaForm = {
  /** Not mapped. */
  NONE: 0,
  /** The entries of a scatterlist in one go. */
  SG: 1,
  /** Ranges that were appended one by one, each with a mapping of its own. */
  PIECES: 2,
  /** One IOVA range for everything. */
  RANGE: 3,
} as const;
export type DmaForm = (typeof DmaForm)[keyof typeof DmaForm];

/** The device's list for one transfer. Make one per slot of a driver and use it again and again. */
export class DmaList {
  readonly capacity: number;
  readonly address: Float64Array;
  readonly len: Uint32Array;
  /** Rows in use (Linux: what dma_map_sg() returns). */
  count = 0;
  form: DmaForm = DmaForm.NONE;
  dir: DmaDir = DmaDir.BIDIRECTIONAL;
  /** Form SG: entries that were mapped. Unmapping asks for this number, not for `count`. */
  nents = 0;
  /** The IOVA range of forms SG and RANGE in granules, from `iova` on; 0 granules = none. */
  iova = 0;
  granules = 0;
  /** Bounce buffers under the rows; 0 lets unmap skip the search. */
  bounces = 0;
  /** After a sync the CPU may touch the memory, until the next sync. */
  isCpuOwned = false;

  constructor(capacity: number) {
    assert(capacity > 0, 'dma list: of no rows');
    this.capacity = capacity;
    this.address = new Float64Array(capacity);
    this.len = new Uint32Array(capacity);
  }

  get isMapped(): boolean {
    return this.form !== DmaForm.NONE;
  }

  /** Bytes of all rows. */
  bytes(): number {
    let sum = 0;
    for (let i = 0; i < this.count; i++) sum += this.len[i];
    return sum;
  }

  /** Takes the list for a mapping. Pre: not mapped. */
  begin(form: DmaForm, dir: DmaDir): void {
    assert(this.form === DmaForm.NONE, 'dma list: mapped twice');
    this.form = form;
    this.dir = dir;
    this.count = 0;
    this.nents = 0;
    this.iova = 0;
    this.granules = 0;
    this.bounces = 0;
    this.isCpuOwned = false;
  }

  /** Empties the list. Pre: whatever it mapped is unmapped. */
  end(): void {
    this.form = DmaForm.NONE;
    this.count = 0;
    this.bounces = 0;
    this.granules = 0;
  }
}
