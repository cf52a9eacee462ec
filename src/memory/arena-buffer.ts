import { BlockError } from '../base/block-error.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { frameOf, type Region } from './region.unsafe.ts';

/**
 * Memory of an arena in the hands of the program. It cannot be detached, moved or resized.
 * Releasing it while a transfer is in flight is safe: the frames stay out of the pool until the
 * last pin is gone.
 */
export class ArenaBuffer {
  /** The bytes. Shared memory: a few APIs (webcrypto, Response) want `copy()` instead. */
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  /** Number of the first page frame. */
  readonly page: number;
  readonly label: string;
  readonly #region: Region;
  readonly #frames: number;
  readonly #acquired: Error | null;
  readonly #onRelease: (buffer: ArenaBuffer) => void;
  #released: Error | null = null;
  #isReleased = false;

  constructor(
    region: Region,
    page: number,
    frames: number,
    bytes: number,
    label: string,
    place: Error | null,
    onRelease: (buffer: ArenaBuffer) => void,
  ) {
    const start = frameOf(page) * PAGE_BYTES;
    this.bytes = new Uint8Array(region.u8.buffer, start, bytes);
    this.page = page;
    this.label = label;
    this.#region = region;
    this.#frames = frames;
    this.#acquired = place;
    this.#onRelease = onRelease;
  }

  get length(): number {
    return this.bytes.length;
  }

  get isReleased(): boolean {
    return this.#isReleased;
  }

  /** A plain, unshared copy. */
  copy(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.bytes);
  }

  /** Throws ERR_BIOVEC_RELEASED on the second call, with both places. */
  release(): void {
    if (this.#isReleased) {
      const reason =
        `${this.describe()} was released twice; ` +
        `first ${placeOf(this.#released) ?? '(places are off)'}`;
      throw new BlockError('ERR_BIOVEC_RELEASED', { reason });
    }
    this.#isReleased = true;
    if (this.#acquired !== null) this.#released = new Error('released here');
    this.#onRelease(this);
    const region = this.#region;
    let frame = frameOf(this.page);
    const end = frame + this.#frames;
    while (frame < end) {
      // The order is read before the reference goes: the folio may be joined with its twin.
      const size = 2 ** (region.order[frame] as number);
      const refs = (region.refs[frame] as number) - 1;
      region.refs[frame] = refs;
      if (refs === 0 && region.pins[frame] === 0 && region.onFree !== null) region.onFree(frame);
      frame += size;
    }
  }

  [Symbol.dispose](): void {
    if (!this.#isReleased) this.release();
  }

  /** "buffer 'header' of 4096 bytes, acquired at file.ts:12:3". */
  describe(): string {
    const place = placeOf(this.#acquired);
    const at = place === undefined ? '' : `, acquired ${place}`;
    return `buffer '${this.label}' of ${this.bytes.length} bytes${at}`;
  }
}

/** The first line of the stack outside the arena: "at file.ts:12:3". */
function placeOf(error: Error | null): string | undefined {
  const lines = error?.stack?.split('\n').slice(1) ?? [];
  const own = /[\\/]memory[\\/]arena(-buffer)?\.[jt]s/;
  return lines.find((line) => !own.test(line))?.trim();
}
