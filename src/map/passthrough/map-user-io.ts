import { BioOp } from '../../bio/bio-op.ts';
import { IovIter, IterDirection } from '../../iter/iov-iter.ts';
import type { Iovec } from '../../iter/iovec.ts';
import type { AddressSpace } from '../../memory/address-space.ts';
import type { BioChain } from './bio-chain.ts';
import { mapUser } from './map-user.ts';
import type { MapUserOptions } from './passthrough-context.ts';

/** Memory as a command names it: one buffer, or a list of them. */
export interface UserBuffer {
  readonly space: AddressSpace;
  /** Filled by `importRanges`, and its answer, which may be an errno. */
  readonly iovec: Iovec;
  readonly imported: number;
  /** It is a list: without a byte it is -EINVAL, and no command without data. */
  readonly isVector: boolean;
  /** The shorter of list and `bytes` wins, as SG_IO has it. */
  readonly bytes: number;
}

const iter = new IovIter();

/**
 * Maps the memory that a command names. Also 0 for one buffer of no bytes, and then `request` has
 * no bio. The errors of `mapUser`, and of the import. Linux: blk_rq_map_user_io(), block/blk-map.c.
 */
export function mapUserIo(request: BioChain, buffer: UserBuffer, options: MapUserOptions): number {
  const { space, iovec, imported, isVector, bytes } = buffer;
  if (!isVector && bytes === 0) return 0;
  if (imported < 0) return imported;
  const direction = request.op === BioOp.READ ? IterDirection.DEST : IterDirection.SOURCE;
  iter.initUser(direction, space, iovec);
  iter.truncate(bytes);
  const result = mapUser(request, iter, options);
  iter.clear();
  return result;
}
