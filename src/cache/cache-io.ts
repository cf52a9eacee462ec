import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { BioOp } from '../bio/bio-op.ts';
import type { TransferOptions } from '../device/block-device.ts';
import type { Transfer } from '../device/transfer.ts';
import { IovIter, IterDirection } from '../iter/iov-iter.ts';
import { zeroPages } from '../memory/copy.ts';
import type { FileCore } from './file-core.ts';

/** 1 MiB: what one transfer of a cache moves at most, if it is made of single pages. */
export const CACHE_IO_PAGES_MAX = 256;

const AS_IT_FITS: TransferOptions = {};
const FROM_A_COPY: TransferOptions = { copy: 'always' };

/**
 * One stretch of a file between its cached pages and the device. The pages are borrowed: LOCKED
 * (read) or WRITEBACK (write) keeps them in their place until the end. Pooled by its file.
 */
export class CacheIo {
  readonly file: FileCore;
  readonly #iter = new IovIter();
  op: BioOp = BioOp.READ;
  first = 0;
  /** Pages of the file, whole folios. */
  pages = 0;
  /** Device block under `first`. Means something while the stretch is in one piece. */
  device = 0;
  /** A device may write to one of the pages meanwhile: send a copy if the device wants that. */
  isPinned = false;
  /** Transfers in flight, and one more while they are being started. */
  #pending = 0;
  /** Negative errno of the first transfer that failed; else 0. */
  error = 0;
  onEnd: ((io: CacheIo) => void) | null = null;

  constructor(file: FileCore) {
    this.file = file;
  }

  begin(op: BioOp, first: number, device: number, onEnd: (io: CacheIo) => void): void {
    assert(this.#pending === 0, 'cache io: begun in flight');
    this.op = op;
    this.first = first;
    this.pages = 0;
    this.device = device;
    this.isPinned = false;
    this.error = 0;
    this.onEnd = onEnd;
    this.#pending = 1;
    this.file.pressure.started();
  }

  /** Sends pages [index, index + count) of the stretch, which lie at device block `device`. */
  send(index: number, count: number, device: number): void {
    assert(this.#pending > 0 && count > 0, 'cache io: sent outside begin and finish');
    const { file } = this;
    const isRead = this.op === BioOp.READ;
    const direction = isRead ? IterDirection.DEST : IterDirection.SOURCE;
    const bytes = count * PAGE_BYTES;
    const iter = this.#iter;
    iter.initPages(direction, file.cache, index * PAGE_BYTES, bytes);
    const options = this.isPinned && file.wantsStableWrites ? FROM_A_COPY : AS_IT_FITS;
    if (options === FROM_A_COPY) file.counters.pagesBounced += count;
    this.#pending++;
    const at = device * PAGE_BYTES;
    const transfer = file.device.transfer(this.op, at, iter, bytes, options, transferEnded);
    transfer.owner = this;
  }

  /** No more transfers. `onEnd` runs later, from the loop of the device, or not at all before. */
  finish(): void {
    assert(this.#pending > 1, 'cache io: nothing was sent');
    this.#pending--;
  }

  ended(position: number, bytes: number, result: number): void {
    assert(this.#pending > 0, 'cache io: ended twice');
    this.#pending--;
    if (result < 0 && this.error === 0) this.error = result;
    if (result >= 0 && result < bytes) this.#endedShort(position, bytes, result);
    if (this.#pending > 0) return;
    const { onEnd, file } = this;
    assert(onEnd !== null, 'cache io: nobody waits for it');
    onEnd(this);
    file.giveIo(this);
    file.pressure.ended();
  }

  /** A read behind the end of a device that can grow brings zeros; nothing else is short. */
  #endedShort(position: number, bytes: number, result: number): void {
    this.file.counters.shortTransfers++;
    if (this.op !== BioOp.READ) {
      if (this.error === 0) this.error = -Errno.EIO;
      return;
    }
    assert(position === this.device * PAGE_BYTES, 'cache io: a read in more than one piece');
    for (let at = result; at < bytes; ) {
      const len = PAGE_BYTES - (at % PAGE_BYTES);
      const page = this.file.cache.pageAt(this.first + Math.floor(at / PAGE_BYTES));
      zeroPages(page, at % PAGE_BYTES, len);
      at += len;
    }
  }
}

function transferEnded(transfer: Transfer, result: number): void {
  const io = transfer.owner as CacheIo;
  io.ended(transfer.position, transfer.bytes, result);
}
