import { assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import type { Bio } from '../../bio/bio.ts';
import { BioOp } from '../../bio/bio-op.ts';
import { PayloadFlag } from '../../integrity/bio-integrity.ts';
import { intervalsOf, metadataBytesOf } from '../../integrity/integrity-profile.ts';
import { deviceBlock } from '../../integrity/remap.ts';
import { userMetadataShare } from '../../integrity/user-metadata.ts';
import { IovIter } from '../../iter/iov-iter.ts';
import { hasOutside } from '../../iter/iter-align.ts';
import type { AddressSpace } from '../../memory/address-space.ts';
import { FAULT_WAIT, NO_MEMORY, sectorOf } from '../map-context.ts';
import type { Mapping } from '../mapping.ts';
import { copyOutside, endOutside } from '../passthrough/outside-meta.ts';
import { deviceRows, mapUserMeta, unmapUserMeta } from '../passthrough/user-meta.ts';
import type { Piece } from '../piece.ts';
import { type CopyPolicy, MapReason } from '../verdict.ts';
import { undoFill } from './fill-undo.ts';
import type { MetaContext } from './meta-context.ts';
import type { MetaPiece } from './meta-piece.ts';

/** What a program hands over with a read or write. Linux: struct io_uring_attr_pi. */
export interface MetadataWish {
  /** `metadata_size` bytes for each interval of the data, or more. */
  readonly iter: IovIter;
  /** CheckFlag: what is to be checked, by the device or, where it cannot, here. */
  readonly check: number;
  /** Expected where the app tag is checked: all 16 bits. */
  readonly appTag: number;
  /** Ref tag of the first interval, as the program counts; one more for each. */
  readonly seed: number;
}

/**
 * The metadata of a program beside one mapping: decided, mapped or copied, and let go by the same
 * rule as its data, bio by bio. Pooled with its transfer.
 */
export class MetaMapping {
  /** Answer of `start`. */
  status = 0;
  /** Of the last bio. */
  reason: MapReason = MapReason.FITS;
  /** `copy: 'never'`, and it would have been copied for `reason`. */
  isRefused = false;
  /** The array was detached or resized in flight. */
  isDetached = false;
  /** The space that FAULT_WAIT waits for, when it was the metadata that faulted. */
  waitsIn: AddressSpace | null = null;
  /** Moves on as bios are filled. */
  readonly iter = new IovIter();
  /** null: the device has no metadata, and nothing starts. */
  readonly #device: MetaContext | null;
  #wish: MetadataWish | null = null;
  #policy: CopyPolicy = 'auto';
  #position = 0;
  /** Ref tags must be rewritten before they go out. */
  #isRemapped = false;

  constructor(device: MetaContext | null) {
    this.#device = device;
  }

  get #context(): MetaContext {
    assert(this.#device !== null, 'metadata: not of this device');
    return this.#device;
  }

  /**
   * Leaves in `status` 0 or -EINVAL: no device with metadata, not whole blocks, too little of it,
   * an unknown check. Nothing is held.
   */
  start(wish: MetadataWish, op: BioOp, position: number, bytes: number, policy: CopyPolicy): void {
    assert(this.#wish === null, 'metadata: started twice');
    this.status = -Errno.EINVAL;
    if (this.#device === null) return;
    const { profile, limits, countsRefs } = this.#device;
    this.#wish = wish;
    this.reason = MapReason.FITS;
    this.isRefused = false;
    this.isDetached = false;
    this.#policy = policy;
    this.#position = position;
    this.iter.assign(wish.iter);
    const block = limits.logical_block_size;
    if (position % block !== 0 || bytes % block !== 0) return;
    const given = { bytes: wish.iter.count, check: wish.check };
    if (userMetadataShare(profile, bytes, given) < 0) return;
    const isMoved = deviceBlock(sectorOf(position), profile) !== wish.seed;
    this.#isRemapped = op === BioOp.WRITE && countsRefs && isMoved;
    this.status = 0;
  }

  /**
   * The next data of `mapping` and its metadata into `bio`, or neither. The answers of
   * `Mapping.fill`.
   */
  fillBoth(mapping: Mapping, bio: Bio, piece: Piece): number {
    const { dataBytesMax } = this.#context;
    assert(!piece.isPart && piece.meta === null, 'metadata: of a part of a block');
    if (piece.userBytes > dataBytesMax) {
      piece.userBytes = dataBytesMax;
      piece.bytes = dataBytesMax;
    }
    this.waitsIn = null;
    const result = mapping.fillData(bio, piece);
    if (result !== 0) return result;
    const own = this.#fill(bio, piece);
    if (own !== 0) undoFill(mapping, bio, piece);
    return own;
  }

  #fill(bio: Bio, piece: Piece): number {
    const context = this.#context;
    const { iter } = this;
    const bytes = metadataBytesOf(context.profile, bio.size);
    const all = iter.count;
    const meta = context.take();
    iter.truncate(bytes);
    const result = this.#place(bio, meta);
    iter.reexpand(result === 0 ? all - bytes : all);
    this.reason = meta.user.reason;
    if (result === 0) {
      this.#attach(bio, piece, meta, bytes);
      return 0;
    }
    this.isRefused = result === -Errno.EINVAL && this.#policy === 'never';
    context.give(meta);
    if (result === FAULT_WAIT) this.waitsIn = iter.space;
    return result === -Errno.ENOMEM ? NO_MEMORY : result;
  }

  #place(bio: Bio, meta: MetaPiece): number {
    const policy = this.#policy;
    if (!hasOutside(this.iter)) {
      // Rewritten where they lie, the tags of a write would change the program's own memory.
      const known = this.#isRemapped ? MapReason.REF_TAGS : MapReason.FITS;
      return mapUserMeta(bio, this.iter, meta.user, this.#context, policy, known);
    }
    meta.user.reason = MapReason.DETACHABLE;
    if (policy === 'never') return -Errno.EINVAL;
    meta.isOutside = true;
    meta.origin.assign(this.iter);
    return copyOutside(bio, this.iter, meta.user, this.#context);
  }

  #attach(bio: Bio, piece: Piece, meta: MetaPiece, bytes: number): void {
    const { payloads, profile } = this.#context;
    const { check, appTag, seed } = this.#wish as MetadataWish;
    const { table, rows } = deviceRows(meta.user);
    const payload = payloads.borrow(table, rows, bytes);
    assert(payload !== null, 'metadata: fewer payloads than bios');
    payload.flags = meta.user.isCopied ? PayloadFlag.COPY_USER : 0;
    if (profile.csum === 'ip') payload.flags |= PayloadFlag.IP_CHECKSUM;
    payload.check = check;
    payload.appTag = appTag;
    payload.seed = seed + intervalsOf(profile, piece.start - this.#position);
    bio.integrity = payload;
    meta.payload = payload;
    piece.meta = meta;
  }

  /**
   * The bio of `piece` has ended: copies back the records of what was transferred (nothing after
   * an error), and lets everything go. 0 or -EFAULT: the program's array is gone.
   */
  pieceEnded(bio: Bio, piece: Piece): number {
    const { meta } = piece;
    if (meta === null) return 0;
    const context = this.#context;
    piece.meta = null;
    const end = Math.min(bio.shortAt, piece.start + piece.bytes);
    const bytes = bio.status === 0 ? Math.max(end - piece.start, 0) : 0;
    const done = metadataBytesOf(context.profile, bytes);
    let isWhole = true;
    if (meta.isOutside) isWhole = endOutside(meta.user, meta.origin, done, context);
    else unmapUserMeta(meta.user, done, context);
    meta.origin.clear();
    context.give(meta);
    if (!isWhole) this.isDetached = true;
    return isWhole ? 0 : -Errno.EFAULT;
  }

  /** Ends the mapping; the reasons stay until the next `start`. */
  finish(): void {
    this.#wish = null;
    this.waitsIn = null;
    this.iter.clear();
  }
}
