import { hasRefTag, type IntegrityProfile } from './integrity-profile.ts';
import type { PiWalk } from './pi-walk.ts';
import { highBits, lowBits, read16, read32, refTagStart, write16, write32 } from './tuple.ts';

/**
 * Ref tags that are `from` become `to`, both one more for each interval; any other value stays.
 * Before a write starts: from the seed of its payload (virtual) to the block of the device; after a
 * successful read back, for the intervals that were transferred. User seed 5 at block 1000: refs
 * 5, 99, 7 become 1000, 99, 1002. Pre: `walk` was started on metadata. A profile without REF_TAG
 * has nothing to map. Gives how many changed. Data plane: no allocation.
 * Linux: blk_integrity_prepare(), blk_integrity_complete(), block/t10-pi.c.
 */
export function remapRefTags(
  walk: PiWalk,
  profile: IntegrityProfile,
  from: number,
  to: number,
): number {
  if (!hasRefTag(profile)) return 0;
  const refAt = refTagStart(profile.csum);
  const isWide = profile.csum === 'crc64';
  let changed = 0;
  let done = 0;
  while (walk.left > 0) {
    const count = walk.nextRecords();
    const { metadata, metadataAt, metadataStride, prefixBytes } = walk.run;
    if (count > 0 && metadata !== null) {
      let at = metadataAt + prefixBytes + refAt;
      for (let i = 0; i < count; i++) {
        if (remapRef(metadata.u8, at, isWide, from + done + i, to + done + i)) changed++;
        at += metadataStride;
      }
      walk.skipRecords(count);
      done += count;
    } else {
      walk.gatherRecord();
      if (remapRef(walk.tuple, refAt, isWide, from + done, to + done)) {
        walk.scatterTuple();
        changed++;
      }
      done++;
    }
  }
  return changed;
}

function remapRef(u8: Uint8Array, at: number, isWide: boolean, from: number, to: number): boolean {
  if (read32(u8, isWide ? at + 2 : at) !== lowBits(from)) return false;
  if (isWide && read16(u8, at) !== highBits(from)) return false;
  if (isWide) write16(u8, at, highBits(to));
  write32(u8, isWide ? at + 2 : at, lowBits(to));
  return true;
}

/**
 * The block of the device in intervals, as `remapRefTags` takes it: sector 2152 with intervals of
 * 4096 bytes is 269.
 */
export function deviceBlock(sector: number, profile: IntegrityProfile): number {
  return Math.floor(sector / (1 << (profile.interval_exp - 9))); // `**` would call pow.
}
