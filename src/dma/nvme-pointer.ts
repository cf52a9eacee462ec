import { assert } from '../base/assert.ts';
import type { CoherentPages } from './coherent-pages.ts';

// What an NVMe command says about its data (the DPTR field): two PRP entries or one SGL descriptor,
// and the pages with the rest of them. NVM Express Base Specification, "PRP" and "SGL".

/** PSDT field of a command. */
export const NvmePsdt = { PRP: 0, SGL: 1 } as const;
export type NvmePsdt = (typeof NvmePsdt)[keyof typeof NvmePsdt];

/** SGL descriptor types in their place, bits 7:4 of the last byte; sub type 0, an address. */
export const SglType = { DATA_BLOCK: 0x00, SEGMENT: 0x20, LAST_SEGMENT: 0x30 } as const;
export const SGL_DESCRIPTOR_BYTES = 16;
export const PRP_ENTRY_BYTES = 8;

/** Generic command status values that a bad pointer ends a command with. */
export const NvmeStatus = {
  SUCCESS: 0x00,
  DATA_TRANSFER_ERROR: 0x04,
  SGL_SEGMENT_INVALID: 0x0d,
  SGL_COUNT_INVALID: 0x0e,
  SGL_LENGTH_INVALID: 0x0f,
  SGL_TYPE_INVALID: 0x11,
  PRP_OFFSET_INVALID: 0x13,
} as const;
export type NvmeStatus = (typeof NvmeStatus)[keyof typeof NvmeStatus];

/** One command's pointer; made once per slot of a driver. The controller gets the fields alone. */
export class NvmePointer {
  psdt: NvmePsdt = NvmePsdt.PRP;
  /** PRP1, PRP2: bus addresses. */
  prp1 = 0;
  prp2 = 0;
  /** The one SGL descriptor in the command: bus address, bytes, SglType. */
  sglAddress = 0;
  sglBytes = 0;
  sglType = 0;
  /** Entries (PRP) or descriptors (SGL) in all, chain entries not counted. */
  entries = 0;
  readonly pages: CoherentPages;
  /** Pages of the lists, in order: numbers of `pages`. */
  readonly lists: Int32Array;
  listCount = 0;

  constructor(pages: CoherentPages, listsMax: number) {
    this.pages = pages;
    this.lists = new Int32Array(listsMax);
  }

  /** More list pages than this the command can never have. */
  get listsMax(): number {
    return Math.min(this.lists.length, this.pages.count);
  }

  /** Takes `count` list pages, or none and answers false. Pre: there is room for them. */
  addLists(count: number): boolean {
    assert(this.listCount + count <= this.lists.length, 'nvme pointer: too many lists');
    if (this.pages.busyCount + count > this.pages.count) return false;
    for (let i = 0; i < count; i++) this.lists[this.listCount++] = this.pages.acquire();
    return true;
  }

  /** Gives the list pages back: after the command, or when building failed. */
  release(): void {
    for (let i = 0; i < this.listCount; i++) this.pages.release(this.lists[i]);
    this.listCount = 0;
    this.entries = 0;
    this.prp1 = 0;
    this.prp2 = 0;
    this.sglAddress = 0;
    this.sglBytes = 0;
    this.sglType = 0;
  }
}
