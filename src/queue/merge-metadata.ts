import type { Bio } from '../bio/bio.ts';
import {
  type BioIntegrity,
  canMergePayloads,
  integritySegments,
  payloadOf,
} from '../integrity/bio-integrity.ts';
import type { Limits } from '../limits/limits.ts';
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
): boolean {
  const near = (isBack ? request.bioTail : request.bio) as Bio;
  const own = payloadOf(bio);
  const other = payloadOf(near);
  const ownSegments = own === null ? 0 : integritySegments(own, limits);
  if (request.metadataSegments === 0 && other !== null) {
    request.metadataSegments = integritySegments(other, limits); // It has one bio so far.
  }
  joint.front = isBack ? other : own;
  joint.frontSegments = isBack ? request.metadataSegments : ownSegments;
  joint.back = isBack ? own : other;
  joint.backSegments = isBack ? ownSegments : request.metadataSegments;
  const fits = canMergePayloads(joint, limits);
  joint.front = null;
  joint.back = null;
  if (fits) request.metadataSegments += ownSegments;
  return fits;
}
