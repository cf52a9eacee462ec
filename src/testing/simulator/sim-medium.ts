import { KIB } from '../../base/units.ts';
import { copyIn, copyOut } from '../../memory/copy.ts';
import { differenceWithin } from './sim-op.ts';

const CHUNK_BYTES = 64 * KIB;

/**
 * The platter of a simulated disk: plain arrays, with nothing in common with page frames, so that
 * a comparison says something. Chunks that nobody wrote are zeros and take no memory.
 */
export class SimMedium {
  readonly sizeBytes: number;
  readonly #chunks = new Map<number, Uint8Array>();

  constructor(sizeBytes: number) {
    this.sizeBytes = sizeBytes;
  }

  /** Medium → page frames. */
  read(start: number, page: number, offset: number, bytes: number): void {
    for (let done = 0; done < bytes; ) {
      const at = (start + done) % CHUNK_BYTES;
      const step = Math.min(CHUNK_BYTES - at, bytes - done);
      copyIn(page, offset + done, this.chunkAt(start + done), at, step);
      done += step;
    }
  }

  /** Page frames → medium. */
  write(start: number, page: number, offset: number, bytes: number): void {
    for (let done = 0; done < bytes; ) {
      const at = (start + done) % CHUNK_BYTES;
      const step = Math.min(CHUNK_BYTES - at, bytes - done);
      copyOut(this.chunkAt(start + done), at, page, offset + done, step);
      done += step;
    }
  }

  zero(start: number, bytes: number): void {
    for (let done = 0; done < bytes; ) {
      const at = (start + done) % CHUNK_BYTES;
      const step = Math.min(CHUNK_BYTES - at, bytes - done);
      this.chunkAt(start + done).fill(0, at, at + step);
      done += step;
    }
  }

  /** A copy of what is there, for comparisons behind the engine's back. */
  peek(start: number, bytes: number): Uint8Array {
    const out = new Uint8Array(bytes);
    for (let done = 0; done < bytes; ) {
      const at = (start + done) % CHUNK_BYTES;
      const step = Math.min(CHUNK_BYTES - at, bytes - done);
      out.set(this.chunkAt(start + done).subarray(at, at + step), done);
      done += step;
    }
    return out;
  }

  /** Where the medium first differs from `bytes[at…]`, from `start` on; -1 when nowhere. */
  difference(start: number, bytes: Uint8Array, at: number, len: number): number {
    for (let done = 0; done < len; ) {
      const from = (start + done) % CHUNK_BYTES;
      const step = Math.min(CHUNK_BYTES - from, len - done);
      const wrong = differenceWithin(this.chunkAt(start + done), from, bytes, at + done, step);
      if (wrong >= 0) return done + wrong;
      done += step;
    }
    return -1;
  }

  /** Puts bytes there behind the engine's back: the first contents, or rot. */
  poke(start: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const at = (start + done) % CHUNK_BYTES;
      const step = Math.min(CHUNK_BYTES - at, bytes.length - done);
      this.chunkAt(start + done).set(bytes.subarray(done, done + step), at);
      done += step;
    }
  }

  /** Where byte `at` lies in `chunkAt(at)`; the page around it lies there as a whole. */
  inChunk(at: number): number {
    return at % CHUNK_BYTES;
  }

  chunkAt(at: number): Uint8Array {
    const index = Math.floor(at / CHUNK_BYTES);
    let chunk = this.#chunks.get(index);
    if (chunk === undefined) {
      chunk = new Uint8Array(CHUNK_BYTES);
      this.#chunks.set(index, chunk);
    }
    return chunk;
  }
}
