import { assert } from '../base/assert.ts';
import { BlockError } from '../base/block-error.ts';
import { isPowerOfTwo, PAGE_BYTES } from '../base/units.ts';
import { DmaPerm } from './dma-status.ts';
import { IovaSpace } from './iova-space.ts';

// Row = one granule of the address space of a device.   unit    invariant
//   target   Uint32   index   granule of memory: physical address / granule
//   perm     Uint8    bits    DmaPerm; 0 = not mapped
//
// With granules of 4096 and a space from 0xFFF00000 on, the IOVA 0xFFF00200 is row 0, byte 512.

export interface IommuOptions {
  /** Bytes, a power of two from 4096 on. What one entry of the page table maps. */
  readonly granuleBytes?: number;
  /** Where the space starts, a multiple of the granule. Default: behind the first granule. */
  readonly baseAddress?: number;
  /** Bytes of the space, a multiple of the granule. */
  readonly spaceBytes?: number;
}

const SPACE_BYTES = 2 ** 30;

/**
 * The address space of a device (or of a group of them) and its page table. What is not mapped, the
 * device cannot touch. Linux: struct iommu_domain and drivers/iommu/dma-iommu.c.
 */
export class Iommu {
  readonly granuleBytes: number;
  /** 1 / granuleBytes: exact, and faster to multiply by than to divide. */
  readonly granulesPerByte: number;
  readonly space: IovaSpace;
  /** First granule of the space: row 0. */
  readonly first: number;
  readonly target: Uint32Array;
  readonly perm: Uint8Array;
  /** Lists that are mapped here now, of all devices. Only their end makes room. */
  mappings = 0;
  /** How often new entries were made visible: once for a list, however long. */
  mapSyncs = 0;
  /** How often the TLB forgot a range. */
  unmapSyncs = 0;

  /** Throws BlockError EINVAL for a space that cannot be. */
  constructor(options: IommuOptions = {}) {
    const { granuleBytes = PAGE_BYTES, spaceBytes = SPACE_BYTES } = options;
    const { baseAddress = granuleBytes } = options;
    if (!isPowerOfTwo(granuleBytes) || granuleBytes < PAGE_BYTES || granuleBytes > 2 ** 21) {
      const reason = `a granule of ${granuleBytes} bytes; it is a power of two, 4096 to 2 MiB`;
      throw new BlockError('EINVAL', { reason });
    }
    const isWhole = baseAddress % granuleBytes === 0 && spaceBytes % granuleBytes === 0;
    const end = (baseAddress + spaceBytes) / granuleBytes;
    if (!isWhole || !(spaceBytes > 0) || !(baseAddress >= 0) || end >= 2 ** 31) {
      const reason = `an IOVA space of ${spaceBytes} bytes at ${baseAddress} is no whole granules`;
      throw new BlockError('EINVAL', { reason });
    }
    this.granuleBytes = granuleBytes;
    this.granulesPerByte = 1 / granuleBytes;
    this.first = baseAddress / granuleBytes;
    const granules = spaceBytes / granuleBytes;
    this.space = new IovaSpace(this.first, granules);
    this.target = new Uint32Array(granules);
    this.perm = new Uint8Array(granules);
  }

  get baseAddress(): number {
    return this.first * this.granuleBytes;
  }

  get endAddress(): number {
    return this.baseAddress + this.space.granules * this.granuleBytes;
  }

  /**
   * Maps `count` granules from `iova` on to those of memory from `target` on.
   * Pre: they are allocated and not mapped. Linux: iommu_map().
   */
  link(iova: number, target: number, count: number, perm: number): void {
    const row = iova - this.first;
    const { perm: perms, target: targets } = this;
    assert(row >= 0 && row + count <= perms.length, 'iommu: linked outside its space');
    assert(count > 0, 'iommu: linked nothing');
    assert(perm !== DmaPerm.NONE, 'iommu: linked without a permission');
    for (let i = 0; i < count; i++) {
      assert(perms[row + i] === DmaPerm.NONE, 'iommu: linked over another mapping');
      perms[row + i] = perm;
      targets[row + i] = target + i;
    }
  }

  /** Unmaps `count` granules; those of a padding were never mapped. Linux: iommu_unmap(). */
  unlink(iova: number, count: number): void {
    const row = iova - this.first;
    const { perm } = this;
    assert(row >= 0 && row + count <= perm.length, 'iommu: unlinked outside its space');
    for (let i = 0; i < count; i++) perm[row + i] = DmaPerm.NONE;
    this.unmapSyncs++;
  }

  /** Row of the granule of `address`, or -1 when it is outside or not mapped for `perm`. */
  rowFor(address: number, perm: number): number {
    const row = Math.floor(address / this.granuleBytes) - this.first;
    if (!(row >= 0 && row < this.perm.length)) return -1;
    return (this.perm[row] & perm) === perm ? row : -1;
  }

  /** Pre: nothing is mapped. */
  assertNothingOutstanding(): void {
    assert(this.space.usedGranules === 0, 'iommu: addresses are still allocated');
    assert(
      this.perm.every((perm) => perm === DmaPerm.NONE),
      'iommu: granules are still mapped',
    );
  }
}
