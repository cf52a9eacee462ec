import { Errno } from '../base/errno.ts';
import { PAGE_BYTES } from '../base/units.ts';
import type { DmaDevice } from './dma-device.ts';
import type { DmaList } from './dma-list.ts';
import { DmaReason, permOf } from './dma-status.ts';
import type { Iommu } from './iommu.ts';
import { takeBounce } from './map-direct.ts';
import { acquireIova, bounceAddress, bounceMask } from './map-iommu.ts';

// One IOVA range that is filled part by part (reference 8.4). Only the first part may start, and
// only the last may end, inside a granule.

/** An IOVA range of `bytes` whose first byte is at physical `at`. 0, or a negative errno. */
export function acquireRange(
  device: DmaDevice,
  iommu: Iommu,
  at: number,
  bytes: number,
  out: DmaList,
): number {
  const low = at & (iommu.granuleBytes - 1);
  const granules = Math.ceil((low + bytes) / iommu.granuleBytes);
  const iova = acquireIova(device, iommu, granules, out);
  if (iova < 0) return iova;
  out.iova = iova;
  out.granules = granules;
  out.address[0] = iova * iommu.granuleBytes + low;
  out.len[0] = 0;
  out.count = 1;
  return 0;
}

/**
 * Links physical `at` … `at + bytes` behind what the range has. -EIO where two parts do not meet at
 * a granule. On a device that is not trusted the unaligned head and tail are bounced; a middle of
 * no granule is left out. Linux: dma_iova_link().
 */
export function linkRange(
  device: DmaDevice,
  iommu: Iommu,
  at: number,
  bytes: number,
  out: DmaList,
): number {
  const { granuleBytes } = iommu;
  const mask = granuleBytes - 1;
  const behind = out.address[0] + out.len[0];
  if ((at & mask) !== (behind & mask) || (out.len[0] > 0 && (behind & mask) !== 0)) {
    return device.fail(DmaReason.LINK_ALIGNMENT, -Errno.EIO);
  }
  const perm = permOf(out.dir);
  let iova = Math.floor(behind / granuleBytes);
  let from = at;
  let left = bytes;
  if (((at | bytes) & bounceMask(device, iommu, out)) !== 0) {
    const low = at & mask;
    const head = low === 0 ? 0 : Math.min(left, granuleBytes - low);
    if (head > 0) {
      const result = linkBounced(device, iommu, iova, from, head, out);
      if (result < 0) return result;
      iova++;
      from += head;
      left -= head;
    }
    const middle = left - (left & mask);
    if (middle > 0) iommu.link(iova, from / granuleBytes, middle / granuleBytes, perm);
    if (left > middle) {
      const tail = iova + middle / granuleBytes;
      const result = linkBounced(device, iommu, tail, from + middle, left - middle, out);
      if (result < 0) return result;
    }
  } else {
    const low = from & mask;
    iommu.link(iova, (from - low) / granuleBytes, Math.ceil((low + left) / granuleBytes), perm);
  }
  out.len[0] += bytes;
  return 0;
}

/** At most one granule, through bounce memory. */
function linkBounced(
  device: DmaDevice,
  iommu: Iommu,
  iova: number,
  at: number,
  bytes: number,
  out: DmaList,
): number {
  const page = Math.floor(at / PAGE_BYTES);
  const slot = takeBounce(device, page, at - page * PAGE_BYTES, bytes, out);
  if (slot < 0) return slot;
  const target = bounceAddress(device, slot);
  iommu.link(iova, Math.floor(target / iommu.granuleBytes), 1, permOf(out.dir));
  return 0;
}

/** Frees the one IOVA range of a list. */
export function unlinkRange(iommu: Iommu, out: DmaList): void {
  iommu.unlink(out.iova, out.granules);
  iommu.space.release(out.iova, out.granules);
}
