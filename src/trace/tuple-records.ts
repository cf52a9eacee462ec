import type { BioIntegrity } from '../integrity/bio-integrity.ts';
import { hexTag } from '../integrity/fault-text.ts';
import { intervalBytes, refBitsOf } from '../integrity/integrity-profile.ts';
import { PiWalk } from '../integrity/pi-walk.ts';
import { appTagStart, read16, read32, refTagStart } from '../integrity/tuple.ts';
import type { TupleRecord } from './event.ts';

/** Tuples that an event lists; the rest is counted. */
const TUPLES_MAX = 4;

const walk = new PiWalk();

/** The first tuples of `payload`, whose first interval is block `block` of the device. */
export function tupleRecords(payload: BioIntegrity, block: number): TupleRecord[] {
  const { profile, records, data } = payload;
  const { csum } = profile;
  if (csum === 'none') return [];
  const all = Math.floor(data.size / intervalBytes(profile));
  const count = Math.min(all, TUPLES_MAX);
  walk.startMetadata(profile, records, count);
  return Array.from({ length: count }, (_, i) => {
    walk.gatherRecord();
    const { tuple } = walk;
    const ref = refTagStart(csum);
    const isWide = csum === 'crc64';
    return {
      block: block + i,
      guard: isWide
        ? hexTag(read32(tuple, 0), read32(tuple, 4), 64)
        : hexTag(0, read16(tuple, 0), 16),
      app: hexTag(0, read16(tuple, appTagStart(csum)), 16),
      ref: isWide
        ? hexTag(read16(tuple, ref), read32(tuple, ref + 2), refBitsOf(csum))
        : hexTag(0, read32(tuple, ref), refBitsOf(csum)),
    };
  });
}
