import { assert, unreachable } from '../base/assert.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { copyIn, copyOut } from '../memory/copy.ts';
import { type DmaDevice, DmaHit } from './dma-device.ts';
import { DmaPerm } from './dma-status.ts';
import {
  NvmePsdt,
  NvmeStatus,
  PRP_ENTRY_BYTES,
  SGL_DESCRIPTOR_BYTES,
  SglType,
} from './nvme-pointer.ts';

/** The DPTR field of a command: all that a controller is told about memory. */
export interface CommandPointer {
  readonly psdt: NvmePsdt;
  readonly prp1: number;
  readonly prp2: number;
  readonly sglAddress: number;
  readonly sglBytes: number;
  readonly sglType: number;
}

/** Segments of one SGL; more is a circle, or as bad. */
const SEGMENTS_MAX = 4096;

/** How far a walk is. */
const Phase = { FIRST: 0, SECOND: 1, LIST: 2, SEGMENT: 3 } as const;
type Phase = (typeof Phase)[keyof typeof Phase];

/**
 * Memory as a controller has it: it knows the pointer of a command and nothing else. Every byte of
 * data, of PRP lists and of SGL segments goes through the translation of its device.
 *
 *   view.start(pointer, bytes, DmaPerm.READ);
 *   while (view.next()) use(view.page, view.offset, view.len);
 *   if (view.status !== NvmeStatus.SUCCESS) …
 *
 * It trusts nothing: what a specification forbids ends the walk with the status for it.
 */
export class ControllerView {
  /** The next piece of memory, in order. */
  page = 0;
  offset = 0;
  len = 0;
  status: NvmeStatus = NvmeStatus.SUCCESS;
  /** With DATA_TRANSFER_ERROR: the address that did not translate. */
  faultAddress = 0;
  readonly #device: DmaDevice;
  readonly #pageBytes: number;
  readonly #hit = new DmaHit();
  readonly #fetched = new Uint8Array(SGL_DESCRIPTOR_BYTES);
  #pointer: CommandPointer | null = null;
  #perm = 0;
  #phase: Phase = Phase.FIRST;
  /** Bytes of the transfer that no range was found for yet. */
  #left = 0;
  /** Rest of the current range, as the device says it. */
  #busAt = 0;
  #busLeft = 0;
  /** Next entry of a PRP list, or next descriptor of a segment with `#listBytes` left. */
  #listAt = 0;
  #listBytes = 0;
  #isLastSegment = false;
  /** Segments entered: a chain may lead in a circle. */
  #segments = 0;

  constructor(device: DmaDevice, pageBytes = PAGE_BYTES) {
    this.#device = device;
    this.#pageBytes = pageBytes;
  }

  /** `perm`: DmaPerm.READ for a write to the disk, DmaPerm.WRITE for a read of it. */
  start(pointer: CommandPointer, bytes: number, perm: number): void {
    assert(bytes > 0 && perm !== DmaPerm.NONE, 'controller: a transfer of nothing');
    this.#pointer = pointer;
    this.#perm = perm;
    this.#phase = Phase.FIRST;
    this.#left = bytes;
    this.#busLeft = 0;
    this.#segments = 0;
    this.status = NvmeStatus.SUCCESS;
  }

