import { Errno } from '../base/errno.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { boundaryLeft } from '../bvec/contiguity.ts';
import type { DmaDevice } from './dma-device.ts';
import { DmaForm, type DmaList } from './dma-list.ts';
import { DmaReason, NOT_NOW, permOf } from './dma-status.ts';
import type { Iommu } from './iommu.ts';
import { takeBounce, unsafeLineMask } from './map-direct.ts';
import type { SgList } from './sg-list.ts';

// Devices behind an IOMMU. A list takes one IOVA range, and entries that meet at granules become
// one device range (reference 8.3). With granules of 4096, entries of (512, 3584) and (0, 4096)
// are one range of 7680 bytes. Linux: iommu_dma_map_sg(), drivers/iommu/dma-iommu.c.

/** Ranges mapped, or a negative errno; what was taken before it stays in `out`. */
export function mapSgIommu(
  device: DmaDevice,
  iommu: Iommu,
  list: SgList,
  nents: number,
  out: DmaList,
): number {
  const granules = layOut(device, iommu, list, nents, out);
  if (granules < 0) return granules;
  if (granules === 0) return mapEntries(device, iommu, list, nents, out);
  const iova = acquireIova(device, iommu, granules, out);
  if (iova < 0) return iova;
  out.iova = iova;
  out.granules = granules;
  return linkEntries(device, iommu, list, nents, out);
}

/**
 * Granules that the list takes in one range, with the padding that keeps entries off the segment
 * boundary; 0 when an entry must be bounced, so that each is mapped by itself; -EINVAL.
 */
function layOut(
  device: DmaDevice,
  iommu: Iommu,
  list: SgList,
  nents: number,
  out: DmaList,
): number {
  const { pool } = list;
  const { page, offset, len } = pool;
  const { segBoundaryMask, segBytesMax } = device;
  const mask = iommu.granuleBytes - 1;
  const { granulesPerByte } = iommu;
  const windowMask = windowMaskOf(device, iommu);
  const aloneMask = bounceMask(device, iommu, out);
  let used = 0;
  let bounces = false;
  let row = list.first;
  for (let i = 0; i < nents; i++) {
    if (i > 0) row = pool.slotAfter(row);
    const at = page[row] * PAGE_BYTES + offset[row];
    const bytes = len[row];
    if (bytes > segBytesMax) return device.fail(DmaReason.SEGMENT_SIZE, -Errno.EINVAL);
    if (boundaryLeft(at, segBoundaryMask) < bytes) {
      return device.fail(DmaReason.SEGMENT_BOUNDARY, -Errno.EINVAL);
    }
    if (((at | bytes) & aloneMask) !== 0) bounces = true;
    const count = Math.ceil(((at & mask) + bytes) * granulesPerByte);
    used = padded(used, count, windowMask) + count;
  }
  return bounces ? 0 : used;
}

/**
 * Granules of a window of the segment boundary - 1. The number of a granule is below 2^31, so a
 * wider window is as good as that.
 */
function windowMaskOf(device: DmaDevice, iommu: Iommu): number {
  const granules = Math.floor((device.segBoundaryMask + 1) * iommu.granulesPerByte);
  return granules <= 1 ? 0 : Math.min(granules - 1, 2 ** 31 - 1);
}

/** Where an entry of `count` granules starts that could start at `used`: there, or at a window. */
function padded(used: number, count: number, windowMask: number): number {
  const over = used & windowMask;
  if (over === 0) return used;
  const pad = windowMask - over + 1;
  return pad < count ? used + pad : used;
}

/** An entry with one of these low bits shares a granule, or a cache line, with somebody else. */
export function bounceMask(device: DmaDevice, iommu: Iommu, out: DmaList): number {
  return (device.isUntrusted ? iommu.granuleBytes - 1 : 0) | unsafeLineMask(device, out.dir);
}

