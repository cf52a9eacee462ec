import { assert } from '../base/assert.ts';
import { BlockError } from '../base/block-error.ts';
import { PAGE_BYTES } from '../base/units.ts';
import type { Bio } from '../bio/bio.ts';
import type { Limits } from '../limits/limits.ts';
import type { Arena } from '../memory/arena.ts';
import { addOwnRow, bounceOrder, bounceOrderMin, orderFor } from './bounce.ts';

/** Bytes that a device keeps back so that a bounced transfer always gets on: 64 KiB. */
const RESERVE_ORDER = 4;

/**
 * The one folio of bounce memory that a device owns from opening to closing. When the arena has
 * none left, one bio at a time goes through it: slow, but it never waits for memory.
 * It holds a whole block, however small the segments of the device are.
 */
export class BounceReserve {
  readonly page: number;
  readonly order: number;
  readonly #arena: Arena;
  readonly #rowBytes: number;
  #isTaken = false;

  constructor(arena: Arena, limits: Limits) {
    this.#arena = arena;
    const rowOrder = bounceOrder(limits);
    const least = Math.max(bounceOrderMin(limits), orderFor(limits.logical_block_size));
    this.order = Math.max(least, Math.min(RESERVE_ORDER, rowOrder));
    this.#rowBytes = 2 ** Math.min(rowOrder, this.order) * PAGE_BYTES;
    this.page = arena.getFolio(this.order);
    if (this.page < 0) {
      const reason = `arena '${arena.label}' has no ${this.bytes} bytes for a device's reserve`;
      throw new BlockError('ENOMEM', { reason });
    }
  }

  get bytes(): number {
    return 2 ** this.order * PAGE_BYTES;
  }

  get isTaken(): boolean {
    return this.#isTaken;
  }

  /** Fills `bio` with at most `bytes` of it. Bytes; 0 while another bio has it. */
  take(bio: Bio, bytes: number): number {
    if (this.#isTaken) return 0;
    this.#isTaken = true;
    const want = Math.min(bytes, this.bytes);
    let got = 0;
    while (got < want && bio.vcnt < bio.maxVecs) {
      const take = Math.min(want - got, this.#rowBytes);
      addOwnRow(bio, this.page + got / PAGE_BYTES, take);
      got += take;
    }
    return got;
  }

  giveBack(bio: Bio): void {
    assert(this.#isTaken, 'reserve: given back twice');
    this.#isTaken = false;
    bio.vcnt = 0;
    bio.size = 0;
  }

  /** Pre: not taken. */
  release(): void {
    assert(!this.#isTaken, 'reserve: released while a bio has it');
    this.#arena.putFolio(this.page);
  }
}
