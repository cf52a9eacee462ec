import {
  IORING_OP_ASYNC_CANCEL,
  IORING_OP_LINK_TIMEOUT,
  IORING_OP_POLL_ADD,
  POLLIN,
} from '../../abi/io-uring.ts';
import { assert } from '../../base/assert.ts';
import type { HostEnv, RingDoor } from '../../base/env.ts';
import { Errno } from '../../base/errno.ts';
import { KIB, MIB } from '../../base/units.ts';
import { LaneWaiting } from './lane-waiting.ts';
import { type CompletionSink, Ring } from './ring.ts';
import { RingFiles } from './ring-files.ts';
import { RingMemory } from './ring-memory.ts';
import { RingSegments } from './ring-segments.ts';

/** Who puts entries into a lane's ring: an engine. */
export interface LaneOwner {
  /** A request of this owner ended, with the kernel's result. Never calls up. */
  completed(tag: number, result: number): void;
}

const SQ_ENTRIES = 256;
const CQ_ENTRIES = 4096;
/** What one request may put: itself, and the timeout that is linked to it. */
const ENTRIES_OF_ONE = 2;
/** The owner of entries whose result nobody waits for. */
const NOBODY = 0xffff;
/** The owner of the poll that lets another thread wake this one. */
const WAKER = 0xfffe;
/**
 * What a transfer that is done inside `enter` copies there. More than this in one call would hold
 * up the event loop, so the rest waits for the next turn: about a third of a millisecond each.
 */
const INLINE_BYTES_MAX = MIB;
/**
 * Telling of completions goes on in the next turn after so long, when there are others to be told:
 * one disk may have 128 of them, which take about as long again.
 */
const TELL_NS_MAX = 500_000;
/** What telling of one completion costs, in bytes that could be copied in that time. */
const COMPLETION_WORK = 8 * KIB;
const TWO_32 = 2 ** 32;
/** At the end of a thread: five seconds for what is in flight. */
const EXIT_WAIT_NS = 100_000_000;
const EXIT_WAITS_MAX = 50;

/**
 * One ring and its thread (design D11), shared by all engines of the thread: entries of a turn of
 * the loop go to the kernel in one call, whoever put them. When to enter, spin and sleep is
 * `LaneWaiting`'s.
 */
export class Lane implements CompletionSink {
  readonly env: HostEnv;
  readonly ring: Ring;
  readonly memory: RingMemory;
  readonly files: RingFiles;
  readonly segments: RingSegments;
  readonly #door: RingDoor;
  readonly #waiting: LaneWaiting;
  readonly #owners: (LaneOwner | null)[] = [];
  /** Functions that tell submitters of completions; run by the turn. */
  #ready: (() => void)[] = [];
  #readyCount = 0;
  #running: (() => void)[] = [];
  /** By entry of the queue: bytes that it copies inside `enter`. */
  readonly #inlineBytes: Uint32Array;
  readonly #mask: number;
  #firstPending = 0;
  #inlinePending = 0;
  #longPending = 0;
  #work = 0;
  /** Entries of owners that the kernel, or the queue, has. */
  #inFlight = 0;
  /** The waker's poll has to be put (again). */
  #wantsWaker: boolean;
  readonly #forgetExit: () => void;
  #isClosed = false;

