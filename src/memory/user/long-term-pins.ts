import { Errno } from '../../base/errno.ts';
import { folioHead, unpinList } from '../holds.ts';
import { HoldResult, holdRange, holdWaiting, wokenOrAborted } from './hold-range.ts';
import type { UserMemory } from './user-memory.ts';
import type { UserSpace } from './user-space.ts';

// A pin that stays would make the movable zone unmovable. So: pin everything; if a folio lies
// there, unpin everything, move the offenders, and pin everything anew. The caller sees pins that
// are all acceptable, or none and an error.

/** Rounds of pin, look, move: a fault between two rounds may bring movable pages again. */
const ROUNDS_MAX = 8;
/** How often one folio is tried, waiting for its lock in between. Linux: migrate_pages(). */
const MOVES_MAX = 10;

/**
 * `tryPinUserPages` for LONGTERM, behind its first checks. Allocates a list, so that `out` is as
 * it was after an error. -ENOMEM: no place to move to; -EBUSY: somebody holds or locks a folio.
 */
export function tryPinLongTerm(
  space: UserSpace,
  addr: number,
  count: number,
  flags: number,
  out: Uint32Array,
  at: number,
): number {
  const pages = new Uint32Array(count);
  const result = new HoldResult();
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const held = holdRange(space, addr, count, flags, 0, pages, 0, result);
    if (held === 0) return result.error;
    const movable = movableFolios(space.memory, pages, held);
    if (movable.length === 0) return handOver(pages, held, out, at);
    unpinList(pages, 0, held);
    for (const page of movable) {
      const error = space.memory.migrate(page, false);
      if (error < 0) return moveError(error);
    }
  }
  return -Errno.EBUSY;
}

/** The same for `pinUserPages`: waits for faults, and for the locks of folios that must move. */
export async function pinLongTerm(
  space: UserSpace,
  addr: number,
  count: number,
  flags: number,
  out: Uint32Array,
  at: number,
  signal: AbortSignal | null,
): Promise<number> {
  const pages = new Uint32Array(count);
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const held = await holdWaiting(space, addr, count, flags, pages, 0, signal);
    if (held <= 0) return held;
    const movable = movableFolios(space.memory, pages, held);
    if (movable.length === 0) return handOver(pages, held, out, at);
    unpinList(pages, 0, held);
    for (const page of movable) {
      const error = await moveWaiting(space.memory, page, signal);
      if (error < 0) return moveError(error);
    }
  }
  return -Errno.EBUSY;
}

/** Heads of the folios in the movable zone, each once. */
function movableFolios(memory: UserMemory, pages: Uint32Array, count: number): readonly number[] {
  const heads = new Set<number>();
  for (let i = 0; i < count; i++) {
    const page = pages[i];
    if (memory.isMovable(page)) heads.add(folioHead(page));
  }
  return [...heads];
}

function handOver(pages: Uint32Array, held: number, out: Uint32Array, at: number): number {
  for (let i = 0; i < held; i++) out[at + i] = pages[i];
  return held;
}

async function moveWaiting(
  memory: UserMemory,
  page: number,
  signal: AbortSignal | null,
): Promise<number> {
  let error = memory.migrate(page, false);
  for (let move = 1; error === -Errno.EAGAIN && move < MOVES_MAX; move++) {
    if (!memory.locks.isLocked(page)) break; // Held or pinned: no lock tells when that ends.
    if (signal?.aborted === true) return -Errno.EINTR;
    await wokenOrAborted((wake) => memory.whenUnlocked(page, wake), signal);
    error = memory.migrate(page, false);
  }
  return error;
}

function moveError(error: number): number {
  return error === -Errno.EAGAIN ? -Errno.EBUSY : error;
}
