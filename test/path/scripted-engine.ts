import assert from 'node:assert/strict';
import { Errno } from '../../src/base/errno.ts';
import { slotOf } from '../../src/base/slots.ts';
import { SECTOR_BYTES } from '../../src/base/units.ts';
import { BioOp, opHasData } from '../../src/bio/bio-op.ts';
import type { Engine, EngineInfo } from '../../src/engine/contract.ts';
import type { IntegrityProfile } from '../../src/integrity/integrity-profile.ts';
import type { Limits } from '../../src/limits/limits.ts';
import { DEFAULT_LIMITS } from '../../src/limits/limits.ts';
import { copyIn, copyOut } from '../../src/memory/copy.ts';
import { type Request, SegmentCursor } from '../../src/queue/request.ts';
import type { RequestTable } from '../../src/queue/request-table.ts';
import { checkRequest } from '../../src/testing/simulator/request-checker.ts';
import { ScriptedRecords } from './scripted-records.ts';

/** What happens to one request. Default: all of it, status 0. */
export interface Fate {
  /** Negative errno in the completion. */
  readonly status?: number;
  /** Bytes that are moved and reported. */
  readonly bytes?: number;
  /** Negative errno of `submit`. */
  readonly refuse?: number;
}

export interface ScriptedOptions {
  readonly sizeBytes: number;
  readonly limits?: Limits;
  readonly depth?: number;
  readonly fixedSize?: boolean;
  readonly byteGranular?: boolean;
  /** With it the disk keeps records of metadata, blank (0xFF) at first. */
  readonly integrity?: IntegrityProfile | null;
  /** Numbers each request from 1, in the order of submission. */
  readonly fate?: (request: Request, nth: number) => Fate;
  /** Requests that it holds at once. Default: the depth. */
  readonly room?: number;
  /** 0 … 1; without it requests finish only when `finish` is called. */
  readonly random?: () => number;
}

interface Held {
  readonly tag: number;
  readonly fate: Fate;
}

/** A disk in a plain array that does what a test tells it, and judges what it is given. */
export class ScriptedEngine implements Engine {
  readonly info: EngineInfo;
  disk: Uint8Array;
  /** Every request as it arrived: op, byte, bytes. */
  readonly log: { readonly op: BioOp; readonly at: number; readonly bytes: number }[] = [];
  closed = 0;
  readonly #options: ScriptedOptions;
  readonly records: ScriptedRecords | null;
  readonly #cursor = new SegmentCursor();
  readonly #held: Held[] = [];
  readonly #finished: number[] = [];
  readonly #rests = new Set<number>();
  #table: RequestTable | null = null;
  #wake: (() => void) | null = null;
  #ticks = false;
  #count = 0;

  constructor(options: ScriptedOptions) {
    this.#options = options;
    this.disk = new Uint8Array(options.sizeBytes);
    const { integrity = null, sizeBytes } = options;
    this.records = integrity === null ? null : new ScriptedRecords(integrity, sizeBytes);
    this.info = {
      kind: 'scripted',
      target: 'scripted:0',
      depth: options.depth ?? 32,
      limits: options.limits ?? DEFAULT_LIMITS,
      byteGranular: options.byteGranular ?? false,
      integrity,
      fixedSize: options.fixedSize ?? true,
      facts: {},
    };
  }

  /** Requests whose memory this engine owns. */
  get holds(): number {
    return this.#held.length;
  }

  sizeBytes(): number {
    return this.disk.length;
  }

  attach(table: RequestTable): void {
    this.#table = table;
  }

