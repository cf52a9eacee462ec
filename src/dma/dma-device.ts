import { assert } from '../base/assert.ts';
import { BlockError } from '../base/block-error.ts';
import { Errno } from '../base/errno.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { pageExists, regionOf } from '../memory/region.unsafe.ts';
import { BounceAction, forBounces } from './bounces.ts';
import { DmaForm, type DmaList } from './dma-list.ts';
import { type DmaDir, DmaReason } from './dma-status.ts';
import type { Iommu } from './iommu.ts';
import { mapPieceDirect, mapSgDirect } from './map-direct.ts';
import { mapPieceIommu, mapSgIommu, unlinkPieces } from './map-iommu.ts';
import { acquireRange, linkRange, unlinkRange } from './map-range.ts';
import { giveMapped, takeMapped } from './mapped-memory.ts';
import { dmaOwnership } from './ownership.ts';
import type { SgList } from './sg-list.ts';
import { type BounceShape, SWIOTLB_BYTES_MAX, type Swiotlb } from './swiotlb.ts';

export interface DmaDeviceOptions {
  /** The highest address that the device can say: 2^k - 1. */
  readonly dmaMask?: number;
  /** No device range of a list crosses a multiple of mask + 1. */
  readonly segBoundaryMask?: number;
  /** Bytes of one device range of a list, joined or not. Default 64 KiB. */
  readonly segBytesMax?: number;
  /** Low address bits that a bounce buffer keeps: 2^k - 1. NVMe wants 4095. */
  readonly minAlignMask?: number;
  /** Translates what the device says. Without one it says physical addresses. */
  readonly iommu?: Iommu | null;
  readonly swiotlb?: Swiotlb | null;
  /** It must see no byte beside its data: what shares a granule with others is bounced. */
  readonly isUntrusted?: boolean;
  /** False: caches are not kept in step, so what shares a cache line with others is bounced. */
  readonly isCoherent?: boolean;
  /** Power of two. */
  readonly cacheLineBytes?: number;
}

/** Where an address of a device leads. */
export class DmaHit {
  page = 0;
  offset = 0;
  /** Bytes that follow in memory, at most what was asked for. */
  bytes = 0;
}

const ADDRESS_MAX = Number.MAX_SAFE_INTEGER;

/**
 * What a device needs to reach memory, and the one door to it: scatterlists and single ranges are
 * mapped here, and the device's own accesses are translated here.
 *
 * Data plane: 0 or more, or a negative errno with `reason` saying why.
 * Linux: struct device_dma_parameters, kernel/dma/mapping.c.
 */
export class DmaDevice {
  readonly dmaMask: number;
  readonly segBoundaryMask: number;
  readonly segBytesMax: number;
  readonly minAlignMask: number;
  readonly iommu: Iommu | null;
  readonly swiotlb: Swiotlb | null;
  readonly isUntrusted: boolean;
  readonly isCoherent: boolean;
  readonly cacheLineBytes: number;
  /** How bounce buffers of this device lie. */
  readonly bounceShape: BounceShape;
  /** Why the last mapping failed. */
  reason: DmaReason = DmaReason.NONE;
  /** Lists that are mapped now; 0 when nothing is in flight. */
  mappings = 0;
  /** Bounce buffers that were used, in all. */
  bounced = 0;

  /** Throws BlockError EINVAL for an IOMMU or bounce memory that the device cannot reach. */
  constructor(options: DmaDeviceOptions = {}) {
    this.dmaMask = options.dmaMask ?? ADDRESS_MAX;
    this.segBoundaryMask = options.segBoundaryMask ?? 2 ** 32 - 1;
    this.segBytesMax = Math.min(options.segBytesMax ?? 65536, 2 ** 32 - 1);
    this.minAlignMask = options.minAlignMask ?? 0;
    this.iommu = options.iommu ?? null;
    this.swiotlb = options.swiotlb ?? null;
    this.isUntrusted = options.isUntrusted ?? false;
    this.isCoherent = options.isCoherent ?? true;
    this.cacheLineBytes = options.cacheLineBytes ?? 64;
    const { iommu, swiotlb } = this;
    this.bounceShape =
      iommu === null
        ? { keepMask: this.minAlignMask, unitBytes: 1, boundaryMask: this.segBoundaryMask }
        : { keepMask: 0, unitBytes: iommu.granuleBytes, boundaryMask: ADDRESS_MAX };
    const end = iommu?.endAddress ?? swiotlb?.endAddress ?? 0;
    if (end - 1 > this.dmaMask) {
      const what = iommu === null ? 'the bounce memory' : 'the IOVA space';
      const reason = `${what} ends at ${end}, but the dma mask of the device is ${this.dmaMask}`;
      throw new BlockError('EINVAL', { reason });
    }
  }

