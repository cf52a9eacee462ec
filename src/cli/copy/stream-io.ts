import fs from 'node:fs';
import { BlockError, type BlockErrorCode } from '../../base/block-error.ts';
import { Errno } from '../../base/errno.ts';

/** What stops a stream: a signal of the user, and the word that a call is blocked meanwhile. */
export interface StreamOptions {
  readonly fd: number;
  readonly name: string;
  readonly signal: AbortSignal;
}

/** One call of node:fs on a stream. Its buffer is memory of an arena, which cannot be detached. */
type Call = (done: (error: NodeJS.ErrnoException | null, bytes: number) => void) => void;

/** Milliseconds until a descriptor that somebody made non-blocking is asked again. */
const RETRY_MS_MAX = 10;

/**
 * Reads and writes a pipe, socket, terminal or redirected file, in order, by its descriptor. A
 * call may block its thread for good (nobody writes to the pipe): an abort then rejects with
 * ECANCELED, and `isBlocked` says that the thread and the buffer are still in use.
 */
export class StreamIo {
  readonly name: string;
  readonly #fd: number;
  readonly #signal: AbortSignal;
  #isBlocked = false;

  constructor(options: StreamOptions) {
    this.name = options.name;
    this.#fd = options.fd;
    this.#signal = options.signal;
  }

  get isBlocked(): boolean {
    return this.#isBlocked;
  }

  /** Fills `into`; fewer bytes only at the end of the stream. */
  async read(into: Uint8Array): Promise<number> {
    let done = 0;
    while (done < into.length) {
      const rest = into.length - done;
      const bytes = await this.#call('read', (end) => {
        fs.read(this.#fd, into, done, rest, null, end);
      });
      if (bytes === 0) break;
      done += bytes;
    }
    return done;
  }

  async write(from: Uint8Array): Promise<void> {
    for (let done = 0; done < from.length; ) {
      const rest = from.length - done;
      done += await this.#call('write', (end) => {
        fs.write(this.#fd, from, done, rest, null, end);
      });
    }
  }

  async #call(syscall: string, call: Call): Promise<number> {
    for (let waitMs = 1; ; waitMs = Math.min(waitMs * 2, RETRY_MS_MAX)) {
      try {
        return await this.#once(syscall, call);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'EOF') return 0; // Windows says the end of a pipe so.
        if (code !== 'EAGAIN' && code !== 'EINTR') throw this.#error(syscall, error);
        await new Promise((resolve) => setTimeout(resolve, waitMs));
      }
    }
  }

  #once(syscall: string, call: Call): Promise<number> {
    const signal = this.#signal;
    if (signal.aborted) return Promise.reject(this.#aborted(syscall));
    return new Promise((resolve, reject) => {
      const abort = (): void => reject(this.#aborted(syscall));
      signal.addEventListener('abort', abort, { once: true });
      this.#isBlocked = true;
      call((error, bytes) => {
        this.#isBlocked = false;
        signal.removeEventListener('abort', abort);
        if (error) reject(error);
        else resolve(bytes);
      });
    });
  }

  #aborted(syscall: string): BlockError {
    return new BlockError('ECANCELED', { reason: 'stopped', syscall, device: this.name });
  }

  #error(syscall: string, cause: unknown): BlockError {
    if (cause instanceof BlockError) return cause;
    const { code = 'EIO', message } = cause as NodeJS.ErrnoException;
    const reason = REASONS[code] ?? message;
    const known = (Object.hasOwn(Errno, code) ? code : 'EIO') as BlockErrorCode;
    return new BlockError(known, { reason, syscall, device: this.name, cause });
  }
}

const REASONS: Readonly<Record<string, string>> = {
  EPIPE: 'the reader of the pipe has gone',
  ENOSPC: 'no space left on the device',
  EISDIR: 'it is a directory',
  EBADF: 'it is not open for that',
};
