import { assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { slotOf, TAG_NONE } from '../../base/slots.ts';
import { SECTOR_BYTES } from '../../base/units.ts';
import type { Bio } from '../../bio/bio.ts';
import { BioOp, opHasData, opIsWrite } from '../../bio/bio-op.ts';
import type { Engine, EngineInfo } from '../../engine/contract.ts';
import { CompletionRing } from '../../engine/memory/completion-ring.ts';
import { rangeStatus } from '../../engine/memory/medium.ts';
import type { IntegrityProfile } from '../../integrity/integrity-profile.ts';
import type { Limits } from '../../limits/limits.ts';
import { type Request, SegmentCursor } from '../../queue/request.ts';
import type { RequestTable } from '../../queue/request-table.ts';
import { FaultPlan, Lost } from './fault-plan.ts';
import { SeededRandom } from './seeded-random.ts';
import type { SimClock } from './sim-clock.ts';
import { SimMedium } from './sim-medium.ts';
import { SimRecords } from './sim-records.ts';

/** A bug on purpose, to show that somebody notices. */
export type EngineMutant =
  | 'wrong-byte'
  | 'lost-write'
  | 'stray-write'
  | 'late-move'
  | 'double-completion'
  | 'lost-completion'
  | 'too-many-bytes';

export interface SimEngineOptions {
  readonly seed: number;
  readonly clock: SimClock;
  readonly limits: Limits;
  /** A multiple of 512. */
  readonly sizeBytes: number;
  readonly depth: number;
  /** It keeps tuples, and tears the last sector of an interval together with its tuple. */
  readonly integrity?: IntegrityProfile | undefined;
  readonly plan?: FaultPlan | undefined;
  /** Instead of numbers of its own, those of the world. */
  readonly random?: SeededRandom | undefined;
  /** The disk spoils bytes [start, start + bytes) on purpose: a judge must not blame the path. */
  readonly onSpoil?: ((start: number, bytes: number) => void) | undefined;
  /** Where a misdirected write of so many bytes lands; -1: nowhere. Default: anywhere. */
  readonly placeFor?: ((bytes: number) => number) | undefined;
  /** A request begins (accepted), or the device has touched its memory (moved). */
  readonly onTouch?: ((request: Request, isMoved: boolean) => void) | undefined;
  /** From the `mutantFrom`-th request on. */
  readonly mutant?: EngineMutant | undefined;
  readonly mutantFrom?: number | undefined;
}

// Row = one slot of the request table.   unit    invariant
//   tag        Uint32   tag     of the request in flight in this slot
//   state      Uint8    enum    SlotState
//   status     Int32    errno   what it will be completed with
//   bytes      Float64  bytes   that will be moved and reported
//   isTorn     Uint8    bool
//   spoils     Uint8    bits    1: misdirected, 2: rots, 4 and 8: Lost, two bits up

const SlotState = { FREE: 0, ACCEPTED: 1, MOVED: 2 } as const;

/**
 * A disk under a seeded clock. Its requests take time, overtake each other, end short, fail and
 * tear, as its fault plan says; the memory is touched at any time between acceptance and
 * completion, as a real device does.
 */
export class SimEngine implements Engine {
  readonly info: EngineInfo;
  readonly medium: SimMedium;
  readonly records: SimRecords | null;
  readonly plan: FaultPlan;
  readonly #options: SimEngineOptions;
  readonly #clock: SimClock;
  readonly #random: SeededRandom;
  readonly #ring: CompletionRing;
  readonly #cursor = new SegmentCursor();
  #table: RequestTable | null = null;
  #tag = new Uint32Array(0);
  #state = new Uint8Array(0);
  #status = new Int32Array(0);
  #bytes = new Float64Array(0);
  #isTorn = new Uint8Array(0);
  #spoils = new Uint8Array(0);
  #finishNs = new Float64Array(0);
  /** Accepted and not reaped. */
  #inFlight = 0;
  #accepted = 0;
  /** Refused behind others that were accepted. */
  #refusedTag = TAG_NONE;
  #refusal = 0;
  #isClosed = false;

  constructor(options: SimEngineOptions) {
    const { limits, depth, seed } = options;
    this.#options = options;
    this.#clock = options.clock;
    this.#random = options.random ?? new SeededRandom(seed);
    this.plan = options.plan ?? new FaultPlan(seed);
    this.medium = new SimMedium(options.sizeBytes);
    const { integrity = null, sizeBytes } = options;
    this.records = integrity === null ? null : new SimRecords(integrity, sizeBytes);
    // Twice as long: a mutant may complete twice, and the judge shall see it, not an assertion.
    this.#ring = new CompletionRing(2 * depth, options.clock.defer);
    const target = `simulator:${seed}`;
    this.info = {
      kind: 'simulator',
      target,
      depth,
      limits,
      byteGranular: false,
      integrity,
      fixedSize: true,
      facts: { seed },
    };
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  sizeBytes(): number {
    return this.medium.sizeBytes;
  }

  attach(table: RequestTable): void {
    assert(this.#table === null, 'simulator: attached twice');
    this.#table = table;
    this.#tag = new Uint32Array(table.depth);
    this.#state = new Uint8Array(table.depth);
    this.#status = new Int32Array(table.depth);
    this.#bytes = new Float64Array(table.depth);
    this.#isTorn = new Uint8Array(table.depth);
    this.#spoils = new Uint8Array(table.depth);
    this.#finishNs = new Float64Array(table.depth);
  }

  submit(tags: Uint32Array, first: number, count: number): number {
    if (this.#isClosed) return -Errno.ENODEV;
    const table = this.#table;
    assert(table !== null, 'simulator: submit before attach');
    const room = this.info.depth - this.#inFlight;
    const most = this.plan.accepts(Math.min(count, room), this.#inFlight);
    for (let i = 0; i < most; i++) {
      const tag = tags[first + i];
      const refusal = this.#accept(tag, table.get(tag));
      if (refusal === 0) continue;
      if (i > 0) return i; // It is first in the next call, and hears of it then.
      this.#refusedTag = TAG_NONE;
      return refusal;
    }
    return most;
  }

  /** 0, or why not: the rest of the batch is then untried. */
  #accept(tag: number, request: Request): number {
    const slot = slotOf(tag);
    assert(this.#state[slot] === SlotState.FREE, 'simulator: a tag is in flight already');
    const { limits } = this.info;
    if (this.#refusedTag === tag) {
      this.#refusedTag = TAG_NONE;
      return this.#refusal;
    }
    const fate = this.plan.next(request, limits.logical_block_size);
    if (fate.refusal !== 0) {
      this.#refusedTag = tag;
      this.#refusal = fate.refusal;
      return fate.refusal;
    }
    const range = opIsWrite(request.op) ? rangeStatus(request, this.sizeBytes(), limits) : 0;
    this.#tag[slot] = tag;
    this.#state[slot] = SlotState.ACCEPTED;
    this.#status[slot] = range === 0 ? fate.status : range;
    this.#bytes[slot] = range === 0 ? this.#within(request, fate.bytes) : 0;
    this.#isTorn[slot] = range === 0 && fate.isTorn ? 1 : 0;
    this.#spoils[slot] = (fate.isMisdirected ? 1 : 0) | (fate.rots ? 2 : 0) | (fate.lost << 2);
    this.#finishNs[slot] = fate.finishNs;
    this.#inFlight++;
    this.#accepted++;
    this.#clock.schedule(fate.moveNs, this.#move, tag);
    this.#options.onTouch?.(request, false);
    return 0;
  }

  /** A read ends at the end of the device. */
  #within(request: Request, bytes: number): number {
    if (request.op !== BioOp.READ) return bytes;
    const room = this.sizeBytes() - request.sector * SECTOR_BYTES;
    return Math.max(Math.min(bytes, room), 0);
  }

  reap(tags: Uint32Array, max: number): number {
    const ready = Math.min(max, this.#ring.count);
    const count = this.#ring.drain(tags, this.plan.reaps(ready));
    this.#inFlight -= count;
    return count;
  }

  /** Half of what has not touched the memory yet is given up. */
  cancel(tag: number): number {
    const slot = slotOf(tag);
    const isLive = slot < this.#state.length && this.#tag[slot] === tag;
    if (!isLive || this.#state[slot] === SlotState.FREE) return this.#ring.find(tag);
    if (this.#state[slot] === SlotState.ACCEPTED && this.#random.chance(0.5)) {
      this.#status[slot] = -Errno.ECANCELED;
      this.#bytes[slot] = 0;
      this.#isTorn[slot] = 0;
    }
    return 0;
  }

  arm(wake: () => void): void {
    this.#ring.arm(wake);
  }

  async close(): Promise<void> {
    assert(this.#inFlight === 0, 'simulator: closed with requests in flight');
    this.#isClosed = true;
  }

  readonly #move = (tag: number): void => {
    const slot = slotOf(tag);
    assert(this.#state[slot] === SlotState.ACCEPTED, 'simulator: moved twice');
    this.#state[slot] = SlotState.MOVED;
    const table = this.#table as RequestTable;
    const request = table.get(tag);
    if (!this.#isMutant('lost-write') || request.op !== BioOp.WRITE) this.#run(request, slot);
    this.#options.onTouch?.(request, true);
    this.#clock.schedule(this.#finishNs[slot] as number, this.#finish, tag);
  };

  #run(request: Request, slot: number): void {
    const bytes = this.#bytes[slot] as number;
    if (opHasData(request.op)) {
      const shift = this.#shift(request, slot, bytes);
      const lost = this.#lose(request, slot, bytes);
      if ((lost & Lost.DATA) === 0) this.#transfer(request, bytes, shift);
      const { records } = this;
      if (records !== null && (lost & Lost.RECORDS) === 0) {
        records.move(request, 0, records.format.intervals(bytes), shift, this.medium);
      }
      if ((this.#spoils[slot] & 2) !== 0 && bytes > 0) this.#rot(request, bytes);
      if (this.#isTorn[slot] === 1) this.#tear(request, bytes);
    } else if (this.#status[slot] === 0 && request.op !== BioOp.FLUSH) {
      for (let bio: Bio | null = request.bio; bio !== null; bio = bio.next) {
        this.medium.zero(bio.sector * SECTOR_BYTES, bio.size);
      }
      this.records?.clear(request);
    }
  }

  /** How far from its place a write lands: 0, unless it is misdirected. */
  #shift(request: Request, slot: number, bytes: number): number {
    const start = request.sector * SECTOR_BYTES;
    if ((this.#spoils[slot] & 1) === 0 || bytes === 0) return 0;
    const other = this.#otherPlace(bytes);
    if (other < 0) return 0;
    this.#options.onSpoil?.(start, bytes);
    this.#options.onSpoil?.(other, bytes);
    return other - start;
  }

  /** Where a misdirected write of `bytes` lands, or -1. */
  #otherPlace(bytes: number): number {
    const { placeFor } = this.#options;
    if (placeFor !== undefined) return placeFor(bytes);
    const block = this.info.limits.logical_block_size;
    const places = Math.floor((this.sizeBytes() - bytes) / block);
    return places < 1 ? -1 : this.#random.below(places) * block;
  }

  /** Which halves of a write the disk forgets. */
  #lose(request: Request, slot: number, bytes: number): number {
    const lost = (this.#spoils[slot] >> 2) & (Lost.DATA | Lost.RECORDS);
    if (lost === 0 || bytes === 0) return 0;
    this.#options.onSpoil?.(request.sector * SECTOR_BYTES, bytes);
    return lost;
  }

  #rot(request: Request, bytes: number): void {
    const at = request.sector * SECTOR_BYTES + this.#random.below(bytes);
    const [byte = 0] = this.medium.peek(at, 1);
    this.medium.poke(at, Uint8Array.of(byte ^ (1 << this.#random.below(8))));
    this.#options.onSpoil?.(at, 1);
  }

  #transfer(request: Request, bytes: number, shift: number): void {
    const cursor = this.#cursor;
    const start = request.sector * SECTOR_BYTES + shift;
    cursor.start(request);
    for (let done = 0; done < bytes; ) {
      assert(cursor.next(), 'simulator: fewer segments than bytes');
      const len = Math.min(cursor.len, bytes - done);
      const { page, offset } = cursor;
      if (request.op === BioOp.WRITE) this.medium.write(start + done, page, offset, len);
      else this.medium.read(start + done, page, offset, len);
      done += len;
      if (request.op !== BioOp.READ || done < bytes) continue;
      if (this.#isMutant('wrong-byte')) flip(page, offset + len - 1, this.medium, start);
      if (this.#isMutant('stray-write')) this.medium.read(start, page, offset + len, 1);
    }
  }

  /** Sectors behind the reported ones are written or not, each by itself. */
  #tear(request: Request, bytes: number): void {
    const cursor = this.#cursor;
    const start = request.sector * SECTOR_BYTES;
    let at = 0;
    let isWritten = false;
    cursor.start(request);
    while (cursor.next()) {
      for (let done = 0; done < cursor.len; ) {
        const toSector = SECTOR_BYTES - ((at + done) % SECTOR_BYTES);
        const len = Math.min(toSector, cursor.len - done);
        const isBehind = at + done >= bytes;
        // With tuples a sector is written with its own or not at all, however memory cuts it.
        const isStart = (at + done) % SECTOR_BYTES === 0;
        if (isBehind && (isStart || this.records === null)) isWritten = this.#random.chance(0.5);
        if (isBehind && isWritten) {
          this.medium.write(start + at + done, cursor.page, cursor.offset + done, len);
          if (isStart) this.#tearRecord(request, at + done + SECTOR_BYTES);
        }
        done += len;
      }
      at += cursor.len;
    }
  }

  /** The sector that ends at `end` is written, and with the last of an interval its record. */
  #tearRecord(request: Request, end: number): void {
    const { records } = this;
    if (records === null || end % records.format.intervalBytes !== 0) return;
    const interval = end / records.format.intervalBytes;
    records.move(request, interval - 1, interval, 0, this.medium);
  }

  readonly #finish = (tag: number): void => {
    const slot = slotOf(tag);
    assert(this.#state[slot] === SlotState.MOVED, 'simulator: finished before it moved');
    this.#state[slot] = SlotState.FREE;
    const table = this.#table as RequestTable;
    table.status[slot] = this.#status[slot] as number;
    table.bytesDone[slot] = this.#bytes[slot] as number;
    if (this.#isMutant('too-many-bytes')) table.bytesDone[slot] = table.get(tag).bytes + 512;
    if (this.#isMutant('late-move')) this.#moveLate(table.get(tag));
    if (this.#isMutant('lost-completion')) return;
    this.#ring.push(tag);
    if (this.#isMutant('double-completion')) {
      this.#ring.push(tag);
      this.#inFlight++;
    }
    this.#ring.notify();
  };

  /** The device writes on into memory that it has given back. */
  #moveLate(request: Request): void {
    if (request.op !== BioOp.READ) return;
    const cursor = this.#cursor;
    cursor.start(request);
    if (!cursor.next()) return;
    const { page, offset } = cursor;
    const start = request.sector * SECTOR_BYTES;
    this.#clock.schedule(50_000, () => flip(page, offset, this.medium, start), 0);
  }

  #isMutant(mutant: EngineMutant): boolean {
    const { mutant: chosen, mutantFrom = 1 } = this.#options;
    return chosen === mutant && this.#accepted >= mutantFrom;
  }
}

/** Puts a byte into a page frame that differs from the one on the medium. */
function flip(page: number, offset: number, medium: SimMedium, start: number): void {
  const scratch = new SimMedium(medium.sizeBytes);
  scratch.write(start, page, offset, 1);
  const [byte = 0] = scratch.peek(start, 1);
  scratch.poke(start, Uint8Array.of(byte ^ 0x40));
  scratch.read(start, page, offset, 1);
}