/** Links every entry at its place and writes the device ranges. */
function linkEntries(
  device: DmaDevice,
  iommu: Iommu,
  list: SgList,
  nents: number,
  out: DmaList,
): number {
  const { pool } = list;
  const { page, offset, len } = pool;
  const { address, len: lens } = out;
  const { segBytesMax } = device;
  const { granuleBytes, granulesPerByte } = iommu;
  const mask = granuleBytes - 1;
  const windowMask = windowMaskOf(device, iommu);
  const perm = permOf(out.dir);
  let used = 0;
  let range = -1;
  let isOpen = false;
  let row = list.first;
  for (let i = 0; i < nents; i++) {
    if (i > 0) row = pool.slotAfter(row);
    const at = page[row] * PAGE_BYTES + offset[row];
    const bytes = len[row];
    const low = at & mask;
    const count = Math.ceil((low + bytes) * granulesPerByte);
    const start = padded(used, count, windowMask);
    const iova = out.iova + start;
    iommu.link(iova, (at - low) * granulesPerByte, count, perm);
    // Behind a padding an entry starts a window, and so a range.
    if (isOpen && low === 0 && (iova & windowMask) !== 0 && bytes <= segBytesMax - lens[range]) {
      lens[range] += bytes;
    } else {
      range++;
      address[range] = iova * granuleBytes + low;
      lens[range] = bytes;
    }
    isOpen = ((low + bytes) & mask) === 0;
    used = start + count;
  }
  out.count = range + 1;
  return out.count;
}

/** Each entry by itself, bounced or not. */
function mapEntries(
  device: DmaDevice,
  iommu: Iommu,
  list: SgList,
  nents: number,
  out: DmaList,
): number {
  const { pool } = list;
  let row = list.first;
  for (let i = 0; i < nents; i++) {
    if (i > 0) row = pool.slotAfter(row);
    const { page, offset, len } = pool;
    const result = mapPieceIommu(device, iommu, page[row], offset[row], len[row], out);
    if (result < 0) return result;
    out.count = i + 1;
  }
  return nents;
}

/** One range as row `out.count`, which the caller then counts. */
export function mapPieceIommu(
  device: DmaDevice,
  iommu: Iommu,
  page: number,
  offset: number,
  bytes: number,
  out: DmaList,
): number {
  const { granuleBytes } = iommu;
  let at = page * PAGE_BYTES + offset;
  const low = at & (granuleBytes - 1);
  const count = Math.ceil((low + bytes) / granuleBytes);
  const iova = acquireIova(device, iommu, count, out);
  if (iova < 0) return iova;
  if (((at | bytes) & bounceMask(device, iommu, out)) !== 0) {
    const slot = takeBounce(device, page, offset, bytes, out);
    if (slot < 0) {
      iommu.space.release(iova, count);
      return slot;
    }
    at = bounceAddress(device, slot);
  }
  iommu.link(iova, (at - low) / granuleBytes, count, permOf(out.dir));
  out.address[out.count] = iova * granuleBytes + low;
  out.len[out.count] = bytes;
  return 0;
}

export function bounceAddress({ swiotlb }: DmaDevice, slot: number): number {
  return swiotlb === null ? 0 : swiotlb.pageOf(slot) * PAGE_BYTES + swiotlb.offsetOf(slot);
}

/** The first granule, or a negative errno with its reason. */
export function acquireIova(
  device: DmaDevice,
  iommu: Iommu,
  granules: number,
  out: DmaList,
): number {
  const iova = iommu.space.acquire(granules);
  if (iova >= 0) return iova;
  // Nothing else is mapped: no completion will ever make room for this transfer.
  const isAlone = iommu.mappings === (out.form === DmaForm.PIECES ? 1 : 0);
  if (iova !== NOT_NOW || isAlone) return device.fail(DmaReason.IOVA_SIZE, -Errno.ENOMEM);
  return device.fail(DmaReason.IOVA_FULL, iova);
}

/** Frees the IOVA range of each row. */
export function unlinkPieces(iommu: Iommu, out: DmaList): void {
  const { granuleBytes } = iommu;
  for (let i = 0; i < out.count; i++) {
    const iova = Math.floor(out.address[i] / granuleBytes);
    const low = out.address[i] - iova * granuleBytes;
    const count = Math.ceil((low + out.len[i]) / granuleBytes);
    iommu.unlink(iova, count);
    iommu.space.release(iova, count);
  }
}
