import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import type { DmaList } from './dma-list.ts';
import { NOT_NOW } from './dma-status.ts';
import { type NvmePointer, NvmePsdt, SGL_DESCRIPTOR_BYTES, SglType } from './nvme-pointer.ts';

// An SGL descriptor names any range: address (8 bytes), length (4), three reserved, type (1). One
// range is a data block in the command; more are a segment of descriptors, and a segment that does
// not hold all of them ends with the descriptor of the next. The one before the last segment says
// LAST_SEGMENT, so the controller knows that no further one follows.

export interface SglLimits {
  /** Most data descriptors of one command; 0 = no limit. */
  readonly descriptorsMax: number;
  /** Most bytes of one command (MDTS); 0 = no limit. */
  readonly bytesMax: number;
  /** The controller wants addresses and lengths in whole dwords (SGLS bits 1:0 = 2). */
  readonly isDwordAligned: boolean;
}

export const SGL_LIMITS: SglLimits = Object.freeze({
  descriptorsMax: 0,
  bytesMax: 0,
  isDwordAligned: false,
});

/** List pages for `ranges` ranges: with pages of 4096, 256 fit one and 257 need two. */
export function sglListsFor(ranges: number, pageBytes: number): number {
  if (ranges <= 1) return 0;
  return Math.max(1, Math.ceil((ranges - 1) / (pageBytes / SGL_DESCRIPTOR_BYTES - 1)));
}

/**
 * Fills `pointer` for the ranges of `dma`. 0; -EINVAL for no bytes, more than a limit or the lists
 * of the pointer allow, or a range off the dword where that counts; NOT_NOW without list pages.
 * After an error the pointer is empty.
 * Linux: nvme_pci_setup_data_sgl(), which has one segment only.
 */
export function buildSgl(pointer: NvmePointer, dma: DmaList, limits: SglLimits): number {
  assert(pointer.listCount === 0, 'sgl: the pointer is in use');
  const { address, len, count } = dma;
  if (count === 0 || !isAllowed(dma, limits)) return -Errno.EINVAL;
  const lists = sglListsFor(count, pointer.pages.pageBytes);
  if (lists > pointer.listsMax) return -Errno.EINVAL;
  if (!pointer.addLists(lists)) return NOT_NOW;
  pointer.psdt = NvmePsdt.SGL;
  pointer.entries = count;
  if (count === 1) {
    pointer.sglAddress = address[0];
    pointer.sglBytes = len[0];
    pointer.sglType = SglType.DATA_BLOCK;
  } else {
    writeSegments(pointer, dma);
  }
  return 0;
}

function isAllowed(dma: DmaList, limits: SglLimits): boolean {
  const { descriptorsMax, bytesMax, isDwordAligned } = limits;
  if (descriptorsMax > 0 && dma.count > descriptorsMax) return false;
  if (bytesMax > 0 && dma.bytes() > bytesMax) return false;
  if (!isDwordAligned) return true;
  for (let i = 0; i < dma.count; i++) {
    if (dma.address[i] % 4 !== 0 || dma.len[i] % 4 !== 0) return false;
  }
  return true;
}

function writeSegments(pointer: NvmePointer, dma: DmaList): void {
  const { pages, lists, listCount } = pointer;
  const lastSlot = pages.pageBytes / SGL_DESCRIPTOR_BYTES - 1;
  let done = 0;
  for (let i = 0; i < listCount; i++) {
    const list = lists[i];
    const left = dma.count - done;
    const isLast = i === listCount - 1;
    const here = isLast ? left : lastSlot;
    const segmentBytes = (here + (isLast ? 0 : 1)) * SGL_DESCRIPTOR_BYTES;
    const type = isLast ? SglType.LAST_SEGMENT : SglType.SEGMENT;
    if (i === 0) {
      pointer.sglAddress = pages.busAddress[list];
      pointer.sglBytes = segmentBytes;
      pointer.sglType = type;
    } else {
      writeDescriptor(pointer, lists[i - 1], lastSlot, pages.busAddress[list], segmentBytes, type);
    }
    for (let slot = 0; slot < here; slot++, done++) {
      const { address, len } = dma;
      writeDescriptor(pointer, list, slot, address[done], len[done], SglType.DATA_BLOCK);
    }
  }
  assert(done === dma.count, 'sgl: a range has no descriptor');
}

function writeDescriptor(
  { pages }: NvmePointer,
  list: number,
  slot: number,
  address: number,
  bytes: number,
  type: number,
): void {
  const at = slot * SGL_DESCRIPTOR_BYTES;
  pages.write64(list, at, address);
  pages.write32(list, at + 8, bytes);
  pages.write32(list, at + 12, type * 2 ** 24);
}
