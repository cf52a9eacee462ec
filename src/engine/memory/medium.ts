import { BlockError } from '../../base/block-error.ts';
import { Errno } from '../../base/errno.ts';
import { SECTOR_BYTES } from '../../base/units.ts';
import type { Bio } from '../../bio/bio.ts';
import { BioOp } from '../../bio/bio-op.ts';
import type { Limits, LimitsInput } from '../../limits/limits.ts';
import { presetLimits } from '../../limits/presets.ts';
import { fromEffective } from '../../limits/validate.ts';
import type { Request } from '../../queue/request.ts';

// What every engine without a device behind it has in common: its limits and its edges.

export const DEPTH_DEFAULT = 256;

/** The preset 'unlimited', with what `input` states instead. */
export function memoryLimits(input: LimitsInput | undefined): Limits {
  const base = presetLimits('unlimited');
  return input === undefined ? base : fromEffective({ ...base, ...input });
}

/** Throws BlockError EINVAL unless a disk can have `sizeBytes`. */
export function requireWholeBlocks(sizeBytes: number, limits: Limits, target: string): void {
  const block = limits.logical_block_size;
  if (Number.isSafeInteger(sizeBytes) && sizeBytes > 0 && sizeBytes % block === 0) return;
  const rule = `a multiple of the ${block}-byte block`;
  const reason = `the size is ${sizeBytes} bytes, but must be ${rule}`;
  throw new BlockError('EINVAL', { reason, device: target });
}

/** 0, or why no byte of a request that changes the medium is taken. */
export function rangeStatus(request: Request, sizeBytes: number, limits: Limits): number {
  if (limits.read_only) return -Errno.EROFS;
  if (!takesOp(request.op, limits)) return -Errno.EOPNOTSUPP;
  for (let bio: Bio | null = request.bio; bio !== null; bio = bio.next) {
    if (bio.sector * SECTOR_BYTES + bio.size > sizeBytes) return -Errno.ENOSPC;
  }
  return 0;
}

function takesOp(op: BioOp, limits: Limits): boolean {
  if (op === BioOp.DISCARD) return limits.max_discard_sectors > 0;
  if (op === BioOp.SECURE_ERASE) return limits.max_secure_erase_sectors > 0;
  if (op === BioOp.WRITE_ZEROES) return limits.max_write_zeroes_sectors > 0;
  return true;
}
