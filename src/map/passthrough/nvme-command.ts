import { assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { BioOp } from '../../bio/bio-op.ts';
import { IovIter, IterDirection } from '../../iter/iov-iter.ts';
import type { AddressSpace } from '../../memory/address-space.ts';
import type { CopyPolicy } from '../verdict.ts';
import { PassthroughChain } from './bio-chain.ts';
import { mapUserIo, type UserBuffer } from './map-user-io.ts';
import { UserMeta } from './meta-rows.ts';
import { MapOutcome, type PassthroughContext } from './passthrough-context.ts';
import { unmapUser } from './unmap-user.ts';
import { mapUserMeta, unmapUserMeta } from './user-meta.ts';

/** Where the metadata of a command lies. No address or no bytes: it has none. */
export interface MetaBuffer {
  readonly space: AddressSpace;
  readonly addr: number;
  readonly bytes: number;
}

/** How a command ended. */
export interface NvmeEnd {
  /** Of the data. */
  readonly transferredBytes: number;
  readonly metaBytes?: number;
  readonly hasMemory?: boolean;
}

/**
 * The memory of one NVMe command of a program, data and metadata, from `start` to `finish`.
 * Linux: nvme_map_user_request(), drivers/nvme/host/ioctl.c.
 */
export class NvmeCommand {
  readonly chain = new PassthroughChain(BioOp.READ);
  readonly meta = new UserMeta();
  readonly outcome = new MapOutcome();
  readonly #context: PassthroughContext;
  readonly #iter = new IovIter();

  constructor(context: PassthroughContext) {
    this.#context = context;
  }

  /**
   * 0, or what mapping answers; then nothing is held: data that was mapped before its metadata
   * failed is unmapped (upstream leaves it, H5). Metadata without data is -EINVAL.
   */
  start(
    op: BioOp,
    data: UserBuffer | null,
    meta: MetaBuffer | null,
    copy: CopyPolicy = 'auto',
  ): number {
    const { chain, outcome } = this;
    const context = this.#context;
    assert(chain.bio === null, 'nvme: started twice');
    chain.reset(op);
    const result = data === null ? 0 : mapUserIo(chain, data, { context, outcome, copy });
    if (result !== 0 || meta === null || meta.addr === 0 || meta.bytes === 0) return result;
    const error = this.#mapMeta(op, meta, copy);
    if (error !== 0) this.finish({ transferredBytes: 0 });
    return error;
  }

  #mapMeta(op: BioOp, { space, addr, bytes }: MetaBuffer, copy: CopyPolicy): number {
    const { bio } = this.chain;
    if (bio === null) return -Errno.EINVAL;
    const iter = this.#iter;
    const direction = op === BioOp.READ ? IterDirection.DEST : IterDirection.SOURCE;
    const imported = iter.initUserRange(direction, space, addr, bytes);
    if (imported < 0) return imported;
    const result = mapUserMeta(bio, iter, this.meta, this.#context, copy);
    iter.clear();
    return result;
  }

  /** The command has ended, or never went: metadata first, then data. As `unmapUser`. */
  finish({ transferredBytes, metaBytes = 0, hasMemory = true }: NvmeEnd): number {
    const context = this.#context;
    const first = this.chain.bio;
    unmapUserMeta(this.meta, metaBytes, context);
    this.chain.reset(this.chain.op);
    return unmapUser(first, context, { transferredBytes, hasMemory });
  }
}
