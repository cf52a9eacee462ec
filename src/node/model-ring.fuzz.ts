import assert from 'node:assert/strict';
import fs from 'node:fs';
import type { RingArea, RingDoor, RingPoll } from '../base/env.ts';
import { Errno } from '../base/errno.ts';

// A kernel's side of io_uring, small and slow, written from the man pages: what tests hold the
// engine against where there is no ring, and where a real one cannot be made to fail.
// Numbers are the manual's, not those of abi/, so that a wrong constant shows.

const SQ_HEAD = 0;
const SQ_TAIL = 4;
const SQ_MASK = 8;
const SQ_FLAGS = 16;
const CQ_HEAD = 64;
const CQ_TAIL = 68;
const CQ_MASK = 72;
const CQ_FLAGS = 80;
const CQES = 128;
const ALL_OPS = [0, 1, 2, 3, 4, 5, 6, 14, 15, 17, 22, 23, 60, 61];

export interface ModelRingOptions {
  /** What io_uring_setup answers instead of a descriptor. */
  readonly setupStatus?: number;
  /** IORING_SETUP_* bits that this kernel does not know. */
  readonly unknownFlags?: number;
  readonly features?: number;
  readonly ops?: readonly number[];
  /** io_uring_register opcodes that are refused, with what. */
  readonly refused?: ReadonlyMap<number, number>;
  readonly mapStatus?: number;
  readonly lockedBytesMax?: number;
  /** False: this door cannot poll. */
  readonly polls?: boolean;
  /** A result instead of the true one; undefined: do it. */
  readonly fault?: (entry: ModelEntry) => number | undefined;
  /** True: results wait until `finish` lets them out. */
  readonly isSlow?: boolean;
  /** Entries that one enter takes at most. */
  readonly submitMax?: number;
}

export interface ModelEntry {
  readonly op: number;
  readonly flags: number;
  readonly fd: number;
  readonly position: number;
  readonly address: number;
  readonly len: number;
  readonly opFlags: number;
  readonly userLow: number;
  readonly userHigh: number;
  readonly buffer: number;
}

interface Memory {
  readonly base: number;
  readonly bytes: Uint8Array;
}

export class ModelRing implements RingDoor {
  readonly kind = 'model';
  readonly lockedBytesMax: number;
  readonly wakeFd = -1;
  readonly options: ModelRingOptions;
  /** Everything that was entered, in order. */
  readonly entries: ModelEntry[] = [];
  readonly registered = new Map<number, Memory | null>();
  readonly files = new Map<number, number>();
  openRings = 0;
  mappedAreas = 0;
  openEventFds = 0;
  openPolls = 0;
  readonly exits = new Set<() => void>();
  enters = 0;
  #memories: Memory[] = [];
  #nextBase = 2 ** 33;
  #queues = new DataView(new ArrayBuffer(0));
  #sqes = new DataView(new ArrayBuffer(0));
  #queueBuffer = new ArrayBuffer(0);
  #sqeBuffer = new ArrayBuffer(0);
  #sqEntries = 0;
  #cqEntries = 0;
  #held: { readonly entry: ModelEntry; readonly result: number }[] = [];
  #onReadable: (() => void) | null = null;

  constructor(options: ModelRingOptions = {}) {
    this.options = options;
    this.lockedBytesMax = options.lockedBytesMax ?? Number.POSITIVE_INFINITY;
  }

