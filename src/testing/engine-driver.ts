import { assert } from '../base/assert.ts';
import { slotOf, TAG_NONE } from '../base/slots.ts';
import { SECTOR_BYTES } from '../base/units.ts';
import { addSegment } from '../bio/bio-add.ts';
import type { BioOp } from '../bio/bio-op.ts';
import { opHasData } from '../bio/bio-op.ts';
import { BioPool } from '../bio/bio-pool.ts';
import { BVECS_PER_BIO_MAX } from '../bvec/bvec-table.ts';
import type { Engine } from '../engine/contract.ts';
import { HoldKind } from '../memory/holds.ts';
import type { Request } from '../queue/request.ts';
import { RequestTable } from '../queue/request-table.ts';
import { DrivenMetadata } from './driven-metadata.ts';

/** A segment by global page number. */
export interface DrivenSegment {
  readonly page: number;
  readonly offset: number;
  readonly len: number;
}

export interface DrivenResult {
  /** 0 or -errno. */
  readonly status: number;
  readonly bytesDone: number;
}

export interface DriverOptions {
  readonly engine: Engine;
  /** Lets time pass for an engine that has a clock of its own. Default: the event loop's. */
  readonly tick?: (() => void) | undefined;
}

export interface BuildOptions {
  /** BioFlag */
  readonly flags?: number;
  /** Of ops that only name a range. */
  readonly bytes?: number;
  /** Bytes of one segment of metadata. Default: one segment. */
  readonly metadataCut?: number;
}

/** How long an engine may take for what the suite asks, in ms of real time. */
const PATIENCE_MS = 20_000;

/**
 * Hands requests to one engine without queue or device, and holds it to the contract on the way:
 * a tag comes back once, only after it was accepted, with a legal result.
 */
export class EngineDriver {
  readonly engine: Engine;
  readonly table: RequestTable;
  /** null: the engine keeps no metadata. Otherwise every read and write has some. */
  readonly metadata: DrivenMetadata | null;
  readonly #pool: BioPool;
  readonly #tick: (() => void) | undefined;
  readonly #accepted = new Set<number>();
  readonly #results = new Map<number, DrivenResult>();
  readonly #scratch: Uint32Array;

  constructor(options: DriverOptions) {
    this.engine = options.engine;
    this.#tick = options.tick;
    const tags = Math.max(options.engine.info.depth * 3, 64) + 8;
    this.table = new RequestTable(tags);
    this.#pool = new BioPool({ bios: tags * 4, rows: tags * 64 });
    this.#scratch = new Uint32Array(tags);
    const { integrity } = options.engine.info;
    this.metadata = integrity === null ? null : new DrivenMetadata(integrity);
    options.engine.attach(this.table);
  }

  get acceptedCount(): number {
    return this.#accepted.size;
  }

  /** A request of one bio for each list of segments. */
  build(
    op: BioOp,
    start: number,
    bios: readonly (readonly DrivenSegment[])[],
    options: BuildOptions = {},
  ): number {
    const tag = this.table.acquire();
    assert(tag !== TAG_NONE, 'driver: no tag left');
    const request = this.table.at(tag);
    let at = start;
    bios.forEach((segments, index) => {
      const vecs = Math.min(segments.length, BVECS_PER_BIO_MAX);
      const bio = this.#pool.acquire(op, at / SECTOR_BYTES, vecs);
      assert(bio !== null, 'driver: no bio left');
      bio.flags = options.flags ?? 0;
      for (const { page, offset, len } of segments) {
        assert(addSegment(bio, page, offset, len, HoldKind.BORROWED) === len, 'driver: bio full');
      }
      if (!opHasData(op)) bio.size = options.bytes ?? 0;
      else this.metadata?.attach(bio, options.metadataCut);
      at += bio.size;
      if (index === 0) {
        request.start(tag, bio, bio.vcnt);
        return;
      }
      assert(request.bioTail !== null, 'driver: no first bio');
      request.bioTail.next = bio;
      request.bioTail = bio;
      request.bytes += bio.size;
      request.segments += bio.vcnt;
    });
    // Long entries count once for each max_segment_size; the suite needs an upper bound only.
    request.segments = this.engine.info.limits.max_segments;
    return tag;
  }

  /** One call of the engine's submit; the tags it accepted are its own from here on. */
  offer(tags: readonly number[]): number {
    const pad = 3; // `first` counts: what stands before it is none of the engine's business.
    const list = new Uint32Array(pad + tags.length).fill(TAG_NONE);
    list.set(tags, pad);
    for (const tag of tags) {
      const request = this.table.get(tag);
      request.inFlight = true;
      this.metadata?.prepare(request);
    }
    const accepted = this.engine.submit(list, pad, tags.length);
    assert(Number.isInteger(accepted) && accepted <= tags.length, 'submit: accepted too many');
    const taken = Math.max(accepted, 0);
    for (const tag of tags.slice(0, taken)) this.#accepted.add(tag);
    for (const tag of tags.slice(taken)) this.table.get(tag).inFlight = false;
    return accepted;
  }

