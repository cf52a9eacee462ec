// Requests over given ranges of memory, and what an iterator makes of them.

import assert from 'node:assert/strict';
import type { Bio } from '../bio/bio.ts';
import { buildBio } from '../bio/bio-bytes.fuzz.ts';
import type { BioOp } from '../bio/bio-op.ts';
import { BioPool } from '../bio/bio-pool.ts';
import { DEFAULT_LIMITS, type Limits, makeLimits } from '../limits/limits.ts';
import { Request } from '../queue/request.ts';
import type { DmaDevice } from './dma-device.ts';
import type { DmaIter } from './dma-iter.ts';
import type { DmaList } from './dma-list.ts';
import type { Entry } from './dma-world.fuzz.ts';

export const bioPool = new BioPool({ bios: 40, rows: 1000 });
/** Limits of a queue that cuts nothing. */
export const WIDE: Limits = makeLimits({
  ...DEFAULT_LIMITS,
  max_segment_size: 2 ** 32 - 1,
  seg_boundary_mask: Number.MAX_SAFE_INTEGER,
  dma_alignment: 0,
});

/** One bio an entry, so that no layer joins them before this one. */
export function requestOf(op: BioOp, entries: readonly Entry[]): Request {
  const request = new Request();
  const bios = entries.map((entry) => buildBio(bioPool, op, 0, [entry]));
  request.start(0, bios[0], entries.length);
  for (const bio of bios.slice(1)) {
    (request.bioTail as Bio).next = bio;
    request.bioTail = bio;
    request.bytes += bio.size;
  }
  return request;
}

export function dispose(requests: readonly Request[]): void {
  for (const request of requests) {
    for (let bio = request.bio; bio !== null; ) {
      const next: Bio | null = bio.next;
      bioPool.release(bio);
      bio = next;
    }
  }
  assert.equal(bioPool.busyCount, 0);
}

/** What the iterator yields, and its status at the end. */
export function walk(
  iter: DmaIter,
  device: DmaDevice,
  request: Request,
  out: DmaList,
): [number, number][] {
  const yielded: [number, number][] = [];
  for (let more = iter.start(device, request, WIDE, out); more; more = iter.next()) {
    yielded.push([iter.addr, iter.len]);
  }
  assert.ok(!iter.next(), 'the end stays the end');
  return yielded;
}
