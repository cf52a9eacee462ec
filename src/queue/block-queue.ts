import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { type Probe, ProbePoint } from '../base/probe.ts';
import { TAG_NONE } from '../base/slots.ts';
import { type Bio, BioState, endBio } from '../bio/bio.ts';
import { BioFlag } from '../bio/bio-op.ts';
import type { BioPool } from '../bio/bio-pool.ts';
import { SplitCause, SplitPoint, splitPoint } from '../bio/split-point.ts';
import type { Limits } from '../limits/limits.ts';
import type { Profile } from '../limits/profile.ts';
import { MergeResult, tryMerge } from './merge.ts';
import { PLUG_REQUESTS_MAX, Plug } from './plug.ts';
import { QueueCounters } from './queue-counters.ts';
import type { Request } from './request.ts';
import type { RequestTable } from './request-table.ts';

/** Where requests go: the part of the engine contract that the queue needs. */
export interface RequestSink {
  submit(tags: Uint32Array, first: number, count: number): number;
}

export interface BlockQueueOptions {
  readonly limits: Limits;
  readonly profile: Profile;
  readonly table: RequestTable;
  readonly sink: RequestSink;
  /** Fronts of splits come from here: a pool of this layer's own. */
  readonly splitPool: BioPool;
}

/** How many waiting requests a bio is tried against (Linux: the last 8 of a software queue). */
const MERGE_WAITING_MAX = 8;

/**
 * Bios in, requests out: split to the limits, joined where they meet, given a tag, issued.
 * Nothing completes inside `submitBio`; failed bios wait in a list until `endFailed`.
 */
export class BlockQueue {
  readonly limits: Limits;
  readonly profile: Profile;
  readonly counters = new QueueCounters();
  probe: Probe | null = null;
  readonly #table: RequestTable;
  readonly #sink: RequestSink;
  readonly #splitPool: BioPool;
  readonly #plug = new Plug();
  readonly #point = new SplitPoint();
  readonly #tags: Uint32Array;
  readonly #batch: Request[] = [];
  /** Bios not yet made into requests, in order. */
  #pendingFirst: Bio | null = null;
  #pendingLast: Bio | null = null;
  /** Requests that the engine had no room for, in order. */
  #waitingFirst: Request | null = null;
  #waitingLast: Request | null = null;
  #waitingCount = 0;
  #failedFirst: Bio | null = null;
  #failedLast: Bio | null = null;
  #inFlight = 0;

  constructor(options: BlockQueueOptions) {
    this.limits = options.limits;
    this.profile = options.profile;
    this.#table = options.table;
    this.#sink = options.sink;
    this.#splitPool = options.splitPool;
    this.#tags = new Uint32Array(Math.max(options.table.depth, PLUG_REQUESTS_MAX));
    for (let i = 0; i < PLUG_REQUESTS_MAX; i++) this.#batch.push(options.table.at(0));
  }

  /** Requests at the engine. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** True when bios wait for a tag, a split or room at the engine. */
  get isBlocked(): boolean {
    return this.#pendingFirst !== null || this.#waitingFirst !== null;
  }

  get hasFailed(): boolean {
    return this.#failedFirst !== null;
  }

  /** Holds requests back until `finishPlug`; may nest. */
  startPlug(): void {
    this.#plug.depth++;
  }

