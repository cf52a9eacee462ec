import { assert } from '../base/assert.ts';
import { PAGE_BYTES } from '../base/units.ts';
import type { Bio } from '../bio/bio.ts';
import type { Limits } from '../limits/limits.ts';
import type { Arena } from '../memory/arena.ts';
import { ORDER_MAX } from '../memory/buddy.ts';
import { HoldKind } from '../memory/holds.ts';

// Own pages for a transfer that cannot use the program's. They satisfy the limits by construction:
// whole folios, so no gap at any virtual boundary up to the folio; no larger than a segment and its
// boundary window; one row each, never joined, so that no cut falls inside one; and never more of
// them than the segments that one block needs.

/** Bytes of one bounced bio: more buys nothing (1 MiB copies at memory speed). */
export const BOUNCE_BYTES_MAX = 1024 * 1024;

/** The order of folio that every segment of a request may have under `limits`. */
export function bounceOrder(limits: Limits): number {
  const window = Math.min(limits.max_segment_size, limits.seg_boundary_mask + 1, BOUNCE_BYTES_MAX);
  return Math.min(Math.floor(Math.log2(window / PAGE_BYTES)), ORDER_MAX);
}

/** The smallest order that is free of sub-block cuts and gaps: usually 0. */
export function bounceOrderMin(limits: Limits): number {
  const edge = Math.max(limits.logical_block_size, limits.virt_boundary_mask + 1, PAGE_BYTES);
  return Math.min(orderFor(edge), bounceOrder(limits));
}

/** The order that holds `bytes`: 8193 → 2. */
export function orderFor(bytes: number): number {
  return Math.max(Math.ceil(Math.log2(bytes / PAGE_BYTES)), 0);
}

/**
 * Fills `bio` with own pages for at most `bytes`. Returns the bytes that it got: fewer when the
 * bio is full or memory is short, 0 when there is none now (wait for a completion).
 * The contents are what the last user left: the caller overwrites or never shows them.
 */
export function fillBounce(bio: Bio, bytes: number, limits: Limits, arena: Arena): number {
  assert(bio.vcnt === 0 && bio.size === 0, 'bounce: the bio is in use');
  const least = bounceOrderMin(limits);
  const want = Math.min(bytes, BOUNCE_BYTES_MAX);
  let order = Math.min(bounceOrder(limits), orderFor(want));
  let got = 0;
  while (got < want && bio.vcnt < bio.maxVecs) {
    order = Math.max(Math.min(order, orderFor(want - got)), least);
    const page = arena.getFolio(order);
    if (page < 0) {
      if (order <= least) break;
      order--; // No folio of this size: the arena is fragmented or small.
      continue;
    }
    const take = Math.min(want - got, 2 ** order * PAGE_BYTES);
    addOwnRow(bio, page, take);
    got += take;
  }
  return got;
}

/** A row of its own, also beside its neighbour: a joined row would be cut anywhere. */
export function addOwnRow(bio: Bio, page: number, bytes: number): void {
  assert(bio.vcnt < bio.maxVecs, 'bounce: no row is free');
  bio.table.set(bio.first + bio.vcnt, page, 0, bytes, HoldKind.OWNED);
  bio.vcnt++;
  bio.size += bytes;
}

/** Gives the pages of `fillBounce` back. */
export function freeBounce(bio: Bio, arena: Arena): void {
  const { page, offset, hold } = bio.table;
  for (let row = bio.first; row < bio.first + bio.vcnt; row++) {
    assert(hold[row] === HoldKind.OWNED, 'bounce: a page of somebody else');
    arena.putFolio(page[row] + offset[row] / PAGE_BYTES);
  }
  bio.vcnt = 0;
  bio.size = 0;
}
