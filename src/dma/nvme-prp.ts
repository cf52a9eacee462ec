import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { PAGE_BYTES } from '../base/units.ts';
import type { DmaList } from './dma-list.ts';
import { NOT_NOW } from './dma-status.ts';
import { type NvmePointer, NvmePsdt, PRP_ENTRY_BYTES } from './nvme-pointer.ts';

// PRP entries name pages of the controller (MPS). The first may start inside its page, all others
// start at one; so ranges may meet only at page edges. Two entries go into the command, more go
// into a list; a list page that is full ends with the address of the next one.
//
// 12 KiB from 0x1200 on, MPS 4096: PRP1 = 0x1200, PRP2 → list of 0x2000, 0x3000, 0x4000.

export interface PrpLimits {
  /** Bytes of a page of the controller, a power of two from 4096 on (CC.MPS). */
  readonly pageBytes: number;
  /** Most bytes of one command (MDTS); 0 = no limit. */
  readonly bytesMax: number;
}

export const PRP_LIMITS: PrpLimits = Object.freeze({ pageBytes: PAGE_BYTES, bytesMax: 0 });

/** Most list pages that a command of `bytes` can need, wherever it starts. */
export function prpListsFor(bytes: number, pageBytes: number): number {
  return listsOf(Math.ceil(bytes / pageBytes) + 1, pageBytes);
}

/** 2 entries need no list, 513 need one, 514 need two (4096: the last slot of 512 chains). */
function listsOf(entries: number, pageBytes: number): number {
  if (entries <= 2) return 0;
  return Math.max(1, Math.ceil((entries - 2) / (pageBytes / PRP_ENTRY_BYTES - 1)));
}

/**
 * Fills `pointer` for the ranges of `dma`. 0; -EINVAL when PRPs cannot say it: no bytes, more than
 * `bytesMax` or than the lists of the pointer hold, a start off the dword, a joint off the page;
 * NOT_NOW without list pages. After an error the pointer is empty.
 * Linux: nvme_pci_setup_data_prp(). Pre: the pointer is empty.
 */
export function buildPrp(pointer: NvmePointer, dma: DmaList, limits: PrpLimits): number {
  const { pageBytes, bytesMax } = limits;
  assert(pointer.listCount === 0, 'prp: the pointer is in use');
  assert(pointer.pages.pageBytes === pageBytes, 'prp: list pages of another size');
  const bytes = dma.bytes();
  if (bytes === 0 || (bytesMax > 0 && bytes > bytesMax)) return -Errno.EINVAL;
  if (!meetsAtPages(dma, pageBytes)) return -Errno.EINVAL;
  const first = dma.address[0];
  const entries = Math.ceil(((first % pageBytes) + bytes) / pageBytes);
  const lists = listsOf(entries, pageBytes);
  if (lists > pointer.listsMax) return -Errno.EINVAL;
  if (!pointer.addLists(lists)) return NOT_NOW;
  pointer.psdt = NvmePsdt.PRP;
  pointer.prp1 = first;
  pointer.entries = entries;
  if (lists === 0) pointer.prp2 = secondPage(dma, pageBytes);
  else writeLists(pointer, dma, pageBytes, entries);
  return 0;
}

/** Dword-aligned start; every later start and every earlier end at a page. */
function meetsAtPages(dma: DmaList, pageBytes: number): boolean {
  const { address, len, count } = dma;
  if (address[0] % 4 !== 0) return false;
  for (let i = 1; i < count; i++) {
    if (address[i] % pageBytes !== 0) return false;
    if ((address[i - 1] + len[i - 1]) % pageBytes !== 0) return false;
  }
  return true;
}

/** The page behind the first one, or 0. Pre: there is at most one. */
function secondPage(dma: DmaList, pageBytes: number): number {
  const first = dma.address[0];
  const next = first - (first % pageBytes) + pageBytes;
  if (next < first + dma.len[0]) return next;
  return dma.count > 1 ? dma.address[1] : 0;
}

/** Every entry behind the first into lists. `entries` counts the first too. */
function writeLists(pointer: NvmePointer, dma: DmaList, pageBytes: number, entries: number): void {
  const { address, len, count } = dma;
  const { lists, pages } = pointer;
  const lastSlot = pageBytes / PRP_ENTRY_BYTES - 1;
  let listsUsed = 1;
  let list = lists[0];
  let slot = 0;
  let left = entries - 1;
  pointer.prp2 = pages.busAddress[list];
  for (let i = 0; i < count; i++) {
    const end = address[i] + len[i];
    let at = address[i];
    if (i === 0) at = at - (at % pageBytes) + pageBytes;
    for (; at < end; at += pageBytes) {
      if (slot === lastSlot && left > 1) {
        const next = lists[listsUsed++];
        pages.write64(list, slot * PRP_ENTRY_BYTES, pages.busAddress[next]);
        list = next;
        slot = 0;
      }
      pages.write64(list, slot * PRP_ENTRY_BYTES, at);
      slot++;
      left--;
    }
  }
  assert(left === 0, 'prp: another number of entries than counted');
  assert(listsUsed === pointer.listCount, 'prp: another number of lists than counted');
}