  /** Throws BlockError when there is no ring to be had. */
  constructor(env: HostEnv, door: RingDoor) {
    this.env = env;
    this.#door = door;
    this.ring = new Ring(door, SQ_ENTRIES, CQ_ENTRIES);
    this.memory = new RingMemory(this.ring);
    this.files = new RingFiles(this.ring);
    this.segments = new RingSegments(this.ring, this.memory);
    this.#inlineBytes = new Uint32Array(this.ring.sqEntries);
    this.#mask = this.ring.sqEntries - 1; // The kernel rounds up to a power of two.
    this.#waiting = new LaneWaiting(this, env, door);
    this.#wantsWaker = door.wakeFd >= 0;
    this.#forgetExit = door.atExit(this.#onExit);
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** How the thread sleeps, for people. */
  get waitKind(): string {
    return this.#waiting.kind;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** What a completion's owner is called in entries. */
  addOwner(owner: LaneOwner): number {
    let index = this.#owners.indexOf(null);
    if (index < 0) index = this.#owners.length;
    assert(index < WAKER, 'lane: too many owners');
    this.#owners[index] = owner;
    return index;
  }

  /** Pre: nothing of it in flight. */
  removeOwner(index: number): void {
    this.#owners[index] = null;
  }

  /** Makes room for one entry with any segments and its timeout. False: wait for a completion. */
  makeRoom(): boolean {
    if (this.ring.room >= ENTRIES_OF_ONE && this.segments.hasRoom) return true;
    this.enter(0, 0);
    return this.ring.room >= ENTRIES_OF_ONE && this.segments.hasRoom;
  }

  /**
   * Puts one entry: see `Ring.put`. `inlineBytes`: what it copies inside `enter`, or what could be
   * read from the page cache in the same time. Pre: `makeRoom`.
   * Nothing goes to the kernel before `commit`.
   */
  put(
    first: number,
    fd: number,
    position: number,
    address: number,
    len: number,
    opFlags: number,
    tag: number,
    owner: number,
    buffer: number,
    inlineBytes: number,
  ): void {
    const { ring } = this;
    this.#inlineBytes[(this.#firstPending + ring.pending) & this.#mask] = inlineBytes;
    this.#inlinePending += inlineBytes;
    ring.put(first, fd, position, address, len, opFlags, tag, owner, buffer);
    this.#inFlight++;
  }

  /** Behind an entry with IOSQE_IO_LINK: the kernel gives it up after that time. */
  putTimeout(timespecAddress: number): void {
    this.#putUnowned(IORING_OP_LINK_TIMEOUT, -1, timespecAddress, 1, 0, NOBODY);
  }

  /** What was put may go. `isLong`: it waits for a device or a thread, and `enter` does not. */
  commit(isLong: boolean): void {
    if (isLong) this.#longPending++;
    this.#waiting.schedule();
  }

  /**
   * The end of one call of a submitter. A device shall work while the rest of this turn still makes
   * requests, so what is for it goes at once: saving calls is worth less. Copies wait for the turn.
   */
  endSubmit(): void {
    if (this.#longPending > 0 && this.#inlinePending === 0) this.#handOver();
  }

  /** Everything pending goes to the kernel; completions wait for the turn. */
  #handOver(): void {
    const { ring } = this;
    const before = ring.pending;
    const result = ring.submit();
    if (result < 0) this.#checkResult(result);
    this.#handedOver(before - ring.pending);
  }

  #handedOver(taken: number): void {
    const { ring } = this;
    this.#longPending = 0;
    if (ring.pending === 0) {
      this.#inlinePending = 0;
      this.segments.reset();
    } else {
      for (let i = 0; i < taken; i++) {
        this.#inlinePending -= this.#inlineBytes[(this.#firstPending + i) & this.#mask];
      }
    }
    this.#firstPending = (this.#firstPending + taken) & this.#mask;
  }

  /** Asks the kernel to give up on what an owner put under `tag`. */
  cancel(tag: number, owner: number): void {
    if (!this.makeRoom()) return; // It ends by itself; a cancel promises no more.
    this.#putUnowned(IORING_OP_ASYNC_CANCEL, -1, owner * TWO_32 + tag, 0, 0, NOBODY);
    this.#waiting.schedule();
  }

  /** Runs `tell` in the turn to come, where it may call up. For `CompletionRing`. */
  readonly defer = (tell: () => void): void => {
    this.#ready[this.#readyCount++] = tell;
    this.#waiting.schedule();
  };

  /** A submitter asks for completions outside of a turn. */
  poke(): void {
    if (this.#inFlight === 0) return;
    if (this.ring.pending > 0 || this.ring.hasDeferred()) this.enter(0, 0);
    else this.harvest();
  }

  /** What turns cost beside themselves, in bytes that were copied, or could have been. It grows. */
  get work(): number {
    return this.#work;
  }

  /** Bytes that the next `enter` copies. */
  get inlinePending(): number {
    return this.#inlinePending;
  }

  get hasReady(): boolean {
    return this.#readyCount > 0;
  }

  /** Runs what `defer` took; when that takes long, the rest stays for the next turn. */
  tellAll(): void {
    const running = this.#ready;
    const count = this.#readyCount;
    this.#ready = this.#running;
    this.#readyCount = 0;
    this.#running = running;
    const start = count > 1 ? this.env.nowNs() : 0;
    let told = 0;
    try {
      while (told < count) {
        running[told++]();
        if (told < count && this.env.nowNs() - start > TELL_NS_MAX) break;
      }
    } finally {
      // Neither one that threw nor one that took long silences those behind it.
      while (told < count) this.#ready[this.#readyCount++] = running[told++];
    }
  }

  /** Hands over what is pending, as far as it is short, waits, and takes what has completed. */
  enter(minComplete: number, waitNs: number): number {
    const { ring } = this;
    if (this.#wantsWaker && ring.room > 0) this.#pollWaker();
    const before = ring.pending;
    const submit = this.#inlinePending <= INLINE_BYTES_MAX ? before : this.#shortPrefix();
    const waits = submit < before ? 0 : minComplete;
    const result = ring.enter(submit, waits, waitNs);
    if (result < 0) this.#checkResult(result);
    this.#work += this.#inlinePending;
    this.#handedOver(before - ring.pending);
    this.#work -= this.#inlinePending;
    if (this.memory.hasHot) this.memory.registerHot();
    this.harvest();
    return result;
  }

  harvest(): number {
    return this.ring.harvest(this);
  }

  completed(tag: number, index: number, result: number): void {
    if (index === NOBODY) return;
    if (index === WAKER) {
      this.#door.drain(this.#door.wakeFd);
      this.#wantsWaker = true;
      return;
    }
    const owner = this.#owners[index];
    assert(owner !== null && owner !== undefined, 'lane: a completion for nobody');
    this.#inFlight--;
    this.#work += COMPLETION_WORK;
    assert(this.#inFlight >= 0, 'lane: more completions than entries');
    owner.completed(tag, result);
  }

  /** Pre: no owner is left. Everything of the kernel's is given back. */
  close(): void {
    assert(this.#inFlight === 0, 'lane: closed with entries in flight');
    if (this.#isClosed) return;
    this.#forgetExit();
    this.#isClosed = true;
    this.#waiting.close();
    this.memory.release();
    this.ring.close();
  }

  /**
   * The thread ends, and its memory goes. What the kernel has in flight ends first, or it would
   * read or write memory that is somebody else's by then. Nobody is told.
   */
  readonly #onExit = (): void => {
    for (let i = 0; i < EXIT_WAITS_MAX && this.#inFlight > 0; i++) this.enter(1, EXIT_WAIT_NS);
    if (this.#inFlight === 0) this.close();
  };

  /** Entries whose copies take no longer than the event loop may be held up; one at least. */
  #shortPrefix(): number {
    const { ring } = this;
    let bytes = 0;
    let count = 0;
    while (count < ring.pending) {
      bytes += this.#inlineBytes[(this.#firstPending + count) & this.#mask];
      if (bytes > INLINE_BYTES_MAX && count > 0) break;
      count++;
    }
    return count;
  }

  /** Only what passes is legal here; everything else is a bug of this library or a dead ring. */
  #checkResult(result: number): void {
    switch (result) {
      case -Errno.ETIME:
      case -Errno.EINTR:
      case -Errno.EAGAIN:
      case -Errno.EBUSY:
      case -Errno.ENOMEM:
        return;
      default:
        assert(false, 'lane: the kernel refused to enter the ring');
    }
  }

  #pollWaker(): void {
    this.#wantsWaker = false;
    this.#putUnowned(IORING_OP_POLL_ADD, this.#door.wakeFd, 0, 0, POLLIN, WAKER);
  }

  /** An entry that is none of an engine's requests. */
  #putUnowned(
    op: number,
    fd: number,
    address: number,
    len: number,
    opFlags: number,
    owner: number,
  ): void {
    const { ring } = this;
    this.#inlineBytes[(this.#firstPending + ring.pending) & this.#mask] = 0;
    ring.put(op, fd, 0, address, len, opFlags, 0, owner, 0);
  }
}
