import { assert } from '../../src/base/assert.ts';
import { MIB, PAGE_BYTES } from '../../src/base/units.ts';
import { Access } from '../../src/memory/address-space.ts';
import { Arena } from '../../src/memory/arena.ts';
import { Protection } from '../../src/memory/user/area.ts';
import { UserMemory } from '../../src/memory/user/user-memory.ts';
import { SEGMENTS_MAX, Transfer } from './carrier.ts';

/** How the memory of the program lies. */
export const LAYOUTS = ['pages', 'folios-4', 'folios-9', 'aged', 'mixed'] as const;
export type Layout = (typeof LAYOUTS)[number];
export const SEGMENT_COUNTS = [1, 8, 64, 256];

/** Order of the folios that the program asks for. */
const ORDER: Readonly<Record<Layout, number>> = {
  pages: 0,
  'folios-4': 4,
  'folios-9': 9,
  aged: 9,
  mixed: 0,
};
/** 64 MiB: transfers go round, so that the state of their pages is not in the first caches. */
const PROGRAM_PAGES = 16384;
const AGED_BYTES = 1024 * MIB;

/** Memory of a program in which every segment is a folio of its own that touches no other. */
export class World {
  readonly transfer: Transfer;
  readonly memory: UserMemory;
  readonly pagesPerSegment: number;
  /** Frames that nobody has. */
  readonly freePages: number;
  readonly #segments: number;
  readonly #addr: number;
  readonly #hasCache: boolean;

  constructor(layout: Layout, programPages = PROGRAM_PAGES) {
    const order = ORDER[layout];
    const isAged = layout === 'aged';
    const pages = isAged ? 1 : 2 ** order;
    // Folios of 2 MiB: 512 MiB of them, which is one transfer of 256 segments.
    const segments = Math.max(programPages / pages, SEGMENTS_MAX);
    const bytes = segments * pages * PAGE_BYTES;
    const arena = new Arena({ maxBytes: isAged ? AGED_BYTES : 2 * bytes + 8 * MIB, label: layout });
    this.memory = new UserMemory({ arena });
    const others = isAged ? age(arena, segments) : takeEverySecond(arena, segments, order);
    const space = this.memory.newSpace('program');
    this.#addr = space.mmap({ bytes, protection: Protection.WRITE, folioOrder: order });
    for (let at = 0; at < bytes; at += pages * PAGE_BYTES) {
      const error = space.fault(this.#addr + at, Access.WRITE, 0);
      assert(error === 0, 'layouts: no memory for the program');
    }
    const { freeBytes } = arena.stats();
    this.freePages = freeBytes / PAGE_BYTES;
    this.pagesPerSegment = pages;
    this.#segments = segments;
    this.#hasCache = layout === 'mixed';
    this.transfer = new Transfer(space, Uint32Array.from(this.#hasCache ? others : []));
  }

  /** Arms the transfer with `segments`, from another place for each `turn`. */
  place(segments: number, turn: number): void {
    const { transfer } = this;
    const first = (turn * segments) % (this.#segments - segments + 1);
    const cached = this.#hasCache ? Math.floor(segments / 2) : 0;
    const bytes = this.pagesPerSegment * PAGE_BYTES;
    transfer.addr = this.#addr + first * bytes;
    transfer.bytes = (segments - cached) * bytes;
    transfer.cacheFirst = first;
    transfer.cacheCount = cached;
  }
}

/** Others have every second folio, so none of those that are left touches another. */
function takeEverySecond(arena: Arena, count: number, order: number): number[] {
  const all = Array.from({ length: 2 * count }, () => arena.getFolio(order));
  assert(
    all.every((page) => page >= 0),
    'layouts: the arena is too small',
  );
  // The last that came back is the first that goes out: in the order of their numbers.
  for (let i = 2 * count - 2; i >= 0; i -= 2) arena.putFolio(all[i]);
  return all.filter((_, i) => i % 2 === 1);
}

/**
 * An arena that others have filled with single pages, of which some came back by chance: `wanted`
 * for the program, and one in a hundred of all that stay free.
 */
function age(arena: Arena, wanted: number): number[] {
  const all: number[] = [];
  for (let page = arena.getFolio(0); page >= 0; page = arena.getFolio(0)) all.push(page);
  const back = wanted + Math.ceil(AGED_BYTES / PAGE_BYTES / 100);
  let state = 2654435761;
  for (let i = 0; i < back; i++) {
    // Marsaglia's xorshift: the same pages every time.
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const at = (state >>> 0) % all.length;
    arena.putFolio(all[at]);
    all[at] = all[all.length - 1];
    all.pop();
  }
  return all;
}
