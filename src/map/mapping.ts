import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { type Probe, ProbePoint } from '../base/probe.ts';
import { PAGE_BYTES } from '../base/units.ts';
import type { Bio } from '../bio/bio.ts';
import { releasePages } from '../bio/bio-add.ts';
import { BioOp } from '../bio/bio-op.ts';
import { gatherBio } from '../bio/gather.ts';
import { maxIoBytes } from '../bio/split-point.ts';
import { BVECS_PER_BIO_MAX, type BvecTable } from '../bvec/bvec-table.ts';
import { IovIter, IterDirection, IterKind } from '../iter/iov-iter.ts';
import { isAligned, npages } from '../iter/iter-align.ts';
import type { Limits } from '../limits/limits.ts';
import { alignRowBases, copyFromRows, copyIntoRows, heldPagesOf, zeroRows } from './bio-rows.ts';
import { BOUNCE_BYTES_MAX, bounceOrder } from './bounce.ts';
import { decide, decideBuilt, type MapSide } from './decide.ts';
import { COPY_INSTEAD, FAULT_WAIT, type MapContext, NO_MEMORY, sectorOf } from './map-context.ts';
import { endMetadata } from './metadata/fill-undo.ts';
import type { MetaMapping } from './metadata/meta-mapping.ts';
import { freeOwnPages, takeOwnPages } from './own-pages.ts';
import type { Piece } from './piece.ts';
import { probeRows } from './probe-rows.ts';
import { detachedRow, isThere, pinForCopy, unpinAfterCopy } from './user-pins.ts';
import { fillLater, fillNow, pinnedPages, unpinRows } from './user-rows.ts';
import { type CopyPolicy, MapReason, Verdict } from './verdict.ts';

/**
 * The submitter's side of one transfer: it decides map or copy, holds the program's pages, owns
 * bounce pages, copies back and lets go. Nothing below it reads or writes memory of a program.
 *
 * Post of `finish`: no page is held, no own page is left, the first error is the result.
 */
export class Mapping {
  op: BioOp = BioOp.READ;
  /** Moves on as pieces are filled. */
  readonly iter = new IovIter();
  reason: MapReason = MapReason.FITS;
  /** The same for what lies between a partial first and last block. */
  middleReason: MapReason = MapReason.FITS;
  /** Byte of the device. */
  position = 0;
  bytes = 0;
  /** First negative errno of any piece. */
  status = 0;
  /** Byte of the device from which on nothing was transferred. */
  shortAt = Number.POSITIVE_INFINITY;
  /** Segment of the program's list that was detached or resized in flight, or -1. */
  detachedSegment = -1;
  /** What the program brought beside its data. */
  meta: MetaMapping | null = null;
  traceId = 0;
  probe: Probe | null = null;
  /** Pages of the program that this mapping pins now, by any of its bios. */
  pagesHeld = 0;
  pieces = 0;
  readonly #scratch = new IovIter();
  #context: MapContext | null = null;
  #policy: CopyPolicy = 'auto';

