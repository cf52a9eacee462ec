import { BlockError } from '../../base/block-error.ts';
import type { Disk } from '../../device/disk.ts';
import type { ArenaBuffer } from '../../memory/arena-buffer.ts';
import { pagesAreEqual, pagesAreZero } from '../../memory/copy.ts';
import type { ChunkDigests } from './chunk-digests.ts';
import { type Chunk, ChunkFeed } from './copy-plan.ts';
import type { CopySource } from './endpoint.ts';
import { shrunk } from './pump.ts';

export interface VerifyOptions {
  readonly source: CopySource;
  readonly destination: Disk;
  /** The work as it was copied, holes included. */
  readonly plan: AsyncGenerator<Chunk>;
  /** Two for each slot: one of the source's, one of the destination's. */
  readonly buffers: readonly ArenaBuffer[];
  /** Of a source that cannot be read again. */
  readonly digests: ChunkDigests | null;
  readonly signal: AbortSignal;
  readonly onProgress: (bytes: number) => void;
}

/**
 * Reads the destination back and compares it with the source, or with the checksums of a stream.
 * Rejects with ERR_BIOVEC_VERIFY, which names the first byte that differs; false after an abort.
 */
export class Verifier {
  readonly #options: VerifyOptions;
  readonly #feed: ChunkFeed;
  #isAtEnd = false;
  #failure: BlockError | null = null;
  #broken: unknown = null;

  constructor(options: VerifyOptions) {
    this.#options = options;
    this.#feed = new ChunkFeed(options.plan);
  }

  async run(): Promise<boolean> {
    const { buffers } = this.#options;
    const slots: Promise<void>[] = [];
    for (let i = 0; i + 1 < buffers.length; i += 2) {
      slots.push(this.#runSlot(buffers[i], buffers[i + 1]));
    }
    await Promise.all(slots);
    if (this.#broken !== null) throw this.#broken;
    if (this.#failure !== null) throw this.#failure;
    return this.#isAtEnd;
  }

  async #runSlot(ours: ArenaBuffer, theirs: ArenaBuffer): Promise<void> {
    const { signal, onProgress } = this.#options;
    try {
      while (!this.#isAtEnd && this.#failure === null && !signal.aborted) {
        const chunk = await this.#feed.next();
        if (chunk === null) {
          this.#isAtEnd = true;
          return;
        }
        if (chunk.isHole) await this.#checkHole(chunk, ours);
        else await this.#checkData(chunk, ours, theirs);
        onProgress(chunk.bytes);
      }
    } catch (error) {
      if (error instanceof BlockError && error.code === 'ERR_BIOVEC_VERIFY') this.#differs(error);
      else this.#broken ??= error;
      this.#isAtEnd = true;
    }
  }

  /** Slots find differences in any order; the lowest one is told. */
  #differs(error: BlockError): void {
    const known = this.#failure?.offset ?? Number.POSITIVE_INFINITY;
    if ((error.offset ?? 0) < known) this.#failure = error;
  }

  async #checkData(chunk: Chunk, ours: ArenaBuffer, theirs: ArenaBuffer): Promise<void> {
    const { source, digests } = this.#options;
    const reading = this.#readBack(theirs, chunk.position, chunk.bytes);
    if (digests !== null) {
      await reading;
      const bytes = theirs.bytes.subarray(0, chunk.bytes);
      if (!digests.matches(chunk.index, bytes)) throw this.#mismatch(chunk.position, chunk.bytes);
      return;
    }
    const into = ours.bytes.subarray(0, chunk.bytes);
    const [bytes] = await Promise.all([source.read(into, chunk.position), reading]);
    if (bytes < chunk.bytes) throw shrunk(source, chunk.position + bytes);
    if (pagesAreEqual(ours.page, 0, theirs.page, 0, bytes)) return;
    let at = 0;
    while (at < bytes && ours.bytes[at] === theirs.bytes[at]) at++;
    throw this.#mismatch(chunk.position + at, 1);
  }

  /** What is a hole in both needs no look; but behind the end of a file that was cut is none. */
  async #checkHole(chunk: Chunk, buffer: ArenaBuffer): Promise<void> {
    const { destination } = this.#options;
    const end = chunk.position + chunk.bytes;
    for await (const extent of destination.extents(chunk.position, end)) {
      if (extent.kind !== 'data') continue;
      for (let at = extent.start; at < extent.end; at += buffer.length) {
        const bytes = Math.min(buffer.length, extent.end - at);
        await this.#readBack(buffer, at, bytes);
        if (pagesAreZero(buffer.page, 0, bytes)) continue;
        let odd = 0;
        while (odd < bytes && buffer.bytes[odd] === 0) odd++;
        throw this.#mismatch(at + odd, 1);
      }
    }
    await this.#readBack(buffer, end - 1, 1);
  }

  async #readBack(into: ArenaBuffer, position: number, bytes: number): Promise<void> {
    const { destination } = this.#options;
    const { bytesRead } = await destination.read(into.bytes, { position, length: bytes });
    if (bytesRead < bytes) throw this.#mismatch(position + bytesRead, bytes - bytesRead);
  }

  #mismatch(offset: number, length: number): BlockError {
    const { destination, digests } = this.#options;
    const where =
      digests === null ? `at byte ${offset}` : `between byte ${offset} and ${offset + length}`;
    const reason = `the destination does not read back as the source: it differs ${where}`;
    const device = destination.target;
    return new BlockError('ERR_BIOVEC_VERIFY', { reason, device, offset, length });
  }
}
