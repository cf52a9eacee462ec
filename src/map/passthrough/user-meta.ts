import { assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES, pagesSpanned } from '../../base/units.ts';
import { type Bio, BioState } from '../../bio/bio.ts';
import { releaseRows } from '../../bio/bio-add.ts';
import { BioOp } from '../../bio/bio-op.ts';
import { segmentBytes } from '../../bio/split-point.ts';
import type { BvecTable } from '../../bvec/bvec-table.ts';
import { gapBetween } from '../../bvec/contiguity.ts';
import { IovIter, IterDirection } from '../../iter/iov-iter.ts';
import { alignment, npages } from '../../iter/iter-align.ts';
import { copyFromIter, copyToIter } from '../../iter/iter-copy.ts';
import { EXTRACT_ALL, type ExtractOptions, extract } from '../../iter/iter-extract.ts';
import { type Limits, SEGMENT_COUNT_MAX } from '../../limits/limits.ts';
import { zeroPages } from '../../memory/copy.ts';
import { dirtyRange, unpinFolio } from '../../memory/holds.ts';
import { orderFor } from '../bounce.ts';
import { FAULT_WAIT } from '../map-context.ts';
import { type CopyPolicy, MapReason } from '../verdict.ts';
import { maxPassthroughBytes } from './bio-chain.ts';
import { ChunkFit, ChunkPlan, planChunks } from './chunk-plan.ts';
import { META_PAGES_MAX, type UserMeta } from './meta-rows.ts';
import { addChunk, addChunks, ChunkFill, freeOwnRows, ownPagesOf } from './own-chunks.ts';
import type { PassthroughContext } from './passthrough-context.ts';

// Metadata of a program goes by the decision of its data: mapped if the limits allow it, else
// copied. Its memory is pinned in both cases, because only a pinned buffer has a true number of
// segments, and because the end then needs no address space.

/** What a device gives to metadata. */
export type MetaPlace = Pick<PassthroughContext, 'limits' | 'folios' | 'rules' | 'counters'>;

const FOLIO_ROWS: ExtractOptions = Object.freeze({ ...EXTRACT_ALL, base: 'folio' });
const FOLIO_ROWS_OF_ONE: ExtractOptions = Object.freeze({ ...FOLIO_ROWS, crossSegments: false });
const plan = new ChunkPlan();
const fill = new ChunkFill();
const cursor = new IovIter();

/**
 * Puts the memory under `iter` into `meta` as the metadata of `bio`, and moves the iterator behind
 * it. Mapped: the device gets the program's pages, one pin an entry. Copied: own pages that fit
 * the limits; a read keeps the program's pages pinned beside them for its end. `known`: a reason
 * against mapping that the caller has.
 *
 * 0; -EINVAL: there is metadata already, none is given, no copy would fit, or `copy: 'never'`;
 * -E2BIG: longer than max_hw_sectors or META_PAGES_MAX; -EFAULT; -ENOMEM; FAULT_WAIT. Unless 0,
 * nothing is pinned or attached and the iterator is where it was.
 * Linux: bio_integrity_map_user(), block/bio-integrity.c.
 */
export function mapUserMeta(
  bio: Bio,
  iter: IovIter,
  meta: UserMeta,
  context: MetaPlace,
  policy: CopyPolicy = 'auto',
  known: MapReason = MapReason.FITS,
): number {
  const { limits } = context;
  const bytes = iter.count;
  assert(bio.state === BioState.BUILT, 'meta: mapped in flight');
  assert((bio.op === BioOp.READ) === (iter.direction === IterDirection.DEST), 'meta: direction');
  if (meta.isAttached || bytes === 0) return -Errno.EINVAL;
  if (bytes > maxPassthroughBytes(limits)) return -Errno.E2BIG;
  if (npages(iter, META_PAGES_MAX + 1) > META_PAGES_MAX) return -Errno.E2BIG;
  const mustCopy = policy === 'always' || context.rules.metadata === 'copied';
  const asked = mustCopy ? MapReason.ASKED : known;
  const isOff = (alignment(iter) & (limits.dma_alignment | limits.dma_pad_mask)) !== 0;
  const pinned = pinEntries(iter, bytes, meta, context);
  if (pinned !== 0) return pinned;
  const built = isOff ? MapReason.ADDRESS : decideEntries(meta, context);
  meta.reason = asked === MapReason.FITS ? built : asked;
  meta.isRead = bio.op === BioOp.READ;
  let result = 0;
  if (meta.reason !== MapReason.FITS) {
    result = policy === 'never' ? -Errno.EINVAL : copyEntries(meta, bytes, context);
  }
  if (result !== 0) {
    freeOwnMeta(meta, context);
    unpinEntries(meta, 0, context);
    iter.revert(bytes);
    return result;
  }
  meta.isCopied = meta.reason !== MapReason.FITS;
  meta.bytes = bytes;
  meta.bio = bio;
  return 0;
}