  /**
   * Takes over the memory under `data.iter` (the cursor itself is copied). `meta` was started on
   * the same range. Returns 0 or a negative errno; after an error nothing is held.
   */
  start(
    context: MapContext,
    op: BioOp,
    position: number,
    data: MapSide,
    meta: MetaMapping | null,
    policy: CopyPolicy,
  ): number {
    assert(this.#context === null, 'mapping: started twice');
    this.#context = context;
    this.#policy = policy;
    this.op = op;
    this.iter.assign(data.iter);
    this.position = position;
    this.bytes = data.iter.count;
    this.status = 0;
    this.shortAt = Number.POSITIVE_INFINITY;
    this.detachedSegment = -1;
    this.pieces = 0;
    this.reason = decide(data.iter, position, context.blockBytes, data.limits, policy);
    this.middleReason = this.#decideMiddle(data.limits);
    this.meta = meta;
    if (meta !== null && meta.status !== 0) return meta.status;
    if (this.verdict === Verdict.REFUSE) return -Errno.EINVAL;
    return 0;
  }

  get verdict(): Verdict {
    if (this.reason === MapReason.FITS) return Verdict.MAP;
    return this.#policy === 'never' ? Verdict.REFUSE : Verdict.COPY;
  }

  /**
   * A position or length off the block concerns the two ends only. Between them the memory goes by
   * its own address: 3 bytes into a block, the middle starts 4093 bytes into the buffer.
   */
  #decideMiddle(limits: Limits): MapReason {
    if (this.reason !== MapReason.OFFSET && this.reason !== MapReason.LENGTH) return this.reason;
    const { blockBytes } = this.#context as MapContext;
    const head = (blockBytes - (this.position % blockBytes)) % blockBytes;
    const left = Math.max(this.bytes - head, 0);
    this.#scratch.assign(this.iter);
    this.#scratch.advance(head);
    this.#scratch.truncate(left - (left % blockBytes));
    const { dma_alignment: mask } = limits;
    return isAligned(this.#scratch, mask, mask) ? MapReason.FITS : MapReason.ADDRESS;
  }

  /** Bytes that one piece at `position` may have. */
  pieceBytesMax(position: number, bytes: number, isCopied: boolean): number {
    const { limits } = this.#context as MapContext;
    // A cut at a block would leave own pages that start off dma_alignment: cut here, not later.
    const isStrict = isCopied && limits.dma_alignment >= limits.logical_block_size;
    return isStrict ? Math.min(bytes, maxIoBytes(sectorOf(position), limits)) : bytes;
  }

  /** Segments that a bio for the next `bytes` may want. */
  vecsFor(bytes: number, isCopied: boolean): number {
    const { limits, profile } = this.#context as MapContext;
    if (isCopied) {
      const folio = 2 ** bounceOrder(limits) * PAGE_BYTES;
      return Math.min(Math.max(Math.ceil(bytes / folio), 4), BVECS_PER_BIO_MAX);
    }
    const { kind, nrSegs } = this.iter;
    if (kind === IterKind.BVEC) return 0; // Borrows the rows of its owner.
    // An array of the program is one range; other memory may change with every page.
    const isRanges = kind === IterKind.BYTES && profile.gatherUnit === 'vecs';
    const most = isRanges ? nrSegs : Math.ceil(bytes / PAGE_BYTES) + nrSegs;
    return Math.min(most, BVECS_PER_BIO_MAX);
  }

  /**
   * Puts the next memory into `bio`: the program's pages, or own ones. Fills in `piece.bytes` and
   * `piece.userBytes`, which may turn out less than asked. 0, COPY_INSTEAD, NO_MEMORY, FAULT_WAIT,
   * or a negative errno. Post: unless 0, the bio is empty and the iterator where it was.
   */
  fill(bio: Bio, piece: Piece): number {
    const { meta } = this;
    const result = meta === null ? this.fillData(bio, piece) : meta.fillBoth(this, bio, piece);
    if (result === 0) {
      this.pieces++;
      this.#probeRows(ProbePoint.HOLD, bio.table, bio.first, bio.vcnt);
    }
    return result;
  }

  /** `fill` without the metadata. */
  fillData(bio: Bio, piece: Piece): number {
    return piece.isCopied ? this.#fillCopy(bio, piece) : this.#fillMap(bio, piece);
  }

  #fillMap(bio: Bio, piece: Piece): number {
    const { blockBytes, limits, profile } = this.#context as MapContext;
    const all = this.iter.count;
    this.iter.truncate(piece.userBytes);
    const result = gatherBio(bio, this.iter, blockBytes, profile);
    this.iter.reexpand(all - bio.size);
    if (result === -Errno.EAGAIN) return FAULT_WAIT;
    if (result === -Errno.EFAULT && this.#mayLackRows(bio, blockBytes)) {
      return this.#copyInstead(MapReason.SEGMENTS); // A whole block has more rows than a bio.
    }
    if (result < 0) return result;
    if (profile.subBlockSplit === 'error') {
      const isBased = alignRowBases(bio, limits.virt_boundary_mask);
      const built = isBased ? decideBuilt(bio, limits) : MapReason.GAP;
      if (built !== MapReason.FITS) {
        // Only the built bio has a true segment count. Undo it, and copy (reference 6.2).
        this.iter.revert(bio.size);
        releasePages(bio, false);
        bio.size = 0;
        return this.#copyInstead(built);
      }
    }
    piece.bytes = bio.size;
    piece.userBytes = bio.size;
    this.#held(heldPagesOf(bio));
    return 0;
  }

