import { assert } from '../base/assert.ts';
import { PAGE_BYTES, roundDown, roundUp } from '../base/units.ts';
import { BioOp } from '../bio/bio-op.ts';
import type { BlockDevice } from '../device/block-device.ts';
import type { ArenaBuffer } from '../memory/arena-buffer.ts';
import type { Layout } from './layout.ts';
import { encodeRecord, type RecordSource, recordBytes } from './log-record.ts';
import { RowTransfer } from './row-transfer.ts';
import type { Seal } from './seal.ts';

/** Somebody whose record goes to the log. */
export interface LogWaiter extends RecordSource {
  /** Set when the record has a place. */
  lsn: number;
  /** The record must be on the medium, not only in the device's cache. */
  readonly logDurable: boolean;
  /** The record was written, or not: 0 or -errno. Runs from the loop. */
  logWritten(status: number): void;
}

interface Batch {
  readonly page: number;
  waiters: LogWaiter[];
  start: number;
  bytes: number;
  isDurable: boolean;
}

export interface IntentLogOptions {
  readonly layout: Layout;
  readonly seal: Seal;
  readonly store: BlockDevice;
  /** Two buffers of the same size. */
  readonly memory: ArenaBuffer;
  /** First byte that is free; nothing before it counts. */
  readonly tail: number;
}

/** A buffer holds what came while the other was written; larger ones gain nothing. */
const BUFFER_BYTES_MAX = 512 * 1024;

/** Bytes of one of the two buffers. */
export function logBufferBytes(layout: Layout): number {
  return Math.min(BUFFER_BYTES_MAX, roundDown(layout.logBytes / 4, PAGE_BYTES));
}

/**
 * The ring of records that say what is about to be written where. What comes while one write of the
 * log is under way goes together in the next.
 */
export class IntentLog {
  /** lsn of the first record that counts. */
  tail: number;
  /** lsn behind the last record that has a place. */
  head: number;
  /** The data of everything before is on the medium. */
  acked: number;
  /** Bytes that were promised to records without a place. */
  reserved = 0;
  readonly #layout: Layout;
  readonly #seal: Seal;
  readonly #store: BlockDevice;
  readonly #unitBytes: number;
  readonly #bufferBytes: number;
  #filling: Batch;
  #writing: Batch;
  readonly #queue: LogWaiter[] = [];
  /** An empty list, while nobody is being told. */
  #spare: LogWaiter[] = [];
  readonly #transfer: RowTransfer;

  constructor(options: IntentLogOptions) {
    this.#layout = options.layout;
    this.#seal = options.seal;
    this.#store = options.store;
    this.#unitBytes = options.store.limits.logical_block_size;
    this.#bufferBytes = logBufferBytes(options.layout);
    this.tail = options.tail;
    this.head = options.tail;
    this.acked = options.tail;
    const second = options.memory.page + this.#bufferBytes / PAGE_BYTES;
    this.#filling = emptyBatch(options.memory.page);
    this.#writing = emptyBatch(second);
    this.#transfer = new RowTransfer(1, this.#written);
  }

  get isIdle(): boolean {
    return !this.#transfer.isBusy && this.#filling.bytes === 0 && this.#queue.length === 0;
  }

  /** Bytes between tail and head. */
  get used(): number {
    return this.head - this.tail;
  }

  /** What a record with `payload` bytes of tuples takes; with a log that is full, wait. */
  costOf(payload: number): number {
    return recordBytes(payload, this.#unitBytes);
  }

  /** Sets `bytes` aside; false: not before a commit. The end of the ring may be left out once. */
  reserve(bytes: number): boolean {
    const most = this.#layout.logBytes - this.#bufferBytes;
    if (this.used + this.reserved + bytes > most) return false;
    this.reserved += bytes;
    return true;
  }

  /** Pre: `costOf(waiter.logPayload)` was reserved. `kick` sends it. */
  append(waiter: LogWaiter): void {
    if (this.#queue.length > 0 || !this.#place(waiter)) this.#queue.push(waiter);
  }

  /** Writes what has gathered, unless a write is under way: then that goes first. */
  kick(): void {
    const batch = this.#filling;
    if (this.#transfer.isBusy || batch.bytes === 0) return;
    this.#filling = this.#writing;
    this.#writing = batch;
    this.#fill();
    this.#transfer.clear();
    this.#transfer.add(batch.page, 0, batch.bytes);
    const at = this.#layout.logAt(batch.start);
    this.#transfer.start(this.#store, BioOp.WRITE, at, batch.isDurable);
  }

  /** A commit made everything before `head` needless. Pre: idle. */
  truncate(): void {
    assert(this.isIdle && this.reserved === 0, 'protect: the log was cut under a record');
    this.tail = this.head;
    this.acked = this.head;
  }

  readonly #written = (transfer: RowTransfer): void => {
    const batch = this.#writing;
    const { waiters } = batch;
    // They are told out of a list of their own: what they let go may fill this very buffer again.
    batch.waiters = this.#spare;
    batch.bytes = 0;
    batch.isDurable = false;
    for (const waiter of waiters) waiter.logWritten(transfer.status);
    waiters.length = 0;
    this.#spare = waiters;
    this.#fill();
    this.kick();
  };

  /** Those who found no room come into the new buffer, in order. */
  #fill(): void {
    while (this.#queue.length > 0 && this.#place(this.#queue[0] as LogWaiter)) this.#queue.shift();
  }

  /** False: not in this buffer. */
  #place(waiter: LogWaiter): boolean {
    const { logBytes } = this.#layout;
    const batch = this.#filling;
    const bytes = this.costOf(waiter.logPayload);
    assert(bytes <= this.#bufferBytes, 'protect: a record is larger than the buffer of the log');
    if (batch.bytes + bytes > this.#bufferBytes) return false;
    const at = this.head % logBytes;
    const isNewLap = at === 0 || at + bytes > logBytes;
    if (isNewLap && batch.bytes > 0) return false; // A buffer is one piece of the log.
    if (isNewLap) this.head = roundUp(this.head, logBytes);
    if (batch.bytes === 0) batch.start = this.head;
    waiter.lsn = this.head;
    encodeRecord(this.#seal, waiter, this.acked, batch.page, batch.bytes, bytes);
    this.head += bytes;
    this.reserved -= bytes;
    batch.bytes += bytes;
    batch.isDurable ||= waiter.logDurable;
    batch.waiters.push(waiter);
    return true;
  }
}

function emptyBatch(page: number): Batch {
  return { page, waiters: [], start: 0, bytes: 0, isDurable: false };
}