/** All of `bytes` into the entries of `meta`, one pin each; or nothing, and an answer. */
function pinEntries(iter: IovIter, bytes: number, meta: UserMeta, context: MetaPlace): number {
  const table = meta.entryRows();
  const options = context.rules.metadata === 'as-data' ? FOLIO_ROWS : FOLIO_ROWS_OF_ONE;
  let done = 0;
  let rows = 0;
  let error = 0;
  while (done < bytes && rows < table.rows) {
    error = extract(iter, table, rows, table.rows - rows, bytes - done, options);
    if (error <= 0) break;
    done += error;
    rows += iter.rowsOut;
    if (options === FOLIO_ROWS_OF_ONE) break;
  }
  if (done < bytes) {
    // A part of it was pinned: all of it goes back (H1).
    releaseRows(table, 0, rows, 0);
    iter.revert(done);
    if (error === -Errno.EAGAIN) return FAULT_WAIT;
    return error < 0 && done === 0 ? error : -Errno.EFAULT;
  }
  for (let row = 0; row < rows; row++) {
    const extra = pagesSpanned(table.offset[row], table.len[row]) - 1;
    if (extra > 0) unpinFolio(table.page[row], extra);
  }
  meta.entries = rows;
  context.counters.hold(rows);
  return 0;
}

/** Entries that a device would get, held against the limits. */
function decideEntries(meta: UserMeta, context: MetaPlace): MapReason {
  const { limits, rules } = context;
  const { page, offset, len } = meta.entryRows();
  const most = segmentsMax(limits);
  if (rules.metadata !== 'as-data') {
    return meta.entries > limits.max_integrity_segments ? MapReason.SEGMENTS : MapReason.FITS;
  }
  let segments = 0;
  for (let row = 0; row < meta.entries; row++) {
    const mask = limits.virt_boundary_mask;
    if (row > 0 && gapBetween(offset[row - 1], len[row - 1], offset[row], mask)) {
      return MapReason.GAP;
    }
    const addr = page[row] * PAGE_BYTES + offset[row];
    for (let done = 0; done < len[row]; segments++) {
      done += segmentBytes(addr + done, len[row] - done, limits);
      if (done < len[row] && ((offset[row] + done) & mask) !== 0) return MapReason.GAP;
    }
  }
  return segments > most ? MapReason.SEGMENTS : MapReason.FITS;
}

/** 0 in the limits states none. */
function segmentsMax(limits: Limits): number {
  return limits.max_integrity_segments === 0 ? SEGMENT_COUNT_MAX : limits.max_integrity_segments;
}

/** Own pages instead of the entries. A write is copied now, and its entries go at once. */
function copyEntries(meta: UserMeta, bytes: number, context: MetaPlace): number {
  const result = takeOwnMeta(meta, bytes, context);
  if (result !== 0) return result;
  const { page, len } = meta.table;
  if (meta.isRead) {
    for (let row = 0; row < meta.vcnt; row++) zeroPages(page[row], 0, len[row]);
    return 0;
  }
  cursor.initBvec(IterDirection.SOURCE, meta.entryRows(), 0, meta.entries, 0, bytes);
  for (let row = 0; row < meta.vcnt; row++) {
    const copied = copyFromIter(cursor, page[row], 0, len[row]);
    assert(copied === len[row], 'meta: pinned memory faulted');
  }
  cursor.clear();
  context.counters.bytesCopied[meta.reason] += bytes;
  unpinEntries(meta, 0, context);
  return 0;
}

