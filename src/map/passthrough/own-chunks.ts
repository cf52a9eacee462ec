import { assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES, pagesSpanned } from '../../base/units.ts';
import type { Bio } from '../../bio/bio.ts';
import { addSegment } from '../../bio/bio-add.ts';
import type { BvecTable } from '../../bvec/bvec-table.ts';
import { folioPages, HoldKind } from '../../memory/holds.ts';
import { orderFor } from '../bounce.ts';
import { addLimited } from './add-limited.ts';
import { type ChunkPlan, chunkBytesAt, lastBytesAt } from './chunk-plan.ts';
import type { FolioSource, PassthroughContext } from './passthrough-context.ts';
import type { RequestMemory } from './request-memory.ts';

// The pages that a copied bio is made of.

/** Rows of a table that somebody fills: those of a bio, or of metadata. */
export interface RowRun {
  readonly table: BvecTable;
  readonly first: number;
  readonly maxVecs: number;
  vcnt: number;
  size: number;
}

/** How far the own pages of a request are; they may take several bios. */
export class ChunkFill {
  /** Bytes that have no chunk yet. */
  left = 0;
  /** Segments that the rest may have. */
  segmentsLeft = 0;
  /** Larger folios than this there are none. */
  order = 0;
  /** Nothing was taken yet. */
  isFirst = true;

  start(plan: ChunkPlan, bytes: number, segmentsMax: number): void {
    this.left = bytes;
    this.segmentsLeft = segmentsMax;
    this.order = orderFor(plan.lastBytes);
    this.isFirst = true;
  }
}

/**
 * Fills `run` with the next chunks, the largest that there are: a fragmented arena gives smaller
 * ones as long as the rest still fits the limits. 0, or -ENOMEM when it does not; the run has what
 * it got so far. The folios are not cleared.
 */
export function addChunks(
  run: RowRun,
  plan: ChunkPlan,
  fill: ChunkFill,
  folios: FolioSource,
): number {
  while (fill.left > 0 && run.vcnt < run.maxVecs) {
    const { left, segmentsLeft, isFirst } = fill;
    const inside = chunkBytesAt(fill.order, plan);
    const last = lastBytesAt(fill.order, isFirst, plan);
    if (left > (segmentsLeft - 1) * inside + last) return -Errno.ENOMEM;
    const bytes = left <= last ? left : inside;
    const order = Math.max(orderFor(bytes), isFirst && left <= last ? 0 : plan.orderMin);
    const page = folios.getFolio(order);
    if (page < 0) {
      fill.order = order - 1;
      continue;
    }
    addChunk(run, page, bytes);
    fill.left -= bytes;
    fill.segmentsLeft--;
    fill.isFirst = false;
  }
  return 0;
}

/** A row of its own, also beside its neighbour: a joined row would be cut anywhere. */
export function addChunk(run: RowRun, page: number, bytes: number): void {
  run.table.set(run.first + run.vcnt, page, 0, bytes, HoldKind.OWNED);
  run.vcnt++;
  run.size += bytes;
}

/**
 * Fills `bio` with single pages for `bytes`, as far as limits and rows allow; neighbours share a
 * row. 0 or -ENOMEM. Linux: bio_copy_user_iov(), block/blk-map.c.
 */
export function addSinglePages(bio: Bio, bytes: number, context: PassthroughContext): number {
  const { folios, limits, rules } = context;
  while (bio.size < bytes) {
    const take = Math.min(bytes - bio.size, PAGE_BYTES);
    const page = folios.getFolio(0);
    if (page < 0) return -Errno.ENOMEM;
    if (!addLimited(bio, page, 0, take, HoldKind.OWNED, limits, rules)) {
      folios.putFolio(page);
      break;
    }
  }
  return 0;
}

/**
 * Fills `bio` with pages of the driver for `bytes`, from `memory.offset` on. 0, or -ENOMEM behind
 * the last of them. Does not move the offset.
 */
export function addDriverPages(
  bio: Bio,
  bytes: number,
  memory: RequestMemory,
  context: PassthroughContext,
): number {
  const { limits, rules } = context;
  let offset = memory.offset % PAGE_BYTES;
  let index = Math.floor(memory.offset / PAGE_BYTES);
  while (bio.size < bytes) {
    const take = Math.min(bytes - bio.size, PAGE_BYTES - offset);
    const page = memory.pageAt(index);
    if (page < 0) return -Errno.ENOMEM;
    const isAdded =
      rules.build === 'append'
        ? addSegment(bio, page, offset, take, HoldKind.BORROWED) === take
        : addLimited(bio, page, offset, take, HoldKind.BORROWED, limits, rules);
    if (!isAdded) break;
    index++;
    offset = 0;
  }
  return 0;
}

/** Pages that the own rows of `run` span. */
export function ownPagesOf(run: RowRun): number {
  const { offset, len, hold } = run.table;
  let pages = 0;
  for (let row = run.first; row < run.first + run.vcnt; row++) {
    if (hold[row] === HoldKind.OWNED) pages += pagesSpanned(offset[row], len[row]);
  }
  return pages;
}

/** Gives own folios back. The run is empty afterwards. */
export function freeOwnRows(run: RowRun, folios: FolioSource): void {
  const { page, offset, len, hold } = run.table;
  for (let row = run.first; row < run.first + run.vcnt; row++) {
    assert(hold[row] === HoldKind.OWNED, 'own pages: a page of somebody else');
    const end = page[row] + Math.ceil((offset[row] + len[row]) / PAGE_BYTES);
    let at = page[row] + Math.floor(offset[row] / PAGE_BYTES);
    while (at < end) {
      const pages = folioPages(at); // A row of single pages has many folios, a chunk has one.
      folios.putFolio(at);
      at += pages;
    }
  }
  run.vcnt = 0;
  run.size = 0;
}
