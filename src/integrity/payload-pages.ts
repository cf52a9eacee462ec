import { assert } from '../base/assert.ts';
import { BlockError } from '../base/block-error.ts';
import { KIB, PAGE_BYTES, roundUp } from '../base/units.ts';
import type { Arena } from '../memory/arena.ts';
import { HoldKind } from '../memory/holds.ts';
import type { BioIntegrity } from './bio-integrity.ts';

/** 64 tuples of 8 bytes: the metadata of 32 KiB in intervals of 512, of 256 KiB in 4096. */
const SLOT_BYTES = 512;
/** 64 KiB: 128 slots. */
const SLOTS_ORDER = 4;
/** Metadata that a device keeps memory back for, unless one block has more. */
const RESERVE_BYTES = 64 * KIB;

/**
 * Memory for the metadata that the block layer makes by itself, one contiguous piece a payload:
 * a slot where that is enough, else a folio of the arena, else the reserve. When all are taken the
 * reserve is in flight, so that waiting for a completion is enough.
 */
export class PayloadPages {
  readonly #arena: Arena;
  readonly #slotsPage: number;
  readonly #freeSlots: Uint32Array;
  #freeCount: number;
  readonly #reservePage: number;
  readonly #reserveBytes: number;
  #isReserveTaken = false;
  /** Folios of the arena that are out. */
  #folios = 0;

  /** `blockBytes`: metadata of one logical block. Throws BlockError ENOMEM. */
  constructor(arena: Arena, blockBytes: number) {
    this.#arena = arena;
    this.#reserveBytes = roundUp(Math.max(RESERVE_BYTES, blockBytes), PAGE_BYTES);
    const slots = (2 ** SLOTS_ORDER * PAGE_BYTES) / SLOT_BYTES;
    this.#freeSlots = Uint32Array.from({ length: slots }, (_, slot) => slot);
    this.#freeCount = slots;
    this.#slotsPage = arena.getFolio(SLOTS_ORDER);
    this.#reservePage = arena.getFolio(orderOf(this.#reserveBytes));
    if (this.#slotsPage >= 0 && this.#reservePage >= 0) return;
    this.release();
    const reason = `arena '${arena.label}' has no ${this.#reserveBytes} bytes for metadata`;
    throw new BlockError('ENOMEM', { reason });
  }

  /** Pieces that are out. */
  get busyCount(): number {
    return this.#freeSlots.length - this.#freeCount + this.#folios + (this.#isReserveTaken ? 1 : 0);
  }

  /**
   * Gives `payload` a row of `bytes`, or of as many as the reserve has. Bytes; 0: none now, wait.
   */
  take(payload: BioIntegrity, bytes: number): number {
    assert(bytes > 0 && payload.vcnt === 0, 'payload pages: nothing wanted, or there is a row');
    if (bytes <= SLOT_BYTES && this.#freeCount > 0) {
      const at = this.#freeSlots[--this.#freeCount] * SLOT_BYTES;
      const page = this.#slotsPage + Math.floor(at / PAGE_BYTES);
      payload.addRow(page, at % PAGE_BYTES, bytes, HoldKind.OWNED);
      return bytes;
    }
    const page = this.#arena.getFolio(orderOf(bytes));
    if (page >= 0) {
      this.#folios++;
      payload.addRow(page, 0, bytes, HoldKind.OWNED);
      return bytes;
    }
    if (this.#isReserveTaken) return 0;
    this.#isReserveTaken = true;
    const got = bytes < this.#reserveBytes ? bytes : this.#reserveBytes;
    payload.addRow(this.#reservePage, 0, got, HoldKind.OWNED);
    return got;
  }

  /** Takes back what `take` gave. */
  give(payload: BioIntegrity): void {
    const { table, first } = payload;
    const page = table.page[first];
    const slot =
      (page - this.#slotsPage) * (PAGE_BYTES / SLOT_BYTES) + table.offset[first] / SLOT_BYTES;
    payload.vcnt = 0;
    if (slot >= 0 && slot < this.#freeSlots.length) {
      this.#freeSlots[this.#freeCount++] = slot;
    } else if (page === this.#reservePage) {
      assert(this.#isReserveTaken, 'payload pages: reserve given back twice');
      this.#isReserveTaken = false;
    } else {
      this.#folios--;
      this.#arena.putFolio(page);
    }
  }

  /** Pre: nothing is out. */
  release(): void {
    assert(this.busyCount === 0, 'payload pages: released in flight');
    if (this.#slotsPage >= 0) this.#arena.putFolio(this.#slotsPage);
    if (this.#reservePage >= 0) this.#arena.putFolio(this.#reservePage);
  }
}

function orderOf(bytes: number): number {
  let order = 0;
  while (PAGE_BYTES << order < bytes) order++;
  return order;
}
