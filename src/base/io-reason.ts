import { Errno } from './errno.ts';

/** Why a device or a file took no transfer, in words; null: the number says all that is known. */
export function ioReason(status: number): string | null {
  switch (status) {
    case -Errno.EIO:
      return 'the device reported an I/O error, or made no progress';
    case -Errno.EFBIG:
      return 'the file would become larger than the file system or ulimit -f allows';
    case -Errno.ENOSPC:
      return 'no space left on the device';
    case -Errno.EDQUOT:
      return 'the disk quota is used up';
    case -Errno.EOPNOTSUPP:
      return 'the device does not support this operation';
    default:
      return null;
  }
}
