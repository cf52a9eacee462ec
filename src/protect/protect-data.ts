import { MIB, PAGE_BYTES } from '../base/units.ts';
import type { BlockDevice } from '../device/block-device.ts';
import type { Arena } from '../memory/arena.ts';
import { forEachPageOf } from './data-pages.ts';
import { formatStore, layoutOf, type StoreFormat } from './open-store.ts';
import { StoreState } from './superblock.ts';
import { TupleStore } from './tuple-store.ts';

export interface ProtectDataOptions {
  /** Only read. */
  readonly data: BlockDevice;
  /** At least `layoutFor(…).storeBytes`; whatever it held is gone. */
  readonly store: BlockDevice;
  readonly format: StoreFormat;
  readonly arena: Arena;
  readonly random: () => number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

/** Tuple pages between two commits. */
const BATCH_PAGES = (16 * MIB) / PAGE_BYTES;

/**
 * Protects what `data` holds now: a tuple for every block, and all of it on the medium. Until the
 * end the store says that it is not finished, and is refused. False: it was aborted.
 */
export async function protectData(options: ProtectDataOptions): Promise<boolean> {
  const { data, store, arena, onProgress } = options;
  const signal = options.signal ?? null;
  const state = StoreState.UNFINISHED;
  const { random } = options;
  const superblock = await formatStore(data, store, options.format, { arena, random, state });
  const layout = layoutOf(superblock);
  const cachePages = Math.min(BATCH_PAGES + 8, layout.pages);
  const parts = { data, store, layout, superblock, arena, cachePages, isOrdered: false };
  const tuples = new TupleStore(parts);
  try {
    for (let first = 0; first < layout.pages; first += BATCH_PAGES) {
      const end = Math.min(first + BATCH_PAGES, layout.pages);
      const stop = await forEachPageOf(tuples, first, end, signal, async (pages, index) => {
        await pages.make(index);
        onProgress?.(layout.blocksOn(index) * layout.intervalBytes);
      });
      if (stop < end) return false;
      await tuples.commit({ state });
    }
    await tuples.commit({ state: StoreState.CLEAN });
  } finally {
    tuples.release();
  }
  return true;
}
