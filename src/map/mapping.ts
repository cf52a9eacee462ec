import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { type Probe, ProbePoint } from '../base/probe.ts';
import { PAGE_BYTES, pagesSpanned, SECTOR_BYTES } from '../base/units.ts';
import { addSegment, releasePages } from '../bio/bio-add.ts';
import type { Bio } from '../bio/bio.ts';
import { BioOp } from '../bio/bio-op.ts';
import { gatherBio } from '../bio/gather.ts';
import { isAligned } from '../iter/iter-align.ts';
import { copyFromIter, copyToIter } from '../iter/iter-copy.ts';
import { IovIter, IterDirection, IterKind } from '../iter/iov-iter.ts';
import type { Limits } from '../limits/limits.ts';
import type { Profile } from '../limits/profile.ts';
import type { Arena } from '../memory/arena.ts';
import { zeroPages } from '../memory/copy.ts';
import { HoldKind } from '../memory/holds.ts';
import { bounceOrder, fillBounce, freeBounce } from './bounce.ts';
import type { BounceReserve } from './bounce-reserve.ts';
import { decide, decideBuilt, type MapSide } from './decide.ts';
import type { MapCounters } from './map-counters.ts';
import type { Piece } from './piece.ts';
import { pinForCopy, unpinAfterCopy } from './user-pins.ts';
import { type CopyPolicy, MapReason, Verdict } from './verdict.ts';

/** What a device gives to all its mappings. */
export interface MapContext {
  readonly limits: Limits;
  readonly profile: Profile;
  readonly arena: Arena;
  readonly reserve: BounceReserve;
  readonly counters: MapCounters;
  /** Unit of position and length: the logical block, or 1 for a byte-granular file. */
  readonly blockBytes: number;
}

/** Own pages of one device at once, about: 32 MiB keep any disk busy. */
export const BOUNCE_PAGES_MAX = 8192;

