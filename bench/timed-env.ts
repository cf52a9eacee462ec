import type { HostEnv, RingArea, RingDoor, RingPoll } from '../src/base/env.ts';
import { nodeEnv } from '../src/node/node-env.ts';
import { CoreWait } from './core-wait.ts';

const coreWait = new CoreWait();

/**
 * How long something took, in nanoseconds: the ends and a histogram of what it took of this thread,
 * without the time in which other programs had all cores; and the longest with it.
 */
export class Durations {
  readonly #buckets = new Uint32Array(4096);
  #start = 0;
  #startWait = 0;
  maxNs = 0;
  maxWithWaitNs = 0;
  count = 0;

  begin(): void {
    this.#startWait = coreWait.ns();
    this.#start = performance.now();
  }

  end(): void {
    const ns = (performance.now() - this.#start) * 1e6;
    const own = Math.max(ns - (coreWait.ns() - this.#startWait), 0);
    // Buckets of 4 µs, so up to 16 ms one by one.
    const bucket = Math.min(Math.floor(own / 4000), this.#buckets.length - 1);
    this.#buckets[bucket]++;
    this.count++;
    if (own > this.maxNs) this.maxNs = own;
    if (ns > this.maxWithWaitNs) this.maxWithWaitNs = ns;
  }

  /** Upper end of the bucket in which the part `at` (0 to 1) of all ends. */
  quantileNs(at: number): number {
    let left = Math.ceil(this.count * at);
    for (let bucket = 0; bucket < this.#buckets.length; bucket++) {
      left -= this.#buckets[bucket];
      if (left <= 0) return Math.min((bucket + 1) * 4000, this.maxNs);
    }
    return this.maxNs;
  }

  clear(): void {
    this.#buckets.fill(0);
    this.maxNs = 0;
    this.maxWithWaitNs = 0;
    this.count = 0;
  }
}

/** Runs `fn` and adds how long it took. Pre: it does not run itself. */
function timed(into: Durations, fn: () => void): () => void {
  return () => {
    into.begin();
    try {
      fn();
    } finally {
      into.end();
    }
  };
}

/** The host's door, with a watch at whatever the ring runs and at every call of the kernel. */
class TimedRing implements RingDoor {
  readonly kind: string;
  readonly lockedBytesMax: number;
  readonly wakeFd: number;
  readonly turns = new Durations();
  readonly enters = new Durations();
  readonly registers = new Durations();
  readonly #door: RingDoor;
  /** A turn is always the same function: it is wrapped once. */
  readonly #wrapped = new WeakMap<() => void, () => void>();

  constructor(door: RingDoor) {
    this.kind = door.kind;
    this.lockedBytesMax = door.lockedBytesMax;
    this.wakeFd = door.wakeFd;
    this.#door = door;
  }

  wrap(fn: () => void): () => void {
    let wrapped = this.#wrapped.get(fn);
    if (wrapped === undefined) {
      wrapped = timed(this.turns, fn);
      this.#wrapped.set(fn, wrapped);
    }
    return wrapped;
  }

  enter(fd: number, submit: number, min: number, flags: number, at: number, len: number): number {
    this.enters.begin();
    const result = this.#door.enter(fd, submit, min, flags, at, len);
    this.enters.end();
    return result;
  }

  soon(fn: () => void): void {
    this.#door.soon(this.wrap(fn));
  }

  poll(fd: number, onReadable: () => void): RingPoll | null {
    return this.#door.poll(fd, this.wrap(onReadable));
  }

  setup(entries: number, address: number): number {
    return this.#door.setup(entries, address);
  }

  register(fd: number, opcode: number, address: number, count: number): number {
    this.registers.begin();
    const result = this.#door.register(fd, opcode, address, count);
    this.registers.end();
    return result;
  }

  map(fd: number, offset: number, bytes: number): RingArea | number {
    return this.#door.map(fd, offset, bytes);
  }

  unmap(area: RingArea): void {
    this.#door.unmap(area);
  }

  addressOf(view: Uint8Array<SharedArrayBuffer>): number {
    return this.#door.addressOf(view);
  }

  eventfd(count: number): number {
    return this.#door.eventfd(count);
  }

  drain(fd: number): void {
    this.#door.drain(fd);
  }

  close(fd: number): void {
    this.#door.close(fd);
  }

  atExit(fn: () => void): () => void {
    return this.#door.atExit(fn);
  }
}

/** Node's environment, where the engine's turns and its system calls are timed. */
export interface TimedEnv extends HostEnv {
  /** Everything that the engine and the device run by themselves: completions to the callers. */
  readonly turns: Durations;
  /** Each `io_uring_enter`, with the sleep in it. */
  readonly enters: Durations;
  /** Each `io_uring_register`. */
  readonly registers: Durations;
}

/** null: there is no ring here. */
export function timedEnv(): TimedEnv | null {
  const env = nodeEnv();
  if (env.ring === null || env.ring === undefined) return null;
  const ring = new TimedRing(env.ring);
  const { turns, enters, registers } = ring;
  return { ...env, ring, defer: (fn) => env.defer(ring.wrap(fn)), turns, enters, registers };
}
