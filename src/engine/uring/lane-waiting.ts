import { IORING_REGISTER_EVENTFD } from '../../abi/io-uring.ts';
import { assert } from '../../base/assert.ts';
import type { HostEnv, RingDoor, RingPoll } from '../../base/env.ts';
import { KIB } from '../../base/units.ts';
import type { Lane } from './lane.ts';

/** So long may turns follow each other before other events of the loop get theirs. */
const TURNS_NS_MAX = 500_000;
/** The clock is looked at after so many turns, or so much work in them (`Lane.work`). */
const TURNS_BLIND = 16;
const WORK_BLIND = 256 * KIB;
/** So long a turn waits inside `enter`, when completions come that soon on average. */
const WAIT_NS_MAX = 200_000;
/** The same where the event loop cannot be woken. Two may follow each other before it runs. */
const WAIT_NS_WITHOUT_POLL = 750_000;
/** In a thread of the ring's own: timers and messages to it may wait as long. */
const WAIT_NS_OF_THREAD = 100_000_000;
/** Weight of the newest wait in the average. */
const WAIT_WEIGHT = 0.25;

/**
 * When a lane enters its ring. While something is in flight, turn follows turn:
 *
 * - The first entry of a turn of the loop asks for a turn of the lane, which runs behind the
 *   promises that are due: so what they submit goes in one call. What completes inside that call
 *   is told at once.
 * - With nothing to tell, and completions that come within 200 µs on average, the turn waits for
 *   one inside `enter`: asleep, at no cost, but the loop waits too. After half a millisecond
 *   of such turns the loop runs once.
 * - Else the thread sleeps in its event loop; an eventfd of the ring wakes it.
 *
 * A thread of the ring's own (`RingDoor.wakeFd`) sleeps in `enter` instead; a wake from outside, or
 * a tenth of a second, lets its event loop run once.
 * Idle, nothing is scheduled and nothing keeps the process alive.
 */
export class LaneWaiting {
  readonly #lane: Lane;
  readonly #env: HostEnv;
  readonly #door: RingDoor;
  readonly #eventFd: number;
  readonly #poll: RingPoll | null;
  #isScheduled = false;
  #isAsleep = false;
  /** When turns began to follow each other; 0: the loop ran since the last one. */
  #turnsSince = 0;
  /** Turns since the clock was looked at, and the work at which it is the next time. */
  #turns = 0;
  #workToLook = 0;
  /** When the wait began that goes on in the event loop; 0: there is none. */
  #waitsSince = 0;
  /** Average of waits. */
  #expectedNs = 0;

  constructor(lane: Lane, env: HostEnv, door: RingDoor) {
    this.#lane = lane;
    this.#env = env;
    this.#door = door;
    this.#eventFd = door.wakeFd >= 0 ? -1 : this.#registerEventFd();
    this.#poll = this.#eventFd < 0 ? null : door.poll(this.#eventFd, this.#onReadable);
    lane.ring.signals(false);
  }

  get kind(): string {
    if (this.#door.wakeFd >= 0) return 'thread';
    return this.#poll === null ? 'turns' : 'eventfd';
  }

  /** Asks for a turn. */
  schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    if (this.#turnsSince === 0) {
      this.#turnsSince = this.#env.nowNs();
      this.#lookAgain();
      this.#env.defer(this.#onLoop);
    } else if (++this.#turns >= TURNS_BLIND || this.#lane.work >= this.#workToLook) {
      this.#lookAgain();
      if (this.#env.nowNs() - this.#turnsSince > TURNS_NS_MAX) {
        this.#env.defer(this.#turn);
        return;
      }
    }
    this.#door.soon(this.#turn);
  }