  /**
   * Nothing of a block could be gathered: it may be the rows that ended, not the memory. Where a
   * space faults, rows cannot end in a block with no more pages than rows; for others the copy is
   * tried, which takes any number of rows and finds the fault.
   */
  #mayLackRows(bio: Bio, blockBytes: number): boolean {
    if (!this.#isUser) return isThere(this.iter, blockBytes);
    this.#scratch.assign(this.iter);
    this.#scratch.truncate(blockBytes);
    return npages(this.#scratch, bio.maxVecs + 1) > bio.maxVecs;
  }

  /** The rest of the transfer is copied as well: what made it would make it again. */
  #copyInstead(reason: MapReason): number {
    if (this.reason === MapReason.FITS) this.reason = reason;
    this.middleReason = reason;
    this.probe?.hit(ProbePoint.MAP, this.traceId, this, this.verdict, reason, this.iter.count);
    return this.verdict === Verdict.REFUSE ? -Errno.EINVAL : COPY_INSTEAD;
  }

  #fillCopy(bio: Bio, piece: Piece): number {
    const context = this.#context as MapContext;
    // A read is copied back at its end, a part of a block goes in after the block was read.
    piece.isPinned = this.op === BioOp.READ || piece.isPart;
    if (this.#isUser) return this.#fillUser(bio, piece);
    // Before own pages are taken: they could be the very pages that the program released.
    if (!isThere(this.iter, Math.min(piece.userBytes, BOUNCE_BYTES_MAX))) {
      this.#faulted();
      return -Errno.EFAULT;
    }
    const got = takeOwnPages(context, bio, piece);
    if (got === 0) return NO_MEMORY;
    // Less than asked: the rest is another piece.
    piece.userBytes = Math.min(piece.userBytes, got - piece.skip);
    piece.bytes = got;
    const pins = pinForCopy(this.iter, piece.userBytes);
    assert(pins >= 0, 'mapping: memory went away inside a call');
    this.#held(pins);
    if (piece.isPinned) return 0;
    const isCopied = this.copyIn(bio, piece);
    this.#unpin(piece, 0);
    if (isCopied) return 0;
    this.iter.revert(piece.userBytes);
    freeOwnPages(context, bio, piece);
    return -Errno.EFAULT;
  }

