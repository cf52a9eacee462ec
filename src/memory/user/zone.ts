import { assert } from '../../base/assert.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import type { Arena } from '../arena.ts';
import { FrameState } from '../region.unsafe.ts';

/** Folios of the allocator never cross a multiple of this many frames. */
const BLOCK_FRAMES = 1024;

/** Makes all frames of the arena present, so that a zone can be searched by folios. */
export function makePresent(arena: Arena): void {
  const last = Math.floor(arena.maxBytes / PAGE_BYTES) - 1;
  if (!arena.claimFolio(last, 0)) return;
  arena.putFolio(arena.region.firstPage + last);
}

/** A folio with one reference inside frames [start, end), or -1. */
export function takeInZone(arena: Arena, start: number, end: number, order: number): number {
  const { state, order: orders, firstPage } = arena.region;
  const size = 2 ** order;
  const limit = Math.min(end, Math.floor(arena.maxBytes / PAGE_BYTES));
  let head = start - (start % BLOCK_FRAMES);
  while (head < limit) {
    const next = head + 2 ** orders[head];
    const at = Math.ceil(Math.max(head, start) / size) * size;
    if (state[head] === FrameState.FREE && at + size <= Math.min(next, limit)) {
      assert(arena.claimFolio(at, order), 'zone: a free folio is not free');
      return firstPage + at;
    }
    head = next;
  }
  return -1;
}
