// A queue with an engine of the test under it, and a book of what must happen to every sector.

import assert from 'node:assert/strict';
import { Errno } from '../base/errno.ts';
import type { Probe, ProbePoint } from '../base/probe.ts';
import { SECTOR_BYTES } from '../base/units.ts';
import type { Bio } from '../bio/bio.ts';
import { addSegment } from '../bio/bio-add.ts';
import { BioOp } from '../bio/bio-op.ts';
import { BioPool } from '../bio/bio-pool.ts';
import type { Limits } from '../limits/limits.ts';
import { DEFAULT_PROFILE, type Profile } from '../limits/profile.ts';
import { HoldKind } from '../memory/holds.ts';
import { checkRequest } from '../testing/simulator/request-checker.ts';
import { BlockQueue } from './block-queue.ts';
import { type Request, SegmentCursor } from './request.ts';
import { RequestTable } from './request-table.ts';

export interface Row {
  readonly page: number;
  /** Bytes, multiples of 512. */
  readonly offset: number;
  readonly len: number;
}

/** What became of a bio. */
export interface Outcome {
  readonly bio: Bio;
  readonly op: BioOp;
  readonly sector: number;
  readonly bytes: number;
  ends: number;
  status: number;
  shortAt: number;
}

export interface WorldOptions {
  readonly limits: Limits;
  readonly profile?: Profile;
  readonly depth?: number;
  readonly splitBios?: number;
  /** Of a device that cannot grow. */
  readonly sizeBytes?: number;
}

export class QueueWorld implements Probe {
  readonly limits: Limits;
  readonly table: RequestTable;
  readonly bios = new BioPool({ bios: 200, rows: 4000 });
  readonly splits: BioPool;
  readonly queue: BlockQueue;
  /** Requests at the engine, in the order of acceptance. */
  readonly inFlight: Request[] = [];
  /** Every request as it was accepted: op, sector, sectors, segments, bios. */
  readonly issued: string[] = [];
  readonly outcomes: Outcome[] = [];
  /** Sector of memory → sectors of the device that it was moved to or from. */
  readonly moved = new Map<number, number[]>();
  readonly hits: ProbePoint[] = [];
  /** How many of `count` the engine takes now, or -errno. */
  accept: (count: number) => number = (count) => count;
  #busy = false;
  #isRest = new Set<Request>();
  #rowsOf = new Map<Bio, number[]>();

