import { assert } from '../base/assert.ts';
import { BlockError } from '../base/block-error.ts';
import { Errno } from '../base/errno.ts';
import { PAGE_BYTES, PAGE_SHIFT } from '../base/units.ts';
import type { Arena } from '../memory/arena.ts';
import type { ArenaBuffer } from '../memory/arena-buffer.ts';
import { copyPages, zeroPages } from '../memory/copy.ts';
import { DmaDir, NOT_NOW } from './dma-status.ts';

// Row = one slot of 2 KiB.       unit    invariant
//   run         Uint8    count   free slots from here to the end of its group of 128; 0 = taken
//   head        Int32    index   first slot of the bounce buffer that has this slot, or -1
//   and on the first slot of a bounce buffer:
//   origPage    Uint32   frame   what is bounced
//   origOffset  Uint32   bytes
//   len         Uint32   bytes   > 0
//   skip        Uint32   bytes   from the start of the slot to the first byte
//   slots       Uint8    count

/** Linux: IO_TLB_SIZE. */
export const SWIOTLB_SLOT_BYTES = 2048;
const SLOT_SHIFT = 11;
/** Slots of one bounce buffer, which never leaves its group (Linux: IO_TLB_SEGSIZE). */
const SWIOTLB_GROUP_SLOTS = 128;
export const SWIOTLB_BYTES_MAX = SWIOTLB_GROUP_SLOTS * SWIOTLB_SLOT_BYTES;
const SLOTS_PER_PAGE = PAGE_BYTES / SWIOTLB_SLOT_BYTES;

/** How a bounce buffer must lie. */
export interface BounceShape {
  /** Low address bits that stay those of the original: mask 2^k - 1. */
  readonly keepMask: number;
  /**
   * Power of two. The buffer fills whole units of it and what is not data is zeroed, because the
   * device can see all of a unit. 1 = no such rule.
   */
  readonly unitBytes: number;
  /** The buffer crosses no multiple of mask + 1. */
  readonly boundaryMask: number;
}

/**
 * Bounce memory for devices that cannot reach, or must not see, the original. Its owner makes it of
 * memory that the device reaches. Bounded: a full one is NOT_NOW.
 * Linux: kernel/dma/swiotlb.c.
 */
export class Swiotlb {
  /** First frame. */
  readonly page: number;
  readonly slots: number;
  readonly #buffer: ArenaBuffer;
  readonly #run: Uint8Array;
  readonly #head: Int32Array;
  readonly #origPage: Uint32Array;
  readonly #origOffset: Uint32Array;
  readonly #len: Uint32Array;
  readonly #skip: Uint32Array;
  readonly #count: Uint8Array;
  /** Group where the last search succeeded. */
  #hint = 0;
  #used = 0;
  #buffers = 0;
  #usedMost = 0;

  /** `bytes`: whole pages. Throws BlockError ENOMEM when `arena` has no room. */
  constructor(arena: Arena, bytes: number) {
    if (!(bytes > 0) || bytes % PAGE_BYTES !== 0) {
      const reason = `bounce memory of ${bytes} bytes; it must be whole pages of ${PAGE_BYTES}`;
      throw new BlockError('EINVAL', { reason });
    }
    this.#buffer = arena.alloc(bytes, 'swiotlb');
    this.page = this.#buffer.page;
    this.slots = bytes / SWIOTLB_SLOT_BYTES;
    this.#run = new Uint8Array(this.slots);
    this.#head = new Int32Array(this.slots).fill(-1);
    this.#origPage = new Uint32Array(this.slots);
    this.#origOffset = new Uint32Array(this.slots);
    this.#len = new Uint32Array(this.slots);
    this.#skip = new Uint32Array(this.slots);
    this.#count = new Uint8Array(this.slots);
    for (let slot = 0; slot < this.slots; slot++) this.#run[slot] = this.#groupEnd(slot) - slot;
  }

  /** Bounce buffers that are mapped. */
  get buffers(): number {
    return this.#buffers;
  }

  get usedSlots(): number {
    return this.#used;
  }

  get usedSlotsMost(): number {
    return this.#usedMost;
  }