  submit(tags: Uint32Array, first: number, count: number): number {
    const room = (this.#options.room ?? this.info.depth) - this.#held.length;
    const most = Math.min(count, Math.max(room, 0));
    let accepted = 0;
    let refusal = 0;
    while (accepted < most && refusal === 0) {
      const tag = tags[first + accepted];
      const request = (this.#table as RequestTable).get(tag);
      const fate = this.#options.fate?.(request, this.#count + 1) ?? {};
      refusal = fate.refuse ?? 0;
      if (refusal !== 0 && accepted > 0) break; // It is offered again, as the first one.
      this.#count++;
      if (refusal !== 0) continue;
      this.#judge(request);
      this.#held.push({ tag, fate });
      accepted++;
    }
    this.#tick();
    return accepted > 0 ? accepted : refusal;
  }

  reap(tags: Uint32Array, max: number): number {
    const count = Math.min(max, this.#finished.length);
    for (let i = 0; i < count; i++) tags[i] = this.#finished.shift() as number;
    return count;
  }

  cancel(): number {
    return -Errno.ENOENT;
  }

  arm(wake: () => void): void {
    this.#wake = wake;
    this.#notify();
  }

  async close(): Promise<void> {
    assert.equal(this.#held.length + this.#finished.length, 0, 'closed with requests in flight');
    this.closed++;
  }

  /** Moves the bytes of the held request `index` and completes it. */
  finish(index = 0): void {
    const [held] = this.#held.splice(index, 1);
    assert.ok(held !== undefined, 'nothing is held');
    const table = this.#table as RequestTable;
    const request = table.get(held.tag);
    const { status = 0 } = held.fate;
    const moved = this.#move(request, Math.min(held.fate.bytes ?? request.bytes, request.bytes));
    table.status[slotOf(held.tag)] = status;
    table.bytesDone[slotOf(held.tag)] = moved;
    if (moved < request.bytes && status === 0) this.#rests.add(held.tag);
    else this.#rests.delete(held.tag);
    this.#finished.push(held.tag);
    this.#notify();
  }

  finishAll(): void {
    while (this.#held.length > 0) this.finish();
  }

  #judge(request: Request): void {
    const { op, bytes } = request;
    this.log.push({ op, at: request.sector * SECTOR_BYTES, bytes });
    this.records?.judge(request, this.info.limits);
    if (this.info.byteGranular) return;
    const isRest = this.#rests.has(request.tag);
    const fault = checkRequest(request, this.info.limits, { isRest, sizeBytes: this.disk.length });
    const grows = op === BioOp.WRITE && !this.info.fixedSize; // May end inside a block there.
    if (fault !== null && !(grows && fault.startsWith('it ends at byte'))) assert.fail(fault);
  }

  #move(request: Request, bytes: number): number {
    const start = request.sector * SECTOR_BYTES;
    const { op } = request;
    if (!opHasData(op)) {
      if (op !== BioOp.FLUSH) this.disk.fill(0, start, start + request.bytes);
      this.records?.zero(request);
      return request.bytes;
    }
    const isRead = op === BioOp.READ;
    if (!isRead && !this.info.fixedSize && start + bytes > this.disk.length) {
      const longer = new Uint8Array(start + bytes);
      longer.set(this.disk);
      this.disk = longer;
    }
    const all = Math.min(bytes, Math.max(this.disk.length - start, 0));
    this.#cursor.start(request);
    for (let done = 0; done < all && this.#cursor.next(); ) {
      const { page, offset } = this.#cursor;
      const len = Math.min(this.#cursor.len, all - done);
      if (isRead) copyIn(page, offset, this.disk, start + done, len);
      else copyOut(this.disk, start + done, page, offset, len);
      done += len;
    }
    this.records?.move(request, all);
    return all;
  }

  /** With a random source: completes what it holds, in any order, a bit at a time. */
  #tick(): void {
    const { random } = this.#options;
    if (random === undefined || this.#ticks || this.#held.length === 0) return;
    this.#ticks = true;
    setImmediate(() => {
      this.#ticks = false;
      let count = 1 + Math.floor(random() * this.#held.length);
      while (count-- > 0) this.finish(Math.floor(random() * this.#held.length));
      this.#tick();
    });
  }

  #notify(): void {
    if (this.#wake === null || this.#finished.length === 0) return;
    const wake = this.#wake;
    this.#wake = null;
    queueMicrotask(wake);
  }
}
