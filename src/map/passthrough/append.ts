import { SECTOR_BYTES } from '../../base/units.ts';
import type { Bio } from '../../bio/bio.ts';
import { BioFlag } from '../../bio/bio-op.ts';
import { wouldGap } from '../../bio/gap.ts';
import { SplitCause, SplitPoint, splitReadWrite } from '../../bio/split-point.ts';
import type { Limits } from '../../limits/limits.ts';
import { MapReason } from '../verdict.ts';
import { type BioChain, maxPassthroughBytes } from './bio-chain.ts';
import type { PassthroughRules } from './passthrough-rules.ts';

// A passthrough request is never split: a bio is appended as it is, or not at all.

const point = new SplitPoint();

/**
 * Appends `bio` to `chain`. FITS: it did. SEGMENTS or GAP: the request would have to be split.
 * SIZE: it would be longer than the device takes. ADDRESS: a row starts off dma_alignment. Unless
 * it fits, nothing has changed. Linux: blk_rq_append_bio(), block/blk-map.c.
 */
export function appendBio(
  chain: BioChain,
  bio: Bio,
  limits: Limits,
  rules: PassthroughRules,
): MapReason {
  // A builder that asked the limits for each page made one segment of each row. Nobody built the
  // rows that a bio borrows.
  const isCounted = rules.build === 'append' || (bio.flags & BioFlag.CLONED) !== 0;
  if (isCounted) {
    const reason = countSegments(bio, limits);
    if (reason !== MapReason.FITS) return reason;
  }
  const segments = isCounted ? point.segments : bio.vcnt;
  if (chain.bio !== null) {
    const reason = backMerge(chain, chain.bio, bio, segments, limits, rules);
    if (reason !== MapReason.FITS) return reason;
  }
  const { bioTail } = chain;
  bio.next = null;
  bio.sector = chain.bytes / SECTOR_BYTES;
  if (bioTail === null) chain.bio = bio;
  else bioTail.next = bio;
  chain.bioTail = bio;
  chain.bytes += bio.size;
  chain.segments += segments;
  return MapReason.FITS;
}

function clearPoint(at: SplitPoint): void {
  at.bytes = 0;
  at.segments = 0;
  at.cause = SplitCause.NONE;
}

/** Leaves the segments in `point`. */
function countSegments(bio: Bio, limits: Limits): MapReason {
  clearPoint(point);
  splitReadWrite(bio, limits, maxPassthroughBytes(limits), point);
  if (point.bytes === 0) return MapReason.FITS;
  switch (point.cause) {
    case SplitCause.NONE:
      return MapReason.ADDRESS;
    case SplitCause.MAX_SEGMENTS:
      return MapReason.SEGMENTS;
    case SplitCause.VIRT_BOUNDARY:
      return MapReason.GAP;
    case SplitCause.MAX_SECTORS:
    case SplitCause.CHUNK_SECTORS:
    case SplitCause.DISCARD:
    case SplitCause.METADATA:
      return MapReason.SIZE;
  }
}

/** The rules of a back merge (reference 5.4). Linux: ll_back_merge_fn(), block/blk-merge.c. */
function backMerge(
  chain: BioChain,
  first: Bio,
  bio: Bio,
  segments: number,
  limits: Limits,
  rules: PassthroughRules,
): MapReason {
  const most = maxPassthroughBytes(limits);
  const bytesMax = rules.build === 'append' ? most : 0;
  if (wouldGap(first, chain.bioTail as Bio, bio, limits, bytesMax)) return MapReason.GAP;
  if (sizeOf(chain.bytes, rules) + sizeOf(bio.size, rules) > most) return MapReason.SIZE;
  if (chain.segments + segments > limits.max_segments) return MapReason.SEGMENTS;
  return MapReason.FITS;
}

/** Kernels compare whole sectors, so that each bio may pass the limit by a part of one. */
function sizeOf(bytes: number, rules: PassthroughRules): number {
  return rules.build === 'append' ? bytes : bytes - (bytes % SECTOR_BYTES);
}