  /** Physical address behind the last byte. */
  get endAddress(): number {
    return this.page * PAGE_BYTES + this.slots * SWIOTLB_SLOT_BYTES;
  }

  /**
   * A bounce buffer for a range, with the original in it: always, because a device may write less
   * than it said and the rest is copied back over the original. Its first slot; NOT_NOW; -EIO when
   * it is too large for one. Linux: swiotlb_tbl_map_single().
   */
  map(page: number, offset: number, bytes: number, shape: BounceShape): number {
    const first = page + (offset >>> PAGE_SHIFT);
    const inPage = offset & (PAGE_BYTES - 1);
    const units = Math.max(shape.keepMask + 1, shape.unitBytes);
    const unitSlots = Math.max(units >>> SLOT_SHIFT, 1);
    // Where the range lies in its unit: a frame number modulo the pages of a unit, and the rest.
    const unitPages = Math.max(units >>> PAGE_SHIFT, 1);
    const low = (first % unitPages) * PAGE_BYTES + inPage;
    const isPadded = shape.unitBytes > 1;
    const keep = isPadded ? low : low & shape.keepMask;
    const lead = isPadded ? 0 : keep >>> SLOT_SHIFT;
    const skip = keep - (lead << SLOT_SHIFT);
    const filled = isPadded ? roundUpTo(skip + bytes, shape.unitBytes) : skip + bytes;
    const count = Math.ceil(filled / SWIOTLB_SLOT_BYTES);
    if (count > SWIOTLB_GROUP_SLOTS) return -Errno.EIO;
    const slot = this.#find(count, lead, unitSlots, skip, bytes, shape);
    if (slot < 0) return NOT_NOW;
    this.#take(slot, count);
    this.#origPage[slot] = first;
    this.#origOffset[slot] = inPage;
    this.#len[slot] = bytes;
    this.#skip[slot] = skip;
    if (isPadded) this.#zeroPadding(slot, filled);
    this.#copyToBounce(slot);
    return slot;
  }