  /** `sleeping`: the submitter is about to wait, which issues in order under every profile. */
  finishPlug(sleeping = false): void {
    assert(this.#plug.depth > 0, 'queue: plug finished twice');
    this.#plug.depth--;
    if (this.#plug.depth === 0) this.#flushPlug(sleeping);
  }

  /** Takes the bio over until its endIo. Never calls back from inside. */
  submitBio(bio: Bio): void {
    assert(bio.state === BioState.BUILT, 'queue: bio submitted twice');
    assert(bio.endIo !== null, 'queue: bio without endIo');
    bio.state = BioState.SUBMITTED;
    this.counters.bios++;
    if (this.probe !== null) {
      bio.probe = this.probe;
      this.probe.hit(ProbePoint.BIO_QUEUE, bio.traceId, bio, bio.op, bio.sector, bio.sectors);
    }
    bio.next = null;
    if (this.#pendingLast === null) this.#pendingFirst = bio;
    else this.#pendingLast.next = bio;
    this.#pendingLast = bio;
    this.#runPending();
  }

  /** The engine gave `request` back, whole or failed: ends its bios and frees the tag. */
  finishRequest(request: Request, status: number, bytesDone: number): void {
    this.leaveEngine(request);
    let bio = request.bio;
    let left = bytesDone;
    const shortAt = request.sector * 512 + bytesDone;
    this.#table.release(request.tag);
    while (bio !== null) {
      const next: Bio | null = bio.next;
      bio.next = null;
      if (status !== 0 && bio.status === 0) bio.status = status;
      if (left < bio.size && shortAt < bio.shortAt) bio.shortAt = shortAt;
      left = Math.max(left - bio.size, 0);
      endBio(bio);
      bio = next;
    }
  }

  /** The engine no longer owns the memory of `request`. */
  leaveEngine(request: Request): void {
    assert(request.inFlight, 'queue: completed twice');
    request.inFlight = false;
    this.#inFlight--;
  }

  /** Sends the rest of a short transfer again, after `leaveEngine`. */
  requeue(request: Request, bytesDone: number): void {
    assert(bytesDone > 0 && bytesDone < request.bytes, 'queue: requeue without progress');
    this.counters.requeues++;
    advanceRequest(request, bytesDone);
    if (this.probe !== null) {
      const { traceId, op, sector, sectors } = request;
      this.probe.hit(ProbePoint.REQUEUE, traceId, request, op, sector, sectors);
    }
    this.#issueOne(request);
  }

  /** After completions: room at the engine and free tags. Issues what waited. */
  resume(): void {
    this.#issueWaiting();
    if (this.#waitingFirst === null && this.#pendingFirst !== null) {
      this.startPlug();
      this.#runPending();
      this.finishPlug();
    }
  }

  /** Ends at most `max` bios that could not be sent. Called from the completion loop. */
  endFailed(max: number): number {
    let ended = 0;
    while (this.#failedFirst !== null && ended < max) {
      const bio: Bio = this.#failedFirst;
      this.#failedFirst = bio.next;
      if (this.#failedFirst === null) this.#failedLast = null;
      bio.next = null;
      endBio(bio);
      ended++;
    }
    return ended;
  }

  #runPending(): void {
    while (this.#pendingFirst !== null) {
      const bio: Bio = this.#pendingFirst;
      if (!this.#submitOne(bio)) return;
    }
  }

  /** Makes the first pending bio (or a front of it) a request. False: wait for a completion. */
  #submitOne(bio: Bio): boolean {
    const point = this.#point;
    const { next } = bio; // A merge uses the link.
    splitPoint(bio, this.limits, point);
    if (point.bytes < 0 && !this.#goesUnsplit(point)) {
      this.#popPending(next);
      this.#fail(bio, point.bytes);
      return true;
    }
    const splits = point.bytes > 0;
    if (!splits && this.#merge(bio, point.segments)) {
      this.#popPending(next);
      return true;
    }
    // The tag first: a front without one would hold its bio for nothing.
    const tag = this.#table.acquire();
    if (tag === TAG_NONE) {
      this.counters.tagWaits++;
      this.#flushPlug(true);
      return false;
    }
    let part = bio;
    if (splits) {
      const front = this.#splitPool.splitFront(bio, point.bytes);
      if (front === null) {
        this.#table.at(tag).inFlight = false;
        this.#table.release(tag);
        this.counters.splitWaits++;
        this.#flushPlug(true);
        return false;
      }
      front.flags |= BioFlag.NOMERGE;
      this.counters.splits++;
      if (this.probe !== null) {
        const { traceId, sector, sectors } = front;
        this.probe.hit(ProbePoint.SPLIT, traceId, front, sector, sectors, point.cause);
      }
      part = front;
    } else {
      this.#popPending(next);
    }
    this.#start(tag, part, point.segments);
    return true;
  }

  /** Linux 6.12 sends what it cannot cut at a block whole; 6.1 would hit a BUG; we refuse. */
  #goesUnsplit(point: SplitPoint): boolean {
    const subBlock = point.bytes === -Errno.EINVAL && point.cause !== SplitCause.NONE;
    return subBlock && this.profile.subBlockSplit === 'unsplit';
  }

  #start(tag: number, bio: Bio, segments: number): void {
    const request = this.#table.at(tag);
    request.start(tag, bio, segments);
    this.counters.requests++;
    if (this.probe !== null) {
      const { traceId, op, sector, sectors } = request;
      this.probe.hit(ProbePoint.GET_REQUEST, traceId, request, op, sector, sectors);
    }
    const plug = this.#plug;
    if (plug.depth === 0) {
      this.#issueOne(request);
      return;
    }
    if (plug.mustFlush(this.limits.nomerges !== 2)) this.#flushPlug(false);
    plug.add(request);
  }

  #merge(bio: Bio, segments: number): boolean {
    if (this.limits.nomerges === 2) return false;
    const last = this.#plug.last;
    if (last !== null) {
      const result = tryMerge(last, bio, segments, this.limits);
      if (result !== MergeResult.NONE && result !== MergeResult.FAILED) {
        this.#merged(last, bio, result);
        return true;
      }
    }
    return this.#waitingFirst !== null && this.#mergeWaiting(bio, segments);
  }

  /** Requests that the engine had no room for can still grow: the last eight are tried. */
  #mergeWaiting(bio: Bio, segments: number): boolean {
    let skip = Math.max(this.#waitingCount - MERGE_WAITING_MAX, 0);
    for (let request = this.#waitingFirst; request !== null; request = request.next) {
      if (skip-- > 0) continue;
      const result = tryMerge(request, bio, segments, this.limits);
      if (result === MergeResult.NONE || result === MergeResult.FAILED) continue;
      this.#merged(request, bio, result);
      return true;
    }
    return false;
  }

