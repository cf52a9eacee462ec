import { errnoName } from '../../base/errno.ts';
import { formatSize, SECTOR_BYTES } from '../../base/units.ts';
import type { Limits } from '../../limits/limits.ts';
import type { MapEvent, SplitEvent } from '../../trace/event.ts';
import type { ExplainRequest } from './explain-run.ts';

// Reasons as sentences, each with the limit and the number that decided.

/** `3.5 KiB` where that is exact, `5000 B` where it would round. */
export function exactSize(bytes: number): string {
  let unit = 1;
  while (bytes >= unit * 1024) unit *= 1024;
  const isHalf = bytes % (unit / 2) === 0 && bytes / unit < 100;
  return bytes % unit === 0 || isHalf ? formatSize(bytes) : `${bytes} B`;
}

export function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`;
}

/** `0x00010200 + 4 KiB`. */
export function place(address: number, bytes: number): string {
  return `${hex(address)} + ${exactSize(bytes)}`;
}

/** `64 KiB at sector 8`; a sector is 512 bytes. */
export function onDevice(bytes: number, sector: number): string {
  return `${exactSize(bytes)} at sector ${sector}`;
}

/** `3 pages`; `1 entry`, `2 entries` with a plural of its own. */
export function count(number: number, noun: string, plural = `${noun}s`): string {
  return `${number} ${number === 1 ? noun : plural}`;
}

export function statusText(status: number): string {
  return status === 0 ? 'no error' : `-${errnoName(status)}`;
}

/** What happens to the memory, and why: two sentences. */
export function verdictText(event: MapEvent, request: ExplainRequest): [string, string] {
  const { limits } = request;
  const block = limits.logical_block_size;
  const why = reasonText(event, request);
  if (event.verdict === 'map') return ['the device gets the pages of the program itself', why];
  if (event.reason === 'size') return ['nothing is sent, and no copy would be shorter', why];
  if (event.verdict === 'refuse') return ['nothing is sent, because no copy is allowed', why];
  const isPart = event.reason === 'offset' || event.reason === 'length';
  if (!isPart) return ['the device gets pages of the path, the bytes are copied', why];
  const ends =
    event.op === 'write'
      ? `of a partial block of ${block} bytes the path reads the rest, puts yours in, writes it`
      : `a partial block of ${block} bytes is read whole, and your part of it copied out`;
  const middle =
    event.middle === 'fits'
      ? 'whole blocks between go by their own pages'
      : 'whole blocks between are off dma_alignment in memory, so they are copied too';
  return [`${ends}; ${middle}`, why];
}

function reasonText(event: MapEvent, request: ExplainRequest): string {
  const { limits, ranges } = request;
  const block = limits.logical_block_size;
  const unit = limits.dma_alignment + 1;
  switch (event.reason) {
    case 'fits':
      if (request.passthrough !== null) {
        return (
          `addresses and lengths are multiples of ${unit} (dma_alignment ` +
          `${limits.dma_alignment}), and it is one request within all limits`
        );
      }
      return (
        `addresses and lengths are multiples of ${unit} (dma_alignment ${limits.dma_alignment}), ` +
        `position and length of ${block} (logical_block_size)`
      );
    case 'detachable':
      return 'its owner could detach this memory while the device uses it';
    case 'asked':
      return "copy 'always' was asked for";
    case 'offset':
      return `position ${event.position} is no multiple of logical_block_size ${block}`;
    case 'length':
      return `length ${event.bytes} is no multiple of logical_block_size ${block}`;
    case 'address': {
      const odd = ranges.findIndex(({ addr, bytes }) => addr % unit !== 0 || bytes % unit !== 0);
      const { addr, bytes } = ranges[Math.max(odd, 0)];
      return (
        `range ${Math.max(odd, 0)}, ${hex(addr)} + ${bytes} bytes, is no multiple of ${unit}, ` +
        `as dma_alignment ${limits.dma_alignment} asks`
      );
    }
    case 'reserve':
    case 'kernel':
      return 'only a driver says so'; // The memory of `explain` is a program's.
    case 'ref-tags':
      return 'ref tags become those of the device, and the metadata of the program stays as it is';
    case 'size':
      return `a command carries at most max_hw_sectors ${limits.max_hw_sectors}, copied or not`;
    case 'segments':
      if (request.passthrough !== null) {
        return (
          `the memory is more than max_segments ${limits.max_segments} pieces, and a command is ` +
          'never split'
        );
      }
      return (
        `max_segments ${limits.max_segments} of these pieces hold less than one block of ` +
        `${block} bytes, so no cut would help`
      );
    case 'gap':
      if (request.passthrough !== null) {
        return (
          `a gap at virt_boundary_mask ${limits.virt_boundary_mask} would split it, and a ` +
          'command is never split'
        );
      }
      return (
        `a gap at virt_boundary_mask ${limits.virt_boundary_mask} leaves less than one block of ` +
        `${block} bytes before it, so no cut would help`
      );
  }
}

/** Which limit made the cut, with its number. */
export function splitText(event: SplitEvent, limits: Limits): string {
  switch (event.limit) {
    case 'none':
      return 'no limit';
    case 'max_sectors': {
      const { max_sectors: most } = limits;
      return `max_sectors ${most}: a request has at most ${formatSize(most * SECTOR_BYTES)}`;
    }
    case 'chunk_sectors': {
      const chunk = formatSize(limits.chunk_sectors * SECTOR_BYTES);
      return `chunk_sectors ${limits.chunk_sectors}: no request crosses a multiple of ${chunk}`;
    }
    case 'max_segments':
      return `max_segments ${limits.max_segments}: a request has no more pieces of memory`;
    case 'virt_boundary_mask': {
      const unit = formatSize(limits.virt_boundary_mask + 1);
      return (
        `virt_boundary_mask ${limits.virt_boundary_mask}: a piece of memory in the middle of a ` +
        `request must start and end on ${unit}`
      );
    }
    case 'max_discard_sectors':
      return `max_discard_sectors ${limits.max_discard_sectors}`;
    case 'metadata':
      return 'memory: only the reserve had room for the metadata';
  }
}
