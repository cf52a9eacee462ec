import { assert } from '../base/assert.ts';
import { BlockError } from '../base/block-error.ts';
import { isPowerOfTwo, PAGE_BYTES } from '../base/units.ts';
import type { Arena } from '../memory/arena.ts';
import { zeroPages } from '../memory/copy.ts';
import { regionOf } from '../memory/region.unsafe.ts';
import type { DmaDevice } from './dma-device.ts';
import { DmaPerm } from './dma-status.ts';
import { dmaOwnership } from './ownership.ts';

// Row = one page of the controller.   unit    invariant
//   page       Uint32    frame   first frame; both sides may touch it at any time
//   busAddress Float64   bytes   what the device says; a multiple of the page
//
// A device maps whole granules, so pages are cut from folios of at least one granule.

/** Pages for what a controller reads beside the data: PRP lists, SGL segments. Bounded. */
export class CoherentPages {
  readonly count: number;
  /** Bytes of a page: what the controller calls its page size. */
  readonly pageBytes: number;
  readonly page: Uint32Array;
  readonly busAddress: Float64Array;
  readonly #device: DmaDevice;
  readonly #arena: Arena;
  readonly #folioBytes: number;
  readonly #free: Int32Array;
  #freeCount = 0;
  readonly #firstPage: number;
  readonly #words: Uint32Array;

  /**
   * At least `pages` of `pageBytes`, a power of two from 4096 on. Throws BlockError ENOMEM when
   * arena or IOVA space are too small, EIO when the device cannot reach the arena.
   * Linux: dma_alloc_coherent().
   */
  constructor(device: DmaDevice, arena: Arena, pages: number, pageBytes = PAGE_BYTES) {
    assert(pages > 0 && isPowerOfTwo(pageBytes), 'coherent pages: none, or of an odd size');
    assert(pageBytes >= PAGE_BYTES, 'coherent pages: below a page of memory');
    const granule = device.iommu === null ? PAGE_BYTES : device.iommu.granuleBytes;
    this.#folioBytes = Math.max(granule, pageBytes);
    const each = this.#folioBytes / pageBytes;
    this.pageBytes = pageBytes;
    this.count = Math.ceil(pages / each) * each;
    this.page = new Uint32Array(this.count);
    this.busAddress = new Float64Array(this.count);
    this.#free = new Int32Array(this.count);
    this.#device = device;
    this.#arena = arena;
    for (let at = 0; at < this.count; at += each) {
      const reason = this.#takeFolio(at, each);
      if (reason === null) continue;
      this.#giveFolios(at);
      throw reason;
    }
    for (let i = this.count - 1; i >= 0; i--) this.#free[this.#freeCount++] = i;
    const region = regionOf(this.page[0]);
    this.#firstPage = region.firstPage;
    // Memory that the arena grows by later lies behind it; these pages are there already.
    this.#words = new Uint32Array(region.u8.buffer);
  }

  get busyCount(): number {
    return this.count - this.#freeCount;
  }

  /** Number of a page, contents as left, or -1 when all are out (back-pressure). */
  acquire(): number {
    return this.#freeCount === 0 ? -1 : this.#free[--this.#freeCount];
  }

  release(index: number): void {
    assert(index >= 0 && index < this.count, 'coherent pages: released what is none');
    assert(this.#freeCount < this.count, 'coherent pages: released twice');
    this.#free[this.#freeCount++] = index;
  }

  /** A 32-bit word at byte `offset` of page `index`, little-endian as the host is. */
  write32(index: number, offset: number, value: number): void {
    assert(offset >= 0 && offset < this.pageBytes, 'coherent pages: written outside the page');
    const frame = this.page[index] - this.#firstPage;
    this.#words[(frame * PAGE_BYTES + offset) / 4] = value;
  }

  /** A bus address as 64 bits. */
  write64(index: number, offset: number, value: number): void {
    const high = Math.floor(value / 2 ** 32);
    this.write32(index, offset, value - high * 2 ** 32);
    this.write32(index, offset + 4, high);
  }

  /** Pre: every page was released. */
  [Symbol.dispose](): void {
    assert(this.#freeCount === this.count, 'coherent pages: disposed of while pages are out');
    this.#giveFolios(this.count);
  }

  /** `each` rows from `at` on, or why not. */
  #takeFolio(at: number, each: number): BlockError | null {
    const { iommu, dmaMask } = this.#device;
    const bytes = this.#folioBytes;
    const folio = this.#arena.getFolio(Math.log2(bytes / PAGE_BYTES));
    if (folio < 0) {
      const reason = `arena '${this.#arena.label}' has no page for the lists of a controller`;
      return new BlockError('ENOMEM', { reason });
    }
    let bus = folio * PAGE_BYTES;
    if (iommu !== null) {
      const granules = bytes / iommu.granuleBytes;
      const iova = iommu.space.acquire(granules);
      if (iova < 0) {
        this.#arena.putFolio(folio);
        const reason = 'the IOVA space has no room for the lists of a controller';
        return new BlockError('ENOMEM', { reason });
      }
      iommu.link(iova, bus / iommu.granuleBytes, granules, DmaPerm.READ | DmaPerm.WRITE);
      bus = iova * iommu.granuleBytes;
    } else if (bus + bytes - 1 > dmaMask) {
      this.#arena.putFolio(folio);
      const reason = `the device reaches memory up to ${dmaMask}, but the arena's is at ${bus}`;
      return new BlockError('EIO', { reason });
    }
    zeroPages(folio, 0, bytes);
    dmaOwnership.share(folio, bytes / PAGE_BYTES);
    for (let i = 0; i < each; i++) {
      this.page[at + i] = folio + (i * this.pageBytes) / PAGE_BYTES;
      this.busAddress[at + i] = bus + i * this.pageBytes;
    }
    return null;
  }

  #giveFolios(end: number): void {
    const { iommu } = this.#device;
    const bytes = this.#folioBytes;
    for (let at = 0; at < end; at += bytes / this.pageBytes) {
      if (iommu !== null) {
        const iova = this.busAddress[at] / iommu.granuleBytes;
        iommu.unlink(iova, bytes / iommu.granuleBytes);
        iommu.space.release(iova, bytes / iommu.granuleBytes);
      }
      dmaOwnership.unshare(this.page[at], bytes / PAGE_BYTES);
      this.#arena.putFolio(this.page[at]);
    }
  }
}
