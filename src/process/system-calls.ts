import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { FileOpKind } from '../cache/file-op.ts';
import type { UserSpace } from '../memory/user/user-space.ts';
import type { OpenFile } from './open-file.ts';
import { type CallEnd, fileOpEnded, SystemCall } from './system-call.ts';

const ONE_ADDR = new Float64Array(1);
const ONE_LEN = new Float64Array(1);

/** Runs a function later, from the loop, in the order of the calls. */
export type Defer = (run: () => void) => void;

/**
 * The system calls of one process that move bytes or wait, in callback form: `done` runs once,
 * later, with bytes (or 0) or a negative errno. No promise, and no allocation once the pools are
 * warm. A fault in the middle gives the short count, and the next call the error, as read(2).
 */
export class SystemCalls {
  readonly space: UserSpace;
  readonly files: (OpenFile | null)[];
  readonly defer: Defer;
  readonly #free: SystemCall[] = [];
  readonly #active: SystemCall[] = [];
  #isKilled = false;

  constructor(space: UserSpace, files: (OpenFile | null)[], defer: Defer) {
    this.space = space;
    this.files = files;
    this.defer = defer;
  }

  /** Calls in flight. */
  get active(): number {
    return this.#active.length;
  }

  read(fd: number, addr: number, bytes: number, done: CallEnd): void {
    this.#one(fd, true, addr, bytes, -1, done);
  }

  write(fd: number, addr: number, bytes: number, done: CallEnd): void {
    this.#one(fd, false, addr, bytes, -1, done);
  }

  pread(fd: number, addr: number, bytes: number, position: number, done: CallEnd): void {
    assert(position >= 0, 'pread: a negative position');
    this.#one(fd, true, addr, bytes, position, done);
  }

  pwrite(fd: number, addr: number, bytes: number, position: number, done: CallEnd): void {
    assert(position >= 0, 'pwrite: a negative position');
    this.#one(fd, false, addr, bytes, position, done);
  }

  /** `addr` and `lens`: the ranges; `position` < 0: that of the open file. Linux: preadv(). */
  readv(
    fd: number,
    addr: ArrayLike<number>,
    lens: ArrayLike<number>,
    position: number,
    done: CallEnd,
  ): void {
    this.#move(fd, true, addr, lens, addr.length, position, done);
  }

  writev(
    fd: number,
    addr: ArrayLike<number>,
    lens: ArrayLike<number>,
    position: number,
    done: CallEnd,
  ): void {
    this.#move(fd, false, addr, lens, addr.length, position, done);
  }

  fsync(fd: number, done: CallEnd): void {
    const call = this.#begin(fd, done);
    if (call === null) return;
    const file = call.file as OpenFile;
    if (file.file === null) {
      call.endLater(0);
      return;
    }
    call.own(file.file.startSync(fileOpEnded, file.errors));
  }

  ftruncate(fd: number, bytes: number, done: CallEnd): void {
    const call = this.#begin(fd, done);
    if (call === null) return;
    const file = (call.file as OpenFile).file;
    if (file === null || bytes < 0) {
      call.endLater(-Errno.EINVAL);
      return;
    }
    call.own(file.startRange(FileOpKind.TRUNCATE, 0, bytes, fileOpEnded));
  }

  /** Linux: fallocate() with FALLOC_FL_PUNCH_HOLE. */
  punchHole(fd: number, position: number, bytes: number, done: CallEnd): void {
    const call = this.#begin(fd, done);
    if (call === null) return;
    const file = (call.file as OpenFile).file;
    if (file === null) {
      call.endLater(-Errno.EOPNOTSUPP);
      return;
    }
    if (position < 0 || bytes <= 0) {
      call.endLater(-Errno.EINVAL);
      return;
    }
    call.own(file.startRange(FileOpKind.PUNCH_HOLE, position, position + bytes, fileOpEnded));
  }

  /** Linux: fallocate(); the file grows if need be. */
  allocate(fd: number, position: number, bytes: number, done: CallEnd): void {
    const call = this.#begin(fd, done);
    if (call === null) return;
    const file = (call.file as OpenFile).file;
    if (file === null) {
      call.endLater(-Errno.EOPNOTSUPP);
      return;
    }
    if (position < 0 || bytes <= 0) {
      call.endLater(-Errno.EINVAL);
      return;
    }
    call.own(file.startRange(FileOpKind.ALLOCATE, position, position + bytes, fileOpEnded));
  }

  /** Ends every call in flight with -EINTR as soon as the device has let go of the memory. */
  kill(): void {
    this.#isKilled = true;
    for (const { transfer } of [...this.#active]) {
      if (transfer !== null) transfer.device.cancel(transfer);
    }
  }

  /** Gives up the `n`-th call in flight, if it can: it ends with -ECANCELED. Linux: io_cancel(). */
  cancelAt(n: number): void {
    if (this.#active.length === 0) return;
    const { transfer } = this.#active[n % this.#active.length];
    if (transfer !== null) transfer.device.cancel(transfer);
  }

  /** What a call that ended below answers: a killed process hears -EINTR, whatever failed. */
  resultOf(result: number): number {
    return this.#isKilled && result < 0 ? -Errno.EINTR : result;
  }

  /** For `SystemCall.end` alone. */
  give(call: SystemCall): void {
    const at = this.#active.indexOf(call);
    assert(at >= 0, 'system call: ended, but was not in flight');
    this.#active[at] = this.#active[this.#active.length - 1];
    this.#active.pop();
    this.#free.push(call);
  }

  #one(
    fd: number,
    isRead: boolean,
    addr: number,
    bytes: number,
    position: number,
    done: CallEnd,
  ): void {
    ONE_ADDR[0] = addr;
    ONE_LEN[0] = bytes;
    this.#move(fd, isRead, ONE_ADDR, ONE_LEN, 1, position, done);
  }

  #move(
    fd: number,
    isRead: boolean,
    addr: ArrayLike<number>,
    lens: ArrayLike<number>,
    rows: number,
    at: number,
    done: CallEnd,
  ): void {
    const call = this.#begin(fd, done);
    if (call === null) return;
    const file = call.file as OpenFile;
    const error = call.import(isRead, addr, lens, rows);
    if (error < 0) {
      call.endLater(error);
      return;
    }
    call.isSequential = at < 0;
    const position = at < 0 ? file.position : at;
    const target = file.file;
    if (target === null) {
      call.transferDevice(file, isRead, position);
      return;
    }
    const kind = kindOf(isRead, file.isDirect);
    call.own(target.startTransfer(kind, position, call.iter, 'auto', fileOpEnded));
  }

  /** Null: no such descriptor, and `done` hears of it. The open file lives as long as the call. */
  #begin(fd: number, done: CallEnd): SystemCall | null {
    assert(!this.#isKilled, 'system call: of a process that is gone');
    const file = this.files[fd] ?? null;
    const call = this.#free.pop() ?? new SystemCall(this);
    this.#active.push(call);
    call.done = done;
    call.file = file;
    if (file !== null) {
      file.acquire();
      return call;
    }
    call.endLater(-Errno.EBADF);
    return null;
  }
}

function kindOf(isRead: boolean, isDirect: boolean): FileOpKind {
  if (isDirect) return isRead ? FileOpKind.DIRECT_READ : FileOpKind.DIRECT_WRITE;
  return isRead ? FileOpKind.READ : FileOpKind.WRITE;
}
