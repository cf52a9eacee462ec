import { SECTOR_BYTES } from '../../base/units.ts';
import type { Bio } from '../../bio/bio.ts';
import { BioOp } from '../../bio/bio-op.ts';
import type { Limits } from '../../limits/limits.ts';
import type { Request } from '../../queue/request.ts';

// An independent judge of what reaches an engine. On purpose it shares no line with the split walk
// and the merge rules: it counts anew, from the rows, in plain arithmetic.

/** A physically contiguous range as a device would get it. */
interface Piece {
  /** Bytes from the start of physical memory. */
  readonly addr: number;
  readonly bytes: number;
  /** Cut out of the middle of an entry: the joint before it is no real edge of memory. */
  readonly isCut: boolean;
}

export interface CheckOptions {
  /**
   * The rest of a short transfer starts on any block, so its memory may start off the alignment,
   * and entries are cut where the whole request was: at the virtual boundary, not from the front.
   */
  readonly isRest?: boolean;
  /** Where a file ends: the last request may end inside a block there. */
  readonly sizeBytes?: number;
}

/** What is wrong with `request` under `limits`, as a sentence; null = a device could take it. */
export function checkRequest(
  request: Request,
  limits: Limits,
  options: CheckOptions = {},
): string | null {
  switch (request.op) {
    case BioOp.READ:
    case BioOp.WRITE:
      return (
        checkChain(request) ??
        checkBlocks(request, limits, options) ??
        checkSize(request, limits) ??
        checkSegments(request, limits, options)
      );
    case BioOp.FLUSH:
      return request.bytes === 0 ? null : `a flush has ${request.bytes} bytes`;
    case BioOp.DISCARD:
      return checkDiscard(request, limits);
    case BioOp.SECURE_ERASE:
      return checkChain(request) ?? most(request, 'max_secure_erase_sectors', limits);
    case BioOp.WRITE_ZEROES:
      return checkChain(request) ?? most(request, 'max_write_zeroes_sectors', limits);
  }
}

function biosOf(request: Request): Bio[] {
  const bios: Bio[] = [];
  for (let bio = request.bio; bio !== null; bio = bio.next) bios.push(bio);
  return bios;
}

/** The bios follow each other on the device and add up to the request. */
function checkChain(request: Request): string | null {
  let at = request.sector * SECTOR_BYTES;
  for (const bio of biosOf(request)) {
    const start = bio.sector * SECTOR_BYTES;
    if (start !== at) return `a bio starts at byte ${start}, but the one before it ends at ${at}`;
    if (bio.op !== request.op) return 'bios of different operations share a request';
    at += bio.size;
  }
  const bytes = at - request.sector * SECTOR_BYTES;
  if (bytes === request.bytes && bytes > 0) return null;
  return `the bios have ${bytes} bytes, but the request says ${request.bytes}`;
}

function checkBlocks(request: Request, limits: Limits, options: CheckOptions): string | null {
  const block = limits.logical_block_size;
  const start = request.sector * SECTOR_BYTES;
  if (start % block !== 0) return `it starts at byte ${start}, inside a block of ${block}`;
  const end = start + request.bytes;
  if (end % block === 0 || end === options.sizeBytes) return null;
  return `it ends at byte ${end}, inside a block of ${block}`;
}

function most(request: Request, name: keyof Limits, limits: Limits): string | null {
  const limit = limits[name] as number;
  const sectors = request.bytes / SECTOR_BYTES;
  return sectors <= limit ? null : `it has ${sectors} sectors, but ${name} is ${limit}`;
}

function checkSize(request: Request, limits: Limits): string | null {
  const chunk = limits.chunk_sectors;
  if (chunk > 0) {
    const last = request.sector + Math.ceil(request.bytes / SECTOR_BYTES) - 1;
    if (Math.floor(request.sector / chunk) !== Math.floor(last / chunk)) {
      return `sectors ${request.sector} to ${last} cross a multiple of chunk_sectors, ${chunk}`;
    }
  }
  return most(request, 'max_sectors', limits);
}

