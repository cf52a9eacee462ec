import { roundDown, roundUp } from '../../../base/units.ts';
import type { BioOp } from '../../../bio/bio-op.ts';
import type { Transfer } from '../../../device/transfer.ts';
import type { CopyPolicy } from '../../../map/verdict.ts';
import type { OpMemory } from './op-memory.ts';

/** What a program brings beside its data. */
export interface OpMetadata {
  readonly memory: OpMemory;
  /** TupleCheck */
  readonly check: number;
  readonly appTag: number;
  readonly seed: number;
}

/** How an operation gets to the device. */
export type OpWay = 'bio' | 'transfer' | 'stacked';

export interface TupleOpOptions {
  readonly op: BioOp;
  readonly way: OpWay;
  /** Bytes of the device. */
  readonly start: number;
  readonly bytes: number;
  readonly data: OpMemory | null;
  /** Null: the block layer makes and checks tuples by itself. */
  readonly metadata?: OpMetadata | null;
  readonly copy?: CopyPolicy;
  /** Some piece is no whole blocks, so no cut at a block may exist. */
  readonly isRagged?: boolean;
  readonly blockBytes: number;
}

/** One operation in flight: what was asked for, and what happened to it that is no fault. */
export class TupleOp {
  readonly op: BioOp;
  readonly way: OpWay;
  readonly start: number;
  readonly bytes: number;
  readonly data: OpMemory | null;
  readonly metadata: OpMetadata | null;
  readonly copy: CopyPolicy;
  readonly isRagged: boolean;
  readonly blockBytes: number;
  /** The blocks that it touches, in bytes: all of them are checked, or written anew. */
  readonly blockStart: number;
  readonly blockEnd: number;
  transfer: Transfer | null = null;
  isCancelled = false;
  ends = 0;
  /** A bio that failed: the byte of the device from which on nothing is good. */
  shortAt = Number.POSITIVE_INFINITY;
  /** Bytes [start, end) of the device that the disk did not store as it should, in pairs. */
  readonly #spoiled: number[] = [];

  constructor(options: TupleOpOptions) {
    this.op = options.op;
    this.way = options.way;
    this.start = options.start;
    this.bytes = options.bytes;
    this.data = options.data;
    this.metadata = options.metadata ?? null;
    this.copy = options.copy ?? 'auto';
    this.isRagged = options.isRagged ?? false;
    this.blockBytes = options.blockBytes;
    this.blockStart = roundDown(this.start, options.blockBytes);
    this.blockEnd = roundUp(this.end, options.blockBytes);
  }

  get end(): number {
    return this.start + this.bytes;
  }

  /** All of its data goes through pages of the library. */
  get isCopied(): boolean {
    return this.copy === 'always' || (this.data?.isPlain ?? false);
  }

  get isGone(): boolean {
    return (this.data?.isGone ?? false) || (this.metadata?.memory.isGone ?? false);
  }

  spoil(start: number, end: number): void {
    this.#spoiled.push(start, end);
  }

  isSpoiled(start: number, end: number): boolean {
    const pairs = this.#spoiled;
    for (let i = 0; i < pairs.length; i += 2) {
      if (pairs[i] < end && pairs[i + 1] > start) return true;
    }
    return false;
  }

  give(): void {
    this.data?.give();
    this.metadata?.memory.give();
  }
}
