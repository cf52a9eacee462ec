import { assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { BioOp } from '../../bio/bio-op.ts';
import type { Limits } from '../../limits/limits.ts';
import { maxPassthroughBytes, PassthroughChain } from './bio-chain.ts';
import { mapUserIo, type UserBuffer } from './map-user-io.ts';
import type { RequestMemorySource } from './open-file-reserve.ts';
import { MapOutcome, type PassthroughContext } from './passthrough-context.ts';
import type { RequestMemory } from './request-memory.ts';
import { unmapUser } from './unmap-user.ts';

/** Which way the data of a command goes, as the program says. */
export const SgDirection = { NONE: 0, TO_DEVICE: 1, FROM_DEVICE: 2, BOTH: 3 } as const;
export type SgDirection = (typeof SgDirection)[keyof typeof SgDirection];

/** What a program asks for, in the fields of struct sg_io_hdr that say something of memory. */
export interface SgHeader {
  readonly direction: SgDirection;
  readonly buffer: UserBuffer;
  /** Address of the buffer, or of the list; 0: the reserve of the file, uncopied. */
  readonly address: number;
  /** SG_FLAG_DIRECT_IO, SG_FLAG_MMAP_IO: for an open file only. */
  readonly wantsDirect?: boolean;
  readonly wantsMmap?: boolean;
}

/**
 * The memory of one SCSI command of a program, from `start` to `finish`. Who has it sends the chain
 * to a device between the two. Linux: sg_io() in drivers/scsi/scsi_ioctl.c, drivers/scsi/sg.c.
 */
export class SgCommand {
  readonly chain = new PassthroughChain(BioOp.READ);
  readonly outcome = new MapOutcome();
  /** The program's own pages went to the device (SG_INFO_DIRECT_IO). */
  isDirect = false;
  readonly #context: PassthroughContext;
  /** null: the block device itself, else a file of the generic driver. */
  readonly #file: RequestMemorySource | null;
  #memory: RequestMemory | null = null;

  constructor(context: PassthroughContext, file: RequestMemorySource | null = null) {
    this.#context = context;
    this.#file = file;
  }

  /** 0, or what `mapUser` answers; -EIO: longer than the device takes, told to a block device. */
  start(header: SgHeader): number {
    assert(this.chain.bio === null && this.#memory === null, 'sg: started twice');
    const isWrite = header.direction === SgDirection.TO_DEVICE;
    this.chain.reset(isWrite ? BioOp.WRITE : BioOp.READ);
    this.isDirect = false;
    if (this.#file === null) return this.#startOnBlock(header);
    return this.#startOnFile(header, this.#file);
  }

  #startOnBlock({ buffer }: SgHeader): number {
    const { limits } = this.#context;
    if (buffer.bytes > maxPassthroughBytes(limits)) return -Errno.EIO;
    return buffer.bytes === 0 ? 0 : this.#map(buffer, null); // Also an empty list is no memory.
  }

  #startOnFile(header: SgHeader, file: RequestMemorySource): number {
    const { buffer, address, direction, wantsMmap = false } = header;
    if (buffer.bytes === 0 || direction === SgDirection.NONE) return 0;
    if (this.#goesDirect(header)) {
      this.isDirect = true;
      return this.#map(buffer, null);
    }
    const memory = file.take(buffer.bytes, wantsMmap);
    if (typeof memory === 'number') return memory;
    memory.isNullMapped = address === 0;
    memory.isFromUser = direction === SgDirection.BOTH;
    this.#memory = memory;
    const result = this.#map(buffer, memory);
    if (result !== 0) this.#giveBack();
    return result;
  }

  /** Only if asked for, no list, and aligned by address and length: else the reserve is used. */
  #goesDirect({ wantsDirect = false, buffer, address }: SgHeader): boolean {
    return (
      wantsDirect && !buffer.isVector && isAligned(address, buffer.bytes, this.#context.limits)
    );
  }

  #map(buffer: UserBuffer, memory: RequestMemory | null): number {
    const { outcome } = this;
    const context = this.#context;
    return mapUserIo(this.chain, buffer, { context, memory, outcome });
  }

  /** The command has ended: the result for the program, as of `unmapUser`. */
  finish(transferredBytes: number, hasMemory = true): number {
    const first = this.chain.bio;
    this.chain.reset(this.chain.op);
    const result = unmapUser(first, this.#context, { transferredBytes, hasMemory });
    this.#giveBack();
    return result;
  }

  #giveBack(): void {
    if (this.#memory === null || this.#file === null) return;
    this.#file.giveBack(this.#memory);
    this.#memory = null;
  }
}

function isAligned(address: number, bytes: number, limits: Limits): boolean {
  return ((address | bytes) & (limits.dma_alignment | limits.dma_pad_mask)) === 0;
}