  #lookAgain(): void {
    this.#turns = 0;
    this.#workToLook = this.#lane.work + WORK_BLIND;
  }

  close(): void {
    this.#poll?.close();
    if (this.#eventFd >= 0) this.#door.close(this.#eventFd);
  }

  readonly #onLoop = (): void => {
    this.#turnsSince = 0;
  };

  readonly #turn = (): void => {
    assert(this.#isScheduled, 'lane: a turn that nobody asked for');
    const lane = this.#lane;
    if (lane.isClosed) return;
    // Whoever asks for a turn from inside of this one gets it at its end.
    if (this.#isAsleep) this.#getUp();
    if (lane.memory.hasHot) this.#turns = TURNS_BLIND; // `enter` takes a while: look at the clock.
    const isBusy = lane.hasReady || lane.inFlight === 0;
    const waitNs = isBusy ? 0 : this.#waitNs();
    if (waitNs > 0) {
      const pending = lane.inlinePending;
      lane.enter(1, waitNs);
      // What is copied inside `enter` waits for nobody; everything else may have taken the wait.
      if (pending === 0) this.#turns = TURNS_BLIND;
    } else if (lane.ring.pending > 0 || lane.ring.hasDeferred()) {
      lane.enter(0, 0);
    } else {
      lane.harvest();
    }
    const hasTold = lane.hasReady;
    // It came within the wait: good to know, and no reason to ask for the time.
    if (hasTold && waitNs > 0) this.#expectedNs *= 1 - WAIT_WEIGHT;
    try {
      if (hasTold) this.#tell();
    } catch (error) {
      this.#throwLater(error);
    }
    this.#isScheduled = false;
    if (!lane.isClosed) this.#goOn(hasTold, waitNs);
  };

  /** An exception of the program's own must not end the lane, and is none of a promise. */
  #throwLater(error: unknown): void {
    this.#env.defer(() => {
      throw error;
    });
  }

  #goOn(hasTold: boolean, waitNs: number): void {
    const lane = this.#lane;
    if (lane.hasReady || lane.ring.pending > 0) this.schedule();
    else if (lane.inFlight === 0) this.#waitsSince = 0;
    else if (hasTold) this.schedule();
    else this.#sleep(waitNs);
  }

  #tell(): void {
    const lane = this.#lane;
    if (this.#waitsSince > 0) this.#waited();
    lane.tellAll();
    if (lane.hasReady) this.#turns = TURNS_BLIND; // It took long.
  }

  /** How long this turn may wait inside `enter`. */
  #waitNs(): number {
    if (this.#door.wakeFd >= 0) return WAIT_NS_OF_THREAD;
    if (this.#poll === null) return WAIT_NS_WITHOUT_POLL;
    return this.#expectedNs < WAIT_NS_MAX ? WAIT_NS_MAX : 0;
  }

  #waited(): void {
    const ns = this.#env.nowNs() - this.#waitsSince;
    this.#waitsSince = 0;
    this.#expectedNs += (ns - this.#expectedNs) * WAIT_WEIGHT;
  }

  /** Nothing has come in `waitedNs`: the rest of the wait belongs to the event loop. */
  #sleep(waitedNs: number): void {
    if (this.#waitsSince === 0) this.#waitsSince = this.#env.nowNs() - waitedNs;
    if (this.#poll === null) {
      this.#isScheduled = true;
      this.#env.defer(this.#turn);
      return;
    }
    const { ring } = this.#lane;
    ring.signals(true);
    // What completed before the eventfd was told to speak is seen here, what comes later wakes.
    if (ring.hasDeferred()) this.#lane.enter(0, 0);
    else this.#lane.harvest();
    this.#isAsleep = true;
    this.#poll.ref();
    if (this.#lane.hasReady) this.schedule();
  }

  #getUp(): void {
    assert(this.#poll !== null, 'lane: asleep without a poll');
    this.#isAsleep = false;
    this.#lane.ring.signals(false);
    this.#poll.unref();
  }

  /** Runs in a phase of the loop of its own, by `RingDoor.poll`. */
  readonly #onReadable = (): void => {
    if (this.#lane.isClosed) return;
    this.#door.drain(this.#eventFd);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#turn();
  };

  #registerEventFd(): number {
    const fd = this.#door.eventfd(0);
    if (fd < 0) return -1;
    const { ring } = this.#lane;
    const place = new Int32Array(new SharedArrayBuffer(4));
    place[0] = fd;
    const { parts } = ring;
    const address = ring.addressOf(place);
    if (this.#door.register(parts.fd, IORING_REGISTER_EVENTFD, address, 1) >= 0) return fd;
    this.#door.close(fd);
    return -1;
  }
}
