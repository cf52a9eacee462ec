import { assert } from '../../base/assert.ts';
import type { FsError, HostEnv } from '../../base/env.ts';
import { errnoNumber } from '../../base/errno.ts';
import { WriteTurns } from './write-turns.ts';

export interface OpenFileState {
  readonly env: HostEnv;
  readonly fd: number;
  readonly isBlock: boolean;
  readonly isDirect: boolean;
  readonly isReadOnly: boolean;
  /** Bytes: what a direct transfer is a multiple of. */
  readonly blockBytes: number;
  readonly sizeBytes: number;
}

/** -errno of a node:fs error; an unknown one is an I/O error. */
export function statusOf(error: FsError): number {
  return -errnoNumber(error.code ?? 'EIO');
}

/** The descriptors of one file or block device, its size, and what was learned about it. */
export class OpenFile {
  readonly env: HostEnv;
  readonly fd: number;
  readonly isBlock: boolean;
  readonly isDirect: boolean;
  readonly isReadOnly: boolean;
  readonly blockBytes: number;
  /** Cached; follows own writes, and a shrink as soon as a read ends short. */
  sizeBytes: number;
  /** False once the file system said that it has no such call. */
  zeroesRange = true;
  /** Descriptor without O_DIRECT; -1 until it is needed. */
  bufferedFd: number;
  /** Of buffered writes to a regular file; null where writers do not meet at a lock. */
  readonly turns: WriteTurns | null;
  readonly #waiting: ((status: number) => void)[] = [];

  constructor(state: OpenFileState) {
    this.env = state.env;
    this.fd = state.fd;
    this.isBlock = state.isBlock;
    this.isDirect = state.isDirect;
    this.isReadOnly = state.isReadOnly;
    this.blockBytes = state.blockBytes;
    this.sizeBytes = state.sizeBytes;
    this.bufferedFd = state.isDirect ? -1 : state.fd;
    this.turns = state.isDirect || state.isBlock ? null : new WriteTurns();
  }

  /** Bytes up to `end` were written. */
  wrote(end: number): void {
    if (!this.isBlock && end > this.sizeBytes) this.sizeBytes = end;
  }

  /** A read gave bytes up to `end`, `wanted` were asked for. */
  didRead(end: number, wanted: number): void {
    if (this.isBlock) return;
    if (end > this.sizeBytes) this.sizeBytes = end; // Somebody else made it longer.
    if (end >= wanted || end >= this.sizeBytes) return;
    try {
      this.sizeBytes = this.env.fs.fstatSync(this.fd).size;
    } catch {
      this.sizeBytes = end; // What can be read is what there is.
    }
  }

  /**
   * Opens the second descriptor: direct I/O moves whole blocks, and the last bytes of a file are
   * not one. Through /proc, because the path may name another file by now. `done` runs later,
   * with 0 or -errno.
   */
  openBuffered(done: (status: number) => void): void {
    assert(this.bufferedFd < 0, 'file: second descriptor opened twice');
    this.#waiting.push(done);
    if (this.#waiting.length > 1) return;
    const { fs } = this.env;
    const access = this.isReadOnly ? fs.flags.O_RDONLY : fs.flags.O_RDWR;
    fs.open(`/proc/self/fd/${this.fd}`, access, 0, (error, fd) => {
      if (!error) this.bufferedFd = fd;
      const status = error ? statusOf(error) : 0;
      for (const waiter of this.#waiting.splice(0)) waiter(status);
    });
  }

  async close(): Promise<void> {
    const { fd, bufferedFd } = this;
    if (bufferedFd >= 0 && bufferedFd !== fd) await this.#closeFd(bufferedFd);
    await this.#closeFd(fd);
  }

  #closeFd(fd: number): Promise<void> {
    const { fs } = this.env;
    return new Promise((resolve, reject) => {
      fs.close(fd, (error) => (error ? reject(error) : resolve()));
    });
  }
}
