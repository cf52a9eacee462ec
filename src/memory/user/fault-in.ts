import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import type { Access } from '../address-space.ts';
import { FaultFlag } from './area.ts';
import type { UserSpace } from './user-space.ts';

/** See `UserSpace.faultIn`. Linux: fault_in_readable(), fault_in_writeable(). */
export async function faultInRange(
  space: UserSpace,
  addr: number,
  bytes: number,
  access: Access,
): Promise<number> {
  const end = addr + bytes;
  let at = addr;
  while (at < end) {
    const error = space.fault(at, access, FaultFlag.ALLOW_RETRY);
    if (error === -Errno.EAGAIN) {
      await new Promise<void>((resolve) => space.whenReady(resolve));
      continue;
    }
    space.throwHandlerError();
    if (error < 0) break;
    at = (Math.floor(at / PAGE_BYTES) + 1) * PAGE_BYTES;
  }
  return Math.max(end - at, 0);
}
