import { assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { slotOf } from '../../base/slots.ts';
import { SECTOR_BYTES } from '../../base/units.ts';
import { BioOp, opIsWrite } from '../../bio/bio-op.ts';
import type { Limits, LimitsInput } from '../../limits/limits.ts';
import { zeroPages } from '../../memory/copy.ts';
import { type Request, SegmentCursor } from '../../queue/request.ts';
import type { RequestTable } from '../../queue/request-table.ts';
import type { Engine, EngineInfo, Extent } from '../contract.ts';
import { CompletionRing, type Defer } from './completion-ring.ts';
import { DEPTH_DEFAULT, memoryLimits, rangeStatus, requireWholeBlocks } from './medium.ts';

export interface NullEngineOptions {
  /** A multiple of the logical block, at least one; costs nothing. */
  readonly sizeBytes: number;
  /** As the user named it. Default 'null:SIZE'. */
  readonly target?: string | undefined;
  /** Finished requests that may wait for `reap`. Default 256. */
  readonly depth?: number | undefined;
  /** Over the preset 'unlimited'. */
  readonly limits?: LimitsInput | undefined;
  /** False: a read leaves memory as it is, to measure the path alone. Default true. */
  readonly zero?: boolean | undefined;
  readonly defer: Defer;
}

/** Throws BlockError EINVAL for a bad size. */
export function openNullEngine(options: NullEngineOptions): NullEngine {
  return new NullEngine(options);
}

/** Reads give zeros, writes are dropped: what the path costs without a medium. */
class NullEngine implements Engine {
  readonly info: EngineInfo;
  readonly #limits: Limits;
  readonly #sizeBytes: number;
  readonly #fillsZeros: boolean;
  readonly #ring: CompletionRing;
  readonly #cursor = new SegmentCursor();
  #table: RequestTable | null = null;
  #isClosed = false;

  constructor(options: NullEngineOptions) {
    const { sizeBytes, target = `null:${sizeBytes}`, depth = DEPTH_DEFAULT, defer } = options;
    this.#limits = memoryLimits(options.limits);
    requireWholeBlocks(sizeBytes, this.#limits, target);
    this.#sizeBytes = sizeBytes;
    this.#fillsZeros = options.zero ?? true;
    this.#ring = new CompletionRing(depth, defer);
    this.info = {
      kind: 'null',
      target,
      depth,
      limits: this.#limits,
      byteGranular: false,
      integrity: null,
      fixedSize: true,
      facts: { zero: this.#fillsZeros },
    };
  }

  sizeBytes(): number {
    return this.#sizeBytes;
  }

  attach(table: RequestTable): void {
    assert(this.#table === null, 'null: attached twice');
    this.#table = table;
  }

  submit(tags: Uint32Array, first: number, count: number): number {
    const table = this.#table;
    assert(table !== null, 'null: submit before attach');
    if (this.#isClosed) return -Errno.ENODEV;
    const ring = this.#ring;
    const room = ring.room;
    const accepted = count < room ? count : room;
    for (let i = first; i < first + accepted; i++) {
      const tag = tags[i];
      const result = this.#run(table.get(tag));
      const slot = slotOf(tag);
      table.status[slot] = result < 0 ? result : 0;
      table.bytesDone[slot] = result < 0 ? 0 : result;
      ring.push(tag);
    }
    ring.notify();
    return accepted;
  }

  reap(tags: Uint32Array, max: number): number {
    return this.#ring.drain(tags, max);
  }

  /** Whatever was accepted is finished already. */
  cancel(tag: number): number {
    return this.#ring.find(tag);
  }

  arm(wake: () => void): void {
    this.#ring.arm(wake);
  }

  async *extents(start: number, end: number): AsyncGenerator<Extent> {
    const stop = Math.min(end, this.#sizeBytes);
    if (start < stop) yield { start, end: stop, kind: 'hole' };
  }

  async close(): Promise<void> {
    assert(this.#ring.count === 0, 'null: closed with requests in flight');
    this.#isClosed = true;
  }

  /** Bytes done, or a negative errno. */
  #run(request: Request): number {
    if (request.op === BioOp.READ) return this.#read(request);
    if (!opIsWrite(request.op)) return 0;
    const status = rangeStatus(request, this.#sizeBytes, this.#limits);
    return status === 0 ? request.bytes : status;
  }

  #read(request: Request): number {
    const room = this.#sizeBytes - request.sector * SECTOR_BYTES;
    const bytes = request.bytes < room ? request.bytes : Math.max(room, 0);
    if (!this.#fillsZeros) return bytes;
    const cursor = this.#cursor;
    cursor.start(request);
    for (let done = 0; done < bytes; ) {
      assert(cursor.next(), 'null: a read has fewer segments than bytes');
      const len = cursor.len < bytes - done ? cursor.len : bytes - done;
      zeroPages(cursor.page, cursor.offset, len);
      done += len;
    }
    return bytes;
  }
}
