import { SECTOR_BYTES } from '../../base/units.ts';
import type { Bio } from '../../bio/bio.ts';
import type { BioOp } from '../../bio/bio-op.ts';
import type { Limits } from '../../limits/limits.ts';

/**
 * The part of a passthrough request that memory is mapped into: bios in order, linked by `next`.
 * A `Request` of the queue is one. Its command, not its bios, says where on the device it goes, so
 * the sector of a bio counts from the start of the request.
 */
export interface BioChain {
  readonly op: BioOp;
  bio: Bio | null;
  bioTail: Bio | null;
  /** Bytes of all bios. */
  bytes: number;
  /** Segments as limits count them. */
  segments: number;
}

/** A chain that is no request yet. */
export class PassthroughChain implements BioChain {
  op: BioOp;
  bio: Bio | null = null;
  bioTail: Bio | null = null;
  bytes = 0;
  segments = 0;

  constructor(op: BioOp) {
    this.op = op;
  }

  /** Pre: its bios were unmapped. */
  reset(op: BioOp): void {
    this.op = op;
    this.bio = null;
    this.bioTail = null;
    this.bytes = 0;
    this.segments = 0;
  }
}

/** Where a chain ended before something was appended to it. One object serves many calls. */
export class ChainMark {
  tail: Bio | null = null;
  bytes = 0;
  segments = 0;

  set(chain: BioChain): void {
    this.tail = chain.bioTail;
    this.bytes = chain.bytes;
    this.segments = chain.segments;
  }

  /** Cuts the chain here. Returns the first of the bios behind, which the caller now owns. */
  cut(chain: BioChain): Bio | null {
    const { tail } = this;
    const behind = tail === null ? chain.bio : tail.next;
    if (tail === null) chain.bio = null;
    else tail.next = null;
    chain.bioTail = tail;
    chain.bytes = this.bytes;
    chain.segments = this.segments;
    return behind;
  }
}

/** The most that a passthrough request may carry: it goes past the soft cap of max_sectors. */
export function maxPassthroughBytes(limits: Limits): number {
  return limits.max_hw_sectors * SECTOR_BYTES;
}
