import fs from 'node:fs';
import { BlockError } from '../base/block-error.ts';
import type { HostEnv } from '../base/env.ts';
import { nodeEnv } from './node-env.ts';
import { ringDoor } from './ring-door.ts';

/** What a worker gets as its `workerData`. */
export interface LaneStopHandle {
  readonly flag: SharedArrayBuffer;
  readonly wakeFd: number;
}

/**
 * Stops a thread that sleeps in its ring: there it runs no JavaScript, so a message or `terminate`
 * alone would wait for the next completion. The starter makes one and hands its `handle` over;
 * both sides read `isStopped`.
 *
 * Call `stop` also from `process.on('exit')`: Node waits there for its workers.
 */
export class LaneStop implements Disposable {
  readonly handle: LaneStopHandle;
  readonly #flag: Int32Array;
  readonly #isOwner: boolean;
  #isDisposed = false;

  private constructor(handle: LaneStopHandle, isOwner: boolean) {
    this.handle = handle;
    this.#flag = new Int32Array(handle.flag);
    this.#isOwner = isOwner;
  }

  /** Throws BlockError where there is no ring to stop. */
  static create(): LaneStop {
    const { ring = null, ringReason = '' } = nodeEnv();
    if (ring === null) throw new BlockError('EOPNOTSUPP', { reason: ringReason });
    const wakeFd = ring.eventfd(0);
    if (wakeFd < 0) throw BlockError.fromErrno(wakeFd, { reason: 'no eventfd to be had' });
    return new LaneStop({ flag: new SharedArrayBuffer(4), wakeFd }, true);
  }

  static from(handle: LaneStopHandle): LaneStop {
    return new LaneStop(handle, false);
  }

  get isStopped(): boolean {
    return Atomics.load(this.#flag, 0) !== 0;
  }

  stop(): void {
    Atomics.store(this.#flag, 0, 1);
    this.wake();
  }

  /** Lets the event loop of the thread run once: it has messages to read. */
  wake(): void {
    if (this.#isDisposed) return;
    const one = new Uint8Array(8);
    one[0] = 1;
    fs.writeSync(this.handle.wakeFd, one);
  }

  /** Pre: the thread has ended. */
  [Symbol.dispose](): void {
    if (this.#isDisposed || !this.#isOwner) return;
    this.#isDisposed = true;
    nodeEnv().ring?.close(this.handle.wakeFd);
  }
}

/**
 * The environment of a thread of the ring's own (design D11): what is opened with it sleeps in
 * `enter`, not in the event loop. Once a thread. Throws BlockError where there is no ring.
 */
export function laneEnv(stop: LaneStop): HostEnv {
  const env = nodeEnv();
  const { door, reason } = ringDoor(env.native?.kind ?? null, stop.handle.wakeFd);
  if (door === null) throw new BlockError('EOPNOTSUPP', { reason });
  return { ...env, ring: door, ringReason: reason };
}