/** `fill` found no memory now: try again after a completion. */
export const NO_MEMORY = -Errno.EAGAIN;

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
  traceId = 0;
  probe: Probe | null = null;
  /** Pages of the program that this mapping pins now, by any of its bios. */
  pagesHeld = 0;
  pieces = 0;
  readonly #origin = new IovIter();
  readonly #scratch = new IovIter();
  #context: MapContext | null = null;
  #policy: CopyPolicy = 'auto';

  /**
   * Takes over the memory under `data.iter` (the cursor itself is copied). `meta` goes by the same
   * decision under its own limits; no engine takes metadata yet, so it is -EOPNOTSUPP.
   * Returns 0 or a negative errno; after an error nothing is held.
   */
  start(
    context: MapContext,
    op: BioOp,
    position: number,
    data: MapSide,
    meta: MapSide | null,
    policy: CopyPolicy,
  ): number {
    assert(this.#context === null, 'mapping: started twice');
    this.#context = context;
    this.#policy = policy;
    this.op = op;
    this.iter.assign(data.iter);
    this.#origin.assign(data.iter);
    this.position = position;
    this.bytes = data.iter.count;
    this.status = 0;
    this.shortAt = Number.POSITIVE_INFINITY;
    this.detachedSegment = -1;
    this.pieces = 0;
    this.reason = decide(data.iter, position, context.blockBytes, data.limits, policy);
    this.middleReason = this.#decideMiddle(data.limits);
    if (meta !== null) return -Errno.EOPNOTSUPP;
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

  /** Segments that a bio for the next `bytes` may want. */
  vecsFor(bytes: number, isCopied: boolean): number {
    const context = this.#context as MapContext;
    if (!isCopied) return Math.min(Math.ceil(bytes / PAGE_BYTES) + 1, 256);
    const folio = 2 ** bounceOrder(context.limits) * PAGE_BYTES;
    return Math.min(Math.max(Math.ceil(bytes / folio), 4), 256);
  }

  /**
   * Puts the next memory into `bio`: the program's pages, or own ones. Fills in `piece.bytes` and
   * `piece.userBytes`, which may turn out less than asked. 0, NO_MEMORY, or a negative errno.
   */
  fill(bio: Bio, piece: Piece): number {
    const result = piece.isCopied ? this.#fillCopy(bio, piece) : this.#fillMap(bio, piece);
    if (result === 0) {
      this.pieces++;
      if (this.probe !== null) this.#probeHolds(ProbePoint.HOLD, bio);
    }
    return result;
  }

  #fillMap(bio: Bio, piece: Piece): number {
    const context = this.#context as MapContext;
    const all = this.iter.count;
    this.iter.truncate(piece.userBytes);
    const result = gatherBio(bio, this.iter, context.blockBytes, context.profile);
    this.iter.reexpand(all - bio.size);
    if (result < 0) return result;
    const built = context.profile.subBlockSplit === 'error' ? decideBuilt(bio, context.limits) : 0;
    if (built !== MapReason.FITS) {
      // Only the built bio has a true segment count. Undo it, and copy (reference 6.2).
      this.iter.revert(bio.size);
      releasePages(bio, false);
      bio.size = 0;
      if (this.reason === MapReason.FITS) this.reason = built;
      this.middleReason = built;
      if (this.#policy === 'never') return -Errno.EINVAL;
      piece.isCopied = true;
      return this.#fillCopy(bio, piece);
    }
    piece.bytes = bio.size;
    piece.userBytes = bio.size;
    const pages = heldPagesOf(bio);
    this.pagesHeld += pages;
    context.counters.hold(pages);
    return 0;
  }

  #fillCopy(bio: Bio, piece: Piece): number {
    const context = this.#context as MapContext;
    const got = this.#ownPages(bio, piece);
    if (got === 0) return NO_MEMORY;
    if (got < piece.bytes) {
      // Less than asked: whole blocks, the rest is another piece.
      const keep = got - (got % context.blockBytes);
      assert(keep > 0 && piece.skip < keep, 'mapping: a bounce folio is smaller than a block');
      piece.bytes = keep;
      piece.userBytes = Math.min(piece.userBytes, keep - piece.skip);
      bio.size = keep; // The pages behind it stay in the bio's rows and are freed with them.
    }
    const { userBytes, skip } = piece;
    context.counters.bounce(pagesOf(bio));
    piece.isPinned = this.op === BioOp.READ || skip !== 0 || userBytes !== piece.bytes;
    if (piece.isPinned) {
      // A read is copied back at its end, a part of a block goes in after the block was read.
      const pins = pinForCopy(this.iter, userBytes);
      if (pins < 0) return this.#undoCopy(bio, piece);
      this.pagesHeld += pins;
      context.counters.hold(pins);
      return 0;
    }
    if (!this.copyIn(bio, piece)) return this.#undoCopy(bio, piece);
    this.iter.advance(userBytes);
    return 0;
  }

  #ownPages(bio: Bio, piece: Piece): number {
    const context = this.#context as MapContext;
    // Enough is in flight: its end is what this piece waits for.
    if (context.counters.bouncePages >= BOUNCE_PAGES_MAX) return 0;
    const got = fillBounce(bio, piece.bytes, context.limits, context.arena);
    const { reserve } = context;
    if (got > 0 || reserve.isTaken) return got;
    reserve.isTaken = true;
    piece.usesReserve = true;
    const take = Math.min(piece.bytes, reserve.bytes);
    addSegment(bio, reserve.page, 0, take, HoldKind.OWNED);
    return take;
  }

  /** The program's memory is gone. */
  #undoCopy(bio: Bio, piece: Piece): number {
    this.#freeOwn(bio, piece);
    return -Errno.EFAULT;
  }

  /** The user's bytes of `piece` into its own pages. False when their memory is gone. */
  copyIn(bio: Bio, piece: Piece): boolean {
    const context = this.#context as MapContext;
    const { page, offset, len } = bio.table;
    const scratch = this.#userMemory(piece);
    let skip = piece.skip;
    let left = piece.userBytes;
    for (let row = bio.first; left > 0; row++) {
      const take = Math.min(len[row] - skip, left);
      if (take > 0) {
        const done = copyFromIter(scratch, page[row], offset[row] + skip, take);
        if (done < take) {
          this.#faulted();
          return false;
        }
        left -= take;
      }
      skip = Math.max(skip - len[row], 0);
    }
    context.counters.bytesCopied[this.#pieceReason(piece)] += piece.userBytes;
    this.#probeCopy(piece, 0);
    return true;
  }

  /** What a short read did not deliver of the block to be written is zeros, as at a file's end. */
  zeroBehind(bio: Bio, valid: number, bytes: number): void {
    const { page, offset, len } = bio.table;
    let at = 0;
    for (let row = bio.first; at < bytes; row++) {
      const from = Math.max(valid - at, 0);
      const to = Math.min(len[row], bytes - at);
      if (from < to) zeroPages(page[row], offset[row] + from, to - from);
      at += len[row];
    }
  }

  /**
   * The bio of `piece` has ended: copies back what was transferred (never more, and nothing after
   * an error), marks dirty, lets every page go.
   */
  pieceEnded(bio: Bio, piece: Piece): void {
    const context = this.#context as MapContext;
    if (bio.status !== 0 && this.status === 0) this.status = bio.status;
    if (bio.shortAt < this.shortAt) this.shortAt = bio.shortAt;
    const end = Math.min(bio.shortAt, piece.start + piece.bytes);
    const got = Math.max(end - piece.start - piece.skip, 0);
    const userBytes = bio.status === 0 ? Math.min(got, piece.userBytes) : 0;
    if (this.probe !== null) this.#probeHolds(ProbePoint.UNHOLD, bio);
    if (piece.isCopied) {
      if (this.op === BioOp.READ && userBytes > 0) this.#copyBack(bio, piece, userBytes);
      if (piece.isPinned) this.#unpin(piece);
      this.#freeOwn(bio, piece);
      return;
    }
    context.counters.bytesMapped += userBytes;
    const pages = heldPagesOf(bio);
    releasePages(bio, this.op === BioOp.READ && userBytes > 0);
    this.pagesHeld -= pages;
    context.counters.hold(-pages);
  }

  #copyBack(bio: Bio, piece: Piece, bytes: number): void {
    const context = this.#context as MapContext;
    const { page, offset, len } = bio.table;
    const scratch = this.#userMemory(piece);
    let skip = piece.skip;
    let left = bytes;
    for (let row = bio.first; left > 0; row++) {
      const take = Math.min(len[row] - skip, left);
      if (take > 0) {
        if (copyToIter(scratch, page[row], offset[row] + skip, take) < take) {
          this.#faulted();
          break;
        }
        left -= take;
      }
      skip = Math.max(skip - len[row], 0);
    }
    context.counters.bytesCopied[this.#pieceReason(piece)] += bytes - left;
    this.#probeCopy(piece, 1);
  }

  #unpin(piece: Piece): void {
    const pins = unpinAfterCopy(this.#userMemory(piece), piece.userBytes);
    this.pagesHeld -= pins;
    (this.#context as MapContext).counters.hold(-pins);
  }

  /** A cursor where the user's bytes of `piece` start. */
  #userMemory(piece: Piece): IovIter {
    this.#scratch.assign(this.#origin);
    this.#scratch.advance(piece.userAt);
    return this.#scratch;
  }

  #freeOwn(bio: Bio, piece: Piece): void {
    const context = this.#context as MapContext;
    context.counters.bounce(-pagesOf(bio));
    if (piece.usesReserve) {
      piece.usesReserve = false;
      context.reserve.isTaken = false;
      bio.vcnt = 0;
    } else {
      freeBounce(bio, context.arena);
    }
  }

  #pieceReason(piece: Piece): MapReason {
    if (piece.isPart) return piece.skip !== 0 ? MapReason.OFFSET : MapReason.LENGTH;
    return this.middleReason;
  }

  /** Memory of the program went away between the call and the copy. */
  #faulted(): void {
    if (this.status === 0) this.status = -Errno.EFAULT;
    const { iovec } = this.#origin;
    if (this.#origin.kind !== IterKind.BYTES) return;
    for (let i = 0; i < iovec.rows; i++) {
      const view = iovec.views[i];
      if (view !== null && view !== undefined && view.length < iovec.len[i]) {
        this.detachedSegment = i;
        (this.#context as MapContext).counters.detached++;
        return;
      }
    }
  }

  /** Bytes transferred without a gap from the start, or the first error. Ends the mapping. */
  finish(): number {
    assert(this.pagesHeld === 0, 'mapping: finished while it holds pages');
    const context = this.#context as MapContext;
    context.counters.transfers++;
    this.#context = null;
    this.iter.clear();
    this.#origin.clear();
    this.#scratch.clear();
    if (this.status !== 0) return this.status;
    return Math.min(Math.max(this.shortAt - this.position, 0), this.bytes);
  }

  get direction(): IterDirection {
    return this.op === BioOp.READ ? IterDirection.DEST : IterDirection.SOURCE;
  }

  #probeHolds(point: ProbePoint, bio: Bio): void {
    const { table } = bio;
    for (let row = bio.first; row < bio.first + bio.vcnt; row++) {
      const pages = pagesSpanned(table.offset[row], table.len[row]);
      this.probe?.hit(point, this.traceId, table, row, table.hold[row], pages);
    }
  }

  #probeCopy(piece: Piece, back: number): void {
    if (this.probe === null) return;
    const reason = this.#pieceReason(piece);
    this.probe.hit(ProbePoint.COPY, this.traceId, this, reason, piece.userBytes, back);
  }
}

/** Pages that the rows of `bio` span. */
function pagesOf(bio: Bio): number {
  const { offset, len } = bio.table;
  let pages = 0;
  for (let row = bio.first; row < bio.first + bio.vcnt; row++) {
    pages += pagesSpanned(offset[row], len[row]);
  }
  return pages;
}

/** Of these, the ones that are counted at their folio. */
function heldPagesOf(bio: Bio): number {
  const { offset, len, hold } = bio.table;
  let pages = 0;
  for (let row = bio.first; row < bio.first + bio.vcnt; row++) {
    if (hold[row] !== HoldKind.BORROWED) pages += pagesSpanned(offset[row], len[row]);
  }
  return pages;
}

/** 512-byte units of a byte position; exact for any byte, because 512 is a power of two. */
export function sectorOf(position: number): number {
  return position / SECTOR_BYTES;
}