function checkDiscard(request: Request, limits: Limits): string | null {
  const bios = biosOf(request);
  const bytes = bios.reduce((sum, bio) => sum + bio.size, 0);
  if (bytes !== request.bytes || bytes === 0) return 'the ranges do not add up to the request';
  if (limits.max_discard_segments <= 1) {
    const chain = checkChain(request);
    if (chain !== null) return chain;
  } else if (bios.length > limits.max_discard_segments) {
    const limit = limits.max_discard_segments;
    return `it has ${bios.length} ranges, but max_discard_segments is ${limit}`;
  }
  return most(request, 'max_discard_sectors', limits);
}

function checkSegments(request: Request, limits: Limits, options: CheckOptions): string | null {
  const pieces = biosOf(request).flatMap((bio) => piecesOf(bio, limits, options));
  const bytes = pieces.reduce((sum, piece) => sum + piece.bytes, 0);
  if (bytes !== request.bytes) return `its entries have ${bytes} of ${request.bytes} bytes`;
  if (pieces.length > limits.max_segments) {
    return `it has ${pieces.length} segments, but max_segments is ${limits.max_segments}`;
  }
  if (options.isRest !== true && pieces.length > request.segments) {
    return `it has ${pieces.length} segments, but was counted as ${request.segments}`;
  }
  const alignment = limits.dma_alignment + 1;
  const boundary = limits.virt_boundary_mask + 1;
  let before: Piece | null = null;
  for (const piece of pieces) {
    const isFree = piece.isCut || (before === null && options.isRest === true);
    if (!isFree && piece.addr % alignment !== 0) {
      return `a segment starts at address ${piece.addr}, but dma_alignment is ${alignment - 1}`;
    }
    if (before !== null && hasGap(before, piece, boundary)) {
      const end = before.addr + before.bytes;
      return `a joint from ${end} to ${piece.addr} is off the virt_boundary of ${boundary}`;
    }
    before = piece;
  }
  return null;
}

/** Memory that runs on across two entries has no edge there, as long as nobody cut it. */
function hasGap(before: Piece, piece: Piece, boundary: number): boolean {
  const end = before.addr + before.bytes;
  if (end === piece.addr && !piece.isCut) return false;
  return end % boundary !== 0 || piece.addr % boundary !== 0;
}

/** The entries of the bio's rest, cut at seg_boundary_mask and max_segment_size from the front. */
function piecesOf(bio: Bio, limits: Limits, options: CheckOptions): Piece[] {
  const pieces: Piece[] = [];
  const window = limits.seg_boundary_mask + 1;
  const boundary = options.isRest === true ? limits.virt_boundary_mask + 1 : 1;
  let skip = bio.done;
  let left = bio.size;
  for (let row = bio.row; left > 0; row++) {
    let addr = bio.table.page[row] * 4096 + bio.table.offset[row] + skip;
    let bytes = Math.min(bio.table.len[row] - skip, left);
    if (!(bytes > 0)) return pieces; // Beyond the table; the sum tells.
    skip = 0;
    // A device does not see how memory is held: what only the hold keeps apart is one range.
    while (bytes < left && isHeldApart(bio, row, addr + bytes)) {
      row++;
      bytes = Math.min(bytes + bio.table.len[row], left);
    }
    left -= bytes;
    for (let isCut = false; bytes > 0; isCut = true) {
      const toWindow = window - (addr % window);
      const most = Math.min(bytes, limits.max_segment_size, toWindow);
      const over = most < bytes ? (addr + most) % boundary : 0;
      const step = over < most ? most - over : most;
      pieces.push({ addr, bytes: step, isCut });
      addr += step;
      bytes -= step;
    }
  }
  return pieces;
}

const REGION_BYTES = 2 ** 32;

/** True when the next row starts at `end`, in the same region, and is let go in another way. */
function isHeldApart(bio: Bio, row: number, end: number): boolean {
  const { page, offset, hold } = bio.table;
  if (hold[row + 1] === hold[row] || end % REGION_BYTES === 0) return false;
  return page[row + 1] * 4096 + offset[row + 1] === end;
}
