// One mapping, over scripted memory of a program or any other; the test plays the device.

import assert from 'node:assert/strict';
import { PAGE_BYTES } from '../base/units.ts';
import { type Bio, BioState, endBio } from '../bio/bio.ts';
import { BioOp } from '../bio/bio-op.ts';
import { BioPool } from '../bio/bio-pool.ts';
import { FaultSpace } from '../iter/fault-space.fuzz.ts';
import { IovIter, IterDirection } from '../iter/iov-iter.ts';
import { Iovec } from '../iter/iovec.ts';
import type { LimitsInput } from '../limits/limits.ts';
import { DEFAULT_PROFILE, type Profile } from '../limits/profile.ts';
import { validateLimits } from '../limits/validate.ts';
import { Arena } from '../memory/arena.ts';
import { copyIn, copyOut } from '../memory/copy.ts';
import { BounceReserve } from './bounce-reserve.ts';
import type { MapContext } from './map-context.ts';
import { MapCounters } from './map-counters.ts';
import { Mapping } from './mapping.ts';
import { Piece } from './piece.ts';
import type { CopyPolicy } from './verdict.ts';

export const BASE = 0x40000;
export const arena = new Arena({ maxBytes: 4 * 2 ** 20, label: 'mapping rig', places: false });
export const pool = new BioPool({ bios: 8, rows: 4096 });

export class MappingRig implements Disposable {
  readonly mapping = new Mapping();
  readonly context: MapContext;
  readonly space = new FaultSpace();
  readonly frames: number[] = [];

  /** `pages`: memory of the program from BASE on. */
  constructor(pages: number, limits: LimitsInput = {}, profile: Profile = DEFAULT_PROFILE) {
    const valid = validateLimits({ dma_alignment: 0, ...limits });
    this.context = {
      limits: valid,
      profile,
      arena,
      reserve: new BounceReserve(arena, valid),
      counters: new MapCounters(),
      blockBytes: valid.logical_block_size,
    };
    for (let i = 0; i < pages; i++) {
      const frame = this.frame();
      this.frame(); // No two pages are neighbours.
      this.space.map(BASE + i * PAGE_BYTES, { frame });
      copyIn(
        frame,
        0,
        Uint8Array.from({ length: PAGE_BYTES }, (_, k) => i * 31 + k),
        0,
        4096,
      );
    }
  }

  frame(): number {
    const frame = arena.getFolio(0);
    assert.ok(frame >= 0);
    this.frames.push(frame);
    return frame;
  }

  frameOf(page: number): number {
    return this.space.pages.get(BASE / PAGE_BYTES + page)?.frame ?? -1;
  }

  start(op: BioOp, iter: IovIter, position = 0, policy: CopyPolicy = 'auto'): number {
    const side = { iter, limits: this.context.limits };
    return this.mapping.start(this.context, op, position, side, null, policy);
  }

  /** Ranges of the program's memory: bytes behind BASE, and lengths. */
  startRanges(
    op: BioOp,
    ranges: readonly (readonly [number, number])[],
    policy: CopyPolicy,
  ): number {
    const iovec = new Iovec(Math.max(ranges.length, 1));
    const bases = ranges.map(([at]) => BASE + at);
    const lens = ranges.map(([, len]) => len);
    iovec.importRanges(bases, lens, ranges.length);
    const iter = new IovIter();
    iter.initUser(directionOf(op), this.space, iovec);
    return this.start(op, iter, 0, policy);
  }

  startViews(
    op: BioOp,
    views: readonly Uint8Array[],
    position = 0,
    policy: CopyPolicy = 'auto',
  ): number {
    const iovec = new Iovec(Math.max(views.length, 1));
    iovec.importViews(views);
    const iter = new IovIter();
    iter.initBytes(directionOf(op), iovec);
    return this.start(op, iter, position, policy);
  }

  /** A bio for the next whole blocks. */
  bio(piece: Piece, bytes: number): Bio {
    piece.bytes = bytes;
    piece.userBytes = bytes;
    const { op } = this.mapping;
    const bio = pool.acquire(op, 0, this.mapping.vecsFor(bytes, piece.isCopied));
    assert.ok(bio !== null);
    return bio;
  }

  /** The device's part: `bytes` of value `value` into the rows of a read. */
  deviceWrites(bio: Bio, value: number, bytes = bio.size): void {
    let left = bytes;
    for (let row = bio.first; left > 0; row++) {
      const len = Math.min(bio.table.len[row] as number, left);
      const { page, offset } = bio.table;
      copyIn(page[row] as number, offset[row] as number, new Uint8Array(len).fill(value), 0, len);
      left -= len;
    }
  }

  end(bio: Bio, piece: Piece, status = 0): void {
    bio.status = status;
    bio.state = BioState.SUBMITTED;
    bio.endIo = () => this.mapping.pieceEnded(bio, piece);
    endBio(bio);
    pool.release(bio);
  }

  [Symbol.dispose](): void {
    const { counters, reserve } = this.context;
    assert.deepEqual([counters.pagesHeld, counters.bouncePages], [0, 0]);
    reserve.release();
    for (const frame of this.frames) arena.putFolio(frame);
  }
}

function directionOf(op: BioOp): IterDirection {
  return op === BioOp.READ ? IterDirection.DEST : IterDirection.SOURCE;
}

export function copiedPiece(): Piece {
  const piece = new Piece();
  piece.isCopied = true;
  return piece;
}

export function bytesOf(frame: number): Uint8Array {
  const out = new Uint8Array(PAGE_BYTES);
  copyOut(out, 0, frame, 0, PAGE_BYTES);
  return out;
}

export function rowBytes(bio: Bio, bytes: number): Uint8Array {
  const out = new Uint8Array(bytes);
  let at = 0;
  for (let row = bio.first; at < bytes; row++) {
    const len = Math.min(bio.table.len[row] as number, bytes - at);
    copyOut(out, at, bio.table.page[row] as number, bio.table.offset[row] as number, len);
    at += len;
  }
  return out;
}
