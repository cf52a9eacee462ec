import assert from 'node:assert/strict';
import { Errno, errnoName } from '../../src/base/errno.ts';
import { MIB, PAGE_BYTES, parseSize } from '../../src/base/units.ts';
import type { Bio } from '../../src/bio/bio.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { BioPool } from '../../src/bio/bio-pool.ts';
import { DmaDevice } from '../../src/dma/dma-device.ts';
import { DmaIter, mapRequest } from '../../src/dma/dma-iter.ts';
import { DmaForm, DmaList } from '../../src/dma/dma-list.ts';
import { DmaDir } from '../../src/dma/dma-status.ts';
import { Iommu } from '../../src/dma/iommu.ts';
import { mapRequestSg } from '../../src/dma/request-sg.ts';
import { sgCopyToBuffer } from '../../src/dma/sg-copy.ts';
import { SgCursor, SgList, SgMark, SgPool } from '../../src/dma/sg-list.ts';
import { sgAppendPages, sgFromPages } from '../../src/dma/sg-pages.ts';
import { Swiotlb } from '../../src/dma/swiotlb.ts';
import { validateLimits } from '../../src/limits/validate.ts';
import { Arena } from '../../src/memory/arena.ts';
import { HoldKind } from '../../src/memory/holds.ts';
import { Request } from '../../src/queue/request.ts';
import type { CaseArgs } from '../../src/testing/text-cases.ts';

// cases.txt: section 8 of the reference in numbers. A line of a body is an entry of memory,
// `512+3584` = offset and length, each on pages of its own; `~0+4096` lies right behind the entry
// before. `----` in a body of bios starts the next bio. Addresses are hexadecimal.

interface Entry {
  readonly page: number;
  readonly offset: number;
  readonly len: number;
}

const arena = new Arena({ maxBytes: 8 * MIB, label: 'cases', places: false });
/** Places of 16 pages, on a granule of 64 KiB. */
const PLACE_PAGES = 16;
const memory = arena.alloc(64 * PLACE_PAGES * PAGE_BYTES);

function entriesOf(body: string): Entry[] {
  const entries: Entry[] = [];
  let end = 0;
  body
    .split('\n')
    .filter((line) => /\d/.test(line))
    .forEach((line, i) => {
      const [offset = 0, len = 0] = line.replace('~', '').split('+').map(Number);
      const fresh = (memory.page + i * PLACE_PAGES) * PAGE_BYTES + offset;
      const at = line.startsWith('~') ? end : fresh;
      const page = Math.floor(at / PAGE_BYTES);
      entries.push({ page, offset: at - page * PAGE_BYTES, len });
      end = at + len;
    });
  return entries;
}

function numberOf(args: CaseArgs, name: string, none: number): number {
  const text = args[name];
  if (text === undefined) return none;
  return text.startsWith('0x') ? Number(text) : parseSize(text);
}

function listOf(entries: readonly Entry[]): SgList {
  const list = new SgList(new SgPool({ chunks: 4 }));
  assert.equal(list.acquire(entries.length), 0);
  let row = list.first;
  entries.forEach(({ page, offset, len }, i) => {
    if (i > 0) row = list.pool.slotAfter(row);
    list.set(row, page, offset, len);
  });
  return list;
}

function errorText(result: number): string {
  return `-${errnoName(result)}`;
}

/** `sg-table entries=200`: entries in each array of the table. */
export function sgTableCase(args: CaseArgs): string {
  const pool = new SgPool({ chunks: 8 });
  const list = new SgList(pool);
  const result = list.acquire(Number(args['entries']));
  if (result < 0) return `${errorText(result)}, ${pool.busyCount} arrays taken`;
  const arrays: number[] = [0];
  for (let row = list.first; ; ) {
    arrays.push((arrays.pop() ?? 0) + 1);
    if (pool.mark[row] === SgMark.END) break;
    if (pool.mark[row + 1] === SgMark.CHAIN) arrays.push(0);
    row = pool.slotAfter(row);
  }
  list.release();
  assert.equal(pool.busyCount, 0);
  return `arrays of ${arrays.join(', ')}`;
}

