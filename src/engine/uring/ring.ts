import {
  IORING_CQ_EVENTFD_DISABLED,
  IORING_ENTER_EXT_ARG,
  IORING_ENTER_GETEVENTS,
  IORING_ENTER_REGISTERED_RING,
  IORING_REGISTER_RING_FDS,
  IORING_SETUP_DEFER_TASKRUN,
  IORING_SETUP_NO_SQARRAY,
  IORING_SETUP_TASKRUN_FLAG,
  IORING_SQ_CQ_OVERFLOW,
  IORING_SQ_TASKRUN,
  IORING_UNREGISTER_RING_FDS,
  OFFSETOF_cq_off_cqes,
  OFFSETOF_cq_off_flags,
  OFFSETOF_cq_off_head,
  OFFSETOF_cq_off_ring_mask,
  OFFSETOF_cq_off_tail,
  OFFSETOF_params_cq_off,
  OFFSETOF_params_sq_off,
  OFFSETOF_sq_off_array,
  OFFSETOF_sq_off_flags,
  OFFSETOF_sq_off_head,
  OFFSETOF_sq_off_ring_mask,
  OFFSETOF_sq_off_tail,
  SIZEOF_io_uring_getevents_arg,
  SIZEOF_io_uring_rsrc_update,
} from '../../abi/io-uring.ts';
import { assert } from '../../base/assert.ts';
import type { RingDoor } from '../../base/env.ts';
import { type RingParts, setUpRing } from './ring-setup.ts';

// The two queues and the array of entries, as Linux lays them out. Words are 32 bits.
//   sqe   16 words   0 opcode, flags, ioprio · 1 fd · 2–3 offset · 4–5 address · 6 length ·
//                    7 flags of the op · 8–9 user_data · 10 buffer index, personality · 11–15 zero
//   cqe    4 words   0–1 user_data · 2 result · 3 flags
// user_data is two words here: the first a tag, the second who asked.
//
// Heads and tails count on for ever and wrap at 2^32; `| 0` keeps them comparable.

const SQE_WORDS = 16;
const CQE_WORDS = 4;
const TWO_32 = 2 ** 32;
const NOTHING = new Int32Array(0);
const ANY_SLOT = -1;

/** Called for each completion. It may put new entries; it must not enter. */
export interface CompletionSink {
  completed(tag: number, owner: number, result: number): void;
}

/** One io_uring: entries in, completions out. No policy. One thread only. */
export class Ring {
  readonly parts: RingParts;
  readonly door: RingDoor;
  readonly sqEntries: number;
  readonly #mask: number;
  readonly #cqMask: number;
  readonly #selfIndex: number;
  readonly #enterFd: number;
  readonly #enterFlags: number;
  /** A struct io_uring_getevents_arg, and behind it the timespec that it names. */
  readonly #wait: Int32Array<SharedArrayBuffer>;
  readonly #waitAddress: number;
  readonly #isDeferred: boolean;
  #queues: Int32Array;
  #sqes: Uint32Array;
  readonly #sqHeadAt: number;
  readonly #sqTailAt: number;
  readonly #sqFlagsAt: number;
  readonly #cqHeadAt: number;
  readonly #cqTailAt: number;
  readonly #cqFlagsAt: number;
  readonly #cqesAt: number;
  #tail = 0;
  /** Entries that the kernel has not taken. */
  #pending = 0;
  #waitNs = 0;
  #isClosed = false;