  /** A copy of memory of an address space, whose pages may fault. */
  #fillUser(bio: Bio, piece: Piece): number {
    const context = this.#context as MapContext;
    if (!piece.isPinned) {
      const result = fillNow(context, bio, piece, this.iter);
      if (result === 0) this.#count(piece, piece.userBytes, 0);
      return result;
    }
    const result = fillLater(context, bio, piece, this.iter);
    if (result !== 0) return result;
    this.#held(pinnedPages(piece));
    this.#probeRows(ProbePoint.HOLD, piece.pins as BvecTable, 0, piece.pinRows);
    return 0;
  }

  /** The user's bytes of `piece` into its own pages. False when their memory is gone. */
  copyIn(bio: Bio, piece: Piece): boolean {
    const { skip, userBytes } = piece;
    if (copyIntoRows(bio, skip, this.#userMemory(piece), userBytes) < userBytes) {
      this.#faulted();
      return false;
    }
    this.#count(piece, userBytes, 0);
    return true;
  }

  /** What a short read did not deliver of the block to be written is zeros, as at a file's end. */
  zeroBehind(bio: Bio, valid: number, bytes: number): void {
    zeroRows(bio, valid, bytes);
  }

  /**
   * The bio of `piece` has ended: copies back what was transferred (never more, and nothing after
   * an error), marks dirty, lets every page go.
   */
  pieceEnded(bio: Bio, piece: Piece): void {
    const context = this.#context as MapContext;
    if (this.meta !== null) endMetadata(this, this.meta, bio, piece);
    if (bio.status !== 0 && this.status === 0) this.status = bio.status;
    if (bio.shortAt < this.shortAt) this.shortAt = bio.shortAt;
    const end = Math.min(bio.shortAt, piece.start + piece.bytes);
    const got = Math.max(end - piece.start - piece.skip, 0);
    const userBytes = bio.status === 0 ? Math.min(got, piece.userBytes) : 0;
    if (piece.isCopied && this.op === BioOp.READ && userBytes > 0) {
      this.#copyBack(bio, piece, userBytes);
    }
    this.#probeRows(ProbePoint.UNHOLD, bio.table, bio.first, bio.vcnt);
    if (piece.isCopied) {
      if (piece.isPinned) this.#unpin(piece, this.op === BioOp.READ ? userBytes : 0);
      freeOwnPages(context, bio, piece);
      return;
    }
    context.counters.bytesMapped += userBytes;
    this.#held(-releasePages(bio, this.op === BioOp.READ && userBytes > 0));
  }

  #copyBack(bio: Bio, piece: Piece, bytes: number): void {
    const done = copyFromRows(bio, piece.skip, this.#userMemory(piece), bytes);
    if (done < bytes) this.#faulted();
    this.#count(piece, done, 1);
  }

  #unpin(piece: Piece, dirtyBytes: number): void {
    if (piece.pinRows === 0) {
      this.#held(-unpinAfterCopy(this.#userMemory(piece), piece.userBytes));
      return;
    }
    this.#probeRows(ProbePoint.UNHOLD, piece.pins as BvecTable, 0, piece.pinRows);
    this.#held(-pinnedPages(piece));
    unpinRows(piece, dirtyBytes);
  }

  #held(pages: number): void {
    this.pagesHeld += pages;
    (this.#context as MapContext).counters.hold(pages);
  }

  #userMemory(piece: Piece): IovIter {
    this.userMemory(piece, this.#scratch);
    return this.#scratch;
  }

  /** Puts `cursor` over the user's bytes of `piece`: the pages pinned for it, if any were. */
  userMemory(piece: Piece, cursor: IovIter): void {
    const { pins, pinRows: rows, userBytes } = piece;
    if (pins !== null && rows > 0) {
      cursor.initBvec(this.direction, pins, 0, rows, 0, userBytes);
    } else {
      cursor.assign(this.iter);
      cursor.revert(this.bytes - this.iter.count - piece.userAt);
    }
  }

  /** Memory of the program went away between the call and the copy. */
  #faulted(): void {
    if (this.status === 0) this.status = -Errno.EFAULT;
    if (this.iter.kind !== IterKind.BYTES || this.detachedSegment >= 0) return;
    this.detachedSegment = detachedRow(this.iter.iovec);
    if (this.detachedSegment >= 0) (this.#context as MapContext).counters.detached++;
  }

  /** Bytes transferred without a gap from the start, or the first error. Ends the mapping. */
  finish(): number {
    assert(this.pagesHeld === 0, 'mapping: finished while it holds pages');
    const context = this.#context as MapContext;
    context.counters.transfers++;
    this.#context = null;
    if (this.meta !== null) this.meta.finish();
    this.iter.clear();
    if (this.#scratch.kind !== IterKind.DISCARD) this.#scratch.clear();
    if (this.status !== 0) return this.status;
    return Math.min(Math.max(this.shortAt - this.position, 0), this.bytes);
  }

  /** Forgets how the last transfer ended: the next one may have no memory, so no `start`. */
  reset(): void {
    this.status = 0;
    this.reason = MapReason.FITS;
    this.middleReason = MapReason.FITS;
    this.detachedSegment = -1;
    this.probe = null;
    this.meta = null;
  }

  /** Memory of an address space: it may fault, wait, and be gone when the transfer ends. */
  get #isUser(): boolean {
    return this.iter.kind === IterKind.USER;
  }

  /** The program has no memory behind the first `bytes` of the transfer: it is no longer. */
  endAt(bytes: number): void {
    this.bytes = bytes;
    this.iter.truncate(0);
  }

  get direction(): IterDirection {
    return this.op === BioOp.READ ? IterDirection.DEST : IterDirection.SOURCE;
  }

  #probeRows(point: ProbePoint, table: BvecTable, first: number, rows: number): void {
    if (this.probe !== null) probeRows(this.probe, point, this.traceId, table, first, rows);
  }

  #count(piece: Piece, bytes: number, back: number): void {
    const reason = this.#reasonOf(piece);
    (this.#context as MapContext).counters.bytesCopied[reason] += bytes;
    this.probe?.hit(ProbePoint.COPY, this.traceId, this, reason, bytes, back);
  }

  /** A part of a block is copied for its edge, unless all of the transfer is copied anyway. */
  #reasonOf(piece: Piece): MapReason {
    const isAll = this.reason === MapReason.DETACHABLE || this.reason === MapReason.ASKED;
    if (!piece.isPart || isAll) return this.middleReason;
    return piece.skip !== 0 ? MapReason.OFFSET : MapReason.LENGTH;
  }
}