/** Own pages for `bytes`. 0 or a negative errno; `freeOwnMeta` either way. */
export function takeOwnMeta(meta: UserMeta, bytes: number, context: MetaPlace): number {
  const result = takeOwn(meta, bytes, context);
  context.counters.bounce(ownPagesOf(meta));
  return result;
}

function takeOwn(meta: UserMeta, bytes: number, context: MetaPlace): number {
  const { folios, limits, rules } = context;
  if (rules.metadata !== 'as-data') {
    const page = folios.getFolio(orderFor(bytes));
    if (page < 0) return -Errno.ENOMEM;
    addChunk(meta, page, bytes);
    return 0;
  }
  const segments = Math.min(segmentsMax(limits), meta.maxVecs);
  planChunks(bytes, segments, limits, plan);
  if (plan.fit === ChunkFit.NEVER) return -Errno.EINVAL;
  assert(plan.fit === ChunkFit.FITS, 'meta: larger than the largest folio');
  fill.start(plan, bytes, segments);
  return addChunks(meta, plan, fill, folios);
}

/** Gives own pages back. */
export function freeOwnMeta(meta: UserMeta, context: MetaPlace): void {
  context.counters.bounce(-ownPagesOf(meta));
  freeOwnRows(meta, context.folios);
}

/** The one place where entries are let go (H3). Marks the folios under `dirtyBytes` before. */
function unpinEntries(meta: UserMeta, dirtyBytes: number, context: MetaPlace): void {
  if (meta.entries === 0) return;
  const { page, offset, len } = meta.entryRows();
  let dirty = dirtyBytes;
  for (let row = 0; row < meta.entries; row++) {
    if (dirty > 0) dirtyRange(page[row], offset[row], Math.min(dirty, len[row]));
    dirty -= len[row];
    unpinFolio(page[row], 1);
  }
  context.counters.hold(-meta.entries);
  meta.entries = 0;
}

/**
 * Ends what `mapUserMeta` began, by the submitter, before it gives up the bio: copies back at most
 * `transferredBytes` of metadata, marks dirty, unpins, frees own pages. Cannot fault: the pages
 * were pinned. Without metadata it does nothing. Linux: bio_integrity_unmap_user().
 */
export function unmapUserMeta(meta: UserMeta, transferredBytes: number, context: MetaPlace): void {
  if (!meta.isAttached) return;
  const done = meta.isRead ? Math.min(transferredBytes, meta.bytes) : 0;
  if (meta.isCopied && done > 0) copyBack(meta, done, context);
  if (meta.isCopied) freeOwnMeta(meta, context);
  else context.counters.bytesMapped += Math.min(transferredBytes, meta.bytes);
  unpinEntries(meta, context.rules.metadata === 'as-data' ? done : 0, context);
  meta.detach();
}

function copyBack(meta: UserMeta, bytes: number, context: MetaPlace): void {
  const { page, len } = meta.table;
  cursor.initBvec(IterDirection.DEST, meta.entryRows(), 0, meta.entries, 0, meta.bytes);
  let left = bytes;
  for (let row = 0; left > 0; row++) {
    const copied = copyToIter(cursor, page[row], 0, Math.min(len[row], left));
    assert(copied > 0, 'meta: pinned memory faulted');
    left -= copied;
  }
  cursor.clear();
  context.counters.bytesCopied[meta.reason] += bytes;
}

/** What the device gets: the entries of the program, or own pages. */
export function deviceRows(meta: UserMeta): { readonly table: BvecTable; readonly rows: number } {
  if (meta.isCopied) return { table: meta.table, rows: meta.vcnt };
  return { table: meta.entryRows(), rows: meta.entries };
}
