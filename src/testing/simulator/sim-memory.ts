import { assert } from '../../base/assert.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import type { Arena } from '../../memory/arena.ts';
import { pinCount, refCount } from '../../memory/holds.ts';
import type { SeededRandom } from './seeded-random.ts';

/** A run of whole pages that one operation has for itself, or a plain array of the program. */
export interface Area {
  /** Global number of the first page; -1 for memory without page frames. */
  readonly page: number;
  readonly bytes: Uint8Array;
}

/** Bytes at..at + len of an area: what is transferred, in order. */
export interface AreaPiece {
  readonly area: Area;
  readonly at: number;
  readonly len: number;
}

export interface MemoryWish {
  /** Starts and lengths of pieces are multiples of it. */
  readonly unit: number;
  /** The sum of the lengths is a multiple of it; itself a multiple of `unit`. */
  readonly totalUnit: number;
  readonly pieces: number;
  /** Pages of one area at most. */
  readonly pages: number;
  /** Some areas are plain arrays. */
  readonly plain: boolean;
}

interface Folio {
  readonly page: number;
  readonly order: number;
  readonly busy: Uint8Array;
}

const FRAMES = 1500;
const FOLIOS = 60;
const ORDER_MOST = 5;
const TRIES = 8;

/** Scattered folios of random orders at random frames: what a long-lived process has for memory. */
export class SimMemory {
  readonly #arena: Arena;
  readonly #random: SeededRandom;
  readonly #folios: Folio[] = [];

  constructor(arena: Arena, random: SeededRandom) {
    this.#arena = arena;
    this.#random = random;
    for (let i = 0; i < FOLIOS; i++) {
      const order = random.below(ORDER_MOST + 1);
      const size = 2 ** order;
      const frame = random.below(Math.floor(FRAMES / size)) * size;
      if (!arena.claimFolio(frame, order)) continue;
      const page = arena.region.firstPage + frame;
      this.#folios.push({ page, order, busy: new Uint8Array(size) });
    }
  }

  /** Pieces as wished; fewer, down to none, when there is no room. */
  take(wish: MemoryWish): AreaPiece[] {
    const pieces: AreaPiece[] = [];
    for (let i = 0; i < wish.pieces; i++) {
      const area = this.#area(wish);
      if (area === null) break;
      const units = Math.floor(area.bytes.length / wish.unit);
      const from = this.#random.below(units);
      const count = this.#random.between(1, units - from);
      this.#cut(pieces, area, from * wish.unit, count * wish.unit, wish.unit);
    }
    const taken = new Set(pieces.map(({ area }) => area));
    trim(pieces, wish.totalUnit);
    for (const { area } of pieces) taken.delete(area);
    for (const area of taken) this.give(area);
    return pieces;
  }

  /** Now and then one range arrives as two that touch: their rows are joined again. */
  #cut(pieces: AreaPiece[], area: Area, at: number, len: number, unit: number): void {
    const units = len / unit;
    if (units < 2 || !this.#random.chance(0.2)) {
      pieces.push({ area, at, len });
      return;
    }
    const first = this.#random.between(1, units - 1) * unit;
    pieces.push({ area, at, len: first }, { area, at: at + first, len: len - first });
  }

  #area(wish: MemoryWish): Area | null {
    const random = this.#random;
    if (wish.plain && random.chance(0.5)) {
      const bytes = new Uint8Array(random.between(1, wish.pages) * PAGE_BYTES);
      return { page: -1, bytes };
    }
    for (let i = 0; i < TRIES; i++) {
      const folio = random.pick(this.#folios);
      const pages = random.between(1, Math.min(wish.pages, folio.busy.length));
      const first = random.below(folio.busy.length - pages + 1);
      if (folio.busy.subarray(first, first + pages).some((busy) => busy === 1)) continue;
      folio.busy.fill(1, first, first + pages);
      return this.#view(folio.page + first, pages);
    }
    return null;
  }

  #view(page: number, pages: number): Area {
    const { region } = this.#arena;
    const start = (page - region.firstPage) * PAGE_BYTES;
    return { page, bytes: new Uint8Array(region.u8.buffer, start, pages * PAGE_BYTES) };
  }

  give(area: Area): void {
    if (area.page < 0) return;
    const folio = this.#folios.find(
      ({ page, busy }) => area.page >= page && area.page < page + busy.length,
    );
    assert(folio !== undefined, 'sim memory: an area of no folio');
    const first = area.page - folio.page;
    const pages = area.bytes.length / PAGE_BYTES;
    assert(folio.busy[first] === 1, 'sim memory: an area was given back twice');
    folio.busy.fill(0, first, first + pages);
  }

  /** Pre: no operation has memory. Throws when a hold is left. */
  dispose(): void {
    for (const { page, busy } of this.#folios) {
      assert(!busy.includes(1), 'sim memory: pages are still lent out');
      assert(pinCount(page) === 0, 'sim memory: a page is still pinned');
      assert(refCount(page) === 1, 'sim memory: a reference was lost or left');
      this.#arena.putFolio(page);
    }
  }
}

export function piecesBytes(pieces: readonly AreaPiece[]): number {
  return pieces.reduce((sum, { len }) => sum + len, 0);
}

/** Shortens from the end until the sum is a multiple of `unit`. */
function trim(pieces: AreaPiece[], unit: number): void {
  let over = piecesBytes(pieces) % unit;
  while (over > 0) {
    const last = pieces.pop() as AreaPiece;
    if (last.len > over) pieces.push({ ...last, len: last.len - over });
    over -= Math.min(over, last.len);
  }
}
