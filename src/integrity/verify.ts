import { Errno } from '../base/errno.ts';
import { firstBadGuard, guardOfInterval } from './guards/guard.ts';
import type { GuardRun } from './guards/guard-run.ts';
import { GuardState } from './guards/guard-state.ts';
import { type Csum, hasRefTag, type IntegrityProfile } from './integrity-profile.ts';
import type { PiWalk } from './pi-walk.ts';
import {
  appTagStart,
  highBits,
  isEscape,
  isGuard,
  lowBits,
  read16,
  read32,
  refTagStart,
} from './tuple.ts';

/** Tags that are checked. Linux: BIP_CHECK_GUARD, BIP_CHECK_REFTAG, BIP_CHECK_APPTAG. */
export const CheckFlag = { GUARD: 1, REF: 2, APP: 4 } as const;

/** What did not match. */
export const PiTag = { NONE: 0, GUARD: 1, REF: 2, APP: 3 } as const;
export type PiTag = (typeof PiTag)[keyof typeof PiTag];
export const PI_TAG_NAMES = ['none', 'guard tag', 'ref tag', 'app tag'] as const;

/** What to compare with. One object serves many calls. */
export class PiCheck {
  /** CheckFlag; the ref tag is compared only where it counts (REF_TAG). */
  flags = 0;
  /** Expected ref tag of the first interval, one more for each. */
  seed = 0;
  /** Expected app tag, in the bits of the mask. */
  appTag = 0;
  appMask = 0xffff;
}

/** The first interval that did not match. 64-bit values: upper and lower 32 bits, signed. */
export class PiFault {
  /** Counted from the first interval of the walk. */
  interval = 0;
  tag: PiTag = PiTag.NONE;
  expectedLow = 0;
  expectedHigh = 0;
  actualLow = 0;
  actualHigh = 0;
}

const guard = new GuardState();

/**
 * Checks every interval of `walk` in order: an escape passes; then ref tag, app tag and guard. 0,
 * or -EILSEQ and in `fault` the first mismatch; what lies behind it is not looked at. Bytes after
 * the tuple are never looked at. Data plane: no allocation.
 * Linux: blk_integrity_verify(), block/t10-pi.c (the app tag is left to the device there).
 */
export function verify(
  walk: PiWalk,
  profile: IntegrityProfile,
  check: PiCheck,
  fault: PiFault,
): number {
  fault.tag = PiTag.NONE;
  if (profile.csum === 'none' || check.flags === 0) return 0;
  let done = 0;
  while (walk.left > 0) {
    const count = walk.nextRun();
    let isBad: boolean;
    if (count > 0) {
      isBad = checkRun(walk.run, profile, check, done, fault);
      walk.skip(count);
      done += count;
    } else {
      walk.gatherInterval(profile, guard);
      isBad = checkGathered(walk.tuple, profile, check, done, fault);
      done++;
    }
    if (isBad) return -Errno.EILSEQ;
  }
  return 0;
}

function checkRun(
  run: GuardRun,
  profile: IntegrityProfile,
  check: PiCheck,
  done: number,
  fault: PiFault,
): boolean {
  const { csum } = profile;
  const tags = firstBadTag(run, profile, check, done, fault);
  if ((check.flags & CheckFlag.GUARD) !== 0) {
    const { metadata, metadataAt, metadataStride, prefixBytes } = run;
    let bad = firstBadGuard(csum, run, 0, tags);
    while (bad < tags && metadata !== null) {
      const at = metadataAt + bad * metadataStride + prefixBytes;
      if (!isEscape(metadata.u8, at, profile)) {
        guardOfInterval(csum, run, bad, null, guard);
        guardFault(metadata.u8, at, csum, done + bad, fault);
        return true;
      }
      bad = firstBadGuard(csum, run, bad + 1, tags);
    }
  }
  return tags < run.count;
}

/** Index of the first interval whose ref or app tag is wrong, told in `fault`, or the count. */
function firstBadTag(
  run: GuardRun,
  profile: IntegrityProfile,
  check: PiCheck,
  done: number,
  fault: PiFault,
): number {
  const { metadata, metadataAt, metadataStride, prefixBytes, count } = run;
  if (metadata === null || !checksTags(profile, check)) return count;
  const { u8 } = metadata;
  let at = metadataAt + prefixBytes;
  for (let i = 0; i < count; i++) {
    if (isTagBad(u8, at, profile, check, done + i, fault)) return i;
    at += metadataStride;
  }
  return count;
}

function checksTags(profile: IntegrityProfile, check: PiCheck): boolean {
  const checksRef = (check.flags & CheckFlag.REF) !== 0 && hasRefTag(profile);
  return checksRef || (check.flags & CheckFlag.APP) !== 0;
}

function checkGathered(
  tuple: Uint8Array,
  profile: IntegrityProfile,
  check: PiCheck,
  interval: number,
  fault: PiFault,
): boolean {
  if (isEscape(tuple, 0, profile)) return false;
  if (checksTags(profile, check) && isTagBad(tuple, 0, profile, check, interval, fault))
    return true;
  if ((check.flags & CheckFlag.GUARD) === 0) return false;
  if (isGuard(profile.csum, tuple, 0, guard)) return false;
  guardFault(tuple, 0, profile.csum, interval, fault);
  return true;
}

/** Of the tuple at `at`; an escape is never bad. */
function isTagBad(
  u8: Uint8Array,
  at: number,
  profile: IntegrityProfile,
  check: PiCheck,
  interval: number,
  fault: PiFault,
): boolean {
  const { csum } = profile;
  if ((check.flags & CheckFlag.REF) !== 0 && hasRefTag(profile)) {
    const block = check.seed + interval;
    const ref = at + refTagStart(csum);
    const isWide = csum === 'crc64';
    const low = read32(u8, isWide ? ref + 2 : ref);
    const high = isWide ? read16(u8, ref) : 0;
    const expectedHigh = isWide ? highBits(block) : 0;
    if (low !== lowBits(block) || high !== expectedHigh) {
      if (isEscape(u8, at, profile)) return false;
      setFault(fault, interval, PiTag.REF, lowBits(block), expectedHigh, low, high);
      return true;
    }
  }
  if ((check.flags & CheckFlag.APP) !== 0) {
    const app = read16(u8, at + appTagStart(csum));
    if (((app ^ check.appTag) & check.appMask) !== 0) {
      if (isEscape(u8, at, profile)) return false;
      setFault(fault, interval, PiTag.APP, check.appTag & check.appMask, 0, app, 0);
      return true;
    }
  }
  return false;
}

/** The expected guard is in `guard`. */
function guardFault(
  u8: Uint8Array,
  at: number,
  csum: Csum,
  interval: number,
  fault: PiFault,
): void {
  const isWide = csum === 'crc64';
  const low = isWide ? read32(u8, at + 4) : read16(u8, at);
  const high = isWide ? read32(u8, at) : 0;
  setFault(fault, interval, PiTag.GUARD, guard.low, guard.high, low, high);
}

function setFault(
  fault: PiFault,
  interval: number,
  tag: PiTag,
  expectedLow: number,
  expectedHigh: number,
  actualLow: number,
  actualHigh: number,
): void {
  fault.interval = interval;
  fault.tag = tag;
  fault.expectedLow = expectedLow;
  fault.expectedHigh = expectedHigh;
  fault.actualLow = actualLow;
  fault.actualHigh = actualHigh;
}
