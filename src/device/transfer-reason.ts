import { Errno } from '../base/errno.ts';
import { refusal } from '../map/decide.ts';
import { Verdict } from '../map/verdict.ts';
import type { Transfer } from './transfer.ts';

/** The sentence of an error that tells why `transfer` failed with `result`. */
export function reasonOf(transfer: Transfer, result: number): string {
  const { device } = transfer;
  const { reason, verdict } = transfer.mapping;
  if (result === -Errno.EINVAL && verdict === Verdict.REFUSE) {
    return refusal(reason, device.limits, device.context.blockBytes);
  }
  switch (result) {
    case -Errno.EIO:
      return 'the device reported an I/O error, or made no progress';
    case -Errno.EFBIG:
      return 'the file would become larger than the file system or ulimit -f allows';
    case -Errno.ENOSPC:
      return 'no space left on the device';
    case -Errno.EINVAL:
      return 'no request under the limits of the device can carry a block of this transfer';
    case -Errno.EAGAIN:
      return 'the device had no room for the request';
    case -Errno.EFAULT:
      return 'the memory of a buffer was released before the call';
    case -Errno.EOPNOTSUPP:
      return 'the device does not support this operation';
    default:
      return 'the device refused the transfer';
  }
}