  /** One call of the engine's reap, judged. */
  reap(max: number): number {
    const scratch = this.#scratch.fill(TAG_NONE);
    const count = this.engine.reap(scratch, max);
    assert(Number.isInteger(count) && count >= 0 && count <= max, 'reap: more than max');
    for (let i = 0; i < count; i++) this.#collect(scratch[i]);
    for (let i = count; i < scratch.length; i++) {
      assert(scratch[i] === TAG_NONE, 'reap: wrote beyond its count');
    }
    return count;
  }

  #collect(tag: number): void {
    assert(this.#accepted.delete(tag), 'reap: a tag that was not accepted, or came twice');
    const request = this.table.get(tag);
    const status = this.table.status[slotOf(tag)];
    const bytesDone = this.table.bytesDone[slotOf(tag)];
    assert(status <= 0 && status > -4096, 'reap: the status is neither 0 nor -errno');
    assert(Number.isInteger(bytesDone) && bytesDone >= 0, 'reap: bytesDone is no count');
    assert(bytesDone <= request.bytes, 'reap: more bytes than the request has');
    request.inFlight = false;
    if (status === 0) this.metadata?.judge(request, bytesDone);
    this.#results.set(tag, { status, bytesDone });
  }

  /** Waits until the engine has given `tag` back, through `arm` as the device layer does. */
  async wait(tag: number): Promise<DrivenResult> {
    for (;;) {
      const result = this.#results.get(tag);
      if (result !== undefined) return result;
      if (this.reap(this.#scratch.length) === 0) await this.untilWoken();
    }
  }

  async waitAll(): Promise<void> {
    while (this.#accepted.size > 0) {
      if (this.reap(this.#scratch.length) === 0) await this.untilWoken();
    }
  }

  /** Arms and waits for the wake. */
  async untilWoken(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    let isWoken = false;
    this.engine.arm(() => {
      assert(!isWoken, 'arm: woken twice');
      isWoken = true;
      resolve();
    });
    assert(!isWoken, 'arm: woken from inside arm');
    await this.#until(promise, () => isWoken);
  }

  async #until(promise: Promise<void>, isDone: () => boolean): Promise<void> {
    if (this.#tick !== undefined) {
      for (let i = 0; i < 100_000 && !isDone(); i++) this.#tick();
      assert(isDone(), 'driver: the clock ran out before the engine woke us');
      return;
    }
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      late.reject(new Error(`the engine '${this.engine.info.kind}' did not wake us`));
    }, PATIENCE_MS);
    try {
      await Promise.race([promise, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Gives the engine time to do something that it must not do. */
  async pause(): Promise<void> {
    if (this.#tick !== undefined) {
      for (let i = 0; i < 100; i++) this.#tick();
      return;
    }
    for (let i = 0; i < 3; i++) await new Promise((resolve) => setTimeout(resolve, 1));
  }

  /** Offers until everything is accepted, in order, and waits for all. */
  async run(tags: readonly number[]): Promise<DrivenResult[]> {
    let rest = tags;
    while (rest.length > 0) {
      const accepted = this.offer(rest);
      assert(accepted >= 0, 'run: the engine refused a good request');
      rest = rest.slice(accepted);
      if (rest.length === 0) break;
      assert(this.#accepted.size > 0, 'run: full, but nothing is in flight');
      if (this.reap(this.#scratch.length) === 0) await this.untilWoken();
    }
    await this.waitAll();
    return tags.map((tag) => this.#results.get(tag) as DrivenResult);
  }

  /**
   * Runs one request to its end and releases it: short transfers are continued, as the device
   * layer does. The result is that of the whole.
   */
  async transfer(tag: number): Promise<DrivenResult> {
    const request = this.table.get(tag);
    let done = 0;
    for (;;) {
      const offered = request.bytes;
      const [result] = await this.run([tag]);
      assert(result !== undefined, 'transfer: no result');
      const { status, bytesDone } = result;
      if (status !== 0 || bytesDone === offered || bytesDone === 0) {
        this.release(tag);
        return { status, bytesDone: done + bytesDone };
      }
      const block = this.engine.info.limits.logical_block_size;
      const step = bytesDone - (bytesDone % block);
      if (step === 0) {
        this.release(tag);
        return { status, bytesDone: done + bytesDone };
      }
      done += step;
      advance(request, step);
    }
  }

  /** Frees the tag and its bios. Pre: not in flight. */
  release(tag: number): void {
    const request = this.table.get(tag);
    this.#results.delete(tag);
    for (let bio = request.bio; bio !== null; ) {
      const next: typeof bio | null = bio.next;
      this.metadata?.release(bio);
      this.#pool.release(bio);
      bio = next;
    }
    this.table.release(tag);
  }

  /** Every test ends with this. */
  assertNothingOutstanding(): void {
    assert(this.#accepted.size === 0, 'driver: requests are still at the engine');
    assert(this.#results.size === 0, 'driver: results that nobody released');
    assert(this.table.busyCount === 0, 'driver: tags are taken');
    assert(this.#pool.busyCount === 0, 'driver: bios are taken');
    this.metadata?.assertNothingOutstanding();
  }
}

/** Moves a request on by whole bios and a part of one; the bios behind keep their place in it. */
function advance(request: Request, bytes: number): void {
  request.sector += bytes / SECTOR_BYTES;
  request.bytes -= bytes;
  let left = bytes;
  for (let bio = request.bio; bio !== null && left > 0; bio = bio.next) {
    const step = Math.min(left, bio.size);
    bio.advance(step);
    left -= step;
  }
}