  /** Throws BlockError when there is no ring to be had. */
  constructor(door: RingDoor, sqEntries: number, cqEntries: number) {
    const parts = setUpRing(door, sqEntries, cqEntries);
    const { params, flags } = parts;
    this.parts = parts;
    this.door = door;
    this.sqEntries = parts.sqEntries;
    this.#queues = new Int32Array(parts.queues.buffer);
    this.#sqes = new Uint32Array(parts.sqes.buffer);
    const sq = (field: number): number => params.getUint32(OFFSETOF_params_sq_off + field, true);
    const cq = (field: number): number => params.getUint32(OFFSETOF_params_cq_off + field, true);
    this.#sqHeadAt = sq(OFFSETOF_sq_off_head) / 4;
    this.#sqTailAt = sq(OFFSETOF_sq_off_tail) / 4;
    this.#sqFlagsAt = sq(OFFSETOF_sq_off_flags) / 4;
    this.#cqHeadAt = cq(OFFSETOF_cq_off_head) / 4;
    this.#cqTailAt = cq(OFFSETOF_cq_off_tail) / 4;
    this.#cqFlagsAt = cq(OFFSETOF_cq_off_flags) / 4;
    this.#cqesAt = cq(OFFSETOF_cq_off_cqes) / 4;
    this.#mask = this.#queues[sq(OFFSETOF_sq_off_ring_mask) / 4];
    this.#cqMask = this.#queues[cq(OFFSETOF_cq_off_ring_mask) / 4];
    if ((flags & IORING_SETUP_NO_SQARRAY) === 0) {
      const array = sq(OFFSETOF_sq_off_array) / 4;
      for (let i = 0; i < parts.sqEntries; i++) this.#queues[array + i] = i;
    }
    this.#isDeferred = (flags & IORING_SETUP_DEFER_TASKRUN) !== 0;
    this.#wait = new Int32Array(new SharedArrayBuffer(SIZEOF_io_uring_getevents_arg + 16));
    this.#waitAddress = this.addressOf(this.#wait);
    const timespec = this.#waitAddress + SIZEOF_io_uring_getevents_arg;
    this.#wait[4] = timespec | 0;
    this.#wait[5] = Math.floor(timespec / TWO_32);
    this.#selfIndex = this.#registerSelf(IORING_REGISTER_RING_FDS, ANY_SLOT);
    this.#enterFd = this.#selfIndex >= 0 ? this.#selfIndex : parts.fd;
    this.#enterFlags = this.#selfIndex >= 0 ? IORING_ENTER_REGISTERED_RING : 0;
  }

  /** Entries that were put and not entered. */
  get pending(): number {
    return this.#pending;
  }

  get room(): number {
    return this.sqEntries - this.#pending;
  }

  has(op: number): boolean {
    return this.parts.ops[op] !== 0;
  }

