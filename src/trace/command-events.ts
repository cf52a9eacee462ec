import { PAGE_BYTES } from '../base/units.ts';
import type { DmaDevice } from '../dma/dma-device.ts';
import type { DmaList } from '../dma/dma-list.ts';
import { DMA_REASON_TEXTS, NOT_NOW } from '../dma/dma-status.ts';
import {
  type NvmePointer,
  NvmePsdt,
  PRP_ENTRY_BYTES,
  SGL_DESCRIPTOR_BYTES,
  SglType,
} from '../dma/nvme-pointer.ts';
import { SgCursor } from '../dma/sg-list.ts';
import type { CommandSlot } from '../engine/controller/command-slot.ts';
import { copyOut } from '../memory/copy.ts';
import type { PointerRow, RefuseEvent, SegmentRecord, TraceEvent, UnmapEvent } from './event.ts';

// What a driver does with the memory of a request, as events. The pointer is read where a
// controller reads it, in the list pages, so what is shown is what is there.

/** Scatterlist, device ranges and pointer of a command that was made ready. */
export function mapEvents(slot: CommandSlot, trace: number, request: string): TraceEvent[] {
  const { list, dma, pointer } = slot;
  const segments: SegmentRecord[] = [];
  const cursor = new SgCursor();
  cursor.start(list);
  while (cursor.next()) {
    segments.push({ address: cursor.page * PAGE_BYTES + cursor.offset, bytes: cursor.len });
  }
  const kind = pointer.psdt === NvmePsdt.PRP ? 'prp' : 'sgl';
  const rows = kind === 'prp' ? prpRows(pointer, dma.bytes()) : sglRows(pointer);
  const { count, bounces } = dma;
  const listPages = pointer.listCount;
  return [
    { type: 'scatter', trace, request, segments },
    {
      type: 'dma',
      trace,
      request,
      entries: segments.length,
      bounces,
      ranges: rangesOf(dma, count),
    },
    { type: 'pointer', trace, request, kind, listPages, rows },
  ];
}

export function refuseEvent(
  device: DmaDevice,
  trace: number,
  status: number,
  bytes: number,
): RefuseEvent {
  const isNever = status !== NOT_NOW;
  return { type: 'refuse', trace, status, isNever, reason: DMA_REASON_TEXTS[device.reason], bytes };
}

export function unmapEvent(
  { isWrite, dma }: CommandSlot,
  trace: number,
  request: string,
  status: number,
  bytes: number,
): UnmapEvent {
  const { bounces } = dma;
  return { type: 'unmap', trace, request, status, bytes, bounces, isRead: !isWrite };
}

function rangesOf({ address, len }: DmaList, count: number): SegmentRecord[] {
  return Array.from({ length: count }, (_, i) => ({ address: address[i], bytes: len[i] }));
}

/** PRP1, PRP2 if it is an entry, and the entries of the lists with their chains. */
function prpRows(pointer: NvmePointer, bytes: number): PointerRow[] {
  const { pages, lists, listCount, entries, prp1, prp2 } = pointer;
  const { pageBytes } = pages;
  const rows: PointerRow[] = [];
  let left = bytes;
  const add = (list: number | null, address: number): void => {
    const most = pageBytes - (address % pageBytes);
    rows.push({ kind: 'prp', list, address, bytes: Math.min(most, left) });
    left -= Math.min(most, left);
  };
  add(null, prp1);
  if (listCount === 0 && entries > 1) add(null, prp2);
  if (listCount > 0) rows.push({ kind: 'segment', list: null, address: prp2, bytes: 0 });
  const slots = pageBytes / PRP_ENTRY_BYTES;
  for (let i = 0; i < listCount; i++) {
    const list = lists[i];
    for (let slot = 0; slot < slots && left > 0; slot++) {
      const address = read(pointer, list, slot * PRP_ENTRY_BYTES, PRP_ENTRY_BYTES);
      const isChain = slot === slots - 1 && left > pageBytes;
      if (!isChain) add(pages.busAddress[list], address);
      else rows.push({ kind: 'segment', list: pages.busAddress[list], address, bytes: 0 });
    }
  }
  return rows;
}

/** The descriptor in the command, and those of its segments. */
function sglRows(pointer: NvmePointer): PointerRow[] {
  const { pages, lists, listCount, sglAddress, sglBytes, sglType } = pointer;
  const rows = [descriptor(null, sglAddress, sglBytes, sglType)];
  let bytes = sglBytes;
  for (let i = 0; i < listCount; i++) {
    const list = lists[i];
    const bus = pages.busAddress[list];
    const end = bytes;
    for (let at = 0; at < end; at += SGL_DESCRIPTOR_BYTES) {
      const address = read(pointer, list, at, 8);
      const length = read(pointer, list, at + 8, 4);
      rows.push(descriptor(bus, address, length, read(pointer, list, at + 15, 1)));
      bytes = length;
    }
  }
  return rows;
}

function descriptor(list: number | null, address: number, bytes: number, type: number): PointerRow {
  if (type === SglType.DATA_BLOCK) return { kind: 'data', list, address, bytes };
  const kind = type === SglType.SEGMENT ? 'segment' : 'last-segment';
  return { kind, list, address, bytes };
}

/** A little-endian number of a list page. */
function read({ pages }: NvmePointer, list: number, at: number, bytes: number): number {
  const raw = new Uint8Array(bytes);
  copyOut(raw, 0, pages.page[list], at, bytes);
  return raw.reduceRight((value, byte) => value * 256 + byte, 0);
}
