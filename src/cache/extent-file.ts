import { BlockError } from '../base/block-error.ts';
import type { IovIter } from '../iter/iov-iter.ts';
import type { CopyPolicy } from '../map/verdict.ts';
import type { ErrorCursor } from './error-sequence.ts';
import { FileCore } from './file-core.ts';
import { type FileEnd, type FileOp, FileOpKind } from './file-op.ts';

/** What a call may ask for. */
export interface FileOptions {
  /** Around the cache, from and to the caller's own pages. */
  readonly direct?: boolean | undefined;
  /** Direct only: 'never' refuses with -EINVAL what the device cannot take as it lies. */
  readonly copy?: CopyPolicy | undefined;
}

/**
 * A file whose bytes lie in extents of a device, with a cache of its pages. Its size and extents
 * live in memory only; its blocks are as long as a page. Linux: a file on iomap.
 *
 * Each call has two forms: `start…` with a callback, and a promise. Both give bytes (0 for what
 * moves none) or a negative errno, and neither runs anything of the caller inside the call.
 */
export class ExtentFile extends FileCore {
  /** Reads at `position` into the caller's memory; fewer bytes at the end or before a fault. */
  startRead(position: number, iter: IovIter, options: FileOptions, onEnd: FileEnd): FileOp {
    const kind = options.direct === true ? FileOpKind.DIRECT_READ : FileOpKind.READ;
    return this.startTransfer(kind, position, iter, options.copy ?? 'auto', onEnd);
  }

  /**
   * Writes the caller's memory at `position`; fewer bytes before a fault, or when the device is
   * full. A direct write is on the device when it ends, but perhaps not on its medium.
   */
  startWrite(position: number, iter: IovIter, options: FileOptions, onEnd: FileEnd): FileOp {
    const kind = options.direct === true ? FileOpKind.DIRECT_WRITE : FileOpKind.WRITE;
    return this.startTransfer(kind, position, iter, options.copy ?? 'auto', onEnd);
  }

  startTruncate(bytes: number, onEnd: FileEnd): FileOp {
    return this.startRange(FileOpKind.TRUNCATE, 0, bytes, onEnd);
  }

  /** Bytes [start, end) are zeros from now on, and give their whole blocks back. */
  startPunchHole(start: number, end: number, onEnd: FileEnd): FileOp {
    return this.startRange(FileOpKind.PUNCH_HOLE, start, end, onEnd);
  }

  /** Blocks for [start, end), unwritten; -ENOSPC changes nothing. */
  startAllocate(start: number, end: number, keepSize: boolean, onEnd: FileEnd): FileOp {
    const op = this.startRange(FileOpKind.ALLOCATE, start, end, onEnd);
    op.keepsSize = keepSize;
    return op;
  }

  read(position: number, iter: IovIter, options: FileOptions = {}): Promise<number> {
    return result((end) => this.startRead(position, iter, options, end));
  }

  write(position: number, iter: IovIter, options: FileOptions = {}): Promise<number> {
    return result((end) => this.startWrite(position, iter, options, end));
  }

  /** 0, or an error of writeback that the opener of `cursor` has not heard of. */
  fsync(cursor: ErrorCursor | null = null): Promise<number> {
    return result((end) => this.startSync(end, cursor));
  }

  /** The same as `fsync`: what else a file has lives in memory only. */
  datasync(cursor: ErrorCursor | null = null): Promise<number> {
    return this.fsync(cursor);
  }

  truncate(bytes: number): Promise<number> {
    return result((end) => this.startTruncate(bytes, end));
  }

  punchHole(start: number, end: number): Promise<number> {
    return result((done) => this.startPunchHole(start, end, done));
  }

  allocate(
    start: number,
    end: number,
    options: { readonly keepSize?: boolean } = {},
  ): Promise<number> {
    const keepSize = options.keepSize ?? false;
    return result((done) => this.startAllocate(start, end, keepSize, done));
  }

  /**
   * Writes what is dirty, waits for all that is in flight, and gives the memory back. Throws the
   * error of the last writeback; the file is closed all the same.
   */
  async close(): Promise<void> {
    const written = await this.fsync();
    await new Promise<void>((resolve) => this.whenIdle(resolve));
    this[Symbol.dispose]();
    if (written < 0)
      throw BlockError.fromErrno(written, { reason: 'writeback failed', syscall: 'fsync' });
  }
}

function result(start: (end: FileEnd) => void): Promise<number> {
  return new Promise((resolve) => start((_op, bytes) => resolve(bytes)));
}