  constructor(options: WorldOptions) {
    const { limits, profile = DEFAULT_PROFILE, depth = 64, splitBios = 64 } = options;
    this.limits = limits;
    this.table = new RequestTable(depth);
    this.splits = new BioPool({ bios: splitBios, rows: 1 });
    const sink = { submit: this.#submit };
    const splitPool = this.splits;
    const { table } = this;
    const { sizeBytes: end } = options;
    const sizeBytes = end === undefined ? undefined : () => end;
    this.queue = new BlockQueue({ limits, profile, table, sink, splitPool, sizeBytes });
    this.queue.probe = this;
  }

  hit(point: ProbePoint): void {
    this.hits.push(point);
  }

  readonly #submit = (tags: Uint32Array, first: number, count: number): number => {
    assert.ok(count > 0);
    const accepted = this.accept(count);
    for (let i = first; i < first + accepted; i++) {
      const request = this.table.get(tags[i]);
      const options = { isRest: this.#isRest.has(request) };
      assert.equal(checkRequest(request, this.limits, options), null);
      const { op, sector, sectors, segments } = request;
      this.issued.push(`${op} ${sector}+${sectors} segments=${segments}`);
      assert.ok(!this.inFlight.includes(request), 'a request was issued twice');
      this.inFlight.push(request);
    }
    return accepted;
  };

  /** Nothing that `call` does may end a bio. */
  quietly(call: () => void): void {
    assert.ok(!this.#busy);
    this.#busy = true;
    call();
    this.#busy = false;
  }

  build(op: BioOp, sector: number, rows: readonly Row[]): Bio {
    const bio = this.bios.acquire(op, sector, rows.length);
    assert.ok(bio !== null);
    const memory: number[] = [];
    for (const { page, offset, len } of rows) {
      assert.equal(addSegment(bio, page, offset, len, HoldKind.BORROWED), len);
      for (let at = 0; at < len; at += SECTOR_BYTES) {
        memory.push((page * 4096 + offset + at) / SECTOR_BYTES);
      }
    }
    this.#rowsOf.set(bio, memory);
    return bio;
  }

  submit(bio: Bio): Outcome {
    const { op, sector, size: bytes } = bio;
    const outcome: Outcome = { bio, op, sector, bytes, ends: 0, status: 0, shortAt: 0 };
    this.outcomes.push(outcome);
    const memory = this.#rowsOf.get(bio) ?? [];
    bio.endIo = (ended) => {
      assert.ok(!this.#busy, 'a bio ended inside submit');
      outcome.ends++;
      outcome.status = ended.status;
      outcome.shortAt = ended.shortAt;
      if (ended.status === 0) this.#checkMoved(memory, sector, ended.shortAt);
      this.bios.release(ended);
    };
    this.quietly(() => this.queue.submitBio(bio));
    return outcome;
  }

  /** Every sector of memory went to its own sector of the device, once. */
  #checkMoved(memory: readonly number[], sector: number, shortAt: number): void {
    memory.forEach((addr, i) => {
      const expected = (sector + i) * SECTOR_BYTES < shortAt ? [sector + i] : [];
      assert.deepEqual(this.moved.get(addr) ?? [], expected);
    });
  }

  /** The engine has done `bytes` of a request (rounded to blocks), as `device/complete.ts` does. */
  complete(request: Request, bytes: number, status = 0): void {
    this.inFlight.splice(this.inFlight.indexOf(request), 1);
    this.#isRest.delete(request);
    const whole = bytes - (bytes % this.limits.logical_block_size);
    const hasData = request.op === BioOp.READ || request.op === BioOp.WRITE;
    const done = hasData ? whole : request.bytes;
    if (hasData) this.#move(request, done);
    if (status !== 0 || done === request.bytes) {
      this.queue.finishRequest(request, status, done);
    } else if (done === 0) {
      this.queue.finishRequest(request, -Errno.EIO, 0);
    } else {
      this.queue.leaveEngine(request);
      this.#isRest.add(request);
      this.queue.requeue(request, done);
    }
  }

  /** A read that reached the end of the device. */
  completeShort(request: Request, bytes: number): void {
    this.inFlight.splice(this.inFlight.indexOf(request), 1);
    this.#move(request, bytes);
    this.queue.finishRequest(request, 0, bytes);
  }

  #move(request: Request, bytes: number): void {
    const cursor = new SegmentCursor();
    cursor.start(request);
    let at = request.sector;
    const end = request.sector + bytes / SECTOR_BYTES;
    while (at < end && cursor.next()) {
      for (let i = 0; i < cursor.len && at < end; i += SECTOR_BYTES, at++) {
        const addr = (cursor.page * 4096 + cursor.offset + i) / SECTOR_BYTES;
        this.moved.set(addr, [...(this.moved.get(addr) ?? []), at]);
      }
    }
    assert.equal(at, end, 'the segments of a request are fewer than its bytes');
  }

  /** One turn of the completion loop after `complete`. */
  turn(): void {
    if (this.queue.hasFailed) this.queue.endFailed(8);
    if (this.queue.isBlocked) this.quietly(() => this.queue.resume());
  }

  /** Completes everything, in order, until nothing is left. */
  drain(): void {
    this.accept = (count) => count;
    for (let turns = 0; ; turns++) {
      assert.ok(turns < 20_000, 'the queue does not come to rest');
      this.turn();
      const [request] = this.inFlight;
      if (request !== undefined) this.complete(request, request.bytes);
      else if (!this.queue.isBlocked && !this.queue.hasFailed) break;
    }
  }

  /** Ends every test. */
  assertNothingOutstanding(): void {
    for (const { ends, sector } of this.outcomes) {
      assert.equal(ends, 1, `the bio at ${sector} ended ${ends} times`);
    }
    assert.equal(this.inFlight.length, 0);
    assert.equal(this.queue.inFlight, 0);
    assert.equal(this.queue.isBlocked, false);
    assert.equal(this.queue.hasFailed, false);
    assert.equal(this.table.busyCount, 0);
    for (const pool of [this.bios, this.splits]) {
      assert.equal(pool.busyCount, 0);
      assert.equal(pool.runs.rowsUsed, 0);
    }
  }

  finish(): void {
    this.drain();
    this.assertNothingOutstanding();
  }
}
