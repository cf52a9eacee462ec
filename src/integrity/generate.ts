import { fillGuards } from './guards/guard.ts';
import type { GuardRun } from './guards/guard-run.ts';
import { GuardState } from './guards/guard-state.ts';
import { hasRefTag, type IntegrityProfile } from './integrity-profile.ts';
import type { PiWalk } from './pi-walk.ts';
import {
  appTagStart,
  highBits,
  lowBits,
  refTagStart,
  write16,
  write32,
  writeGuard,
} from './tuple.ts';

const guard = new GuardState();

/**
 * Makes the tuples of every interval of `walk`: the guard, `appTag`, and as ref tag the lower bits
 * of `seed`, one more for each interval. Without REF_TAG (type 3) the ref tag is 0. Other bytes of
 * a record stay; those before the tuple must be there already, they are under the guard.
 * Data plane: no allocation. Linux: blk_integrity_generate(), block/t10-pi.c.
 */
export function generate(walk: PiWalk, profile: IntegrityProfile, seed: number, appTag = 0): void {
  if (profile.csum === 'none') return;
  const counts = hasRefTag(profile);
  let block = seed;
  while (walk.left > 0) {
    const count = walk.nextRun();
    if (count > 0) {
      fillGuards(profile.csum, walk.run);
      writeTags(walk.run, profile, counts ? block : -1, appTag);
      walk.skip(count);
      block += count;
    } else {
      walk.gatherInterval(profile, guard);
      writeTuple(walk.tuple, 0, profile, counts ? block : -1, appTag);
      writeGuard(profile.csum, walk.tuple, 0, guard);
      walk.scatterTuple();
      block++;
    }
  }
}

/** `block` -1: the ref tag does not count. */
function writeTags(run: GuardRun, profile: IntegrityProfile, block: number, appTag: number): void {
  const { metadata, metadataAt, metadataStride, prefixBytes, count } = run;
  if (metadata === null) return;
  const { u8 } = metadata;
  let at = metadataAt + prefixBytes;
  for (let i = 0; i < count; i++) {
    writeTuple(u8, at, profile, block < 0 ? -1 : block + i, appTag);
    at += metadataStride;
  }
}

function writeTuple(
  u8: Uint8Array,
  at: number,
  profile: IntegrityProfile,
  block: number,
  appTag: number,
): void {
  const { csum } = profile;
  write16(u8, at + appTagStart(csum), appTag);
  const ref = at + refTagStart(csum);
  const low = block < 0 ? 0 : lowBits(block);
  if (csum === 'crc64') {
    write16(u8, ref, block < 0 ? 0 : highBits(block));
    write32(u8, ref + 2, low);
  } else {
    write32(u8, ref, low);
  }
}
