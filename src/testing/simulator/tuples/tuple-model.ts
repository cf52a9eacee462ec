import { assert } from '../../../base/assert.ts';
import type { SimEngine } from '../sim-engine.ts';
import type { SimRecords } from '../sim-records.ts';
import { TupleFault, type TupleFormat } from './tuple-format.ts';

const GuardState = { UNKNOWN: 0, RIGHT: 1 } as const;

/** What is checked of an interval. */
export interface Expectation {
  /** TupleCheck */
  readonly check: number;
  readonly appTag: number;
}

/**
 * Data and records of a disk as they must be, in flat arrays. What the disk spoils by itself is
 * taken over from it; everything else only by what an operation was asked for.
 */
export class TupleModel {
  readonly format: TupleFormat;
  readonly data: Uint8Array;
  readonly records: Uint8Array;
  /** What `firstBad` found. */
  readonly fault = new TupleFault();
  /** By interval: whether its guard fits, as far as that was asked. */
  readonly #guards: Uint8Array;
  readonly #engine: SimEngine;
  readonly #disk: SimRecords;

  constructor(engine: SimEngine) {
    this.#engine = engine;
    this.#disk = engine.records as SimRecords;
    this.format = this.#disk.format;
    this.data = engine.medium.peek(0, engine.medium.sizeBytes);
    this.records = this.#disk.medium.peek(0, this.#disk.medium.sizeBytes);
    this.#guards = new Uint8Array(this.format.intervals(this.data.length));
  }

  get sizeBytes(): number {
    return this.data.length;
  }

  get intervals(): number {
    return this.#guards.length;
  }

  recordAt(interval: number): number {
    return interval * this.format.metadataBytes;
  }

  /** Intervals [first, end) that lie in bytes [start, end) of the device, cut at its end. */
  intervalsOf(start: number, end: number): readonly [first: number, end: number] {
    const last = Math.min(Math.ceil(end / this.format.intervalBytes), this.intervals);
    return [Math.min(Math.floor(start / this.format.intervalBytes), last), last];
  }

  /** What is wrong with `interval`, in `fault`. False: it fits. */
  isBad(interval: number, { check, appTag }: Expectation): boolean {
    const { format, data, records, fault } = this;
    const at = interval * format.intervalBytes;
    const recordAt = this.recordAt(interval);
    const state = this.#guards[interval];
    const GUARD = 1;
    const rest = state === GuardState.RIGHT ? check & ~GUARD : check;
    const want = { check: rest, appTag, block: interval };
    const isBad = format.findFault(data, at, records, recordAt, want, fault);
    if (!isBad && (rest & GUARD) !== 0) this.#learn(interval);
    return isBad;
  }

  /** Nothing was wrong, the guard included, unless it was not looked at. */
  #learn(interval: number): void {
    if (this.format.isEscape(this.records, this.recordAt(interval))) return;
    this.#guards[interval] = GuardState.RIGHT;
  }

  /** The first interval of [first, end) that does not fit, or -1. */
  firstBad(first: number, end: number, expectation: Expectation): number {
    if (expectation.check === 0) return -1;
    for (let interval = first; interval < end; interval++) {
      if (this.isBad(interval, expectation)) return interval;
    }
    return -1;
  }

  /** What the disk has is how it should be, from now on. */
  resync(start: number, end: number): void {
    const [first, last] = this.intervalsOf(start, end);
    const { intervalBytes } = this.format;
    const dataAt = first * intervalBytes;
    // Behind the last whole interval a device may have a few sectors more.
    const dataEnd = Math.min(Math.max(last * intervalBytes, end), this.sizeBytes);
    this.data.set(this.#engine.medium.peek(dataAt, Math.max(dataEnd - dataAt, 0)), dataAt);
    const recordAt = this.recordAt(first);
    const bytes = this.recordAt(last) - recordAt;
    this.records.set(this.#disk.medium.peek(recordAt, bytes), recordAt);
    this.#guards.fill(GuardState.UNKNOWN, first, last);
  }

  /** The guard of `interval` was compared with what is there now. */
  guardFits(interval: number): void {
    this.#guards[interval] = GuardState.RIGHT;
  }

  /** Whoever spares itself a guard must know it: one taken for right by mistake hides damage. */
  verifyGuards(): void {
    const { format, data, records } = this;
    for (let interval = 0; interval < this.intervals; interval++) {
      if (this.#guards[interval] !== GuardState.RIGHT) continue;
      const at = interval * format.intervalBytes;
      const isRight = format.isGuardRight(data, at, records, this.recordAt(interval));
      assert(isRight, 'sim: the model takes a guard for right that is wrong');
    }
  }

  /** Records of `count` intervals from `first` on, as one who counts from `seed` sees them. */
  recordsFor(first: number, count: number, seed: number): Uint8Array {
    const at = this.recordAt(first);
    const records = this.records.slice(at, at + count * this.format.metadataBytes);
    this.format.remap(records, 0, count, first, seed);
    return records;
  }
}
