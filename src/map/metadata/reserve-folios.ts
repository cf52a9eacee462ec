import { assert } from '../../base/assert.ts';
import { BlockError } from '../../base/block-error.ts';
import { PAGE_BYTES, roundUp } from '../../base/units.ts';
import type { Arena } from '../../memory/arena.ts';
import { orderFor } from '../bounce.ts';
import type { FolioSource } from '../passthrough/passthrough-context.ts';

/**
 * Folios of an arena, and a reserve for when it has none. The reserve is cut from its start, and
 * is whole again when all of it is back: who asks for no more than it has, all at once, gets on as
 * soon as those before have ended.
 */
export class ReserveFolios implements FolioSource {
  readonly #arena: Arena;
  readonly #page: number;
  readonly #pages: number;
  #next = 0;
  #out = 0;

  /** Throws BlockError ENOMEM. */
  constructor(arena: Arena, bytes: number) {
    const order = orderFor(bytes);
    this.#arena = arena;
    this.#pages = 2 ** order;
    this.#page = arena.getFolio(order);
    if (this.#page >= 0) return;
    const reason = `arena '${arena.label}' has no ${this.#pages * PAGE_BYTES} bytes for metadata`;
    throw new BlockError('ENOMEM', { reason });
  }

  getFolio(order: number): number {
    const page = this.#arena.getFolio(order);
    if (page >= 0) return page;
    const at = roundUp(this.#next, 2 ** order);
    if (at + 2 ** order > this.#pages) return -1;
    this.#next = at + 2 ** order;
    this.#out++;
    return this.#page + at;
  }

  putFolio(page: number): void {
    if (page < this.#page || page >= this.#page + this.#pages) {
      this.#arena.putFolio(page);
      return;
    }
    assert(this.#out > 0, 'reserve folios: given back twice');
    this.#out--;
    if (this.#out === 0) this.#next = 0;
  }

  /** Pre: nothing is out. */
  release(): void {
    assert(this.#out === 0, 'reserve folios: released in use');
    this.#arena.putFolio(this.#page);
  }
}
