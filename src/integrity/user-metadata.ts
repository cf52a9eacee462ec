import { Errno } from '../base/errno.ts';
import { type IntegrityProfile, metadataBytesOf } from './integrity-profile.ts';
import { CheckFlag } from './verify.ts';

const CHECKS_ALL = CheckFlag.GUARD | CheckFlag.REF | CheckFlag.APP;

/** What a user hands over with a read or write. Linux: struct io_uring_attr_pi, uio_meta. */
export interface UserMetadata {
  /** Bytes of metadata that are left for this bio and those after it. */
  readonly bytes: number;
  /** CheckFlag; the numbers are those of IO_INTEGRITY_CHK_*. */
  readonly check: number;
}

/**
 * Bytes of metadata that a bio of `dataBytes` takes, or -EINVAL: the device has no metadata, there
 * is too little of it, or a check is asked for that nobody knows. Linux: bio_integrity_map_iter().
 */
export function userMetadataShare(
  profile: IntegrityProfile,
  dataBytes: number,
  user: UserMetadata,
): number {
  if (profile.metadata_size === 0) return -Errno.EINVAL;
  const bytes = metadataBytesOf(profile, dataBytes);
  if (user.bytes < bytes || (user.check & ~CHECKS_ALL) !== 0) return -Errno.EINVAL;
  return bytes;
}