  /**
   * The longest range that always has a bounce buffer; Infinity when nothing is ever bounced. A
   * driver keeps its segments below it. Linux: dma_max_mapping_size().
   */
  get mappingBytesMax(): number {
    const isLimited = this.iommu === null ? this.dmaMask < ADDRESS_MAX : this.isUntrusted;
    if (!isLimited && this.isCoherent) return Number.POSITIVE_INFINITY;
    const { keepMask, unitBytes } = this.bounceShape;
    const lost = Math.max(keepMask + 1, unitBytes);
    return lost === 1 ? SWIOTLB_BYTES_MAX : SWIOTLB_BYTES_MAX - lost;
  }

  /**
   * Maps the first `nents` entries of `list` into `out`: as many device ranges or fewer, in order.
   * Returns how many. -EINVAL for a wrong count or an entry that breaks the limits of the device,
   * -EIO for memory that it cannot reach or never bounce, -ENOMEM for more than its IOVA space,
   * NOT_NOW when a completion will make room.
   * After an error nothing is mapped. The list itself is never written to.
   * Linux: dma_map_sgtable().
   */
  mapSg(list: SgList, nents: number, dir: DmaDir, out: DmaList): number {
    if (nents <= 0 || nents > list.nents) return this.fail(DmaReason.COUNT, -Errno.EINVAL);
    if (nents > out.capacity) return this.fail(DmaReason.RANGES, -Errno.EINVAL);
    out.begin(DmaForm.SG, dir);
    const count =
      this.iommu === null
        ? mapSgDirect(this, list, nents, out)
        : mapSgIommu(this, this.iommu, list, nents, out);
    if (count < 0) {
      this.#release(out, BounceAction.DROP);
      return count;
    }
    assert(count > 0 && count <= nents, 'dma: more ranges than entries');
    out.nents = nents;
    list.mappings++;
    this.#began(out);
    return count;
  }

  /**
   * Pre: `mapSg(list, nents, …, out)` succeeded: the number of entries, not of ranges.
   * `copyBack` false: the device wrote nothing. Linux: dma_unmap_sgtable().
   */
  unmapSg(list: SgList, nents: number, out: DmaList, copyBack = true): void {
    assert(out.form === DmaForm.SG, 'dma: unmapped twice, or never mapped as a list');
    assert(out.nents === nents, 'dma: unmapped with another count than the original');
    assert(list.mappings > 0, 'dma: unmapped from another list');
    list.mappings--;
    this.#ended(out, copyBack);
  }

  /** Takes `out` for ranges that are mapped one by one. */
  beginPieces(dir: DmaDir, out: DmaList): void {
    out.begin(DmaForm.PIECES, dir);
    this.#count(1);
  }

  /**
   * Maps one range and appends it to `out`. 0, or as `mapSg`; after an error `out` is as before.
   * Pre: `beginPieces`. Linux: dma_map_phys().
   */
  mapPiece(page: number, offset: number, bytes: number, out: DmaList): number {
    assert(out.form === DmaForm.PIECES, 'dma: a piece for a list that has another form');
    if (out.count === out.capacity) return this.fail(DmaReason.RANGES, -Errno.EINVAL);
    const result =
      this.iommu === null
        ? mapPieceDirect(this, page, offset, bytes, out)
        : mapPieceIommu(this, this.iommu, page, offset, bytes, out);
    if (result < 0) return result;
    out.count++;
    if (this.iommu !== null) this.iommu.mapSyncs++;
    if (dmaOwnership.isEnabled) giveMapped(this, out, out.count - 1);
    return 0;
  }

  /**
   * Takes `out` for one IOVA range of `bytes` that starts at physical `at`; parts follow by
   * `linkRange`, and `finishRange` or `dropRange` ends it. False: no IOMMU or no space; `out` is
   * free again. Linux: dma_iova_try_alloc().
   */
  beginRange(at: number, bytes: number, dir: DmaDir, out: DmaList): boolean {
    const { iommu } = this;
    if (iommu === null) return false;
    out.begin(DmaForm.RANGE, dir);
    if (acquireRange(this, iommu, at, bytes, out) === 0) return true;
    out.end();
    return false;
  }

  /** Adds physical `at` … `at + bytes` behind what the range has. 0, -EIO or NOT_NOW. */
  linkRange(at: number, bytes: number, out: DmaList): number {
    assert(out.form === DmaForm.RANGE, 'dma: linked to what is no range');
    return this.iommu === null ? -Errno.EIO : linkRange(this, this.iommu, at, bytes, out);
  }

