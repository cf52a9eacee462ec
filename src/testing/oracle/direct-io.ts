import { assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { slotOf } from '../../base/slots.ts';
import { SECTOR_BYTES } from '../../base/units.ts';
import type { Bio } from '../../bio/bio.ts';
import { releasePages } from '../../bio/bio-add.ts';
import { BioFlag, BioOp } from '../../bio/bio-op.ts';
import type { BioPool } from '../../bio/bio-pool.ts';
import { gatherBio } from '../../bio/gather.ts';
import { BVECS_PER_BIO_MAX } from '../../bvec/bvec-table.ts';
import type { Engine } from '../../engine/contract.ts';
import { type IovIter, IterDirection, IterKind } from '../../iter/iov-iter.ts';
import { isAligned, npages } from '../../iter/iter-align.ts';
import type { Profile } from '../../limits/profile.ts';
import type { BlockQueue } from '../../queue/block-queue.ts';
import type { RequestTable } from '../../queue/request-table.ts';

export interface DirectFileOptions {
  readonly queue: BlockQueue;
  readonly engine: Engine;
  readonly table: RequestTable;
  readonly bios: BioPool;
  readonly profile: Profile;
  /** Told of every bio before it is submitted. */
  readonly onBio: (bio: Bio) => void;
}

/** An io_submit of more iocbs than this holds its requests back (Linux: AIO_PLUG_THRESHOLD). */
const AIO_PLUG_THRESHOLD = 2;
const REAP_MAX = 64;

/** One read or write of the program, over all its bios. */
class Transfer {
  bytes = 0;
  /** 0 or the first error of any bio. */
  status = 0;

  get result(): number {
    return this.status < 0 ? this.status : this.bytes;
  }
}

/**
 * The file operations of a block device opened with O_DIRECT, in front of the queue: what a kernel
 * does between the system call and submit_bio(). Only a replay needs it; the library's own
 * submitter is `device/submit.ts`, which copies what is misaligned.
 * Linux: block/fops.c, and the plug of io_submit() in fs/aio.c.
 */
export class DirectFile {
  readonly #options: DirectFileOptions;
  readonly #reaped = new Uint32Array(REAP_MAX);

  constructor(options: DirectFileOptions) {
    this.#options = options;
  }

  /** preadv2() or pwritev2(): bytes or -errno. */
  transfer(iter: IovIter, position: number, nowait: boolean): number {
    const refused = this.#admit(iter, position);
    if (refused !== null) return refused;
    const transfer = new Transfer();
    this.#plugWrites(iter);
    const error = this.#send(transfer, iter, position, nowait);
    this.#unplugWrites(iter, true);
    this.#wait();
    const result = error < 0 ? error : transfer.result;
    // A short direct transfer goes on through the page cache, up to the byte that faults.
    return result <= 0 ? result : result + reachableBytes(iter);
  }

  /** io_submit(): the result of each iocb, after all have completed. */
  submitAll(iocbs: readonly { readonly iter: IovIter; readonly position: number }[]): number[] {
    const { queue } = this.#options;
    const isPlugged = iocbs.length > AIO_PLUG_THRESHOLD;
    if (isPlugged) queue.startPlug();
    const results = iocbs.map(({ iter, position }) => this.#start(iter, position));
    if (isPlugged) queue.finishPlug();
    this.#wait();
    return results.map((result) => (typeof result === 'number' ? result : result.result));
  }

  /** io_uring READ_FIXED or WRITE_FIXED. `iter` is of kind BVEC. */
  transferFixed(iter: IovIter, position: number): number {
    const result = this.#start(iter, position);
    this.#wait();
    return typeof result === 'number' ? result : result.result;
  }

  /** Starts one asynchronous transfer; a number = it ended at once. */
  #start(iter: IovIter, position: number): Transfer | number {
    const refused = this.#admit(iter, position);
    if (refused !== null) return refused;
    const transfer = new Transfer();
    this.#plugWrites(iter);
    const error = this.#send(transfer, iter, position, false);
    this.#unplugWrites(iter, false);
    return error < 0 ? error : transfer;
  }

  /**
   * Linux 6.1 has a plug around each write: blkdev_write_iter(). 6.12 has none, but where a plug
   * issues in order nobody can tell: fronts of splits do not merge, and several bios have a plug
   * anyway.
   */
  #plugWrites(iter: IovIter): void {
    if (iter.direction === IterDirection.SOURCE) this.#options.queue.startPlug();
  }

  #unplugWrites(iter: IovIter, sleeping: boolean): void {
    if (iter.direction === IterDirection.SOURCE) this.#options.queue.finishPlug(sleeping);
  }

  #send(transfer: Transfer, iter: IovIter, position: number, nowait: boolean): number {
    const pages = iter.kind === IterKind.BVEC ? 0 : npages(iter, BVECS_PER_BIO_MAX + 1);
    if (pages > BVECS_PER_BIO_MAX) return this.#multi(transfer, iter, position, nowait);
    return this.#simple(transfer, iter, position, pages, nowait);
  }

  /** Cuts `iter` at the end of the device and checks what is left. null = go on. */
  #admit(iter: IovIter, position: number): number | null {
    const { engine, queue } = this.#options;
    const sizeBytes = engine.sizeBytes();
    if (iter.count === 0) return 0;
    if (position >= sizeBytes) return iter.direction === IterDirection.DEST ? 0 : -Errno.ENOSPC;
    iter.truncate(sizeBytes - position);
    const { logical_block_size: blockBytes, dma_alignment: addrMask } = queue.limits;
    if (position % blockBytes !== 0) return -Errno.EINVAL;
    return isAligned(iter, addrMask, blockBytes - 1) ? null : -Errno.EINVAL;
  }

  /** Everything in one bio. Linux: __blkdev_direct_IO_simple() and _async(). */
  #simple(
    transfer: Transfer,
    iter: IovIter,
    position: number,
    pages: number,
    nowait: boolean,
  ): number {
    const bio = this.#acquire(iter, position, pages);
    const error = this.#gather(bio, iter);
    if (error < 0) return error;
    this.#submit(transfer, bio, nowait);
    return 0;
  }

  /** Bio after bio under one plug. Linux: __blkdev_direct_IO(). */
  #multi(transfer: Transfer, iter: IovIter, position: number, nowait: boolean): number {
    const { queue } = this.#options;
    let error = 0;
    let at = position;
    queue.startPlug();
    while (iter.count > 0) {
      const bio = this.#acquire(iter, at, npages(iter, BVECS_PER_BIO_MAX));
      error = this.#gather(bio, iter);
      if (error < 0) break;
      if (nowait && iter.count > 0) {
        // Another bio could have to wait, so none goes.
        releasePages(bio, false);
        bio.pool.release(bio);
        error = -Errno.EAGAIN;
        break;
      }
      at += bio.size;
      this.#submit(transfer, bio, nowait);
    }
    queue.finishPlug();
    return error;
  }

  #acquire(iter: IovIter, position: number, vecs: number): Bio {
    const op = iter.direction === IterDirection.DEST ? BioOp.READ : BioOp.WRITE;
    const bio = this.#options.bios.acquire(op, position / SECTOR_BYTES, vecs);
    assert(bio !== null, 'direct I/O: the transfer needs more bios than the replay has');
    return bio;
  }

  #gather(bio: Bio, iter: IovIter): number {
    const { queue, profile } = this.#options;
    const error = gatherBio(bio, iter, queue.limits.logical_block_size, profile);
    if (error < 0) bio.pool.release(bio);
    return error;
  }

  #submit(transfer: Transfer, bio: Bio, nowait: boolean): void {
    transfer.bytes += bio.size;
    if (nowait) bio.flags |= BioFlag.NOWAIT;
    bio.endIo = endBioOfTransfer;
    bio.owner = transfer;
    this.#options.onBio(bio);
    this.#options.queue.submitBio(bio);
  }

  /** Runs completions until nothing is under way. */
  #wait(): void {
    const { queue, engine, table } = this.#options;
    const tags = this.#reaped;
    for (;;) {
      const count = engine.reap(tags, REAP_MAX);
      for (let i = 0; i < count; i++) {
        const slot = slotOf(tags[i]);
        queue.finishRequest(table.get(tags[i]), table.status[slot], table.bytesDone[slot]);
      }
      const failed = queue.hasFailed ? queue.endFailed(REAP_MAX) : 0;
      if (queue.isBlocked) queue.resume();
      else if (count === 0 && failed === 0) break;
    }
    assert(queue.inFlight === 0, 'direct I/O: requests outlive their transfer');
  }
}

/**
 * Bytes from the position of `iter` on that a CPU can copy before the first fault. The recorded
 * files have no read errors behind their faults, so that memory alone ends the copy.
 * Linux: filemap_read(), and generic_perform_write() after a short direct write.
 */
function reachableBytes(iter: IovIter): number {
  let bytes = 0;
  while (iter.count > 0) {
    const found = iter.piece(iter.access, iter.count);
    if (found <= 0) break;
    iter.advance(found);
    bytes += found;
  }
  return bytes;
}

function endBioOfTransfer(bio: Bio): void {
  const transfer = bio.owner as Transfer;
  if (transfer.status === 0) transfer.status = bio.status;
  releasePages(bio, bio.op === BioOp.READ);
  bio.pool.release(bio);
}
