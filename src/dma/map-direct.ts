import { Errno } from '../base/errno.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { boundaryLeft } from '../bvec/contiguity.ts';
import type { DmaDevice } from './dma-device.ts';
import type { DmaList } from './dma-list.ts';
import { DmaDir, DmaReason, NOT_NOW } from './dma-status.ts';
import type { SgList } from './sg-list.ts';

// Devices without an IOMMU: they say physical addresses. One device range for each entry; memory
// that they cannot reach goes through bounce memory. Linux: kernel/dma/direct.c.

/** Ranges mapped, or a negative errno; bounce buffers taken before it stay in `out`. */
export function mapSgDirect(device: DmaDevice, list: SgList, nents: number, out: DmaList): number {
  const { pool } = list;
  const { page, offset, len } = pool;
  const { address, len: lens } = out;
  const { dmaMask, segBytesMax, segBoundaryMask } = device;
  const lineMask = unsafeLineMask(device, out.dir);
  let row = list.first;
  for (let i = 0; i < nents; i++) {
    if (i > 0) row = pool.slotAfter(row);
    const at = page[row] * PAGE_BYTES + offset[row];
    const bytes = len[row];
    if (bytes > segBytesMax) return device.fail(DmaReason.SEGMENT_SIZE, -Errno.EINVAL);
    if (boundaryLeft(at, segBoundaryMask) < bytes) {
      return device.fail(DmaReason.SEGMENT_BOUNDARY, -Errno.EINVAL);
    }
    if (at + bytes - 1 > dmaMask || ((at | bytes) & lineMask) !== 0) {
      const result = bounce(device, page[row], offset[row], bytes, out, i);
      if (result < 0) return result;
    } else {
      address[i] = at;
    }
    lens[i] = bytes;
    out.count = i + 1;
  }
  return nents;
}

/** One range as row `out.count`, which the caller then counts. */
export function mapPieceDirect(
  device: DmaDevice,
  page: number,
  offset: number,
  bytes: number,
  out: DmaList,
): number {
  const at = page * PAGE_BYTES + offset;
  out.len[out.count] = bytes;
  if (at + bytes - 1 > device.dmaMask || ((at | bytes) & unsafeLineMask(device, out.dir)) !== 0) {
    return bounce(device, page, offset, bytes, out, out.count);
  }
  out.address[out.count] = at;
  return 0;
}

/**
 * Mask of what must not be misaligned: on a device that does not keep caches in step, a line that
 * the device writes must hold nothing else. 0 = anything goes.
 */
export function unsafeLineMask(device: DmaDevice, dir: DmaDir): number {
  if (device.isCoherent || dir === DmaDir.TO_DEVICE) return 0;
  return device.cacheLineBytes - 1;
}

function bounce(
  device: DmaDevice,
  page: number,
  offset: number,
  bytes: number,
  out: DmaList,
  row: number,
): number {
  const slot = takeBounce(device, page, offset, bytes, out);
  if (slot < 0) return slot;
  const { swiotlb } = device;
  if (swiotlb !== null) {
    out.address[row] = swiotlb.pageOf(slot) * PAGE_BYTES + swiotlb.offsetOf(slot);
  }
  return 0;
}

/** First slot of a bounce buffer for the range, or a negative errno with its reason. */
export function takeBounce(
  device: DmaDevice,
  page: number,
  offset: number,
  bytes: number,
  out: DmaList,
): number {
  const { swiotlb } = device;
  if (swiotlb === null) return device.fail(DmaReason.UNREACHABLE, -Errno.EIO);
  const slot = swiotlb.map(page, offset, bytes, device.bounceShape);
  if (slot === NOT_NOW) {
    // All buffers are this transfer's own: no completion will ever make room for it.
    if (swiotlb.buffers === out.bounces) return device.fail(DmaReason.SWIOTLB_LIST, -Errno.EIO);
    return device.fail(DmaReason.SWIOTLB_FULL, slot);
  }
  if (slot < 0) return device.fail(DmaReason.SWIOTLB_SIZE, slot);
  out.bounces++;
  device.bounced++;
  return slot;
}