/** `sg-pages offset=256 bytes=13000 max-segment=N`, frames in the body; `append`: one by one. */
export function sgPagesCase(args: CaseArgs, body: string): string {
  const frames = body.trim().split(/\s+/).map(Number);
  const bytes = Number(args['bytes']);
  const offset = Number(args['offset'] ?? 0);
  const segBytesMax = numberOf(args, 'max-segment', 2 ** 32 - 1);
  const list = new SgList(new SgPool({ chunks: 4 }));
  const range = { pages: Uint32Array.from(frames), first: 0, offset, bytes };
  let result = 0;
  if (args['append'] === undefined) result = sgFromPages(list, range, segBytesMax);
  else {
    let left = bytes;
    frames.forEach((frame, i) => {
      const start = i === 0 ? offset : 0;
      const take = Math.min(PAGE_BYTES - start, left);
      const one = { pages: Uint32Array.of(frame), first: 0, offset: start, bytes: take };
      const append = i === 0 ? sgFromPages : sgAppendPages;
      if (take > 0 && result >= 0) result = append(list, one, segBytesMax);
      left -= take;
    });
  }
  if (result < 0) return errorText(result);
  const cursor = new SgCursor();
  const rows: string[] = [];
  cursor.start(list);
  while (cursor.next()) rows.push(`(${cursor.page},${cursor.offset},${cursor.len})`);
  list.release();
  return rows.join(' ');
}

/** `sg-copy buffer=N skip=N`: bytes that come out of the entries of the body. */
export function sgCopyCase(args: CaseArgs, body: string): string {
  const list = listOf(entriesOf(body));
  const buffer = new Uint8Array(Number(args['buffer']));
  const copied = sgCopyToBuffer(list, buffer, Number(args['skip'] ?? 0));
  list.release();
  return `${copied} bytes`;
}

/** Bios of the body, linked, as a request. */
function requestOf(body: string, bios: BioPool): Request {
  const request = new Request();
  let at = 0;
  const entries = entriesOf(body);
  for (const part of body.split('\n----\n')) {
    const count = part.split('\n').filter((line) => /\d/.test(line)).length;
    const bio = bios.acquire(BioOp.WRITE, 0, count) as Bio;
    for (const { page, offset, len } of entries.slice(at, at + count)) {
      // Rows that touch stay rows: `addSegment` would join them.
      bio.table.set(bio.first + bio.vcnt, page, offset, len, HoldKind.BORROWED);
      bio.vcnt++;
      bio.size += len;
    }
    at += count;
    if (request.bioTail === null) request.start(0, bio, entries.length);
    else {
      request.bioTail.next = bio;
      request.bioTail = bio;
      request.bytes += bio.size;
    }
  }
  return request;
}

/** `request-sg max_segment_size=…`: lengths of the entries of a scatterlist, by kernel. */
export function requestSgCase(args: CaseArgs, body: string): string {
  const limits = validateLimits({
    max_hw_sectors: 65536,
    dma_alignment: 0,
    max_segment_size: numberOf(args, 'max-segment', 65536),
    seg_boundary_mask: numberOf(args, 'boundary', 2 ** 32 - 1),
  });
  const bios = new BioPool({ bios: 8, rows: 64 });
  const request = requestOf(body.replaceAll('next bio', '----'), bios);
  const texts = (['entries', 'bios'] as const).map((joint) => {
    const list = new SgList(new SgPool({ chunks: 2 }));
    list.acquire(64);
    mapRequestSg(request, limits, list, joint);
    const cursor = new SgCursor();
    const lens: number[] = [];
    cursor.start(list);
    while (cursor.next()) lens.push(cursor.len);
    list.release();
    return lens.join(' ');
  });
  return texts[0] === texts[1] ? `all: ${texts[0]}` : `7.1: ${texts[0]}\nto 6.12: ${texts[1]}`;
}