  /** Frame of the first byte of a bounce buffer, and its offset in it. */
  pageOf(slot: number): number {
    return this.page + ((slot * SWIOTLB_SLOT_BYTES + this.#skip[slot]) >>> PAGE_SHIFT);
  }

  offsetOf(slot: number): number {
    return (slot * SWIOTLB_SLOT_BYTES + this.#skip[slot]) & (PAGE_BYTES - 1);
  }

  /** First slot of the bounce buffer that (page, offset) lies in, or -1. */
  slotAt(page: number, offset: number): number {
    const at = (page - this.page) * SLOTS_PER_PAGE + Math.floor(offset / SWIOTLB_SLOT_BYTES);
    return at >= 0 && at < this.slots ? this.#head[at] : -1;
  }

  originalPage(slot: number): number {
    return this.#origPage[slot];
  }

  originalOffset(slot: number): number {
    return this.#origOffset[slot];
  }

  bytesOf(slot: number): number {
    return this.#len[slot];
  }

  /** What the device wrote becomes visible in the original. */
  syncForCpu(slot: number, dir: DmaDir): void {
    assert(this.#head[slot] === slot, 'swiotlb: sync of a slot that is not mapped');
    if (dir !== DmaDir.TO_DEVICE) this.#copyToOriginal(slot);
  }

  /** What the CPU wrote becomes visible to the device. */
  syncForDevice(slot: number, dir: DmaDir): void {
    assert(this.#head[slot] === slot, 'swiotlb: sync of a slot that is not mapped');
    if (dir !== DmaDir.FROM_DEVICE) this.#copyToBounce(slot);
  }

  /**
   * Gives the buffer back, after the copy back that `dir` asks for.
   * Linux: swiotlb_tbl_unmap_single().
   */
  unmap(slot: number, dir: DmaDir, copyBack: boolean): void {
    assert(this.#head[slot] === slot, 'swiotlb: unmapped twice');
    if (copyBack) this.syncForCpu(slot, dir);
    const run = this.#run;
    const end = slot + this.#count[slot];
    const groupEnd = this.#groupEnd(slot);
    let free = end < groupEnd ? run[end] : 0;
    for (let at = end - 1; at >= slot; at--) {
      run[at] = ++free;
      this.#head[at] = -1;
    }
    const group = groupEnd - this.#groupSize(slot);
    for (let at = slot - 1; at >= group && run[at] > 0; at--) run[at] = ++free;
    this.#used -= this.#count[slot];
    this.#buffers--;
    // The same list finds the same places in an empty pool, so whether it fits is no accident.
    if (this.#buffers === 0) this.#hint = 0;
  }

  /** Pre: nothing is mapped. */
  [Symbol.dispose](): void {
    assert(this.#used === 0, 'swiotlb: disposed of while buffers are mapped');
    this.#buffer.release();
  }

  /**
   * `count` free slots in one group, the first of them `lead` behind a multiple of `unit`, with the
   * `bytes` behind `skip` in one window.
   */
  #find(
    count: number,
    lead: number,
    unit: number,
    skip: number,
    bytes: number,
    { boundaryMask }: BounceShape,
  ): number {
    if (this.#used + count > this.slots) return -1;
    const run = this.#run;
    const firstByte = this.page * PAGE_BYTES + skip;
    const windowBytes = boundaryMask + 1; // As an argument, a number above 2^31 would be boxed.
    const groups = Math.ceil(this.slots / SWIOTLB_GROUP_SLOTS);
    const base = (this.page % unit) * SLOTS_PER_PAGE; // Alignment is that of addresses.
    for (let i = 0; i < groups; i++) {
      const group = (this.#hint + i) % groups;
      const start = group * SWIOTLB_GROUP_SLOTS;
      const end = this.#groupEnd(start);
      const over = (start + base + unit - lead) % unit; // lead < unit, so it is not negative
      for (let at = over === 0 ? start : start + unit - over; at < end; at += unit) {
        if (run[at] < count) continue;
        if (((firstByte + at * SWIOTLB_SLOT_BYTES) % windowBytes) + bytes > windowBytes) continue;
        this.#hint = group;
        return at;
      }
    }
    return -1;
  }

  #take(slot: number, count: number): void {
    const run = this.#run;
    const end = slot + count;
    for (let at = slot; at < end; at++) {
      run[at] = 0;
      this.#head[at] = slot;
    }
    const group = this.#groupEnd(slot) - this.#groupSize(slot);
    for (let at = slot - 1; at >= group && run[at] > 0; at--) run[at] = slot - at;
    this.#count[slot] = count;
    this.#used += count;
    this.#buffers++;
    if (this.#used > this.#usedMost) this.#usedMost = this.#used;
  }

  /** The last group may be short. */
  #groupEnd(slot: number): number {
    const end = (Math.floor(slot / SWIOTLB_GROUP_SLOTS) + 1) * SWIOTLB_GROUP_SLOTS;
    return end < this.slots ? end : this.slots;
  }

  #groupSize(slot: number): number {
    const end = this.#groupEnd(slot);
    return end - Math.floor(slot / SWIOTLB_GROUP_SLOTS) * SWIOTLB_GROUP_SLOTS;
  }

  #copyToBounce(slot: number): void {
    const at = slot * SWIOTLB_SLOT_BYTES + this.#skip[slot];
    const page = this.#origPage[slot];
    copyPages(this.page, at, page, this.#origOffset[slot], this.#len[slot]);
  }

  #copyToOriginal(slot: number): void {
    const at = slot * SWIOTLB_SLOT_BYTES + this.#skip[slot];
    const page = this.#origPage[slot];
    copyPages(page, this.#origOffset[slot], this.page, at, this.#len[slot]);
  }

  /** The device can see what lies beside the data, and that is some other transfer's. */
  #zeroPadding(slot: number, filled: number): void {
    const at = slot * SWIOTLB_SLOT_BYTES;
    const skip = this.#skip[slot];
    const end = skip + this.#len[slot];
    if (skip > 0) zeroPages(this.page, at, skip);
    if (end < filled) zeroPages(this.page, at + end, filled - end);
  }
}

function roundUpTo(value: number, unit: number): number {
  const over = value % unit;
  return over === 0 ? value : value + unit - over;
}
