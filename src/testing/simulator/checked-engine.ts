import { AssertionError, assert } from '../../base/assert.ts';
import { slotOf, TAG_NONE } from '../../base/slots.ts';
import { BIO_OP_NAMES } from '../../bio/bio-op.ts';
import type { Engine, EngineInfo, Extent } from '../../engine/contract.ts';
import type { Limits } from '../../limits/limits.ts';
import type { Request } from '../../queue/request.ts';
import type { RequestTable } from '../../queue/request-table.ts';
import { checkRequestMetadata } from './metadata-checker.ts';
import { checkRequest } from './request-checker.ts';

/**
 * Stands between the queue and any engine and judges both: what goes down must obey the limits,
 * what comes up must have gone down, once. A fault throws, from inside the call that made it.
 */
export class CheckedEngine implements Engine {
  readonly info: EngineInfo;
  /** Requests that passed, for statistics of a test. */
  checked = 0;
  readonly #engine: Engine;
  readonly #limits: Limits;
  readonly #inFlight = new Map<number, number>();
  // By slot: the last tag and the bytes it first came with. Fewer later = the rest of a short one.
  #firstTag = new Uint32Array(0);
  #firstBytes = new Float64Array(0);
  #table: RequestTable | null = null;

  /** `limits`: default, those of the engine. */
  constructor(engine: Engine, limits: Limits = engine.info.limits) {
    this.#engine = engine;
    this.#limits = limits;
    this.info = engine.info;
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  sizeBytes(): number {
    return this.#engine.sizeBytes();
  }

  attach(table: RequestTable): void {
    this.#table = table;
    this.#firstTag = new Uint32Array(table.depth).fill(TAG_NONE);
    this.#firstBytes = new Float64Array(table.depth);
    this.#engine.attach(table);
  }

  submit(tags: Uint32Array, first: number, count: number): number {
    for (let i = first; i < first + count; i++) this.#check(tags[i] as number);
    const accepted = this.#engine.submit(tags, first, count);
    assert(accepted <= count, 'checked engine: accepted more than was offered');
    for (let i = first; i < first + accepted; i++) this.#accept(tags[i] as number);
    const { depth } = this.info;
    assert(this.#inFlight.size <= depth, 'checked engine: more in flight than the depth');
    return accepted;
  }

  reap(tags: Uint32Array, max: number): number {
    const count = this.#engine.reap(tags, max);
    assert(count >= 0 && count <= max, 'checked engine: reaped more than was asked');
    for (let i = 0; i < count; i++) this.#collect(tags[i] as number);
    return count;
  }

  cancel(tag: number): number {
    return this.#engine.cancel(tag);
  }

  arm(wake: () => void): void {
    this.#engine.arm(wake);
  }

  async *extents(start: number, end: number): AsyncGenerator<Extent> {
    if (this.#engine.extents !== undefined) yield* this.#engine.extents(start, end);
    else if (start < end) yield { start, end, kind: 'data' };
  }

  async close(): Promise<void> {
    assert(this.#inFlight.size === 0, 'checked engine: closed with requests in flight');
    await this.#engine.close();
  }

  #check(tag: number): void {
    const request = (this.#table as RequestTable).get(tag);
    assert(!this.#inFlight.has(tag), 'checked engine: a tag went down twice');
    assert(request.inFlight, 'checked engine: a request went down that is not in flight');
    const slot = slotOf(tag);
    const isRest = this.#firstTag[slot] === tag && request.bytes < this.#firstBytes[slot];
    // A file may end inside a block; what a device has there, nobody can write.
    const options = this.info.fixedSize ? { isRest } : { isRest, sizeBytes: this.sizeBytes() };
    const fault = checkRequest(request, this.#limits, options) ?? this.#metadataFault(request);
    if (fault === null) return;
    const { op, sector, bytes } = request;
    const what = `${BIO_OP_NAMES[op]} of ${bytes} bytes at sector ${sector}`;
    throw new AssertionError(`a request breaks the limits: ${fault} (${what})`);
  }

  #metadataFault(request: Request): string | null {
    const { integrity } = this.info;
    return integrity === null ? null : checkRequestMetadata(request, this.#limits, integrity);
  }

  #accept(tag: number): void {
    const { bytes } = (this.#table as RequestTable).get(tag);
    this.#inFlight.set(tag, bytes);
    const slot = slotOf(tag);
    if (this.#firstTag[slot] !== tag) {
      this.#firstTag[slot] = tag;
      this.#firstBytes[slot] = bytes;
    }
    this.checked++;
  }

  #collect(tag: number): void {
    const bytes = this.#inFlight.get(tag);
    assert(bytes !== undefined, 'checked engine: a tag came up that was not in flight');
    this.#inFlight.delete(tag);
    const table = this.#table as RequestTable;
    const status = table.status[slotOf(tag)] as number;
    const bytesDone = table.bytesDone[slotOf(tag)] as number;
    assert(status <= 0 && status > -4096, 'checked engine: the status is no -errno');
    assert(Number.isInteger(bytesDone), 'checked engine: bytesDone is no count');
    assert(bytesDone >= 0 && bytesDone <= bytes, 'checked engine: more bytes than asked');
    assert(table.get(tag).bytes === bytes, 'checked engine: the request changed in flight');
  }
}
