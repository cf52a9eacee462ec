import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { type Probe, ProbePoint } from '../base/probe.ts';
import { TAG_NONE } from '../base/slots.ts';
import { SECTOR_BYTES } from '../base/units.ts';
import { type Bio, BioState, endBio } from '../bio/bio.ts';
import { BioFlag } from '../bio/bio-op.ts';
import type { BioPool } from '../bio/bio-pool.ts';
import { SplitCause, SplitPoint, splitPoint } from '../bio/split-point.ts';
import type { Limits } from '../limits/limits.ts';
import type { Profile } from '../limits/profile.ts';
import { type IntegrityStage, PAYLOAD_WAIT } from './integrity-stage.ts';
import { MergeResult, tryMerge } from './merge.ts';
import { PLUG_REQUESTS_MAX, Plug } from './plug.ts';
import { QueueCounters } from './queue-counters.ts';
import type { BlockQueueOptions, RequestSink } from './queue-options.ts';
import { advanceRequest, type Request } from './request.ts';
import type { RequestTable } from './request-table.ts';
import { WaitingList } from './waiting-list.ts';

const endless = (): number => Number.POSITIVE_INFINITY;

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
  readonly #integrity: IntegrityStage | null;
  readonly #sizeBytes: () => number;
  readonly #plug = new Plug();
  readonly #point = new SplitPoint();
  readonly #tags: Uint32Array;
  readonly #batch: Request[] = [];
  /** Bios not yet made into requests, in order. */
  #pendingFirst: Bio | null = null;
  #pendingLast: Bio | null = null;
  readonly #waiting = new WaitingList();
  #failedFirst: Bio | null = null;
  #failedLast: Bio | null = null;
  #inFlight = 0;

  constructor(options: BlockQueueOptions) {
    this.limits = options.limits;
    this.profile = options.profile;
    if (options.profile.subBlockSplit === 'error') {
      this.#point.unitBytes = options.limits.dma_alignment + 1;
    }
    this.#table = options.table;
    this.#sink = options.sink;
    this.#splitPool = options.splitPool;
    this.#integrity = options.integrity ?? null;
    this.#sizeBytes = options.sizeBytes ?? endless;
    this.#tags = new Uint32Array(Math.max(options.table.depth, PLUG_REQUESTS_MAX));
    for (let i = 0; i < PLUG_REQUESTS_MAX; i++) this.#batch.push(options.table.at(0));
  }

  /** Requests at the engine. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** True when bios wait for a tag, a split or room at the engine. */
  get isBlocked(): boolean {
    return this.#pendingFirst !== null || this.#waiting.first !== null;
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
    // It will fail, and must not take others with it. Linux fails it here: bio_check_eod().
    const endByte = bio.sector * SECTOR_BYTES + bio.size;
    if (bio.size > 0 && endByte > this.#sizeBytes()) bio.flags |= BioFlag.NOMERGE;
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
    assert(!request.inFlight, 'queue: requeue of what the engine still owns');
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
    if (this.#waiting.first === null && this.#pendingFirst !== null) {
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
    if (this.#integrity !== null) {
      const result = this.#integrity.admit(bio, point);
      if (result !== 0) return this.#notAdmitted(bio, next, result);
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
        this.#table.release(tag);
        this.counters.splitWaits++;
        this.#flushPlug(true);
        return false;
      }
      front.flags |= BioFlag.NOMERGE;
      if (this.#integrity !== null) front.integrity = this.#integrity.takeFront();
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

  /** Its metadata is wrong, or must wait until other metadata comes back. */
  #notAdmitted(bio: Bio, next: Bio | null, result: number): boolean {
    if (result === PAYLOAD_WAIT) {
      this.#flushPlug(true);
      return false;
    }
    this.#popPending(next);
    this.#fail(bio, result);
    return true;
  }

  /** Linux 6.12 sends what it cannot cut at a block whole; 6.1 would hit a BUG; we refuse. */
  #goesUnsplit(point: SplitPoint): boolean {
    const subBlock = point.bytes === -Errno.EINVAL && point.cause !== SplitCause.NONE;
    if (!subBlock || this.profile.subBlockSplit !== 'unsplit') return false;
    point.bytes = 0;
    return true;
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
      const result = tryMerge(last, bio, segments, this.limits, this.profile.metadataCount);
      if (result !== MergeResult.NONE && result !== MergeResult.FAILED) {
        this.#merged(last, bio, result);
        return true;
      }
    }
    if (this.limits.nomerges !== 0) return false;
    return this.#waiting.last !== null && this.#mergeWaiting(bio, segments);
  }

  /**
   * Requests that the engine had no room for can still grow: the last eight are tried, newest
   * first, up to one that the bio meets. Linux: blk_bio_list_merge().
   */
  #mergeWaiting(bio: Bio, segments: number): boolean {
    let request = this.#waiting.last;
    for (let i = 0; i < MERGE_WAITING_MAX && request !== null; i++, request = request.prev) {
      const result = tryMerge(request, bio, segments, this.limits, this.profile.metadataCount);
      if (result === MergeResult.NONE) continue;
      if (result === MergeResult.FAILED) return false;
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
    const sent = this.#waiting.first === null ? this.#issueBatch(count) : 0;
    for (let i = sent; i < count; i++) this.#wait(this.#batch[i] as Request);
  }

  #issueOne(request: Request): void {
    this.#batch[0] = request;
    if (this.#waiting.first !== null || this.#issueBatch(1) === 0) this.#wait(request);
  }

  /**
   * Gives `#batch[0 … count)` to the engine in as few calls as it allows. Returns how many it took
   * or refused; it has no room for the others now.
   */
  #issueBatch(count: number): number {
    const batch = this.#batch;
    const tags = this.#tags;
    for (let i = 0; i < count; i++) {
      const request = batch[i] as Request;
      assert(!request.inFlight, 'queue: issued twice');
      request.inFlight = true;
      tags[i] = request.tag;
    }
    this.#inFlight += count;
    let sent = 0;
    while (sent < count) {
      const accepted = this.#sink.submit(tags, sent, count - sent);
      if (accepted === 0) break;
      assert(accepted <= count - sent, 'engine: accepted more than it was given');
      const end = sent + Math.max(accepted, 1);
      if (this.probe !== null) this.#probeIssue(sent, end);
      if (accepted < 0) this.#refused(batch[sent] as Request, accepted);
      sent = end;
    }
    for (let i = sent; i < count; i++) this.leaveEngine(batch[i] as Request);
    return sent;
  }

  /** Nothing completes inside `submit`, so the requests are still what they were. */
  #probeIssue(first: number, end: number): void {
    for (let i = first; i < end; i++) {
      const request = this.#batch[i] as Request;
      const { traceId, op, sector, sectors } = request;
      this.probe?.hit(ProbePoint.ISSUE, traceId, request, op, sector, sectors);
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
    this.#waiting.append(request);
  }

  #issueWaiting(): void {
    const batch = this.#batch;
    while (this.#waiting.first !== null) {
      const count = this.#waiting.take(batch, PLUG_REQUESTS_MAX);
      const sent = this.#issueBatch(count);
      this.#waiting.putBack(batch, sent, count);
      if (sent < count) return;
    }
  }
}
