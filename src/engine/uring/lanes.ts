import { assert } from '../../base/assert.ts';
import { BlockError } from '../../base/block-error.ts';
import type { HostEnv, RingDoor } from '../../base/env.ts';
import { Lane } from './lane.ts';

interface Shared {
  readonly lane: Lane;
  users: number;
}

/** One lane for each door: a door belongs to one thread. */
const lanes = new WeakMap<RingDoor, Shared>();
/** What a kernel or a container forbids once it forbids for good: it is not asked again. */
const refusals = new WeakMap<RingDoor, BlockError>();

/** A user's share of the thread's lane. The last one to go closes the ring. */
export class LaneShare {
  readonly lane: Lane;
  readonly #door: RingDoor;
  readonly #shared: Shared;
  #isReleased = false;

  private constructor(door: RingDoor, shared: Shared) {
    this.lane = shared.lane;
    this.#door = door;
    this.#shared = shared;
    shared.users++;
  }

  /** Throws BlockError, with the reason, where there is no ring. */
  static acquire(env: HostEnv): LaneShare {
    const { ring = null, ringReason = 'this host has no door to it' } = env;
    if (ring === null) throw new BlockError('EOPNOTSUPP', { reason: ringReason });
    const refusal = refusals.get(ring);
    if (refusal !== undefined) throw refusal;
    return new LaneShare(ring, lanes.get(ring) ?? openShared(env, ring));
  }

  release(): void {
    assert(!this.#isReleased, 'lane: released twice');
    this.#isReleased = true;
    this.#shared.users--;
    if (this.#shared.users > 0) return;
    lanes.delete(this.#door);
    this.lane.close();
  }

  [Symbol.dispose](): void {
    if (!this.#isReleased) this.release();
  }
}

function openShared(env: HostEnv, door: RingDoor): Shared {
  try {
    const shared = { lane: new Lane(env, door), users: 0 };
    lanes.set(door, shared);
    return shared;
  } catch (error) {
    const isFinal =
      error instanceof BlockError && (error.code === 'EPERM' || error.code === 'EOPNOTSUPP');
    if (isFinal) refusals.set(door, error);
    throw error;
  }
}
