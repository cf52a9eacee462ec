import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { BioOp } from '../bio/bio-op.ts';
import type { FileOp } from '../cache/file-op.ts';
import type { TransferOptions } from '../device/block-device.ts';
import type { Transfer } from '../device/transfer.ts';
import { IovIter, IterDirection } from '../iter/iov-iter.ts';
import { IOVEC_ROWS_MAX, Iovec } from '../iter/iovec.ts';
import type { OpenFile } from './open-file.ts';
import type { SystemCalls } from './system-calls.ts';

/** Called once, later, never from inside the call. Bytes or 0, or a negative errno. */
export type CallEnd = (result: number) => void;

const NO_OPTIONS: TransferOptions = {};

/** One system call in flight. Pooled by its process. */
export class SystemCall {
  readonly calls: SystemCalls;
  readonly iovec = new Iovec(8);
  readonly iter = new IovIter();
  file: OpenFile | null = null;
  /** The position of the open file goes on by what was moved. */
  isSequential = false;
  transfer: Transfer | null = null;
  done: CallEnd | null = null;
  /** Known at once: told from the loop. */
  result = 0;

  constructor(calls: SystemCalls) {
    this.calls = calls;
  }

  /** Imports ranges of the program's memory. 0, or -EINVAL, -EFAULT. Linux: import_iovec(). */
  import(isRead: boolean, addr: ArrayLike<number>, lens: ArrayLike<number>, rows: number): number {
    const { iovec, iter } = this;
    if (rows > IOVEC_ROWS_MAX) return -Errno.EINVAL;
    const bytes = iovec.importRanges(addr, lens, rows);
    if (bytes < 0) return bytes;
    const direction = isRead ? IterDirection.DEST : IterDirection.SOURCE;
    iter.initUser(direction, this.calls.space, iovec);
    return 0;
  }

  /** A whole device as a block special file: reads end at its end, writes are cut there. */
  transferDevice(file: OpenFile, isRead: boolean, position: number): void {
    const { iter } = this;
    const left = Math.max(file.sizeBytes - position, 0);
    if (iter.count === 0 || (isRead && left === 0)) {
      this.endLater(0);
      return;
    }
    if (left === 0) {
      this.endLater(-Errno.ENOSPC);
      return;
    }
    iter.truncate(left);
    const op = isRead ? BioOp.READ : BioOp.WRITE;
    const { device } = file;
    this.transfer = device.transfer(op, position, iter, iter.count, NO_OPTIONS, transferEnded);
    this.transfer.owner = this;
  }

  /** `op` works for this call until it ends. */
  own(op: FileOp): void {
    op.owner = this;
  }

  /** For what is known at once: the caller hears of it from the loop. */
  endLater(result: number): void {
    this.result = result;
    this.calls.defer(this.#endDeferred);
  }

  readonly #endDeferred = (): void => {
    this.end(this.result);
  };

  end(result: number): void {
    const { done, file } = this;
    assert(done !== null, 'system call: ended twice');
    if (this.isSequential && result > 0 && file !== null) file.position += result;
    this.done = null;
    this.transfer = null;
    this.file = null;
    this.isSequential = false;
    this.iter.clear();
    this.calls.give(this);
    file?.release();
    done(result);
  }
}

function transferEnded(transfer: Transfer, result: number): void {
  const call = transfer.owner as SystemCall;
  call.end(call.calls.resultOf(result));
}

/** End of every call on a file of extents. */
export function fileOpEnded(op: FileOp, result: number): void {
  const call = op.owner as SystemCall;
  call.end(call.calls.resultOf(result));
}
