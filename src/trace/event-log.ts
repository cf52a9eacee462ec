import { unreachable } from '../base/assert.ts';
import { type Probe, ProbePoint } from '../base/probe.ts';
import { PAGE_BYTES } from '../base/units.ts';
import type { Bio } from '../bio/bio.ts';
import { BIO_OP_NAMES, opHasData } from '../bio/bio-op.ts';
import { SPLIT_CAUSE_NAMES } from '../bio/split-point.ts';
import { BvecCursor } from '../bvec/bvec-cursor.ts';
import type { BvecTable } from '../bvec/bvec-table.ts';
import { physicalAddress } from '../bvec/contiguity.ts';
import type { DmaDevice } from '../dma/dma-device.ts';
import type { CommandSlot } from '../engine/controller/command-slot.ts';
import type { BioIntegrity } from '../integrity/bio-integrity.ts';
import type { Mapping } from '../map/mapping.ts';
import { MAP_REASON_NAMES, VERDICT_NAMES } from '../map/verdict.ts';
import { HOLD_NAMES } from '../memory/holds.ts';
import { type Request, SegmentCursor } from '../queue/request.ts';
import { mapEvents, refuseEvent, unmapEvent } from './command-events.ts';
import type { RequestEvent, SegmentRecord, TraceEvent } from './event.ts';
import { tupleRecords } from './tuple-records.ts';

/** What was last said about a mapping, which may decide anew without a probe point. */
interface Decision {
  readonly mapping: Mapping;
  reason: number;
  middleReason: number;
}

/** The rows of one hold or release, which the path reports one by one. */
interface OpenHold {
  readonly type: 'hold' | 'release';
  readonly trace: number;
  readonly kind: number;
  pages: number;
  readonly segments: SegmentRecord[];
}

/**
 * A probe that keeps what happened, in order, as events. Subjects are read at the moment of the
 * hit, because bios and requests are pooled. Tracing allocates; the path without a probe does not.
 */
export class EventLog implements Probe {
  #events: TraceEvent[] = [];
  readonly #nowNs: (() => number) | null;
  readonly #decisions = new Map<number, Decision>();
  readonly #bioNames = new WeakMap<Bio, string>();
  readonly #bioBytes = new WeakMap<Bio, number>();
  readonly #fronts = new Map<string, number>();
  readonly #requestNames = new WeakMap<Request, string>();
  readonly #bvecs = new BvecCursor();
  readonly #segments = new SegmentCursor();
  #bioCount = 0;
  #requestCount = 0;
  #hold: OpenHold | null = null;

  /** `nowNs`: the time that events get; without it they have none. */
  constructor(nowNs: (() => number) | null = null) {
    this.#nowNs = nowNs;
  }

  /** The events since the last call, for a writer that does not keep them. */
  drain(): readonly TraceEvent[] {
    const { events } = this;
    this.#events = [];
    return events;
  }

  /** All events so far. */
  get events(): readonly TraceEvent[] {
    this.#endHold();
    return this.#events;
  }

  hit(point: ProbePoint, trace: number, subject: object, a: number, b: number, c: number): void {
    if (point === ProbePoint.HOLD || point === ProbePoint.UNHOLD) {
      this.#revise(trace);
      this.#row(point, trace, subject as BvecTable, a, b, c);
      return;
    }
    this.#endHold();
    if (point === ProbePoint.MAP) this.#mapped(trace, subject as Mapping, false);
    else this.#revise(trace);
    this.#other(point, trace, subject, a, b, c);
  }

  #other(point: ProbePoint, trace: number, subject: object, a: number, b: number, c: number): void {
    switch (point) {
      case ProbePoint.HOLD:
      case ProbePoint.UNHOLD:
      case ProbePoint.MAP:
        return;
      case ProbePoint.COPY: {
        const direction = c === 1 ? 'back' : 'in';
        this.#add({ type: 'copy', trace, direction, reason: MAP_REASON_NAMES[a], bytes: b });
        return;
      }
      case ProbePoint.BIO_QUEUE:
        this.#bioQueued(trace, subject as Bio);
        return;
      case ProbePoint.SPLIT:
        this.#bioSplit(trace, subject as Bio, c);
        return;
      case ProbePoint.GET_REQUEST:
        this.#requestNames.set(subject as Request, `${++this.#requestCount}`);
        this.#add(this.#requestEvent('request', trace, subject as Request));
        return;
      case ProbePoint.ISSUE:
        this.#add(this.#requestEvent('issue', trace, subject as Request));
        return;
      case ProbePoint.REQUEUE:
        this.#add(this.#requestEvent('requeue', trace, subject as Request));
        return;
      case ProbePoint.BACK_MERGE:
      case ProbePoint.FRONT_MERGE:
      case ProbePoint.DISCARD_MERGE:
        this.#merged(point, trace, subject as Request);
        return;
      case ProbePoint.COMPLETE: {
        const request = this.#requestName(subject as Request);
        this.#add({ type: 'complete', trace, request, status: a, bytes: c });
        return;
      }
      case ProbePoint.METADATA: {
        const payload = subject as BioIntegrity;
        const direction = c === 1 ? 'back' : 'out';
        const owner = payload.isUserOwned ? 'program' : 'path';
        const tuples = tupleRecords(payload, a);
        this.#add({ type: 'metadata', trace, direction, owner, block: a, bytes: b, tuples });
        return;
      }
      case ProbePoint.BIO_END: {
        const bio = this.#bioName(subject as Bio);
        // After splits the bio itself is only its last part.
        const bytes = this.#bioBytes.get(subject as Bio) ?? c;
        this.#add({ type: 'end', trace, bio, status: a, bytes });
        return;
      }
      case ProbePoint.COMMAND_MAP: {
        const slot = subject as CommandSlot;
        for (const event of mapEvents(slot, trace, this.#nameOf(slot))) this.#add(event);
        return;
      }
      case ProbePoint.COMMAND_REFUSE:
        this.#add(refuseEvent(subject as DmaDevice, trace, a, c));
        return;
      case ProbePoint.COMMAND_UNMAP: {
        const slot = subject as CommandSlot;
        this.#add(unmapEvent(slot, trace, this.#nameOf(slot), a, b));
        return;
      }
      default:
        unreachable(point);
    }
  }

  #add(event: TraceEvent): void {
    this.#events.push(this.#nowNs === null ? event : { atNs: this.#nowNs(), ...event });
  }

