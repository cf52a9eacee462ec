import { assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { SECTOR_BYTES } from '../../base/units.ts';
import type { Bio } from '../../bio/bio.ts';
import { BioOp } from '../../bio/bio-op.ts';
import { IovIter, IterDirection } from '../../iter/iov-iter.ts';
import { Iovec } from '../../iter/iovec.ts';
import type { AddressSpace } from '../../memory/address-space.ts';
import { MapReason } from '../verdict.ts';
import { type BioChain, maxPassthroughBytes } from './bio-chain.ts';
import { firstAdded, mapDecided } from './map-user.ts';
import { MapOutcome, PassthroughContext } from './passthrough-context.ts';
import { endMapped } from './unmap-user.ts';
import { copyOf } from './user-copy.ts';

/**
 * Memory of the driver itself: linear (`ARENA_SPACE`, where an address is a frame * 4096 + offset),
 * or contiguous in addresses alone, as vmalloc makes it. Its owner keeps it until the bios ended.
 */
export interface KernelBuffer {
  readonly space: AddressSpace;
  readonly addr: number;
  readonly bytes: number;
  /** Memory that dies with a call: a device never gets it. */
  readonly isOnStack?: boolean;
}

const iovec = new Iovec(1);
const iter = new IovIter();

/**
 * Maps a buffer of the driver into `request`, behind what is there, or copies it: when address or
 * length are misaligned, it lies on a stack, or its pages would have to be split. Its bios end
 * themselves: no memory of a program is touched, so no process context is needed. The driver must
 * not unmap them.
 *
 * 0; NO_MEMORY; -EINVAL: null, no bytes, or longer than max_hw_sectors; -ENOMEM. Unless 0, nothing
 * has changed. Linux: blk_rq_map_kern(), block/blk-map.c.
 */
export function mapKernel(
  request: BioChain,
  buffer: KernelBuffer | null,
  context: PassthroughContext,
  outcome = new MapOutcome(),
): number {
  const { limits } = context;
  if (buffer === null) return -Errno.EINVAL;
  if (buffer.bytes > maxPassthroughBytes(limits)) return -Errno.EINVAL;
  const { space, addr, bytes, isOnStack = false } = buffer;
  iovec.importRange(addr, bytes);
  const isRead = request.op === BioOp.READ;
  iter.initKernel(isRead ? IterDirection.DEST : IterDirection.SOURCE, space, iovec);
  const mask = limits.dma_alignment | limits.dma_pad_mask;
  const isAligned = ((addr | bytes) & mask) === 0;
  outcome.reason = isOnStack ? MapReason.KERNEL : isAligned ? MapReason.FITS : MapReason.ADDRESS;
  const result = mapDecided(request, iter, context, 'auto', null, outcome);
  iter.clear();
  if (result !== 0) return result;
  for (let bio = firstAdded(request); bio !== null; bio = bio.next) {
    bio.owner ??= context;
    bio.endIo = endKernelBio;
  }
  return 0;
}

/** Copies back what was transferred, frees own pages and the bio. */
function endKernelBio(bio: Bio): void {
  const copy = copyOf(bio);
  if (copy === null) {
    const { owner } = bio;
    assert(owner instanceof PassthroughContext, 'kernel buffer: a bio of somebody else');
    endMapped(bio, owner, 0, true, true);
    return;
  }
  // How far the iterator of the bio went is how much of its start is done already.
  const start = bio.sector * SECTOR_BYTES - (copy.bytes - bio.size);
  const done = Math.max(Math.min(bio.shortAt - start, copy.bytes), 0);
  endMapped(bio, copy.context, bio.status === 0 ? done : 0, true, true);
}
