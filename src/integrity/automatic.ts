import { type BioOp, BioOp as Op } from '../bio/bio-op.ts';
import { hasRefTag, IntegrityFlag, type IntegrityProfile } from './integrity-profile.ts';
import { CheckFlag } from './verify.ts';

/** What the block layer does for a bio that comes without metadata to a device that has some. */
export const AutoAction = {
  /** A metadata buffer is attached. */
  BUFFER: 1,
  /** It is zeroed first: what no tag is written to would be old memory. */
  ZERO: 2,
  /** Tags are made (write) or checked (read). */
  CHECK: 4,
} as const;

/**
 * The table of reference 7.3, a set of AutoAction; 0 = nothing, the controller makes and strips the
 * tags. Runs after splitting, for each bio. Linux: bio_integrity_action(), block/bio-integrity.c.
 */
export function automaticAction(op: BioOp, sectors: number, profile: IntegrityProfile): number {
  const { metadata_size, tuple_size, flags } = profile;
  if (metadata_size === 0) return 0;
  const isLarger = metadata_size > tuple_size;
  if (op === Op.READ) {
    if ((flags & IntegrityFlag.NOVERIFY) === 0) return AutoAction.BUFFER | AutoAction.CHECK;
    return isLarger ? AutoAction.BUFFER : 0;
  }
  if (op !== Op.WRITE || sectors === 0) return 0;
  const zero = isLarger ? AutoAction.ZERO : 0;
  if ((flags & IntegrityFlag.NOGENERATE) === 0) {
    return AutoAction.BUFFER | AutoAction.CHECK | zero;
  }
  return isLarger ? AutoAction.BUFFER | zero : 0;
}

/** Tags that the host checks by itself: never the app tag, whose meaning is the user's. */
export function automaticChecks(profile: IntegrityProfile): number {
  const guard = profile.csum === 'none' ? 0 : CheckFlag.GUARD;
  return guard | (hasRefTag(profile) ? CheckFlag.REF : 0);
}
