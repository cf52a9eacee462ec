import {
  AT_EMPTY_PATH,
  F_OFD_GETLK,
  F_OFD_SETLK,
  F_UNLCK,
  F_WRLCK,
  OFFSETOF_L_TYPE,
  OFFSETOF_STX_DIO_MEM_ALIGN,
  OFFSETOF_STX_DIO_OFFSET_ALIGN,
  OFFSETOF_STX_MASK,
  SIZEOF_FLOCK,
  SIZEOF_STATX,
  STATX_DIOALIGN,
} from '../abi/linux-fs.ts';
import type { DirectAlignment, Native, NativeDone } from '../base/env.ts';
import { Errno } from '../base/errno.ts';
import type { Libc } from './libc.ts';

/** Range calls on other threads at once; more wait here. They share libuv's pool with files. */
const LATER_MAX = 4;
const UINT32 = 2 ** 32;

/** `syncCall` gives -1 and an errno; `laterCall` the same on another thread, but for the errno. */
interface RangeCall {
  readonly syncCall: () => number;
  readonly laterCall: (done: (error: Error | null, result: number) => void) => void;
  readonly done: NativeDone;
}

/** The door on Linux, over either FFI library. */
export class LinuxNative implements Native {
  readonly kind: string;
  readonly isAsync: boolean;
  readonly #libc: Libc;
  readonly #waiting: RangeCall[] = [];
  #running = 0;

  constructor(libc: Libc) {
    this.#libc = libc;
    this.kind = libc.kind;
    this.isAsync = libc.later !== null;
  }

  directAlignment(fd: number): DirectAlignment | null {
    const buffer = new Uint8Array(SIZEOF_STATX);
    const result = this.#libc.statx(fd, '', AT_EMPTY_PATH, STATX_DIOALIGN, buffer);
    const fields = new DataView(buffer.buffer);
    // A kernel before 6.1, or a file system that does not answer, leaves the bit out.
    if (result !== 0) return null;
    if ((fields.getUint32(OFFSETOF_STX_MASK, true) & STATX_DIOALIGN) === 0) return null;
    return {
      memory: fields.getUint32(OFFSETOF_STX_DIO_MEM_ALIGN, true),
      offset: fields.getUint32(OFFSETOF_STX_DIO_OFFSET_ALIGN, true),
    };
  }

  lseek(fd: number, offset: number, whence: number): number {
    return this.#result(this.#libc.lseek(fd, offset, whence));
  }

  lockWhole(fd: number): number {
    return this.#result(this.#libc.fcntl(fd, F_OFD_SETLK, wholeFile()));
  }

  isLocked(fd: number): number {
    const lock = wholeFile();
    const result = this.#result(this.#libc.fcntl(fd, F_OFD_GETLK, lock));
    if (result < 0) return result;
    return new DataView(lock.buffer).getUint16(OFFSETOF_L_TYPE, true) === F_UNLCK ? 0 : 1;
  }

  ioctlNumber(fd: number, request: number, width: 2 | 4 | 8): number {
    const buffer = new Uint8Array(8);
    const result = this.#result(this.#libc.ioctl(fd, request, buffer));
    if (result < 0) return result;
    const fields = new DataView(buffer.buffer);
    if (width === 2) return fields.getUint16(0, true);
    if (width === 4) return fields.getUint32(0, true);
    return fields.getUint32(4, true) * UINT32 + fields.getUint32(0, true);
  }

  fallocate(fd: number, mode: number, start: number, bytes: number, done: NativeDone): void {
    const libc = this.#libc;
    this.#run({
      syncCall: () => libc.fallocate(fd, mode, start, bytes),
      laterCall: (ended) => libc.later?.fallocate(fd, mode, start, bytes, ended),
      done,
    });
  }

  ioctlRange(fd: number, request: number, start: number, bytes: number, done: NativeDone): void {
    const libc = this.#libc;
    const range = new Uint8Array(16);
    const fields = new DataView(range.buffer);
    putUint64(fields, 0, start);
    putUint64(fields, 8, bytes);
    this.#run({
      syncCall: () => libc.ioctl(fd, request, range),
      laterCall: (ended) => libc.later?.ioctl(fd, request, range, ended),
      done,
    });
  }

  #run(call: RangeCall): void {
    if (!this.isAsync) {
      setImmediate(() => call.done(this.#result(call.syncCall())));
      return;
    }
    if (this.#running >= LATER_MAX) this.#waiting.push(call);
    else this.#start(call);
  }

  #start(call: RangeCall): void {
    this.#running++;
    call.laterCall((error, result) => {
      this.#running--;
      const next = this.#waiting.shift();
      if (next !== undefined) this.#start(next);
      // The errno stayed on the other thread. The range calls may be repeated, so one more here
      // fails the same way and tells; if it does not fail, the work is done.
      const failed = error !== null || result < 0;
      call.done(failed ? this.#result(call.syncCall()) : result);
    });
  }

  #result(value: number): number {
    return value < 0 ? -(this.#libc.errno() || Errno.EIO) : value;
  }
}

/** struct flock; its zeros say: from the start, without end, of an open file and not a process. */
function wholeFile(): Uint8Array<ArrayBuffer> {
  const lock = new Uint8Array(SIZEOF_FLOCK);
  new DataView(lock.buffer).setUint16(OFFSETOF_L_TYPE, F_WRLCK, true);
  return lock;
}

function putUint64(fields: DataView, at: number, value: number): void {
  fields.setUint32(at, value % UINT32, true);
  fields.setUint32(at + 4, Math.floor(value / UINT32), true);
}
