import {
  IORING_FSYNC_DATASYNC,
  IORING_OP_FALLOCATE,
  IORING_OP_FSYNC,
  IORING_OP_READV_FIXED,
  IOSQE_ASYNC,
  IOSQE_FIXED_FILE,
  IOSQE_IO_LINK,
  RWF_DSYNC,
} from '../../abi/io-uring.ts';
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
} from '../../abi/linux-fs.ts';
import { assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { slotOf, TAG_NONE } from '../../base/slots.ts';
import { KIB, SECTOR_BYTES } from '../../base/units.ts';
import { BioOp, opIsWrite } from '../../bio/bio-op.ts';
import type { Request } from '../../queue/request.ts';
import type { RequestTable } from '../../queue/request-table.ts';
import type { Engine, EngineInfo, Extent, WriterLock } from '../contract.ts';
import type { FileEngine } from '../file/file-engine.ts';
import type { OpenFile } from '../file/open-file.ts';
import { CompletionRing } from '../memory/completion-ring.ts';
import type { Lane, LaneOwner } from './lane.ts';
import { transferOp } from './transfer-op.ts';

// Row = one slot, indexed by slotOf(tag).   unit    invariant
//   #tag       Uint32   tag      of the request that the ring has, or TAG_NONE
//   #retries   Uint8    count    of EAGAIN and EINTR in a row
//   #isGivenUp Uint8    0 or 1   cancelled: not tried again

/** How often in a row the kernel may say EINTR or EAGAIN before the request fails with it. */
const RETRIES_MAX = 16;
/**
 * From here on a transfer through the page cache goes to the kernel's threads at once: its copy
 * would hold up this thread for longer than the hop costs, and two copies run beside each other.
 */
const ASYNC_BYTES = 256 * KIB;
/**
 * A write into the page cache may have to find pages and blocks: it takes as long as a read of so
 * many times its bytes. So 64 writes of 4 KiB go in one call at most.
 */
const WRITE_WORK = 4;
const FLAGS_SHIFT = 8;

/**
 * Regular files and block devices by io_uring. What the ring has no better call for goes by the
 * file engine behind it: the tail of a direct file, ioctls, zeros where no call makes them.
 */
export class UringEngine implements Engine, LaneOwner {
  readonly info: EngineInfo;
  readonly writerLock: WriterLock;
  readonly #lane: Lane;
  readonly #release: () => void;
  readonly #inner: FileEngine;
  readonly #file: OpenFile;
  readonly #done: CompletionRing;
  readonly #owner: number;
  /** Index of the registered file, or -1. */
  readonly #fileIndex: number;
  /** What entries name the file by, and the flag that says how. */
  readonly #fd: number;
  readonly #fdFlags: number;
  readonly #innerTags: Uint32Array;
  /** struct __kernel_timespec of the timeout of reads and writes; address 0: there is none. */
  readonly #timespec = new Int32Array(new SharedArrayBuffer(16));
  readonly #timeoutAddress: number;
  readonly #retrying: number[] = [];
  #table: RequestTable | null = null;
  #tag = new Uint32Array(0);
  #retries = new Uint8Array(0);
  #isGivenUp = new Uint8Array(0);
  /** Accepted and not reaped. */
  #busy = 0;
  /** Of these, with the engine behind. */
  #innerBusy = 0;
  #isInnerArmed = false;
  #isClosed = false;

  /** `timeoutMs` 0: none. `release` gives the lane back. */
  constructor(
    lane: Lane,
    inner: FileEngine,
    info: EngineInfo,
    timeoutMs: number,
    release: () => void,
  ) {
    this.info = info;
    this.#lane = lane;
    this.#release = release;
    this.#timeoutAddress = timeoutMs === 0 ? 0 : this.#setTimeout(timeoutMs);
    this.#inner = inner;
    this.#file = inner.file;
    this.writerLock = inner.writerLock;
    this.#done = new CompletionRing(info.depth, lane.defer);
    this.#owner = lane.addOwner(this);
    this.#fileIndex = lane.files.add(inner.file.fd);
    this.#fd = this.#fileIndex < 0 ? inner.file.fd : this.#fileIndex;
    this.#fdFlags = this.#fileIndex < 0 ? 0 : IOSQE_FIXED_FILE << FLAGS_SHIFT;
    this.#innerTags = new Uint32Array(info.depth);
  }

  sizeBytes(): number {
    return this.#file.sizeBytes;
  }

  attach(table: RequestTable): void {
    assert(this.#table === null, 'uring: attached twice');
    this.#table = table;
    this.#tag = new Uint32Array(table.depth).fill(TAG_NONE);
    this.#retries = new Uint8Array(table.depth);
    this.#isGivenUp = new Uint8Array(table.depth);
    this.#inner.attach(table);
  }

  submit(tags: Uint32Array, first: number, count: number): number {
    const table = this.#table;
    assert(table !== null, 'uring: submit before attach');
    assert(first + count <= tags.length, 'uring: submit outside the list of tags');
    if (this.#isClosed) return -Errno.ENODEV;
    const free = this.info.depth - this.#busy;
    const room = count < free ? count : free;
    for (let i = 0; i < room; i++) {
      const tag = tags[first + i];
      const request = table.get(tag);
      if (!this.#takes(request)) {
        this.#toInner(tags, first + i);
        continue;
      }
      if (!this.#lane.makeRoom()) {
        this.#lane.endSubmit();
        return i;
      }
      this.#busy++;
      this.#retries[slotOf(tag)] = 0;
      this.#isGivenUp[slotOf(tag)] = 0;
      this.#put(tag, request);
    }
    this.#lane.endSubmit();
    return room;
  }

  reap(tags: Uint32Array, max: number): number {
    if (this.#done.count === 0 && this.#busy > 0) this.#lane.poke();
    const count = this.#done.drain(tags, max);
    this.#busy -= count;
    assert(this.#busy >= 0, 'uring: reaped more than was accepted');
    return count;
  }

  cancel(tag: number): number {
    if (tag === TAG_NONE || this.#table === null) return -Errno.ENOENT;
    const slot = slotOf(tag);
    if (this.#tag[slot] === tag) {
      this.#isGivenUp[slot] = 1;
      this.#lane.cancel(tag, this.#owner);
      return 0;
    }
    if (this.#innerBusy > 0 && this.#inner.cancel(tag) === 0) return 0;
    return this.#done.find(tag);
  }

  arm(wake: () => void): void {
    this.#done.arm(wake);
  }

  extents(start: number, end: number): AsyncIterable<Extent> {
    return this.#inner.extents(start, end);
  }

  truncate(bytes: number): Promise<void> {
    return this.#inner.truncate(bytes);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    assert(this.#busy === 0, 'uring: closed with requests in flight');
    this.#isClosed = true;
    // The ring's reference goes first, or a device would stay busy after `close`.
    if (this.#fileIndex >= 0) this.#lane.files.remove(this.#fileIndex);
    this.#lane.removeOwner(this.#owner);
    this.#release();
    await this.#inner.close();
  }

  completed(tag: number, result: number): void {
    const table = this.#table as RequestTable;
    const slot = slotOf(tag);
    assert(this.#tag[slot] === tag, 'uring: a completion that nobody waits for');
    this.#tag[slot] = TAG_NONE;
    const request = table.get(tag);
    if (result < 0) {
      this.#failed(tag, request, result);
      return;
    }
    const start = request.sector * SECTOR_BYTES;
    switch (request.op) {
      case BioOp.READ:
        this.#file.didRead(start + result, start + request.bytes);
        this.#finish(tag, 0, result);
        return;
      case BioOp.WRITE:
        this.#file.wrote(start + result);
        // No progress and no reason: never a loop.
        this.#finish(tag, result === 0 ? -Errno.EIO : 0, result);
        return;
      case BioOp.WRITE_ZEROES:
        this.#file.wrote(start + request.bytes);
        this.#finish(tag, 0, request.bytes);
        return;
      default:
        this.#finish(tag, 0, request.bytes);
    }
  }

  #failed(tag: number, request: Request, status: number): void {
    const slot = slotOf(tag);
    if (status === -Errno.EINTR || status === -Errno.EAGAIN) {
      if (this.#isGivenUp[slot] === 1) {
        this.#finish(tag, -Errno.ECANCELED, 0);
        return;
      }
      if (this.#retries[slot] < RETRIES_MAX) {
        this.#retries[slot]++;
        this.#tryLater(tag);
        return;
      }
    }
    if (status === -Errno.ECANCELED && this.#isGivenUp[slot] === 0) {
      this.#finish(tag, -Errno.ETIMEDOUT, 0); // Nobody else cancels than we and the timeout.
      return;
    }
    const lacksCall = status === -Errno.EOPNOTSUPP || status === -Errno.EINVAL;
    if (request.op === BioOp.WRITE_ZEROES && lacksCall) {
      this.#file.zeroesRange = false; // From here on the engine behind writes zeros.
      this.#tryLater(tag);
      return;
    }
    this.#finish(tag, status, 0);
  }

  /** A turn of the loop later: other work gets on, and the cause may pass. */
  #tryLater(tag: number): void {
    this.#tag[slotOf(tag)] = tag;
    this.#retrying.push(tag);
    if (this.#retrying.length === 1) this.#lane.env.defer(this.#retry);
  }

  readonly #retry = (): void => {
    const table = this.#table as RequestTable;
    for (let left = this.#retrying.length; left > 0; left--) {
      const tag = this.#retrying.shift() as number;
      const slot = slotOf(tag);
      const request = table.get(tag);
      if (this.#isGivenUp[slot] === 1) {
        this.#tag[slot] = TAG_NONE;
        this.#finish(tag, -Errno.ECANCELED, 0);
      } else if (!this.#takes(request)) {
        this.#tag[slot] = TAG_NONE;
        this.#busy--;
        this.#innerTags[0] = tag;
        this.#toInner(this.#innerTags, 0);
      } else if (this.#lane.makeRoom()) {
        this.#put(tag, request);
      } else {
        this.#retrying.push(tag);
      }
    }
    if (this.#retrying.length > 0) this.#lane.env.defer(this.#retry);
  };

  #finish(tag: number, status: number, bytesDone: number): void {
    const table = this.#table as RequestTable;
    const slot = slotOf(tag);
    table.status[slot] = status;
    table.bytesDone[slot] = bytesDone;
    this.#done.push(tag);
    this.#done.notify();
  }

  /** Whether the ring has a call for all of `request`. */
  #takes(request: Request): boolean {
    const { isDirect, isBlock, isReadOnly, blockBytes, sizeBytes, zeroesRange } = this.#file;
    if (isReadOnly && opIsWrite(request.op)) return false;
    switch (request.op) {
      case BioOp.READ:
      case BioOp.WRITE: {
        if (request.bytes === 0) return false;
        if (!isDirect) return true;
        if (request.bytes % blockBytes !== 0) return false;
        // Across the end of a file a direct read would leave zeros behind what it read.
        const end = request.sector * SECTOR_BYTES + request.bytes;
        return request.op === BioOp.WRITE || isBlock || end <= sizeBytes;
      }
      case BioOp.FLUSH:
        return true;
      case BioOp.DISCARD:
      case BioOp.WRITE_ZEROES: {
        if (isBlock || request.isFua || !this.#lane.ring.has(IORING_OP_FALLOCATE)) return false;
        return request.op === BioOp.DISCARD || zeroesRange;
      }
      case BioOp.SECURE_ERASE:
        return false;
    }
  }

  #put(tag: number, request: Request): void {
    this.#tag[slotOf(tag)] = tag;
    const start = request.sector * SECTOR_BYTES;
    const fdFlags = this.#fdFlags;
    const fd = this.#fd;
    const lane = this.#lane;
    const owner = this.#owner;
    switch (request.op) {
      case BioOp.READ:
      case BioOp.WRITE:
        this.#putTransfer(tag, request, start);
        return;
      case BioOp.FLUSH: {
        const first = IORING_OP_FSYNC | fdFlags;
        lane.put(first, fd, 0, 0, 0, IORING_FSYNC_DATASYNC, tag, owner, 0, 0);
        break;
      }
      default: {
        const punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
        const mode = request.op === BioOp.DISCARD ? punch : FALLOC_FL_ZERO_RANGE;
        // struct io_uring_sqe of FALLOCATE: the length is where an address is else.
        const first = IORING_OP_FALLOCATE | fdFlags;
        lane.put(first, fd, start, request.bytes, mode, 0, tag, owner, 0, 0);
      }
    }
    lane.commit(true);
  }

  #putTransfer(tag: number, request: Request, start: number): void {
    const lane = this.#lane;
    const { segments } = lane;
    const { bytes } = request;
    const isRead = request.op === BioOp.READ;
    const rows = segments.load(request);
    const { buffer } = segments;
    let address = segments.address;
    let len = bytes;
    let index = buffer;
    if (rows > 1) {
      if (!lane.ring.has(IORING_OP_READV_FIXED)) index = -1;
      address = segments.rowsAddress;
      len = rows;
      segments.keep(rows);
    }
    const op = transferOp(isRead, rows > 1, index >= 0);
    if (index < 0) index = 0;
    const isCached = !this.#file.isDirect;
    const isInline = isCached && bytes < ASYNC_BYTES;
    let first = op | this.#fdFlags;
    if (isCached && !isInline) first |= IOSQE_ASYNC << FLAGS_SHIFT;
    if (this.#timeoutAddress !== 0) first |= IOSQE_IO_LINK << FLAGS_SHIFT;
    const rwFlags = !isRead && request.isFua ? RWF_DSYNC : 0;
    const work = isRead ? bytes : bytes * WRITE_WORK;
    const inline = isInline ? work : 0;
    lane.put(first, this.#fd, start, address, len, rwFlags, tag, this.#owner, index, inline);
    if (this.#timeoutAddress !== 0) lane.putTimeout(this.#timeoutAddress);
    lane.commit(!isInline);
  }

  #setTimeout(timeoutMs: number): number {
    const seconds = Math.floor(timeoutMs / 1000);
    this.#timespec[0] = seconds;
    this.#timespec[2] = Math.round((timeoutMs - seconds * 1000) * 1e6);
    return this.#lane.ring.addressOf(this.#timespec);
  }

  #toInner(tags: Uint32Array, at: number): void {
    const accepted = this.#inner.submit(tags, at, 1);
    assert(accepted === 1, 'uring: the file engine has no room');
    this.#busy++;
    this.#innerBusy++;
    this.#armInner();
  }

  #armInner(): void {
    if (this.#isInnerArmed || this.#innerBusy === 0) return;
    this.#isInnerArmed = true;
    this.#inner.arm(this.#innerWake);
  }

  readonly #innerWake = (): void => {
    this.#isInnerArmed = false;
    const tags = this.#innerTags;
    const count = this.#inner.reap(tags, tags.length);
    this.#innerBusy -= count;
    for (let i = 0; i < count; i++) this.#done.push(tags[i]);
    this.#done.notify();
    this.#armInner();
  };
}
