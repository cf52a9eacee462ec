import type { Extent, ExtentKind } from '../engine/contract.ts';
import { FreshBlocks } from './superblock.ts';
import type { TupleStore } from './tuple-store.ts';

/**
 * A hole is one only where the tuples say so too: data that was lost reads as zeros as well, and a
 * copy that steps over it would hide that. Pages of tuples that were never written are asked, no
 * single tuples: a hole of less than a page of them counts as data.
 */
export async function* protectedExtents(
  tuples: TupleStore,
  start: number,
  end: number,
): AsyncGenerator<Extent> {
  const { layout, data, superblock } = tuples;
  const stop = Math.min(end, layout.dataBytes);
  const { engine } = data;
  if (engine.extents === undefined || superblock.fresh !== FreshBlocks.ZEROS) {
    if (start < stop) yield { start, end: stop, kind: 'data' };
    return;
  }
  let last: { start: number; end: number; kind: ExtentKind } | null = null;
  for await (const part of engine.extents(start, stop)) {
    for (const extent of cut(tuples, part)) {
      if (last !== null && last.kind === extent.kind) {
        last = { start: last.start, end: extent.end, kind: last.kind };
        continue;
      }
      if (last !== null) yield last;
      last = extent;
    }
  }
  if (last !== null) yield last;
}

/** One extent of the data below, cut where pages of tuples begin. */
function* cut(tuples: TupleStore, extent: Extent): Generator<Extent> {
  if (extent.kind === 'data') {
    yield extent;
    return;
  }
  const { layout, table, cache } = tuples;
  const pageBytes = layout.tuplesPerPage * layout.intervalBytes;
  for (let at = extent.start; at < extent.end; ) {
    const index = Math.floor(at / pageBytes);
    const end = Math.min((index + 1) * pageBytes, extent.end);
    const isFresh = table.generations[index] === 0 && !cache.isDirty(index);
    yield { start: at, end, kind: isFresh ? extent.kind : 'data' };
    at = end;
  }
}
