import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { firstBadTuple, guardOfInterval } from './guards/guard.ts';
import type { GuardRun } from './guards/guard-run.ts';
import { GuardState } from './guards/guard-state.ts';
import { type Csum, hasRefTag, type IntegrityProfile } from './integrity-profile.ts';
import type { PiWalk } from './pi-walk.ts';
import {
  appTagStart,
  highBits,
  isEscape,
  isGuard,
  isRef,
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
 * the tuple are never looked at. Data plane: no allocation. Linux: blk_integrity_verify(),
 * block/t10-pi.c (the app tag is left to the device there).
 */
export function verify(
  walk: PiWalk,
  profile: IntegrityProfile,
  check: PiCheck,
  fault: PiFault,
): number {
  fault.tag = PiTag.NONE;
  if (profile.csum === 'none' || check.flags === 0) return 0;
  const { run } = walk;
  run.appTag = check.appTag;
  run.appMask = (check.flags & CheckFlag.APP) !== 0 ? check.appMask : 0;
  run.checksRef = (check.flags & CheckFlag.REF) !== 0 && hasRefTag(profile);
  run.refStep = 1;
  let done = 0;
  while (walk.left > 0) {
    const count = walk.nextRun();
    let isBad: boolean;
    if (count > 0) {
      run.block = check.seed + done;
      isBad = checkRun(run, profile, check, done, fault);
      walk.skip(count);
      done += count;
    } else {
      walk.gatherInterval(profile, guard);
      isBad = isTupleBad(walk.tuple, 0, profile, check, done, fault);
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
  const { metadata, metadataAt, metadataStride, prefixBytes, count } = run;
  assert(metadata !== null, 'verify: a run without metadata');
  const hasGuard = (check.flags & CheckFlag.GUARD) !== 0;
  let bad = hasGuard ? firstBadTuple(csum, run, 0) : 0;
  while (bad < count) {
    const at = metadataAt + bad * metadataStride + prefixBytes;
    if (!isEscape(metadata.u8, at, profile)) {
      if (hasGuard) guardOfInterval(csum, run, bad, guard);
      if (isTupleBad(metadata.u8, at, profile, check, done + bad, fault)) return true;
    }
    bad = hasGuard ? firstBadTuple(csum, run, bad + 1) : bad + 1;
  }
  return false;
}

/** Looks at the tuple at `at`, whose guard should be the one in `guard`. */
function isTupleBad(
  u8: Uint8Array,
  at: number,
  profile: IntegrityProfile,
  check: PiCheck,
  interval: number,
  fault: PiFault,
): boolean {
  if (isEscape(u8, at, profile)) return false;
  if (isTagBad(u8, at, profile, check, interval, fault)) return true;
  if ((check.flags & CheckFlag.GUARD) === 0) return false;
  if (isGuard(profile.csum, u8, at, guard)) return false;
  guardFault(u8, at, profile.csum, interval, fault);
  return true;
}

function isTagBad(
  u8: Uint8Array,
  at: number,
  profile: IntegrityProfile,
  check: PiCheck,
  interval: number,
  fault: PiFault,
): boolean {
  const { csum } = profile;
  const block = check.seed + interval;
  if ((check.flags & CheckFlag.REF) !== 0 && hasRefTag(profile) && !isRef(csum, u8, at, block)) {
    const ref = at + refTagStart(csum);
    const isWide = csum === 'crc64';
    const low = read32(u8, isWide ? ref + 2 : ref);
    const high = isWide ? read16(u8, ref) : 0;
    setFault(fault, interval, PiTag.REF, lowBits(block), isWide ? highBits(block) : 0, low, high);
    return true;
  }
  if ((check.flags & CheckFlag.APP) === 0) return false;
  const app = read16(u8, at + appTagStart(csum));
  if (((app ^ check.appTag) & check.appMask) === 0) return false;
  setFault(fault, interval, PiTag.APP, check.appTag & check.appMask, 0, app, 0);
  return true;
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
