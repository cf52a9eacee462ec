import { SECTOR_BYTES } from '../base/units.ts';
import type { Limits } from '../limits/limits.ts';
import type { Profile } from '../limits/profile.ts';
import type { Arena } from '../memory/arena.ts';
import type { BounceReserve } from './bounce-reserve.ts';
import type { MapCounters } from './map-counters.ts';

/** What a device gives to all its mappings. */
export interface MapContext {
  readonly limits: Limits;
  readonly profile: Profile;
  readonly arena: Arena;
  readonly reserve: BounceReserve;
  readonly counters: MapCounters;
  /** Unit of position and length: the logical block, or 1 for a byte-granular file. */
  readonly blockBytes: number;
}

// What `fill` may answer besides 0 and a negative errno.
/** Only the built bio showed that mapping breaks a limit: fill another one, `isCopied`. */
export const COPY_INSTEAD = 1;
/** There is no memory for own pages now: try again after a completion. */
export const NO_MEMORY = 2;
/** The next page of the program must be waited for: its space calls when it is worth asking. */
export const FAULT_WAIT = 3;

/** 512-byte units of a byte position; exact for any byte, because 512 is a power of two. */
export function sectorOf(position: number): number {
  return position / SECTOR_BYTES;
}
