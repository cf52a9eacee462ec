import { SECTOR_BYTES } from '../base/units.ts';
import { type Bio, isMergeable } from '../bio/bio.ts';
import { BioFlag, BioOp, opHasData } from '../bio/bio-op.ts';
import { wouldGap } from '../bio/gap.ts';
import type { Limits } from '../limits/limits.ts';
import type { Profile } from '../limits/profile.ts';
import { countAttempt, mergeMetadata } from './merge-metadata.ts';
import type { Request } from './request.ts';

// Joining a bio to a request that is not issued yet. Reference 5.4. Linux: block/blk-merge.c.

export const MergeResult = {
  /** They do not fit together at all: try another request. */
  NONE: 0,
  BACK: 1,
  FRONT: 2,
  DISCARD: 3,
  /** They meet, but a limit forbids it: stop trying. */
  FAILED: 4,
} as const;
export type MergeResult = (typeof MergeResult)[keyof typeof MergeResult];

/** Tries to join `bio` (of `segments` segments) to `request`. Linux: blk_attempt_bio_merge(). */
export function tryMerge(
  request: Request,
  bio: Bio,
  segments: number,
  limits: Limits,
  count: Profile['metadataCount'] = 'exact',
): MergeResult {
  if (request.op !== bio.op || !isMergeable(bio) || !requestMergeable(request)) {
    return MergeResult.NONE;
  }
  if (count === 'attempts' && !countAttempt(request, bio, limits)) return MergeResult.NONE;
  if (request.op === BioOp.DISCARD && limits.max_discard_segments > 1) {
    return discardMerge(request, bio, limits);
  }
  if (request.sector + request.sectors === bio.sector) {
    return backMerge(request, bio, segments, limits, count);
  }
  if (bio.sector + bio.sectors === request.sector) {
    return frontMerge(request, bio, segments, limits, count);
  }
  return MergeResult.NONE;
}

function requestMergeable(request: Request): boolean {
  if ((request.flags & (BioFlag.NOMERGE | BioFlag.FUA)) !== 0) return false;
  return request.op !== BioOp.FLUSH && request.op !== BioOp.WRITE_ZEROES;
}

function backMerge(
  request: Request,
  bio: Bio,
  segments: number,
  limits: Limits,
  count: Profile['metadataCount'],
): MergeResult {
  const tail = request.bioTail as Bio;
  if (gapAtJoint(request.bio as Bio, tail, bio, limits)) return MergeResult.FAILED;
  if (!fits(request, bio, segments, request.sector, limits)) return MergeResult.FAILED;
  if (hasMetadata(request, bio) && !mergeMetadata(request, bio, true, limits, count)) {
    return MergeResult.NONE;
  }
  tail.next = bio;
  bio.next = null;
  request.bioTail = bio;
  request.bytes += bio.size;
  request.segments += addedSegments(request, segments);
  return MergeResult.BACK;
}

function frontMerge(
  request: Request,
  bio: Bio,
  segments: number,
  limits: Limits,
  count: Profile['metadataCount'],
): MergeResult {
  if (gapAtJoint(bio, bio, request.bio as Bio, limits)) return MergeResult.FAILED;
  if (!fits(request, bio, segments, bio.sector, limits)) return MergeResult.FAILED;
  if (hasMetadata(request, bio) && !mergeMetadata(request, bio, false, limits, count)) {
    return MergeResult.NONE;
  }
  bio.next = request.bio;
  request.bio = bio;
  request.sector = bio.sector;
  request.bytes += bio.size;
  request.segments += addedSegments(request, segments);
  return MergeResult.FRONT;
}

function hasMetadata(request: Request, bio: Bio): boolean {
  return bio.integrity !== null || (request.bio as Bio).integrity !== null;
}

/** Any positions; each bio is one range. Linux: bio_attempt_discard_merge(). */
function discardMerge(request: Request, bio: Bio, limits: Limits): MergeResult {
  const tooMany = request.segments + 1 > limits.max_discard_segments;
  const sectors = request.sectors + bio.sectors;
  if (tooMany || sectors > limits.max_discard_sectors) {
    request.flags |= BioFlag.NOMERGE;
    return MergeResult.FAILED;
  }
  (request.bioTail as Bio).next = bio;
  bio.next = null;
  request.bioTail = bio;
  request.bytes += bio.size;
  request.segments++;
  return MergeResult.DISCARD;
}

/** A discard that goes on where the request ends is still one range. Linux: ll_new_hw_segment(). */
function addedSegments(request: Request, segments: number): number {
  return request.op === BioOp.DISCARD ? 0 : segments;
}

/** Size and segment count; failing either ends all merging with this request. */
function fits(
  request: Request,
  bio: Bio,
  segments: number,
  startSector: number,
  limits: Limits,
): boolean {
  const sectors = request.sectors + bio.sectors;
  const inSize = sectors <= maxSectorsAt(request.op, startSector, limits);
  // Counts add: two bios with adjacent memory still count two (reference 5.4).
  const sum = request.segments + addedSegments(request, segments);
  if (inSize && sum <= limits.max_segments) return true;
  request.flags |= BioFlag.NOMERGE;
  return false;
}

/** Linux: blk_rq_get_max_sectors(). */
export function maxSectorsAt(op: BioOp, startSector: number, limits: Limits): number {
  if (op === BioOp.DISCARD) return limits.max_discard_sectors;
  if (op === BioOp.SECURE_ERASE) return limits.max_secure_erase_sectors;
  const chunk = limits.chunk_sectors;
  if (chunk === 0) return limits.max_sectors;
  return Math.min(limits.max_sectors, chunk - (startSector % chunk));
}

/** Ranges without memory have no gap. */
export function gapAtJoint(first: Bio, prev: Bio, next: Bio, limits: Limits): boolean {
  if (limits.virt_boundary_mask === 0 || !opHasData(prev.op)) return false;
  return wouldGap(first, prev, next, limits, limits.max_sectors * SECTOR_BYTES);
}
