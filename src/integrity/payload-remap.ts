import { assert } from '../base/assert.ts';
import { type BioIntegrity, PayloadFlag } from './bio-integrity.ts';
import { hasRefTag, type IntegrityProfile } from './integrity-profile.ts';
import { PiWalk } from './pi-walk.ts';
import { remapRefTags } from './remap.ts';

// Ref tags of a request, bio by bio: what the submitter counts from its seed, the device counts
// from its block. `block` is that of the bio's first interval, in intervals (`deviceBlock`). Both
// give how many intervals the bio has, by which the caller moves on. Reference 7.5.

const walk = new PiWalk();

function intervalsLeft(payload: BioIntegrity, profile: IntegrityProfile): number {
  const intervals = payload.size / profile.metadata_size;
  assert(Number.isInteger(intervals), 'payload: part of a record');
  return intervals;
}

/** Before a write is started: once; a payload that is mapped already is passed over. */
export function preparePayload(
  payload: BioIntegrity,
  profile: IntegrityProfile,
  block: number,
): number {
  const intervals = intervalsLeft(payload, profile);
  if (!hasRefTag(profile) || (payload.flags & PayloadFlag.MAPPED) !== 0) return intervals;
  walk.startMetadata(profile, payload, intervals);
  remapRefTags(walk, profile, payload.seed, block);
  payload.flags |= PayloadFlag.MAPPED;
  return intervals;
}

/** After a read that succeeded: the first `intervals`, which is what was transferred. */
export function completePayload(
  payload: BioIntegrity,
  profile: IntegrityProfile,
  block: number,
  intervals: number,
): number {
  const all = intervalsLeft(payload, profile);
  const done = intervals < all ? intervals : all;
  walk.startMetadata(profile, payload, done);
  remapRefTags(walk, profile, block, payload.seed);
  return all;
}
