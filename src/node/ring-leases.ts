import {
  getEnvironmentData,
  isMainThread,
  setEnvironmentData,
  threadId,
} from 'node:worker_threads';
import type { RingLibc } from './ring-libc.ts';

// What the rings of worker threads hold: descriptors and mappings that Node knows nothing of. A
// worker that is terminated runs no more JavaScript, so whoever started it gives them back. Rows
// lie in memory that all threads see:
//
//   state   Int32    FREE, FILLING, DESCRIPTOR or MAPPING; written last, cleared first
//   thread  Int32    threadId, which Node never gives twice
//   value   Float64  descriptor, or address
//   bytes   Float64  of a mapping

const LeaseState = { FREE: 0, FILLING: 1, DESCRIPTOR: 2, MAPPING: 3 } as const;

/** 4 for each ring: 200 workers. What finds no row is not given back. */
const ROWS = 800;
const NAME = 'biovec:ring-leases';

/** The table, which a thread shares with its workers and theirs. */
export class RingLeases {
  readonly #state: Int32Array;
  readonly #thread: Int32Array;
  readonly #value: Float64Array;
  readonly #bytes: Float64Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(ROWS * 24)) {
    this.#value = new Float64Array(memory, 0, ROWS);
    this.#bytes = new Float64Array(memory, ROWS * 8, ROWS);
    this.#state = new Int32Array(memory, ROWS * 16, ROWS);
    this.#thread = new Int32Array(memory, ROWS * 20, ROWS);
  }

  /** After it was opened. */
  descriptor(fd: number): void {
    this.#take(LeaseState.DESCRIPTOR, fd, 0);
  }

  /** After it was mapped. */
  mapping(address: number, bytes: number): void {
    this.#take(LeaseState.MAPPING, address, bytes);
  }

  /** Before a descriptor is closed: the next one of the process may have its number. */
  dropDescriptor(fd: number): void {
    this.#drop(LeaseState.DESCRIPTOR, fd);
  }

  /** Before it is unmapped. */
  dropMapping(address: number): void {
    this.#drop(LeaseState.MAPPING, address);
  }

  /**
   * Gives back what a thread has left, if foreign functions are at hand. Pre: it has ended.
   * Gives how many there were.
   */
  endOf(thread: number, opening: () => RingLibc | null): number {
    let count = 0;
    let libc: RingLibc | null = null;
    for (let row = 0; row < ROWS; row++) {
      const state = Atomics.load(this.#state, row);
      if (state < LeaseState.DESCRIPTOR || this.#thread[row] !== thread) continue;
      libc ??= opening();
      if (libc === null) return 0;
      const value = this.#value[row] as number;
      const bytes = this.#bytes[row] as number;
      // Another copy of this module may be at it too.
      if (Atomics.compareExchange(this.#state, row, state, LeaseState.FREE) !== state) continue;
      if (state === LeaseState.DESCRIPTOR) libc.close(value);
      else libc.munmap(value, bytes);
      count++;
    }
    return count;
  }

  #take(state: number, value: number, bytes: number): void {
    const { FREE, FILLING } = LeaseState;
    for (let row = 0; row < ROWS; row++) {
      if (Atomics.compareExchange(this.#state, row, FREE, FILLING) !== FREE) continue;
      this.#thread[row] = threadId;
      this.#value[row] = value;
      this.#bytes[row] = bytes;
      Atomics.store(this.#state, row, state);
      return;
    }
  }

  #drop(state: number, value: number): void {
    for (let row = 0; row < ROWS; row++) {
      if (this.#thread[row] !== threadId || this.#value[row] !== value) continue;
      if (Atomics.compareExchange(this.#state, row, state, LeaseState.FREE) === state) return;
    }
  }
}

/** Where this thread notes what its rings hold; null: nobody looks after it when it ends. */
export function ownLeases(): RingLeases | null {
  if (isMainThread) return null; // What it has goes with the process.
  const memory: unknown = getEnvironmentData(NAME);
  return memory instanceof SharedArrayBuffer ? new RingLeases(memory) : null;
}

/**
 * From now on what workers of this thread leave behind is given back when they end. Workers that
 * were started earlier are not known. Once a thread.
 */
export function watchWorkers(opening: () => RingLibc | null): void {
  const given: unknown = getEnvironmentData(NAME);
  const memory = given instanceof SharedArrayBuffer ? given : new SharedArrayBuffer(ROWS * 24);
  setEnvironmentData(NAME, memory);
  const leases = new RingLeases(memory);
  process.on('worker', (worker) => {
    const thread = worker.threadId; // It is -1 at the end.
    worker.once('exit', () => leases.endOf(thread, opening));
  });
}
