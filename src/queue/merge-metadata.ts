import type { Bio } from '../bio/bio.ts';
import {
  type BioIntegrity,
  canMergePayloads,
  integritySegments,
  payloadOf,
} from '../integrity/bio-integrity.ts';
import type { Limits } from '../limits/limits.ts';
import type { Profile } from '../limits/profile.ts';
import type { Request } from './request.ts';

/** What `canMergePayloads` is asked, in one object for all merges. */
const joint = {
  front: null as BioIntegrity | null,
  frontSegments: 0,
  back: null as BioIntegrity | null,
  backSegments: 0,
};

/**
 * Whether the metadata of `bio` may follow that of `request` (or come before it), and then counts
 * its segments. Pre: one of them has metadata; nothing else stands against the merge.
 * Linux: blk_integrity_merge_bio(), block/blk-integrity.c.
 */
export function mergeMetadata(
  request: Request,
  bio: Bio,
  isBack: boolean,
  limits: Limits,
  count: Profile['metadataCount'],
): boolean {
  const near = (isBack ? request.bioTail : request.bio) as Bio;
  const own = payloadOf(bio);
  const other = payloadOf(near);
  const counts = count === 'exact'; // Else `countAttempt` does, and minds the limit.
  const ownSegments = own === null || !counts ? 0 : integritySegments(own, limits);
  if (request.metadataSegments === 0 && other !== null && counts) {
    request.metadataSegments = integritySegments(other, limits); // It has one bio so far.
  }
  joint.front = isBack ? other : own;
  const segments = counts ? request.metadataSegments : 0;
  joint.frontSegments = isBack ? segments : ownSegments;
  joint.back = isBack ? own : other;
  joint.backSegments = isBack ? ownSegments : segments;
  const fits = canMergePayloads(joint, limits);
  joint.front = null;
  joint.back = null;
  if (!fits) return false;
  request.metadataSegments += ownSegments;
  return counts || countAttempt(request, bio, limits);
}

/**
 * Linux 6.1 counts the segments of `bio` when it is looked at, whether it then joins or not, and
 * once more when it joins. The bio that started the request does not count. False: one of them has
 * no metadata, or there are too many.
 */
export function countAttempt(request: Request, bio: Bio, limits: Limits): boolean {
  const own = payloadOf(bio);
  const hasOther = (request.bio as Bio).integrity !== null;
  if (own === null || !hasOther) return own === null && !hasOther;
  const segments = request.metadataSegments + integritySegments(own, limits);
  const most = limits.max_integrity_segments;
  if (most !== 0 && segments > most) return false;
  request.metadataSegments = segments;
  return true;
}
