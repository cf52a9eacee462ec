import { unreachable } from '../base/assert.ts';
import { PAGE_BYTES } from '../base/units.ts';
import type { DmaDevice } from './dma-device.ts';
import { DmaForm, type DmaList } from './dma-list.ts';
import type { Iommu } from './iommu.ts';
import type { Swiotlb } from './swiotlb.ts';

// Which bounce buffers lie under a mapped list is not written down anywhere: it is read off the
// addresses, as the device sees them.

export const BounceAction = {
  /** Copies back and frees. */
  UNMAP: 0,
  /** Frees. */
  DROP: 1,
  TO_CPU: 2,
  TO_DEVICE: 3,
} as const;
export type BounceAction = (typeof BounceAction)[keyof typeof BounceAction];

/** Does `action` to every bounce buffer under `out`, in order. Pre: they are still linked. */
export function forBounces(device: DmaDevice, out: DmaList, action: BounceAction): void {
  const { iommu, swiotlb } = device;
  if (swiotlb === null) return;
  if (iommu === null) forDirect(swiotlb, out, action);
  else if (out.form === DmaForm.RANGE) forRange(iommu, swiotlb, out, action);
  else forPieces(iommu, swiotlb, out, action);
}

function forDirect(swiotlb: Swiotlb, out: DmaList, action: BounceAction): void {
  for (let i = 0; i < out.count; i++) {
    const page = Math.floor(out.address[i] / PAGE_BYTES);
    const slot = swiotlb.slotAt(page, out.address[i] - page * PAGE_BYTES);
    if (slot >= 0) act(swiotlb, slot, out, action);
  }
}

/** Each row starts in a bounce buffer of its own, or in none. */
function forPieces(iommu: Iommu, swiotlb: Swiotlb, out: DmaList, action: BounceAction): void {
  for (let i = 0; i < out.count; i++) {
    const row = Math.floor(out.address[i] / iommu.granuleBytes) - iommu.first;
    actOnGranule(iommu, swiotlb, row, out, action);
  }
}

/** Head and tail are bounced, each in one granule; what lies between is not. */
function forRange(iommu: Iommu, swiotlb: Swiotlb, out: DmaList, action: BounceAction): void {
  const first = out.iova - iommu.first;
  for (let row = first; row < first + out.granules; row++) {
    if (iommu.perm[row] !== 0) actOnGranule(iommu, swiotlb, row, out, action);
  }
}

/** A bounce buffer fills whole granules, so the first byte of the granule is inside. */
function actOnGranule(
  iommu: Iommu,
  swiotlb: Swiotlb,
  row: number,
  out: DmaList,
  action: BounceAction,
): void {
  const pages = iommu.granuleBytes / PAGE_BYTES;
  const slot = swiotlb.slotAt(iommu.target[row] * pages, 0);
  if (slot >= 0) act(swiotlb, slot, out, action);
}

function act(swiotlb: Swiotlb, slot: number, out: DmaList, action: BounceAction): void {
  switch (action) {
    case BounceAction.UNMAP:
      swiotlb.unmap(slot, out.dir, !out.isCpuOwned);
      break;
    case BounceAction.DROP:
      swiotlb.unmap(slot, out.dir, false);
      break;
    case BounceAction.TO_CPU:
      swiotlb.syncForCpu(slot, out.dir);
      break;
    case BounceAction.TO_DEVICE:
      swiotlb.syncForDevice(slot, out.dir);
      break;
    default:
      unreachable(action);
  }
}
