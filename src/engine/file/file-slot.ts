import { BLKDISCARD, BLKZEROOUT } from '../../abi/linux-block.ts';
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
} from '../../abi/linux-fs.ts';
import { assert, unreachable } from '../../base/assert.ts';
import type { FsError } from '../../base/env.ts';
import { Errno } from '../../base/errno.ts';
import { slotOf, TAG_NONE } from '../../base/slots.ts';
import { MIB, roundDown, SECTOR_BYTES } from '../../base/units.ts';
import { BioOp, opIsWrite } from '../../bio/bio-op.ts';
import type { Request } from '../../queue/request.ts';
import type { RequestTable } from '../../queue/request-table.ts';
import type { CompletionRing } from '../memory/completion-ring.ts';
import { type OpenFile, statusOf } from './open-file.ts';
import { SegmentViews } from './segment-views.ts';

/** What a slot waits for. */
export const Step = {
  IDLE: 0,
  /** The whole blocks of a read or write; all of it in buffered mode. */
  BLOCKS: 1,
  /** What is left behind the last whole block, by the second descriptor. */
  TAIL: 2,
  /** fallocate or an ioctl. */
  RANGE: 3,
  /** Zeros, a buffer at a time. */
  ZEROS: 4,
  SYNC: 5,
} as const;
export type Step = (typeof Step)[keyof typeof Step];

const STEP_NEXT: Readonly<Record<Step, readonly Step[]>> = {
  [Step.IDLE]: [Step.BLOCKS, Step.TAIL, Step.RANGE, Step.ZEROS, Step.SYNC],
  [Step.BLOCKS]: [Step.TAIL, Step.SYNC, Step.IDLE],
  [Step.TAIL]: [Step.SYNC, Step.IDLE],
  [Step.RANGE]: [Step.ZEROS, Step.SYNC, Step.IDLE],
  [Step.ZEROS]: [Step.SYNC, Step.IDLE],
  [Step.SYNC]: [Step.IDLE],
};

/** How often in a row a call may say EINTR or EAGAIN before the request fails with it. */
export const RETRIES_MAX = 16;
const ZEROS_BYTES = MIB;
let zeros: Uint8Array | null = null;

/** One request at work. The callbacks are made once: steady state allocates only in node:fs. */
export class FileSlot {
  #tag = TAG_NONE;
  #step: Step = Step.IDLE;
  #retries = 0;
  /** Bytes of the request that are done. */
  #done = 0;
  /** Bytes of the request up to which this step goes. */
  #goal = 0;
  #isCancelled = false;
  #hasTurn = false;
  #request: Request | null = null;
  readonly #views = new SegmentViews();
  readonly #file: OpenFile;
  readonly #table: RequestTable;
  readonly #ring: CompletionRing;

  constructor(file: OpenFile, table: RequestTable, ring: CompletionRing) {
    this.#file = file;
    this.#table = table;
    this.#ring = ring;
  }

  /** TAG_NONE when idle. */
  get tag(): number {
    return this.#tag;
  }

