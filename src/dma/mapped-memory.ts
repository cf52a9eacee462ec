import { PAGE_BYTES } from '../base/units.ts';
import type { DmaDevice } from './dma-device.ts';
import type { DmaList } from './dma-list.ts';
import { dmaOwnership } from './ownership.ts';

// Checked mode: the memory of programs under a mapped list, found from the device's side.

/** Marks the memory under the rows from `firstRow` on as the device's. */
export function giveMapped(device: DmaDevice, out: DmaList, firstRow: number): void {
  for (let i = firstRow; i < out.count; i++) {
    eachRange(device, out.address[i], out.len[i], (page, offset, bytes) =>
      dmaOwnership.give(page, offset, bytes),
    );
  }
}

/** The inverse for all rows. Pre: the rows are still linked. */
export function takeMapped(device: DmaDevice, out: DmaList): void {
  for (let i = 0; i < out.count; i++) {
    eachRange(device, out.address[i], out.len[i], (page, offset, bytes) =>
      dmaOwnership.take(page, offset, bytes),
    );
  }
}

type Visit = (page: number, offset: number, bytes: number) => void;

function eachRange(device: DmaDevice, address: number, len: number, visit: Visit): void {
  const { iommu } = device;
  let at = address;
  let left = len;
  while (left > 0) {
    let target = at;
    let bytes = left;
    if (iommu !== null) {
      const low = at % iommu.granuleBytes;
      const row = Math.floor(at / iommu.granuleBytes) - iommu.first;
      target = iommu.target[row] * iommu.granuleBytes + low;
      bytes = Math.min(left, iommu.granuleBytes - low);
    }
    visitOriginal(device, target, bytes, visit);
    at += bytes;
    left -= bytes;
  }
}

/** A physical range; in bounce memory, what it stands for. */
function visitOriginal(device: DmaDevice, target: number, bytes: number, visit: Visit): void {
  const page = Math.floor(target / PAGE_BYTES);
  const offset = target - page * PAGE_BYTES;
  const { swiotlb } = device;
  const slot = swiotlb === null ? -1 : swiotlb.slotAt(page, offset);
  if (swiotlb === null || slot < 0) {
    visit(page, offset, bytes);
    return;
  }
  const inBuffer = target - (swiotlb.pageOf(slot) * PAGE_BYTES + swiotlb.offsetOf(slot));
  visit(swiotlb.originalPage(slot), swiotlb.originalOffset(slot) + inBuffer, bytes);
}
