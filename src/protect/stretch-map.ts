import { assert } from '../base/assert.ts';
import { BlockError } from '../base/block-error.ts';
import { errnoNumber } from '../base/errno.ts';
import type { LogWaiter } from './intent-log.ts';
import { RecordKind } from './log-record.ts';
import { RowCalls } from './row-transfer.ts';
import { StoreState } from './superblock.ts';
import type { TupleStore } from './tuple-store.ts';

/** Somebody whose stretches are not open yet. */
export interface StretchWaiter {
  readonly firstStretch: number;
  readonly lastStretch: number;
  /** Its end will be told as one on the medium. */
  readonly logDurable: boolean;
  /** Bytes of the log that are set aside for a mark; 0 when it was written. */
  markReserve: number;
  /** They are open on the medium, or why not: 0 or -errno. Runs from the loop. */
  stretchesOpen(status: number): void;
}

/** A writer that goes on in order opens as many more at once, at most. */
const AHEAD_MAX = 8;

/**
 * Which parts of the data may differ from what the store says on the medium. A stretch is marked
 * before the first write to it goes out, durably: after a power cut only marked ones are looked at.
 * A commit closes all of them. One flush serves everybody who waits.
 *
 * In a store that is NEW all of them are open from the beginning, and the store itself may be lost
 * with the power: what is written durably needs it to be kept.
 */
export class StretchMap {
  readonly #tuples: TupleStore;
  readonly #calls: RowCalls;
  readonly #isOpen: Uint8Array;
  #openCount = 0;
  /** The superblock that counts is on the medium. */
  isKept: boolean;
  #waiting: StretchWaiter[] = [];
  #isRunning = false;
  #ahead = 1;

  constructor(tuples: TupleStore) {
    this.#tuples = tuples;
    this.#calls = new RowCalls(tuples.store, 1);
    this.#isOpen = new Uint8Array(tuples.layout.stretches);
    this.isKept = tuples.state !== StoreState.NEW;
    if (!this.isKept) this.#mark(0, this.#isOpen.length);
  }

  get openCount(): number {
    return this.#openCount;
  }

  get isIdle(): boolean {
    return !this.#isRunning;
  }

  /** True: writes may go out now. False: `waiter.stretchesOpen` comes, later. */
  open(waiter: StretchWaiter): boolean {
    if (this.#areOpen(waiter) && (this.isKept || !waiter.logDurable)) return true;
    this.#waiting.push(waiter);
    if (!this.#isRunning) void this.#run();
    return false;
  }

  /** After a commit. */
  closeAll(): void {
    assert(this.isIdle, 'protect: stretches closed while some are being opened');
    this.#isOpen.fill(0);
    this.#openCount = 0;
    this.isKept = true;
  }

  #areOpen({ firstStretch, lastStretch }: StretchWaiter): boolean {
    for (let i = firstStretch; i <= lastStretch; i++) if (this.#isOpen[i] === 0) return false;
    return true;
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#waiting.length > 0) {
      const waiters = this.#waiting;
      this.#waiting = [];
      const status = await this.#openFor(waiters);
      for (const waiter of waiters) waiter.stretchesOpen(status);
    }
    this.#isRunning = false;
  }

  async #openFor(waiters: readonly StretchWaiter[]): Promise<number> {
    const tuples = this.#tuples;
    try {
      await tuples.markOpen();
      const opened: (readonly [number, number])[] = [];
      for (const waiter of waiters) {
        if (this.#areOpen(waiter)) continue;
        const end = this.#endOf(waiter);
        assert(waiter.markReserve > 0, 'protect: no room in the log for a mark');
        waiter.markReserve = 0;
        const status = await this.#record(waiter.firstStretch, end - waiter.firstStretch);
        if (status !== 0) return status;
        opened.push([waiter.firstStretch, end]);
      }
      await this.#calls.flush();
      this.isKept = true;
      for (const [first, end] of opened) this.#mark(first, end);
      return 0;
    } catch (error) {
      if (!(error instanceof BlockError)) throw error; // A bug.
      return -errnoNumber(error.code);
    }
  }

  #mark(first: number, end: number): void {
    for (let i = first; i < end; i++) {
      if (this.#isOpen[i] === 0) this.#openCount++;
      this.#isOpen[i] = 1;
    }
  }

  /** Twice as far as the last time while the writer goes on where it was. */
  #endOf({ firstStretch, lastStretch }: StretchWaiter): number {
    const goesOn = firstStretch > 0 && this.#isOpen[firstStretch - 1] === 1;
    this.#ahead = goesOn ? Math.min(this.#ahead * 2, AHEAD_MAX) : 1;
    return Math.min(lastStretch + this.#ahead, this.#isOpen.length);
  }

  #record(first: number, count: number): Promise<number> {
    const { log } = this.#tuples;
    return new Promise((resolve) => {
      const waiter: LogWaiter = {
        lsn: -1,
        logKind: RecordKind.OPEN,
        logFirst: first,
        logCount: count,
        logPage: 0,
        logPayload: 0,
        logDurable: false,
        logWritten: resolve,
      };
      log.append(waiter);
      log.kick();
    });
  }
}