  /** Takes the request; it ends in the ring, at once when nothing can be done about it. */
  start(tag: number): void {
    assert(this.#step === Step.IDLE, 'file: slot is busy');
    const request = this.#table.get(tag);
    this.#tag = tag;
    this.#request = request;
    this.#done = 0;
    this.#retries = 0;
    this.#isCancelled = false;
    if (opIsWrite(request.op) && this.#file.isReadOnly) {
      this.#finish(-Errno.EROFS, 0);
      return;
    }
    this.#startOp(request);
  }

  /** Takes effect between two steps; a call that is under way ends first. */
  cancel(): void {
    this.#isCancelled = true;
  }

  /** Lets go of the memory behind the kept views. Pre: idle. */
  clear(): void {
    assert(this.#step === Step.IDLE, 'file: slot is busy');
    this.#views.clear();
  }

  #startOp(request: Request): void {
    const { env, zeroesRange } = this.#file;
    const { native } = env;
    switch (request.op) {
      case BioOp.READ:
      case BioOp.WRITE: {
        const blocks = this.#wholeBlocks(request);
        if (blocks > 0) this.#enter(Step.BLOCKS, blocks);
        else this.#enter(Step.TAIL, request.bytes);
        return;
      }
      case BioOp.FLUSH:
        this.#enter(Step.SYNC, 0);
        return;
      case BioOp.DISCARD:
        if (native === null) this.#finish(-Errno.EOPNOTSUPP, 0);
        else this.#enter(Step.RANGE, request.bytes);
        return;
      case BioOp.WRITE_ZEROES:
        if (native === null || !zeroesRange) this.#enter(Step.ZEROS, request.bytes);
        else this.#enter(Step.RANGE, request.bytes);
        return;
      case BioOp.SECURE_ERASE:
        this.#finish(-Errno.EOPNOTSUPP, 0);
        return;
      default:
        unreachable(request.op);
    }
  }

  /**
   * Bytes of a read or write that go by the first descriptor. A direct read across the end would
   * leave zeros in the memory behind what it read, so the block with the end is not in it.
   */
  #wholeBlocks(request: Request): number {
    const { isDirect, isBlock, blockBytes, sizeBytes } = this.#file;
    if (!isDirect) return request.bytes;
    let { bytes } = request;
    if (request.op === BioOp.READ && !isBlock) {
      bytes = Math.min(bytes, Math.max(sizeBytes - request.sector * SECTOR_BYTES, 0));
    }
    return roundDown(bytes, blockBytes);
  }

