import { PAGE_BYTES, SECTOR_BYTES } from '../base/units.ts';
import type { Limits } from '../limits/limits.ts';
import { fromEffective } from '../limits/validate.ts';
import {
  IntegrityFlag,
  type IntegrityProfile,
  intervalBytes,
  METADATA_BYTES_MAX,
  NO_INTEGRITY,
} from './integrity-profile.ts';

/**
 * What a profile asks of the limits of its device: requests whose metadata fits one buffer, and
 * segments that start on an interval, unless the device takes split ones. An interval above a page
 * has dma_alignment 4095, the most that the field can say: such intervals do lie in several
 * segments, which the guards here take as well.
 * Throws BlockError EINVAL when no request could carry one logical block.
 * Linux: blk_validate_integrity_limits(), max_integrity_io_size().
 */
export function integrityLimits(limits: Limits, profile: IntegrityProfile): Limits {
  if (profile.metadata_size === 0) return limits;
  const bytes = Math.min(limits.max_segment_size, metadataRequestBytes(profile));
  const max_sectors = Math.min(limits.max_sectors, Math.floor(bytes / SECTOR_BYTES));
  const isSplitOk = (profile.flags & IntegrityFlag.SPLIT_INTERVAL_OK) !== 0;
  const wanted = isSplitOk || profile.csum === 'none' ? 0 : intervalBytes(profile) - 1;
  const dma_alignment = Math.max(limits.dma_alignment, Math.min(wanted, PAGE_BYTES - 1));
  if (max_sectors === limits.max_sectors && dma_alignment === limits.dma_alignment) return limits;
  return fromEffective({ ...limits, max_sectors, dma_alignment });
}

/** Bytes of data whose metadata fits the largest buffer. */
function metadataRequestBytes(profile: IntegrityProfile): number {
  return Math.floor(METADATA_BYTES_MAX / profile.metadata_size) * intervalBytes(profile);
}

const MUST_MATCH = [
  'csum',
  'interval_exp',
  'metadata_size',
  'tuple_size',
  'pi_offset',
  'tag_size',
] as const;
/** Of these a stack has what every part has. */
const SHARED_FLAGS = IntegrityFlag.DEVICE_CAPABLE | IntegrityFlag.SPLIT_INTERVAL_OK;

/**
 * The profile of a device made of `parts`: theirs, where all have the same format, else
 * NO_INTEGRITY. All parts at once, so that their order does not matter: in Linux a part that does
 * not fit clears the profile, and the next one sets it anew. The offset of the tuple must match
 * too. Linux: queue_limits_stack_integrity(), block/blk-settings.c.
 */
export function stackIntegrity(parts: readonly IntegrityProfile[]): IntegrityProfile {
  const [first] = parts;
  if (first === undefined || first.metadata_size === 0) return NO_INTEGRITY;
  let shared = SHARED_FLAGS;
  for (const part of parts) {
    if (MUST_MATCH.some((name) => part[name] !== first[name])) return NO_INTEGRITY;
    if ((part.flags & IntegrityFlag.REF_TAG) !== (first.flags & IntegrityFlag.REF_TAG)) {
      return NO_INTEGRITY;
    }
    shared &= part.flags;
  }
  const flags = (first.flags & IntegrityFlag.REF_TAG) | shared | IntegrityFlag.STACKED;
  return Object.freeze({ ...first, flags });
}
