import { Errno } from '../../base/errno.ts';
import type { WriterLock } from '../contract.ts';
import type { OpenFile } from './open-file.ts';

/**
 * The lock belongs to the open file, not to the process: a second engine in the same process does
 * not get it, and the second descriptor of a direct file, which is opened and closed on its own,
 * does not lose it. A child process does not keep it: descriptors are not handed on. Linux:
 * F_OFD_SETLK, fcntl(2).
 */
export class FileLock implements WriterLock {
  readonly #file: OpenFile;

  constructor(file: OpenFile) {
    this.#file = file;
  }

  take(): boolean | null {
    const { env, fd } = this.#file;
    const status = env.native?.lockWhole(fd) ?? -Errno.EOPNOTSUPP;
    if (status === 0) return true;
    return status === -Errno.EAGAIN || status === -Errno.EACCES ? false : null;
  }

  isTaken(): boolean | null {
    const { env, fd } = this.#file;
    const answer = env.native?.isLocked(fd) ?? -Errno.EOPNOTSUPP;
    return answer < 0 ? null : answer === 1;
  }
}