  /** Of memory that cannot move. */
  addressOf(array: Int32Array<SharedArrayBuffer> | Uint32Array<SharedArrayBuffer>): number {
    return this.door.addressOf(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
  }

  /**
   * Puts one entry. Pre: `room` > 0. `position` is a double of bytes (or the op's own word),
   * `first` the opcode and IOSQE flags as the entry's first word has them.
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
    bufferIndex: number,
  ): void {
    assert(this.#pending < this.sqEntries, 'ring: full');
    const sqes = this.#sqes;
    const at = (this.#tail & this.#mask) * SQE_WORDS;
    const positionHigh = Math.floor(position / TWO_32);
    const addressHigh = Math.floor(address / TWO_32);
    sqes[at] = first;
    sqes[at + 1] = fd;
    sqes[at + 2] = position - positionHigh * TWO_32;
    sqes[at + 3] = positionHigh;
    sqes[at + 4] = address - addressHigh * TWO_32;
    sqes[at + 5] = addressHigh;
    sqes[at + 6] = len;
    sqes[at + 7] = opFlags;
    sqes[at + 8] = tag;
    sqes[at + 9] = owner;
    sqes[at + 10] = bufferIndex;
    this.#tail = (this.#tail + 1) | 0;
    this.#pending++;
  }

  /**
   * Hands `submit` entries over, runs what the kernel deferred, and waits for `minComplete`
   * completions, at most `waitNs` (Infinity: for ever). Gives -errno, or how many entries it took;
   * ETIME and EINTR are no failures.
   */
  enter(submit: number, minComplete: number, waitNs: number): number {
    assert(!this.#isClosed && submit <= this.#pending, 'ring: enter of more than there is');
    const queues = this.#queues;
    if (submit > 0) Atomics.store(queues, this.#sqTailAt, this.#tail);
    let flags = this.#enterFlags | IORING_ENTER_GETEVENTS;
    let address = 0;
    let bytes = 0;
    if (minComplete > 0 && waitNs < Number.POSITIVE_INFINITY) {
      if (waitNs !== this.#waitNs) this.#setWait(waitNs);
      flags |= IORING_ENTER_EXT_ARG;
      address = this.#waitAddress;
      bytes = SIZEOF_io_uring_getevents_arg;
    }
    const result = this.door.enter(this.#enterFd, submit, minComplete, flags, address, bytes);
    if (submit > 0) {
      this.#pending = (this.#tail - Atomics.load(queues, this.#sqHeadAt)) | 0;
      assert(this.#pending >= 0, 'ring: the kernel took more than there was');
    }
    return result;
  }

  /** Hands everything pending over, and looks at nothing else. Gives what `enter` gives. */
  submit(): number {
    assert(!this.#isClosed, 'ring: submit after close');
    const queues = this.#queues;
    Atomics.store(queues, this.#sqTailAt, this.#tail);
    const result = this.door.enter(this.#enterFd, this.#pending, 0, this.#enterFlags, 0, 0);
    this.#pending = (this.#tail - Atomics.load(queues, this.#sqHeadAt)) | 0;
    return result;
  }

  /** Takes every completion that is there. Returns how many. */
  harvest(sink: CompletionSink): number {
    const queues = this.#queues;
    const mask = this.#cqMask;
    const cqes = this.#cqesAt;
    const first = queues[this.#cqHeadAt];
    const tail = Atomics.load(queues, this.#cqTailAt);
    let head = first;
    while (head !== tail) {
      const at = cqes + (head & mask) * CQE_WORDS;
      head = (head + 1) | 0;
      sink.completed(queues[at] >>> 0, queues[at + 1], queues[at + 2]);
    }
    if (head !== first) Atomics.store(queues, this.#cqHeadAt, head);
    return (head - first) | 0;
  }

  /**
   * True when an `enter` without waiting could bring something: completions that are deferred or
   * did not fit. True without knowledge, where the kernel does not tell.
   */
  hasDeferred(): boolean {
    const flags = Atomics.load(this.#queues, this.#sqFlagsAt);
    if ((this.parts.flags & IORING_SETUP_TASKRUN_FLAG) === 0) return true;
    return (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) !== 0;
  }

  /** True while completions appear inside `enter` only. */
  get isDeferred(): boolean {
    return this.#isDeferred;
  }

  /** Whether completions signal the registered eventfd. */
  signals(isOn: boolean): void {
    const value = isOn ? 0 : IORING_CQ_EVENTFD_DISABLED;
    Atomics.store(this.#queues, this.#cqFlagsAt, value);
  }

  /** Pre: nothing in flight. No view of the queues stays behind. */
  close(): void {
    assert(!this.#isClosed, 'ring: closed twice');
    this.#isClosed = true;
    this.#queues = NOTHING;
    this.#sqes = new Uint32Array(NOTHING.buffer);
    const { door, parts } = this;
    // A registered descriptor would keep the ring alive, and the thread has only sixteen.
    if (this.#selfIndex >= 0) this.#registerSelf(IORING_UNREGISTER_RING_FDS, this.#selfIndex);
    door.close(parts.fd);
    door.unmap(parts.queues);
    door.unmap(parts.sqes);
  }

  #setWait(waitNs: number): void {
    const seconds = Math.floor(waitNs / 1e9);
    this.#waitNs = waitNs;
    // Two 64-bit numbers behind the argument, which has six words.
    this.#wait[6] = seconds;
    this.#wait[8] = waitNs - seconds * 1e9;
  }

  /**
   * A registered ring saves a look-up of its descriptor in every enter. Gives the slot of the
   * thread's table, or -1 where the kernel has no such thing or no room.
   */
  #registerSelf(opcode: number, slot: number): number {
    const update = new Int32Array(new SharedArrayBuffer(SIZEOF_io_uring_rsrc_update));
    update[0] = slot;
    update[2] = opcode === IORING_REGISTER_RING_FDS ? this.parts.fd : 0;
    const count = this.door.register(this.parts.fd, opcode, this.addressOf(update), 1);
    return count === 1 ? update[0] : -1;
  }
}