  /** The device may use it. Linux: dma_iova_sync(). */
  finishRange(out: DmaList): void {
    assert(out.form === DmaForm.RANGE && out.len[0] > 0, 'dma: finished an empty range');
    this.#began(out);
  }

  /** After an error of `linkRange`: everything linked goes. Linux: dma_iova_destroy(). */
  dropRange(out: DmaList): void {
    assert(out.form === DmaForm.RANGE, 'dma: dropped what is no range');
    this.#release(out, BounceAction.DROP);
  }

  /** Lets go of pieces or of one IOVA range, in one call. Linux: blk_rq_dma_unmap(). */
  unmap(out: DmaList, copyBack = true): void {
    const isOwn = out.form === DmaForm.PIECES || out.form === DmaForm.RANGE;
    assert(isOwn, 'dma: unmapped twice, or mapped as a list');
    this.#ended(out, copyBack);
  }

  /** From here on the CPU may look at the memory, and write to it. Linux: dma_sync_sg_for_cpu(). */
  syncForCpu(out: DmaList): void {
    assert(out.isMapped, 'dma: sync of what is not mapped');
    if (out.bounces > 0) forBounces(this, out, BounceAction.TO_CPU);
    if (dmaOwnership.isEnabled && !out.isCpuOwned) takeMapped(this, out);
    out.isCpuOwned = true;
  }

  /** From here on the memory is the device's again. Linux: dma_sync_sg_for_device(). */
  syncForDevice(out: DmaList): void {
    assert(out.isMapped, 'dma: sync of what is not mapped');
    if (out.bounces > 0) forBounces(this, out, BounceAction.TO_DEVICE);
    if (dmaOwnership.isEnabled && out.isCpuOwned) giveMapped(this, out, 0);
    out.isCpuOwned = false;
  }

  /**
   * Where the device lands that says `address`, with `perm` (DmaPerm). 0, or -EFAULT: not mapped,
   * not allowed, beyond its mask, or no memory.
   */
  translate(address: number, bytes: number, perm: number, hit: DmaHit): number {
    if (!(address >= 0) || address > this.dmaMask) return -Errno.EFAULT;
    const { iommu } = this;
    let target = address;
    let most = Math.min(bytes, this.dmaMask - address + 1);
    if (iommu !== null) {
      const row = iommu.rowFor(address, perm);
      if (row < 0) return -Errno.EFAULT;
      const low = address % iommu.granuleBytes;
      target = iommu.target[row] * iommu.granuleBytes + low;
      most = Math.min(most, iommu.granuleBytes - low);
    }
    const page = Math.floor(target / PAGE_BYTES);
    if (page >= 2 ** 32 || !pageExists(page)) return -Errno.EFAULT;
    const region = regionOf(page);
    const offset = target - page * PAGE_BYTES;
    hit.page = page;
    hit.offset = offset;
    hit.bytes = Math.min(most, region.u8.length - (page - region.firstPage) * PAGE_BYTES - offset);
    if (dmaOwnership.isEnabled) this.#checkDevice(hit);
    return 0;
  }

  /** Pre: nothing is mapped. Tests end with it. */
  assertNothingOutstanding(): void {
    assert(this.mappings === 0, 'dma: lists are still mapped');
    assert(this.swiotlb === null || this.swiotlb.usedSlots === 0, 'dma: bounce buffers are left');
  }

  /** For the leaf loops: remembers why, and answers `errno`. */
  fail(reason: DmaReason, errno: number): number {
    this.reason = reason;
    return errno;
  }

  #began(out: DmaList): void {
    this.#count(1);
    if (this.iommu !== null) this.iommu.mapSyncs++;
    if (dmaOwnership.isEnabled) giveMapped(this, out, 0);
  }

  #ended(out: DmaList, copyBack: boolean): void {
    if (dmaOwnership.isEnabled && !out.isCpuOwned) takeMapped(this, out);
    this.#release(out, copyBack ? BounceAction.UNMAP : BounceAction.DROP);
    this.#count(-1);
  }

  #count(change: number): void {
    this.mappings += change;
    if (this.iommu !== null) this.iommu.mappings += change;
  }

  #release(out: DmaList, action: BounceAction): void {
    if (out.bounces > 0) forBounces(this, out, action);
    const { iommu } = this;
    if (iommu !== null) {
      if (out.granules > 0) unlinkRange(iommu, out);
      else unlinkPieces(iommu, out);
    }
    out.end();
  }

  /** Checked mode: the device keeps to what was mapped for it. */
  #checkDevice(hit: DmaHit): void {
    const { swiotlb } = this;
    const slot = swiotlb === null ? -1 : swiotlb.slotAt(hit.page, hit.offset);
    if (slot < 0) dmaOwnership.assertDeviceOwns(hit.page, hit.offset, hit.bytes);
  }
}