interface Device {
  readonly device: DmaDevice;
  readonly iommu: Iommu;
}

function deviceOf(args: CaseArgs): Device {
  const granuleBytes = numberOf(args, 'granule', PAGE_BYTES);
  const base = numberOf(args, 'iova', 0xfff00000);
  const iommu = new Iommu({ granuleBytes, baseAddress: base, spaceBytes: MIB });
  const segBytesMax = numberOf(args, 'max-segment', 65536);
  const segBoundaryMask = numberOf(args, 'boundary', Number.MAX_SAFE_INTEGER);
  return { device: new DmaDevice({ iommu, segBytesMax, segBoundaryMask }), iommu };
}

function rangesText({ address, len, count }: DmaList): string {
  return Array.from({ length: count }, (_, i) => `(${hex(address[i] ?? 0)},${len[i]})`).join(' ');
}

function hex(address: number): string {
  return address.toString(16);
}

/** `dma-map max-segment=64k boundary=0x3fff`: a scatterlist through an IOMMU. */
export function dmaMapCase(args: CaseArgs, body: string): string {
  const { device, iommu } = deviceOf(args);
  const entries = entriesOf(body);
  const list = listOf(entries);
  const out = new DmaList(64);
  const result = device.mapSg(list, entries.length, DmaDir.TO_DEVICE, out);
  let text = errorText(result);
  if (result >= 0) {
    const iovaBytes = iommu.space.usedGranules * iommu.granuleBytes;
    text = `${rangesText(out)} in ${iovaBytes} IOVA bytes`;
    device.unmapSg(list, entries.length, out);
  }
  list.release();
  device.assertNothingOutstanding();
  iommu.assertNothingOutstanding();
  return text;
}

/** `dma-iter`: a request without a scatterlist; one IOVA range, or a mapping for each piece. */
export function dmaIterCase(args: CaseArgs, body: string): string {
  const { device, iommu } = deviceOf(args);
  const limits = validateLimits({ max_hw_sectors: 65536, dma_alignment: 0 });
  const bios = new BioPool({ bios: 8, rows: 64 });
  const request = requestOf(body.replaceAll('next bio', '----'), bios);
  const out = new DmaList(64);
  const result = mapRequest(new DmaIter(), device, request, limits, out);
  if (result < 0) return errorText(result);
  const form = out.form === DmaForm.RANGE ? 'one range' : 'pieces';
  const text = `${form}: ${rangesText(out)}`;
  const before = iommu.unmapSyncs;
  device.unmap(out);
  const syncs = iommu.unmapSyncs - before;
  iommu.assertNothingOutstanding();
  return `${text}, ${syncs} ${syncs === 1 ? 'unmap' : 'unmaps'}`;
}

/** `swiotlb bytes=N offset=N keep=MASK`: slots of one bounce buffer, and its first byte. */
export function swiotlbCase(args: CaseArgs): string {
  const swiotlb = new Swiotlb(arena, MIB);
  const shape = {
    keepMask: numberOf(args, 'keep', 0),
    unitBytes: 1,
    boundaryMask: Number.MAX_SAFE_INTEGER,
  };
  const bytes = Number(args['bytes']);
  const offset = numberOf(args, 'offset', 0);
  const slot = swiotlb.map(memory.page, offset, bytes, shape);
  let text = slot === -Errno.EIO ? '-EIO' : '';
  if (slot >= 0) {
    const at = swiotlb.pageOf(slot) * PAGE_BYTES + swiotlb.offsetOf(slot);
    const { usedSlots } = swiotlb;
    const low = at & shape.keepMask;
    text = `${usedSlots} ${usedSlots === 1 ? 'slot' : 'slots'}, low bits ${hex(low)}`;
    swiotlb.unmap(slot, DmaDir.TO_DEVICE, false);
  }
  swiotlb[Symbol.dispose]();
  return text;
}
