import type { CopySource } from './endpoint.ts';
import { StreamIo, type StreamOptions } from './stream-io.ts';

/** Standard input, or any descriptor that can only be read in order. It stays open. */
export class StreamSource implements CopySource {
  readonly disk = null;
  readonly size = null;
  readonly io: StreamIo;

  constructor(options: StreamOptions) {
    this.io = new StreamIo(options);
  }

  get name(): string {
    return this.io.name;
  }

  /** Pre: one call at a time, in order; the stream knows no position. */
  read(into: Uint8Array): Promise<number> {
    return this.io.read(into);
  }

  async close(): Promise<void> {}
}
