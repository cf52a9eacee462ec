import { BlockError } from '../../base/block-error.ts';
import { MIB } from '../../base/units.ts';
import type { CopySink } from './endpoint.ts';
import { StreamIo, type StreamOptions } from './stream-io.ts';

const ZEROS_BYTES = MIB;

/** Standard output, or any descriptor that can only be written in order. It stays open. */
export class StreamSink implements CopySink {
  readonly disk = null;
  readonly size = null;
  readonly io: StreamIo;
  #zeros: Uint8Array | null = null;

  constructor(options: StreamOptions) {
    this.io = new StreamIo(options);
  }

  get name(): string {
    return this.io.name;
  }

  /** Pre: one call at a time, in order; the stream knows no position. */
  write(bytes: Uint8Array): Promise<void> {
    return this.io.write(bytes);
  }

  /** A stream has no holes: zeros go out as bytes. */
  async zero(_position: number, bytes: number): Promise<void> {
    this.#zeros ??= new Uint8Array(new SharedArrayBuffer(ZEROS_BYTES));
    for (let at = 0; at < bytes; at += ZEROS_BYTES) {
      await this.io.write(this.#zeros.subarray(0, Math.min(ZEROS_BYTES, bytes - at)));
    }
  }

  async finish(): Promise<void> {}

  async flush(): Promise<void> {
    const reason = 'a stream has no medium to flush';
    throw new BlockError('EINVAL', { reason, device: this.name });
  }

  async close(): Promise<void> {}
}
