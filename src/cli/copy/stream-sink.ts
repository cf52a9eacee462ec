import fs from 'node:fs';
import { BlockError } from '../../base/block-error.ts';
import { MIB } from '../../base/units.ts';
import type { CopySink } from './endpoint.ts';
import { streamError } from './stream-source.ts';

const ZEROS_BYTES = MIB;
/** Milliseconds until a descriptor that somebody made non-blocking is asked again. */
const RETRY_MS_MAX = 10;

/**
 * Standard output, or any descriptor that is written once, in order. It stays open. Written on a
 * thread, which a reader that does not read keeps blocked: `abandon` gives up waiting for it.
 */
export class StreamSink implements CopySink {
  readonly disk = null;
  readonly size = null;
  readonly name: string;
  readonly #fd: number;
  #zeros: Uint8Array | null = null;
  #isAbandoned = false;
  #isBlocked = false;
  #giveUp: (() => void) | null = null;

  constructor(fd: number, name: string) {
    this.#fd = fd;
    this.name = name;
  }

  /** A write is still at work, so that an ordinary exit would wait for it. */
  get isBlocked(): boolean {
    return this.#isBlocked;
  }

  /** Pre: one call at a time, in order. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let done = 0, waitMs = 1; done < bytes.length; ) {
      try {
        done += await this.#once(bytes, done);
        waitMs = 1;
      } catch (error) {
        if (error instanceof BlockError) throw error;
        const { code } = error as NodeJS.ErrnoException;
        if (code !== 'EAGAIN' && code !== 'EINTR') throw streamError(error, 'write', this.name);
        await new Promise((resolve) => setTimeout(resolve, waitMs));
        waitMs = Math.min(waitMs * 2, RETRY_MS_MAX);
      }
    }
  }

  /** A stream has no holes: zeros go out as bytes. */
  async zero(_position: number, bytes: number): Promise<void> {
    this.#zeros ??= new Uint8Array(new SharedArrayBuffer(ZEROS_BYTES));
    for (let at = 0; at < bytes; at += ZEROS_BYTES) {
      await this.write(this.#zeros.subarray(0, Math.min(ZEROS_BYTES, bytes - at)));
    }
  }

  abandon(): void {
    this.#isAbandoned = true;
    this.#giveUp?.();
  }

  async finish(): Promise<void> {}

  async flush(): Promise<void> {
    const reason = 'a stream has no medium to flush';
    throw new BlockError('EINVAL', { reason, device: this.name });
  }

  async close(): Promise<void> {}

  #once(bytes: Uint8Array, done: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const cancel = (): void => {
        const detail = { reason: 'stopped', syscall: 'write', device: this.name };
        reject(new BlockError('ECANCELED', detail));
      };
      if (this.#isAbandoned) return cancel();
      this.#giveUp = cancel;
      this.#isBlocked = true;
      fs.write(this.#fd, bytes, done, bytes.length - done, null, (error, written) => {
        this.#isBlocked = false;
        this.#giveUp = null;
        if (error) reject(error);
        else resolve(written);
      });
    });
  }
}