  /** Loads the next piece, one contiguous range of memory; false at the end or on an error. */
  next(): boolean {
    while (this.#busLeft === 0) {
      if (this.#left === 0 || !this.#nextRange(this.#pointer as CommandPointer)) return false;
    }
    const hit = this.#hit;
    if (!this.#translate(this.#busAt, this.#busLeft, this.#perm)) return false;
    this.page = hit.page;
    this.offset = hit.offset;
    this.len = hit.bytes;
    this.#busAt += hit.bytes;
    this.#busLeft -= hit.bytes;
    return true;
  }

  /** Memory to `into`. Bytes read: fewer than asked when the walk ends with an error. */
  read(pointer: CommandPointer, bytes: number, into: Uint8Array, at = 0): number {
    let done = 0;
    this.start(pointer, bytes, DmaPerm.READ);
    while (this.next()) {
      copyOut(into, at + done, this.page, this.offset, this.len);
      done += this.len;
    }
    return done;
  }

  /** `from` to memory. Bytes written: fewer than asked when the walk ends with an error. */
  write(pointer: CommandPointer, bytes: number, from: Uint8Array, at = 0): number {
    let done = 0;
    this.start(pointer, bytes, DmaPerm.WRITE);
    while (this.next()) {
      copyIn(this.page, this.offset, from, at + done, this.len);
      done += this.len;
    }
    return done;
  }

  #nextRange(pointer: CommandPointer): boolean {
    if (pointer.psdt === NvmePsdt.PRP) return this.#nextPrp(pointer);
    return this.#nextSgl(pointer);
  }

  #nextPrp({ prp1, prp2 }: CommandPointer): boolean {
    const pageBytes = this.#pageBytes;
    switch (this.#phase) {
      case Phase.FIRST:
        this.#phase = Phase.SECOND;
        if (prp1 % 4 !== 0) return this.#fail(NvmeStatus.PRP_OFFSET_INVALID);
        return this.#range(prp1, pageBytes - (prp1 % pageBytes));
      case Phase.SECOND:
        if (this.#left <= pageBytes) return this.#wholePage(prp2);
        if (prp2 % PRP_ENTRY_BYTES !== 0) return this.#fail(NvmeStatus.PRP_OFFSET_INVALID);
        this.#phase = Phase.LIST;
        this.#listAt = prp2;
        return this.#nextInList();
      case Phase.LIST:
        return this.#nextInList();
      case Phase.SEGMENT:
        return assert(false, 'controller: a segment in a PRP') as never;
      default:
        return unreachable(this.#phase);
    }
  }

  #nextInList(): boolean {
    const pageBytes = this.#pageBytes;
    const isLastSlot = this.#listAt % pageBytes === pageBytes - PRP_ENTRY_BYTES;
    if (isLastSlot && this.#left > pageBytes) {
      if (!this.#fetch(this.#listAt, PRP_ENTRY_BYTES)) return false;
      this.#listAt = this.#fetched64(0);
      if (this.#listAt % pageBytes !== 0) return this.#fail(NvmeStatus.PRP_OFFSET_INVALID);
    }
    if (!this.#fetch(this.#listAt, PRP_ENTRY_BYTES)) return false;
    this.#listAt += PRP_ENTRY_BYTES;
    return this.#wholePage(this.#fetched64(0));
  }

  #wholePage(address: number): boolean {
    if (address % this.#pageBytes !== 0) return this.#fail(NvmeStatus.PRP_OFFSET_INVALID);
    return this.#range(address, this.#pageBytes);
  }

  #nextSgl({ sglAddress, sglBytes, sglType }: CommandPointer): boolean {
    if (this.#phase === Phase.FIRST) {
      this.#phase = Phase.SEGMENT;
      this.#listBytes = 0;
      this.#isLastSegment = true; // Behind one data block nothing follows.
      return this.#descriptor(sglAddress, sglBytes, sglType);
    }
    if (this.#listBytes === 0) {
      const status = this.#isLastSegment
        ? NvmeStatus.SGL_LENGTH_INVALID
        : NvmeStatus.SGL_SEGMENT_INVALID;
      return this.#fail(status);
    }
    if (!this.#fetch(this.#listAt, SGL_DESCRIPTOR_BYTES)) return false;
    this.#listAt += SGL_DESCRIPTOR_BYTES;
    this.#listBytes -= SGL_DESCRIPTOR_BYTES;
    const type = this.#fetched[15];
    const isChain = type === SglType.SEGMENT || type === SglType.LAST_SEGMENT;
    if (isChain && (this.#isLastSegment || this.#listBytes > 0)) {
      return this.#fail(NvmeStatus.SGL_SEGMENT_INVALID);
    }
    return this.#descriptor(this.#fetched64(0), this.#fetched32(8), type);
  }

  /** A range, or the segment that goes on elsewhere: then no range is loaded yet. */
  #descriptor(address: number, bytes: number, type: number): boolean {
    if (type === SglType.DATA_BLOCK) return this.#range(address, bytes);
    if (type !== SglType.SEGMENT && type !== SglType.LAST_SEGMENT) {
      return this.#fail(NvmeStatus.SGL_TYPE_INVALID);
    }
    if (bytes === 0 || bytes % SGL_DESCRIPTOR_BYTES !== 0) {
      return this.#fail(NvmeStatus.SGL_SEGMENT_INVALID);
    }
    if (++this.#segments > SEGMENTS_MAX) return this.#fail(NvmeStatus.SGL_COUNT_INVALID);
    this.#listAt = address;
    this.#listBytes = bytes;
    this.#isLastSegment = type === SglType.LAST_SEGMENT;
    return true;
  }

  #range(address: number, bytes: number): boolean {
    this.#busAt = address;
    this.#busLeft = bytes < this.#left ? bytes : this.#left;
    this.#left -= this.#busLeft;
    return true;
  }

  /** `bytes` of a list into `#fetched`. */
  #fetch(address: number, bytes: number): boolean {
    const hit = this.#hit;
    for (let done = 0; done < bytes; done += hit.bytes) {
      if (!this.#translate(address + done, bytes - done, DmaPerm.READ)) return false;
      copyOut(this.#fetched, done, hit.page, hit.offset, hit.bytes);
    }
    return true;
  }

  #fetched32(at: number): number {
    const f = this.#fetched;
    return f[at] + f[at + 1] * 2 ** 8 + f[at + 2] * 2 ** 16 + f[at + 3] * 2 ** 24;
  }

  /** Beyond 2^53 a double is not exact; no device mask of this library goes there. */
  #fetched64(at: number): number {
    return this.#fetched32(at) + this.#fetched32(at + 4) * 2 ** 32;
  }

  #translate(address: number, bytes: number, perm: number): boolean {
    if (this.#device.translate(address, bytes, perm, this.#hit) === 0) return true;
    this.faultAddress = address;
    return this.#fail(NvmeStatus.DATA_TRANSFER_ERROR);
  }

  /** Ends the walk. */
  #fail(status: NvmeStatus): false {
    this.status = status;
    this.#left = 0;
    this.#busLeft = 0;
    return false;
  }
}
