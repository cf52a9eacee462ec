import type { Readable } from 'node:stream';
import { BlockError, type BlockErrorCode } from '../../base/block-error.ts';
import { Errno } from '../../base/errno.ts';
import type { CopySource } from './endpoint.ts';

/**
 * Standard input or any other stream of bytes: read once, in order. Its chunks are copied into the
 * buffers of the copy, because a stream gives memory of its own.
 */
export class StreamSource implements CopySource {
  readonly disk = null;
  readonly size = null;
  readonly name: string;
  readonly #readable: Readable;
  readonly #chunks: AsyncIterator<Uint8Array>;
  /** What the last chunk had too much. */
  #rest: Uint8Array | null = null;
  #isAbandoned = false;
  #giveUp: (() => void) | null = null;

  constructor(readable: Readable, name: string) {
    this.name = name;
    this.#readable = readable;
    this.#chunks = readable[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  }

  /** Fills `into`; fewer bytes only at the end. Pre: one call at a time. */
  async read(into: Uint8Array): Promise<number> {
    let done = 0;
    while (done < into.length) {
      const chunk = this.#rest ?? (await this.#next());
      if (chunk === null) break;
      const take = Math.min(chunk.length, into.length - done);
      into.set(take < chunk.length ? chunk.subarray(0, take) : chunk, done);
      this.#rest = take < chunk.length ? chunk.subarray(take) : null;
      done += take;
    }
    return done;
  }

  /** Not by the stream's own means alone: some end only when their source says something. */
  abandon(): void {
    this.#isAbandoned = true;
    this.#giveUp?.();
    this.#readable.destroy();
  }

  async close(): Promise<void> {
    this.#readable.destroy();
  }

  async #next(): Promise<Uint8Array | null> {
    if (this.#isAbandoned) throw this.#aborted();
    const given = new Promise<never>((_, reject) => {
      this.#giveUp = () => reject(this.#aborted());
    });
    try {
      const { value, done } = await Promise.race([this.#chunks.next(), given]);
      return done === true ? null : value;
    } catch (error) {
      throw this.#isAbandoned ? this.#aborted() : streamError(error, 'read', this.name);
    } finally {
      this.#giveUp = null;
    }
  }

  #aborted(): BlockError {
    return new BlockError('ECANCELED', { reason: 'stopped', syscall: 'read', device: this.name });
  }
}

const REASONS: Readonly<Record<string, string>> = {
  EPIPE: 'nobody reads the pipe any more',
  ENOSPC: 'no space left on the device',
  EISDIR: 'it is a directory',
  EBADF: 'it is not open for that',
};

/** An error of node:fs or of a stream, as the one error class. */
export function streamError(cause: unknown, syscall: string, device: string): BlockError {
  const { code = 'EIO', message } = cause as NodeJS.ErrnoException;
  const known = (Object.hasOwn(Errno, code) ? code : 'EIO') as BlockErrorCode;
  return new BlockError(known, { reason: REASONS[code] ?? message, syscall, device, cause });
}