  #mapped(trace: number, mapping: Mapping, isRevised: boolean): void {
    const { reason, middleReason } = mapping;
    this.#decisions.set(trace, { mapping, reason, middleReason });
    this.#add({
      type: 'map',
      trace,
      op: BIO_OP_NAMES[mapping.op],
      position: mapping.position,
      bytes: mapping.bytes,
      verdict: VERDICT_NAMES[mapping.verdict],
      reason: MAP_REASON_NAMES[reason],
      middle: MAP_REASON_NAMES[middleReason],
      isRevised,
    });
  }

  /** Only the built bio has a true segment count, so `map` may have become `copy` since. */
  #revise(trace: number): void {
    const last = this.#decisions.get(trace);
    if (last === undefined) return;
    const { mapping, reason, middleReason } = last;
    if (mapping.traceId !== trace) return;
    if (mapping.reason === reason && mapping.middleReason === middleReason) return;
    this.#endHold();
    this.#mapped(trace, mapping, true);
  }

  #row(point: number, trace: number, table: BvecTable, row: number, kind: number, pages: number) {
    const type = point === ProbePoint.HOLD ? 'hold' : 'release';
    const segment = { address: physicalAddress(table, row), bytes: table.len[row] };
    const open = this.#hold;
    if (open !== null && open.type === type && open.trace === trace && open.kind === kind) {
      open.pages += pages;
      open.segments.push(segment);
      return;
    }
    this.#endHold();
    this.#hold = { type, trace, kind, pages, segments: [segment] };
  }

  #endHold(): void {
    if (this.#hold === null) return;
    const { type, trace, kind, pages, segments } = this.#hold;
    this.#hold = null;
    this.#add({ type, trace, hold: HOLD_NAMES[kind], pages, segments });
  }

  #bioQueued(trace: number, bio: Bio): void {
    const name = `${++this.#bioCount}`;
    this.#bioNames.set(bio, name);
    this.#bioBytes.set(bio, bio.size);
    this.#fronts.set(name, 0);
    const { op, sector, size } = bio;
    const segments = this.#segmentsOf(bio);
    this.#add({
      type: 'bio',
      trace,
      bio: name,
      op: BIO_OP_NAMES[op],
      sector,
      bytes: size,
      segments,
    });
  }

  #bioSplit(trace: number, front: Bio, cause: number): void {
    const { parent, sector, size } = front;
    const of = parent === null ? '?' : this.#bioName(parent);
    const number = (this.#fronts.get(of) ?? 0) + 1;
    this.#fronts.set(of, number);
    const bio = `${of}.${number}`;
    this.#bioNames.set(front, bio);
    const limit = SPLIT_CAUSE_NAMES[cause];
    const restBytes = parent?.size ?? 0;
    this.#add({ type: 'split', trace, bio, of, sector, bytes: size, restBytes, limit });
  }

  #merged(point: ProbePoint, trace: number, request: Request): void {
    const isFront = point === ProbePoint.FRONT_MERGE;
    const joined = isFront ? request.bio : request.bioTail;
    const where = isFront ? 'front' : point === ProbePoint.BACK_MERGE ? 'back' : 'discard';
    this.#add({
      type: 'merge',
      trace,
      where,
      bio: joined === null ? '?' : this.#bioName(joined),
      request: this.#requestName(request),
      bytes: request.bytes,
      segmentCount: request.segments,
    });
  }

  #requestEvent(type: RequestEvent['type'], trace: number, request: Request): RequestEvent {
    const bios: string[] = [];
    for (let bio = request.bio; bio !== null; bio = bio.next) bios.push(this.#bioName(bio));
    const segments: SegmentRecord[] = [];
    const cursor = this.#segments;
    cursor.start(request);
    while (cursor.next()) {
      segments.push({ address: cursor.page * PAGE_BYTES + cursor.offset, bytes: cursor.len });
    }
    return {
      type,
      trace,
      request: this.#requestName(request),
      op: BIO_OP_NAMES[request.op],
      sector: request.sector,
      bytes: request.bytes,
      bios,
      segmentCount: request.segments,
      segments,
    };
  }

  #segmentsOf(bio: Bio): SegmentRecord[] {
    const segments: SegmentRecord[] = [];
    if (!opHasData(bio.op)) return segments;
    const cursor = this.#bvecs;
    cursor.start(bio.table, bio.row, bio.done, bio.size);
    while (cursor.multi()) {
      segments.push({ address: cursor.page * PAGE_BYTES + cursor.offset, bytes: cursor.len });
      cursor.advance(cursor.len);
    }
    return segments;
  }

  #bioName(bio: Bio): string {
    return this.#bioNames.get(bio) ?? '?';
  }

  #nameOf({ request }: CommandSlot): string {
    return request === null ? '?' : this.#requestName(request);
  }

  #requestName(request: Request): string {
    return this.#requestNames.get(request) ?? '?';
  }
}
