import { AssertionError } from '../../../base/assert.ts';
import { PAGE_BYTES } from '../../../base/units.ts';
import { FrameState, kernelsFor, type Region } from '../../../memory/region.unsafe.ts';
import { differenceWithin } from '../sim-op.ts';

const POISON = 0xd5;
const POISON_PAGE = new Uint8Array(PAGE_BYTES).fill(POISON);
/** Frames that `check` looks at: those that a small world has. */
const FRAMES_MAX = 256;

/**
 * Free memory is poisoned when it is freed, and must stay so until somebody gets it: a byte of it
 * that turns up in a file, or another byte in it, is a use after free. Pre: made when all address
 * spaces and caches are, for it stands before whoever frees.
 */
export class FreeFrames {
  readonly #region: Region;
  /** By frame: poisoned since it was freed last. */
  readonly #isPoisoned: Uint8Array;
  /** Freed in this step. */
  readonly #fresh: number[] = [];

  constructor(region: Region) {
    this.#region = region;
    this.#isPoisoned = new Uint8Array(region.framesMax);
    const before = region.onFree;
    if (before === null) throw new AssertionError('sim: nobody frees the frames');
    const kernels = kernelsFor(region, region);
    region.onFree = (head): void => {
      const pages = 1 << region.order[head];
      kernels?.fill(head * PAGE_BYTES, POISON, pages * PAGE_BYTES);
      this.#isPoisoned.fill(1, head, head + pages);
      for (let frame = head; frame < head + pages; frame++) this.#fresh.push(frame);
      before(head);
    };
  }

  /** After every step: what was freed in it. Whoever lets go too early writes right after that. */
  checkFresh(): void {
    const { refs, pins, head } = this.#region;
    for (const frame of this.#fresh) {
      const isFree = refs[head[frame]] === 0 && pins[head[frame]] === 0;
      if (isFree && this.#isPoisoned[frame] === 1) this.#checkFrame(frame);
    }
    this.#fresh.length = 0;
  }

  check(): void {
    const { state, order, frames } = this.#region;
    const end = Math.min(frames, FRAMES_MAX);
    for (let head = 0; head < end; ) {
      const next = head + (1 << order[head]);
      if (state[head] === FrameState.FREE) {
        for (let frame = head; frame < Math.min(next, end); frame++) {
          if (this.#isPoisoned[frame] === 1) this.#checkFrame(frame);
        }
      }
      head = next;
    }
  }

  #checkFrame(frame: number): void {
    const { u8 } = this.#region;
    const at = differenceWithin(u8, frame * PAGE_BYTES, POISON_PAGE, 0, PAGE_BYTES);
    if (at >= 0) throw new AssertionError(`sim: byte ${at} of free frame ${frame} was written`);
  }
}