  #enter(step: Step, goal: number): void {
    assert(STEP_NEXT[this.#step].includes(step), 'file: no such step');
    if (this.#isCancelled) {
      this.#finish(-Errno.ECANCELED, 0);
      return;
    }
    this.#step = step;
    this.#goal = goal;
    this.#retries = 0;
    this.#issue();
  }

  /** Makes the call of this step; called again after EINTR and for the next buffer of zeros. */
  #issue(): void {
    const file = this.#file;
    switch (this.#step) {
      case Step.BLOCKS:
        this.#transfer(file.fd);
        return;
      case Step.TAIL:
        if (file.bufferedFd < 0) file.openBuffered(this.#onStatus);
        else this.#transfer(file.bufferedFd);
        return;
      case Step.RANGE:
        this.#callRange();
        return;
      case Step.ZEROS:
        if (file.bufferedFd < 0) file.openBuffered(this.#onStatus);
        else this.#writeZeros(file.bufferedFd);
        return;
      case Step.SYNC:
        file.env.fs.fdatasync(file.fd, this.#onSync);
        return;
      case Step.IDLE:
        assert(false, 'file: an idle slot has no call');
        return;
      default:
        unreachable(this.#step);
    }
  }

  #transfer(fd: number): void {
    const request = this.#request as Request;
    const { turns } = this.#file;
    if (turns !== null && request.op === BioOp.WRITE) {
      if (!turns.enter(this.#again)) return;
      this.#hasTurn = true;
    }
    const { fs } = this.#file.env;
    const position = request.sector * SECTOR_BYTES + this.#done;
    const views = this.#views;
    const count = views.load(request, this.#done, this.#goal);
    const first = views.list[0];
    if (request.op === BioOp.READ) {
      if (count === 1) fs.read(fd, first, position, this.#onBytes);
      else fs.readv(fd, views.list, position, this.#onBytes);
    } else {
      if (count === 1) fs.write(fd, first, first.length, position, this.#onBytes);
      else fs.writev(fd, views.list, position, this.#onBytes);
    }
  }

  #writeZeros(fd: number): void {
    const request = this.#request as Request;
    zeros ??= new Uint8Array(ZEROS_BYTES);
    const bytes = Math.min(this.#goal - this.#done, ZEROS_BYTES);
    const position = request.sector * SECTOR_BYTES + this.#done;
    this.#file.env.fs.write(fd, zeros, bytes, position, this.#onBytes);
  }

  #callRange(): void {
    const { env, fd, isBlock } = this.#file;
    const { native } = env;
    const request = this.#request as Request;
    assert(native !== null, 'file: range call without a door');
    const start = request.sector * SECTOR_BYTES;
    const { bytes } = request;
    const isDiscard = request.op === BioOp.DISCARD;
    if (isBlock) {
      native.ioctlRange(fd, isDiscard ? BLKDISCARD : BLKZEROOUT, start, bytes, this.#onStatus);
      return;
    }
    const punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    native.fallocate(fd, isDiscard ? punch : FALLOC_FL_ZERO_RANGE, start, bytes, this.#onStatus);
  }

  readonly #onBytes = (error: FsError | null, bytes: number): void => {
    if (this.#hasTurn) {
      this.#hasTurn = false;
      this.#file.turns?.leave();
    }
    if (error) {
      this.#failed(statusOf(error));
      return;
    }
    const request = this.#request as Request;
    const start = request.sector * SECTOR_BYTES;
    this.#retries = 0;
    this.#done += bytes;
    assert(this.#done <= this.#goal, 'file: the host moved more than it was asked to');
    if (request.op === BioOp.READ) {
      this.#file.didRead(start + this.#done, start + this.#goal);
    } else {
      if (bytes === 0) {
        this.#failed(-Errno.EIO); // No progress and no reason: never a loop.
        return;
      }
      this.#file.wrote(start + this.#done);
    }
    if (this.#done < this.#goal && this.#step === Step.ZEROS) this.#again();
    else if (this.#done < this.#goal) this.#finish(0, this.#done);
    else this.#stepDone(request);
  };

  /** The step reached its goal. */
  #stepDone(request: Request): void {
    if (this.#done < request.bytes && this.#step === Step.BLOCKS) {
      this.#enter(Step.TAIL, request.bytes);
    } else if (opIsWrite(request.op) && request.isFua) {
      this.#enter(Step.SYNC, request.bytes);
    } else {
      this.#finish(0, request.bytes);
    }
  }

  readonly #onSync = (error: FsError | null): void => {
    if (error) this.#failed(statusOf(error));
    else this.#finish(0, this.#goal);
  };

  /** The end of a range call, or of opening the second descriptor. */
  readonly #onStatus = (status: number): void => {
    if (status < 0) {
      this.#failed(status);
      return;
    }
    if (this.#step !== Step.RANGE) {
      this.#again();
      return;
    }
    const request = this.#request as Request;
    const end = request.sector * SECTOR_BYTES + request.bytes;
    if (request.op === BioOp.WRITE_ZEROES) this.#file.wrote(end);
    this.#done = request.bytes;
    this.#stepDone(request);
  };

  #failed(status: number): void {
    const isPassing = status === -Errno.EINTR || status === -Errno.EAGAIN;
    if (isPassing && this.#retries < RETRIES_MAX) {
      this.#retries++;
      // A turn later: other work gets on, and the cause of an EAGAIN may pass.
      this.#file.env.defer(this.#again);
      return;
    }
    const request = this.#request as Request;
    if (this.#step === Step.RANGE && request.op === BioOp.WRITE_ZEROES && lacksCall(status)) {
      this.#file.zeroesRange = false;
      this.#enter(Step.ZEROS, request.bytes);
      return;
    }
    // Bytes that moved before the error are reported; the caller meets the error with the rest.
    const isShort = this.#step === Step.TAIL && this.#done > 0;
    this.#finish(isShort ? 0 : status, isShort ? this.#done : 0);
  }

  readonly #again = (): void => {
    if (this.#isCancelled) this.#finish(-Errno.ECANCELED, 0);
    else this.#issue();
  };

  #finish(status: number, bytesDone: number): void {
    const tag = this.#tag;
    assert(tag !== TAG_NONE, 'file: completed twice');
    this.#step = Step.IDLE;
    this.#tag = TAG_NONE;
    this.#request = null;
    const slot = slotOf(tag);
    this.#table.status[slot] = status;
    this.#table.bytesDone[slot] = bytesDone;
    this.#ring.push(tag);
    this.#ring.notify();
  }
}

/** EINVAL too: what some file systems say to a mode that they do not know. */
function lacksCall(status: number): boolean {
  return status === -Errno.EOPNOTSUPP || status === -Errno.EINVAL;
}