  assertNothingLeft(): void {
    const { openRings, mappedAreas, openEventFds, openPolls } = this;
    const left = { openRings, mappedAreas, openEventFds, openPolls };
    assert.deepEqual(left, { openRings: 0, mappedAreas: 0, openEventFds: 0, openPolls: 0 });
    assert.equal([...this.files.values()].filter((fd) => fd >= 0).length, 0, 'a file stayed');
    assert.equal(this.registered.size, 0, 'a buffer stayed registered');
    assert.equal(this.exits.size, 0, 'a function for the exit stayed');
    assert.equal(this.#held.length, 0, 'results that nobody let out');
  }

  setup(entries: number, address: number): number {
    const { setupStatus, unknownFlags = 0, features = 0x1ffff } = this.options;
    const params = this.#view(address, 120);
    const flags = params.getUint32(8, true);
    if (setupStatus !== undefined) return setupStatus;
    if ((flags & unknownFlags) !== 0) return -Errno.EINVAL;
    this.#sqEntries = entries;
    this.#cqEntries = params.getUint32(4, true);
    const hasArray = (flags & (1 << 16)) === 0;
    const arrayAt = CQES + this.#cqEntries * 16;
    this.#queueBuffer = new ArrayBuffer(arrayAt + entries * 4);
    this.#sqeBuffer = new ArrayBuffer(entries * 64);
    this.#queues = new DataView(this.#queueBuffer);
    this.#sqes = new DataView(this.#sqeBuffer);
    this.#queues.setUint32(SQ_MASK, entries - 1, true);
    this.#queues.setUint32(CQ_MASK, this.#cqEntries - 1, true);
    params.setUint32(0, entries, true);
    params.setUint32(20, features, true);
    const sq = [SQ_HEAD, SQ_TAIL, SQ_MASK, 0, SQ_FLAGS, 0, hasArray ? arrayAt : 0];
    for (const [i, offset] of sq.entries()) params.setUint32(40 + i * 4, offset, true);
    const cq = [CQ_HEAD, CQ_TAIL, CQ_MASK, 0, 0, CQES, CQ_FLAGS];
    for (const [i, offset] of cq.entries()) params.setUint32(80 + i * 4, offset, true);
    this.openRings++;
    return 1000;
  }

  enter(_fd: number, submit: number, minComplete: number, flags: number): number {
    this.enters++;
    const { submitMax = Number.POSITIVE_INFINITY } = this.options;
    let head = this.#queues.getUint32(SQ_HEAD, true);
    const tail = this.#queues.getUint32(SQ_TAIL, true);
    const count = Math.min(submit, (tail - head) >>> 0, submitMax);
    for (let i = 0; i < count; i++) this.#take(head++ & (this.#sqEntries - 1));
    this.#queues.setUint32(SQ_HEAD, head >>> 0, true);
    const isLate = this.options.isSlow === true;
    if ((flags & 1) !== 0 && !isLate) this.finish();
    return count === 0 && minComplete > 0 && isLate ? -Errno.ETIME : count;
  }

  /** Lets at most `count` results out, as an interrupt would. */
  finish(count = Number.POSITIVE_INFINITY): void {
    const out = this.#held.splice(0, Math.min(count, this.#held.length));
    for (const { entry, result } of out) this.#complete(entry, result);
    const isSilent = (this.#queues.getUint32(CQ_FLAGS, true) & 1) !== 0;
    if (out.length > 0 && !isSilent) this.#onReadable?.();
  }

  register(_fd: number, opcode: number, address: number, count: number): number {
    const refused = this.options.refused?.get(opcode);
    if (refused !== undefined) return refused;
    switch (opcode) {
      case 8:
        return this.#probe(address, count);
      case 1:
        this.registered.clear();
        return 0;
      case 6: {
        const update = this.#view(address, 16);
        const fd = this.#view(this.#u64(update, 8), 4).getInt32(0, true);
        this.files.set(update.getUint32(0, true), fd);
        return 1;
      }
      case 16: {
        const update = this.#view(address, 32);
        const iovec = this.#view(this.#u64(update, 8), 16);
        const bytes = this.#u64(iovec, 8);
        const memory = bytes === 0 ? null : this.#bytes(this.#u64(iovec, 0), bytes);
        const index = update.getUint32(0, true);
        if (memory === null) this.registered.delete(index);
        else this.registered.set(index, { base: this.#u64(iovec, 0), bytes: memory });
        return 1;
      }
      case 20:
        return -Errno.EINVAL; // As before Linux 5.18.
      default:
        return 0;
    }
  }

  map(_fd: number, offset: number): RingArea | number {
    if (this.options.mapStatus !== undefined) return this.options.mapStatus;
    this.mappedAreas++;
    return { address: 1, buffer: offset === 0 ? this.#queueBuffer : this.#sqeBuffer };
  }

  unmap(): void {
    this.mappedAreas--;
  }

  addressOf(view: Uint8Array<SharedArrayBuffer>): number {
    const { buffer } = view;
    let memory = this.#memories.find(({ bytes }) => isSame(bytes.buffer, buffer));
    if (memory === undefined) {
      memory = { base: this.#nextBase, bytes: new Uint8Array(buffer) };
      this.#nextBase += 2 ** 33;
      this.#memories.push(memory);
    }
    return memory.base + view.byteOffset;
  }

  /** The arena grew: the same place has more bytes. */
  grew(view: Uint8Array<SharedArrayBuffer>, base: number): void {
    this.#memories = this.#memories.filter((memory) => memory.base !== base);
    this.#memories.push({ base, bytes: new Uint8Array(view.buffer) });
  }

  eventfd(): number {
    this.openEventFds++;
    return 2000;
  }

  drain(): void {}

  close(fd: number): void {
    if (fd === 1000) this.openRings--;
    else this.openEventFds--;
  }

  poll(_fd: number, onReadable: () => void): RingPoll | null {
    if (this.options.polls === false) return null;
    this.openPolls++;
    this.#onReadable = () => void setImmediate(onReadable);
    let keeper: NodeJS.Timeout | null = null;
    return {
      ref: () => {
        keeper ??= setInterval(() => {}, 1000);
      },
      unref: () => {
        if (keeper !== null) clearInterval(keeper);
        keeper = null;
      },
      close: () => {
        if (keeper !== null) clearInterval(keeper);
        this.openPolls--;
        this.#onReadable = null;
      },
    };
  }

  soon(fn: () => void): void {
    void Promise.resolve().then(fn);
  }

  atExit(fn: () => void): () => void {
    this.exits.add(fn);
    return () => this.exits.delete(fn);
  }

  #take(slot: number): void {
    const at = slot * 64;
    const sqes = this.#sqes;
    const entry: ModelEntry = {
      op: sqes.getUint8(at),
      flags: sqes.getUint8(at + 1),
      fd: sqes.getInt32(at + 4, true),
      position: this.#u64(sqes, at + 8),
      address: this.#u64(sqes, at + 16),
      len: sqes.getUint32(at + 24, true),
      opFlags: sqes.getUint32(at + 28, true),
      userLow: sqes.getUint32(at + 32, true),
      userHigh: sqes.getUint32(at + 36, true),
      buffer: sqes.getUint16(at + 40, true),
    };
    for (let i = 44; i < 64; i++) assert.equal(sqes.getUint8(at + i), 0, 'rest of an entry');
    this.entries.push(entry);
    const result = this.options.fault?.(entry) ?? this.#run(entry);
    this.#held.push({ entry, result });
  }

  #complete(entry: ModelEntry, result: number): void {
    const queues = this.#queues;
    const tail = queues.getUint32(CQ_TAIL, true);
    const used = (tail - queues.getUint32(CQ_HEAD, true)) >>> 0;
    assert(used < this.#cqEntries, 'the completion queue overflowed');
    const at = CQES + (tail & (this.#cqEntries - 1)) * 16;
    queues.setUint32(at, entry.userLow, true);
    queues.setUint32(at + 4, entry.userHigh, true);
    queues.setInt32(at + 8, result, true);
    queues.setUint32(CQ_TAIL, (tail + 1) >>> 0, true);
  }

  /** What the kernel would do, and its result. */
  #run(entry: ModelEntry): number {
    const { op, position, address, len } = entry;
    const fd = (entry.flags & 1) !== 0 ? (this.files.get(entry.fd) ?? -1) : entry.fd;
    switch (op) {
      case 0:
        return 0;
      case 22:
      case 23:
        return transfer(op === 22, fd, [this.#bytes(address, len)], position);
      case 4:
      case 5:
        return transfer(op === 4, fd, [this.#fixed(entry.buffer, address, len)], position);
      case 1:
      case 2:
      case 60:
      case 61: {
        const list = this.#view(address, len * 16);
        const views = Array.from({ length: len }, (_, i) => {
          const from = this.#u64(list, i * 16);
          const bytes = this.#u64(list, i * 16 + 8);
          return op < 60 ? this.#bytes(from, bytes) : this.#fixed(entry.buffer, from, bytes);
        });
        return transfer(op === 1 || op === 60, fd, views, position);
      }
      case 3:
        fs.fdatasyncSync(fd);
        return 0;
      case 17:
        return zeroRange(fd, len, position, address);
      case 14:
        return this.#cancel(address);
      case 15:
        return -Errno.ECANCELED;
      default:
        return -Errno.EOPNOTSUPP;
    }
  }

  #cancel(userData: number): number {
    const at = this.#held.findIndex(
      ({ entry }) => entry.userHigh * 2 ** 32 + entry.userLow === userData,
    );
    if (at < 0) return -Errno.ENOENT;
    this.#held[at] = { entry: this.#held[at].entry, result: -Errno.ECANCELED };
    return 0;
  }

  #probe(address: number, count: number): number {
    const probe = this.#view(address, 16 + count * 8);
    const ops = this.options.ops ?? ALL_OPS;
    probe.setUint8(1, ops.length);
    for (const [i, op] of ops.entries()) {
      probe.setUint8(16 + i * 8, op);
      probe.setUint16(16 + i * 8 + 2, 1, true);
    }
    return 0;
  }

  #fixed(index: number, address: number, len: number): Uint8Array {
    const memory = this.registered.get(index);
    assert(memory, 'a buffer that is not registered');
    assert(address >= memory.base, 'before the registered buffer');
    assert(address + len <= memory.base + memory.bytes.length, 'behind the registered buffer');
    return this.#bytes(address, len);
  }

  #bytes(address: number, len: number): Uint8Array {
    const memory = this.#memories.find(
      ({ base, bytes }) => address >= base && address + len <= base + bytes.length,
    );
    assert(memory !== undefined, 'an address of no memory that the ring was told of');
    return memory.bytes.subarray(address - memory.base, address - memory.base + len);
  }

  #view(address: number, len: number): DataView {
    const bytes = this.#bytes(address, len);
    return new DataView(bytes.buffer, bytes.byteOffset, len);
  }

  #u64(view: DataView, at: number): number {
    return view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
  }
}

function isSame(a: ArrayBufferLike, b: ArrayBufferLike): boolean {
  return a === b;
}

function transfer(isRead: boolean, fd: number, views: Uint8Array[], position: number): number {
  try {
    return isRead ? fs.readvSync(fd, views, position) : fs.writevSync(fd, views, position);
  } catch (error) {
    const { errno = -Errno.EIO } = error as NodeJS.ErrnoException;
    return errno;
  }
}

/** fallocate with PUNCH_HOLE | KEEP_SIZE (3) or ZERO_RANGE (16): the bytes are zeros afterwards. */
function zeroRange(fd: number, mode: number, start: number, bytes: number): number {
  const { size } = fs.fstatSync(fd);
  const end = mode === 3 ? Math.min(start + bytes, size) : start + bytes;
  if (mode !== 3 && mode !== 16) return -Errno.EOPNOTSUPP;
  fs.writeSync(fd, new Uint8Array(Math.max(end - start, 0)), 0, null, start);
  return 0;
}
