import { assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { slotOf } from '../../base/slots.ts';
import { SECTOR_BYTES } from '../../base/units.ts';
import { BioOp, opIsWrite } from '../../bio/bio-op.ts';
import type { Engine, EngineInfo } from '../../engine/contract.ts';
import { CompletionRing } from '../../engine/memory/completion-ring.ts';
import { memoryLimits, rangeStatus } from '../../engine/memory/medium.ts';
import type { LimitsInput } from '../../limits/limits.ts';
import { copyIn, copyOut } from '../../memory/copy.ts';
import { type Request, SegmentCursor } from '../../queue/request.ts';
import type { RequestTable } from '../../queue/request-table.ts';
import type { PowerHistory } from './power-history.ts';
import type { SeededRandom } from './seeded-random.ts';

export interface VolatileDiskOptions {
  /** The contents, which the disk works on. */
  readonly bytes: Uint8Array;
  readonly random: SeededRandom;
  /** null: nobody will ask what a power cut leaves. */
  readonly history: PowerHistory | null;
  readonly limits?: LimitsInput | undefined;
  readonly target?: string | undefined;
  readonly defer: (run: () => void) => void;
  /** Fails a request: -errno; a write that fails has some of its sectors on the medium. */
  readonly fails?: ((op: BioOp, start: number, bytes: number) => number) | undefined;
}

const DEPTH = 64;

/**
 * A disk with a volatile cache: requests end in any order, one a turn, and a history remembers what
 * may be lost with the power. It notices memory that changes between submission and completion.
 */
export class VolatileDisk implements Engine {
  readonly info: EngineInfo;
  readonly bytes: Uint8Array;
  readonly #options: VolatileDiskOptions;
  readonly #ring: CompletionRing;
  readonly #cursor = new SegmentCursor();
  readonly #disk: number;
  #table: RequestTable | null = null;
  readonly #pending: {
    readonly tag: number;
    readonly event: number;
    readonly bytes: Uint8Array;
  }[] = [];
  #isRunning = false;
  #isClosed = false;

  constructor(options: VolatileDiskOptions) {
    this.#options = options;
    this.bytes = options.bytes;
    this.#ring = new CompletionRing(DEPTH, options.defer);
    const target = options.target ?? 'volatile';
    this.#disk = options.history?.addDisk(target, options.bytes) ?? 0;
    this.info = {
      kind: 'volatile',
      target,
      depth: DEPTH,
      limits: memoryLimits({ write_cache: true, fua: true, ...options.limits }),
      integrity: null,
      byteGranular: false,
      fixedSize: true,
      facts: {},
    };
  }

  sizeBytes(): number {
    return this.bytes.length;
  }

  attach(table: RequestTable): void {
    assert(this.#table === null, 'volatile disk: attached twice');
    this.#table = table;
  }

  submit(tags: Uint32Array, first: number, count: number): number {
    const table = this.#table;
    assert(table !== null, 'volatile disk: submit before attach');
    if (this.#isClosed) return -Errno.ENODEV;
    const accepted = Math.min(count, this.#ring.room - this.#pending.length);
    for (let i = first; i < first + accepted; i++) {
      const tag = tags[i] as number;
      this.#accept(tag, table.get(tag));
    }
    this.#run();
    return accepted;
  }

  reap(tags: Uint32Array, max: number): number {
    return this.#ring.drain(tags, max);
  }

  cancel(tag: number): number {
    return this.#pending.some((entry) => entry.tag === tag) ? 0 : this.#ring.find(tag);
  }

  arm(wake: () => void): void {
    this.#ring.arm(wake);
  }

  async close(): Promise<void> {
    assert(this.#pending.length === 0, 'volatile disk: closed with requests in flight');
    this.#isClosed = true;
  }

  #accept(tag: number, request: Request): void {
    const { history } = this.#options;
    const bytes = this.#bytesOf(request);
    let event = -1;
    if (history !== null && request.op === BioOp.FLUSH) event = history.issueFlush(this.#disk);
    else if (history !== null && opIsWrite(request.op)) {
      const start = request.sector * SECTOR_BYTES;
      event = history.issueWrite(this.#disk, start, bytes, request.isFua);
    }
    this.#pending.push({ tag, event, bytes });
  }

  /** What the request brings to the medium; ranges bring zeros. */
  #bytesOf(request: Request): Uint8Array {
    if (request.op === BioOp.READ || request.op === BioOp.FLUSH) return new Uint8Array(0);
    const bytes = new Uint8Array(request.bytes);
    if (request.op !== BioOp.WRITE) return bytes;
    let at = 0;
    this.#cursor.start(request);
    while (this.#cursor.next()) {
      const { page, offset, len } = this.#cursor;
      copyOut(bytes, at, page, offset, len);
      at += len;
    }
    return bytes;
  }

  /** One request ends each turn, whichever. */
  #run(): void {
    if (this.#isRunning || this.#pending.length === 0) return;
    this.#isRunning = true;
    this.#options.defer(() => {
      this.#isRunning = false;
      const at = this.#options.random.below(this.#pending.length);
      const [entry] = this.#pending.splice(at, 1);
      if (entry !== undefined) this.#end(entry.tag, entry.event, entry.bytes);
      this.#run();
    });
  }

  #end(tag: number, event: number, bytes: Uint8Array): void {
    const table = this.#table as RequestTable;
    const request = table.get(tag);
    const start = request.sector * SECTOR_BYTES;
    const slot = slotOf(tag);
    const { history, fails } = this.#options;
    let status = opIsWrite(request.op)
      ? rangeStatus(request, this.bytes.length, this.info.limits)
      : 0;
    if (status === 0 && fails !== undefined) status = fails(request.op, start, request.bytes);
    const left = this.bytes.length - start;
    const done = request.op === BioOp.READ ? Math.min(request.bytes, left) : request.bytes;
    table.status[slot] = status;
    table.bytesDone[slot] = status === 0 ? done : 0;
    if (request.op === BioOp.READ && status === 0) this.#read(request, start, done);
    if (opIsWrite(request.op)) this.#write(request, start, bytes, status);
    if (event >= 0 && status === 0) {
      if (request.op === BioOp.FLUSH) history?.endFlush(event);
      else history?.endWrite(event);
    }
    this.#ring.push(tag);
    this.#ring.notify();
  }

  #read(request: Request, start: number, bytes: number): void {
    this.#cursor.start(request);
    for (let at = 0; at < bytes; ) {
      assert(this.#cursor.next(), 'volatile disk: fewer segments than bytes');
      const { page, offset, len } = this.#cursor;
      const step = Math.min(len, bytes - at);
      copyIn(page, offset, this.bytes, start + at, step);
      at += step;
    }
  }

  #write(request: Request, start: number, bytes: Uint8Array, status: number): void {
    const now = this.#bytesOf(request);
    assert(
      now.every((byte, i) => byte === bytes[i]),
      'volatile disk: the memory of a write changed in flight',
    );
    if (status === 0) {
      this.bytes.set(bytes, start);
      return;
    }
    for (let at = 0; at < bytes.length; at += SECTOR_BYTES) {
      if (start + at >= this.bytes.length || this.#options.random.chance(0.5)) continue;
      this.bytes.set(bytes.subarray(at, at + SECTOR_BYTES), start + at);
    }
  }
}
