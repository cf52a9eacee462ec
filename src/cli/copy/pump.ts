import { BlockError } from '../../base/block-error.ts';
import type { ArenaBuffer } from '../../memory/arena-buffer.ts';
import { pagesAreZero } from '../../memory/copy.ts';
import type { ChunkDigests } from './chunk-digests.ts';
import { type Chunk, ChunkFeed } from './copy-plan.ts';
import type { CopySink, CopySource } from './endpoint.ts';
import { Turnstile } from './turnstile.ts';

export interface PumpOptions {
  readonly source: CopySource;
  readonly sink: CopySink;
  readonly plan: AsyncGenerator<Chunk>;
  /** One request each, all in flight at once. Arena memory: the devices map it. */
  readonly buffers: readonly ArenaBuffer[];
  /** Bytes: blocks of zeros of this size become holes; 0 = nobody looks. */
  readonly zeroBytes: number;
  /** Stops after what is in flight. */
  readonly signal: AbortSignal;
  /** So many more bytes of the source are in the destination. */
  readonly onProgress: (bytes: number) => void;
  /** Filled in where the source cannot be read again. */
  readonly digests: ChunkDigests | null;
}

export interface PumpResult {
  /** Bytes of the source that are in the destination: from its start without a gap. */
  readonly bytes: number;
  /** Of these, the ones that were written, and the ones that are holes or zeros of the device. */
  readonly dataBytes: number;
  readonly holeBytes: number;
  /** False after an abort. */
  readonly isComplete: boolean;
}

/**
 * Moves chunks from a source to a sink. Each buffer is a slot that reads, writes and takes the next
 * chunk on its own, so reads and writes overlap without a queue between them. Streams are passed
 * one slot at a time, in order.
 *
 * Post of `run`, also when it throws: no slot uses its buffer, except one whose read or write of a
 * stream was aborted.
 */
export class Pump {
  readonly #options: PumpOptions;
  readonly #feed: ChunkFeed;
  readonly #readOrder: Turnstile | null;
  readonly #writeOrder: Turnstile | null;
  #dataBytes = 0;
  #holeBytes = 0;
  /** The plan or the stream has come to its end. */
  #isAtEnd = false;
  /** A call was given up: what comes behind it must not be written. */
  #isCut = false;
  #failure: unknown = null;

  constructor(options: PumpOptions) {
    this.#options = options;
    this.#feed = new ChunkFeed(options.plan);
    this.#readOrder = options.source.disk === null ? new Turnstile() : null;
    this.#writeOrder = options.sink.disk === null ? new Turnstile() : null;
  }

  async run(): Promise<PumpResult> {
    const { buffers, signal } = this.#options;
    signal.addEventListener('abort', this.#abandon, { once: true });
    await Promise.all(buffers.map((buffer) => this.#runSlot(buffer)));
    signal.removeEventListener('abort', this.#abandon);
    if (this.#failure !== null) throw this.#failure;
    return {
      bytes: this.#dataBytes + this.#holeBytes,
      dataBytes: this.#dataBytes,
      holeBytes: this.#holeBytes,
      isComplete: this.#isAtEnd && !this.#isCut,
    };
  }

  async #runSlot(buffer: ArenaBuffer): Promise<void> {
    const { signal } = this.#options;
    try {
      while (!this.#isAtEnd && !this.#isCut && !signal.aborted) {
        const chunk = await this.#feed.next();
        if (chunk === null) this.#isAtEnd = true;
        else await this.#move(chunk, buffer);
      }
    } catch (error) {
      this.#cut(error);
    }
  }

  readonly #abandon = (): void => {
    this.#options.source.abandon();
    this.#options.sink.abandon();
  };

  /** The first failure counts; an aborted call is none. */
  #cut(error: unknown): void {
    const isAborted = error instanceof BlockError && error.code === 'ECANCELED';
    if (!isAborted && this.#failure === null) this.#failure = error;
    this.#isCut = true;
    this.#readOrder?.open();
    this.#writeOrder?.open();
    this.#abandon();
  }

  async #move(chunk: Chunk, buffer: ArenaBuffer): Promise<void> {
    const bytes = chunk.isHole ? chunk.bytes : await this.#read(chunk, buffer);
    await this.#writeOrder?.enter(chunk.index);
    if (bytes > 0 && !this.#isCut) {
      await this.#write(chunk, buffer, bytes);
      this.#options.onProgress(bytes);
    }
    this.#writeOrder?.leave(chunk.index);
  }

  async #read(chunk: Chunk, buffer: ArenaBuffer): Promise<number> {
    const { source, digests } = this.#options;
    const into = viewOf(buffer, 0, chunk.bytes);
    if (this.#readOrder === null) {
      const bytes = await source.read(into, chunk.position);
      if (bytes < chunk.bytes) throw shrunk(source, chunk.position + bytes);
      return bytes;
    }
    await this.#readOrder.enter(chunk.index);
    if (this.#isAtEnd || this.#isCut) return 0;
    const bytes = await source.read(into, chunk.position);
    if (bytes < chunk.bytes) this.#isAtEnd = true;
    this.#readOrder.leave(chunk.index);
    if (this.#isAtEnd) this.#readOrder.open();
    digests?.set(chunk.index, viewOf(buffer, 0, bytes));
    return bytes;
  }

  async #write(chunk: Chunk, buffer: ArenaBuffer, bytes: number): Promise<void> {
    const { sink, zeroBytes } = this.#options;
    if (chunk.isHole) {
      await sink.zero(chunk.position, bytes);
      this.#holeBytes += bytes;
    } else if (zeroBytes === 0) {
      await sink.write(viewOf(buffer, 0, bytes), chunk.position);
      this.#dataBytes += bytes;
    } else {
      await this.#writeRuns(chunk.position, buffer, bytes);
    }
  }

  /** Data and zeros by turns: 'DDD000D' of blocks is one write, one zero, one write. */
  async #writeRuns(position: number, buffer: ArenaBuffer, bytes: number): Promise<void> {
    const { sink, zeroBytes } = this.#options;
    const isZeroAt = (at: number): boolean =>
      pagesAreZero(buffer.page, at, Math.min(zeroBytes, bytes - at));
    for (let at = 0; at < bytes; ) {
      const isZero = isZeroAt(at);
      let end = at + zeroBytes;
      while (end < bytes && isZeroAt(end) === isZero) end += zeroBytes;
      const length = Math.min(end, bytes) - at;
      if (isZero) {
        await sink.zero(position + at, length);
        this.#holeBytes += length;
      } else {
        await sink.write(viewOf(buffer, at, length), position + at);
        this.#dataBytes += length;
      }
      at += length;
    }
  }
}

function viewOf(buffer: ArenaBuffer, at: number, bytes: number): Uint8Array {
  if (at === 0 && bytes === buffer.length) return buffer.bytes;
  return buffer.bytes.subarray(at, at + bytes);
}

export function shrunk(source: CopySource, end: number): BlockError {
  const reason =
    `the source ends at byte ${end}, but had ${source.size} bytes when the copy began: ` +
    'it became shorter meanwhile';
  return new BlockError('ENODATA', { reason, device: source.name, offset: end });
}