  #merged(request: Request, bio: Bio, result: MergeResult): void {
    this.counters.merges++;
    if (this.probe === null) return;
    const point =
      result === MergeResult.BACK
        ? ProbePoint.BACK_MERGE
        : result === MergeResult.FRONT
          ? ProbePoint.FRONT_MERGE
          : ProbePoint.DISCARD_MERGE;
    this.probe.hit(point, bio.traceId, request, bio.op, bio.sector, bio.sectors);
  }

  #popPending(next: Bio | null): void {
    this.#pendingFirst = next;
    if (next === null) this.#pendingLast = null;
  }

  #fail(bio: Bio, status: number): void {
    if (bio.status === 0) bio.status = status;
    bio.next = null;
    if (this.#failedLast === null) this.#failedFirst = bio;
    else this.#failedLast.next = bio;
    this.#failedLast = bio;
  }

  #flushPlug(sleeping: boolean): void {
    const plug = this.#plug;
    if (plug.count === 0) return;
    const count = plug.drain(this.#batch, this.profile.plugOrder, sleeping);
    if (this.#waitingFirst !== null) {
      for (let i = 0; i < count; i++) this.#wait(this.#batch[i] as Request);
      return;
    }
    this.#issueBatch(count);
  }

  #issueOne(request: Request): void {
    if (this.#waitingFirst !== null) {
      this.#wait(request);
      return;
    }
    this.#batch[0] = request;
    this.#issueBatch(1);
  }

  /** Gives `#batch[0 … count)` to the engine in as few calls as it allows; the rest waits. */
  #issueBatch(count: number): void {
    const batch = this.#batch;
    const tags = this.#tags;
    for (let i = 0; i < count; i++) {
      const request = batch[i] as Request;
      tags[i] = request.tag;
      this.#enterEngine(request);
    }
    let sent = 0;
    while (sent < count) {
      const accepted = this.#sink.submit(tags, sent, count - sent);
      if (accepted === 0) break;
      if (accepted < 0) {
        this.#refused(batch[sent] as Request, accepted);
        sent++;
      } else {
        assert(accepted <= count - sent, 'engine: accepted more than it was given');
        sent += accepted;
      }
    }
    for (let i = sent; i < count; i++) {
      const request = batch[i] as Request;
      this.leaveEngine(request);
      this.#wait(request);
    }
  }

  #enterEngine(request: Request): void {
    assert(!request.inFlight, 'queue: issued twice');
    request.inFlight = true;
    this.#inFlight++;
    if (this.probe !== null) {
      const { traceId, op, sector, sectors } = request;
      this.probe.hit(ProbePoint.ISSUE, traceId, request, op, sector, sectors);
    }
  }

  /** The engine refused the request outright: its bios end with the error, later. */
  #refused(request: Request, status: number): void {
    this.leaveEngine(request);
    let bio = request.bio;
    this.#table.release(request.tag);
    while (bio !== null) {
      const next: Bio | null = bio.next;
      this.#fail(bio, status);
      bio = next;
    }
  }

  #wait(request: Request): void {
    this.counters.engineWaits++;
    request.next = null;
    if (this.#waitingLast === null) this.#waitingFirst = request;
    else this.#waitingLast.next = request;
    this.#waitingLast = request;
    this.#waitingCount++;
  }

  #issueWaiting(): void {
    while (this.#waitingFirst !== null) {
      let count = 0;
      let request: Request | null = this.#waitingFirst;
      while (request !== null && count < PLUG_REQUESTS_MAX) {
        const next: Request | null = request.next;
        request.next = null;
        this.#batch[count++] = request;
        request = next;
      }
      // What is refused goes back in front of the others, so the list is cut off first.
      const restFirst = request;
      const restLast = request === null ? null : this.#waitingLast;
      const restCount = this.#waitingCount - count;
      this.#waitingFirst = null;
      this.#waitingLast = null;
      this.#waitingCount = 0;
      this.#issueBatch(count);
      const blocked = this.#waitingCount > 0;
      this.#append(restFirst, restLast, restCount);
      if (blocked) return;
    }
  }

  #append(first: Request | null, last: Request | null, count: number): void {
    if (first === null) return;
    if (this.#waitingLast === null) this.#waitingFirst = first;
    else this.#waitingLast.next = first;
    this.#waitingLast = last;
    this.#waitingCount += count;
  }
}

/** Moves a request's start `bytes` on: whole bios keep their segments, the current one advances. */
function advanceRequest(request: Request, bytes: number): void {
  let left = bytes;
  request.sector += bytes / 512;
  request.bytes -= bytes;
  for (let bio = request.bio; bio !== null && left > 0; ) {
    const next: Bio | null = bio.next;
    const step = Math.min(left, bio.size);
    left -= step;
    if (step < bio.size) {
      bio.advance(step);
      return;
    }
    assert(next !== null, 'queue: a whole request was requeued');
    request.bio = next;
    bio.next = null;
    endBio(bio);
    bio = next;
  }
}

