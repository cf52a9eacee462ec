import type { Limits } from '../limits/limits.ts';
import type { Arena } from '../memory/arena.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { BlockError } from '../base/block-error.ts';
import { bounceOrder, bounceOrderMin } from './bounce.ts';

/** Bytes that a device keeps back so that a bounced transfer always gets on: 64 KiB. */
const RESERVE_ORDER = 4;

/**
 * The one folio of bounce memory that a device owns from opening to closing. When the arena has
 * none left, one bio at a time goes through it: slow, but it never waits for memory.
 */
export class BounceReserve {
  readonly page: number;
  readonly order: number;
  readonly #arena: Arena;
  isTaken = false;

  constructor(arena: Arena, limits: Limits) {
    this.#arena = arena;
    this.order = Math.max(bounceOrderMin(limits), Math.min(RESERVE_ORDER, bounceOrder(limits)));
    this.page = arena.getFolio(this.order);
    if (this.page < 0) {
      const bytes = 2 ** this.order * PAGE_BYTES;
      const reason = `arena '${arena.label}' has no ${bytes} bytes left for a device's reserve`;
      throw new BlockError('ENOMEM', { reason });
    }
  }

  get bytes(): number {
    return 2 ** this.order * PAGE_BYTES;
  }

  release(): void {
    this.#arena.putFolio(this.page);
  }
}
