import { isMainThread } from 'node:worker_threads';
import { EFD_CLOEXEC, EFD_NONBLOCK } from '../abi/io-uring.ts';
import type { RingArea, RingDoor, RingPoll } from '../base/env.ts';
import { Errno } from '../base/errno.ts';
import type { RingLeases } from './ring-leases.ts';
import type { RingLibc } from './ring-libc.ts';

export interface LinuxRingOptions {
  readonly libc: RingLibc;
  readonly lockedBytesMax: number;
  /** See `RingDoor.wakeFd`. Default: -1. */
  readonly wakeFd?: number;
  /** Where a worker notes what it holds. Default: nowhere. */
  readonly leases?: RingLeases | null;
}

/** Its reactions are the cheapest things that run soon: 0.05 µs, where a tick takes 0.25. */
const SETTLED = Promise.resolve();

/** The ring's host side on Linux, over either FFI library. */
export class LinuxRing implements RingDoor {
  readonly kind: string;
  readonly lockedBytesMax: number;
  readonly wakeFd: number;
  readonly #libc: RingLibc;
  readonly #leases: RingLeases | null;
  /** What an eventfd is read into: 8 bytes that do not move. */
  readonly #count = new Uint8Array(new SharedArrayBuffer(8));
  readonly #countAddress: number;
  /**
   * koffi closes a handle that nobody refers to, and a ring would wait for ever: so they are kept
   * here, whoever else holds them.
   */
  readonly #polls = new Set<RingPoll>();

  constructor(options: LinuxRingOptions) {
    this.#libc = options.libc;
    this.#leases = options.leases ?? null;
    this.kind = options.libc.kind;
    this.lockedBytesMax = options.lockedBytesMax;
    this.wakeFd = options.wakeFd ?? -1;
    this.#countAddress = this.addressOf(this.#count);
  }

  setup(entries: number, address: number): number {
    return this.#opened(this.#libc.setup(entries, address));
  }

  enter(
    fd: number,
    submit: number,
    minComplete: number,
    flags: number,
    address: number,
    bytes: number,
  ): number {
    const result = this.#libc.enter(fd, submit, minComplete, flags, address, bytes);
    return result < 0 ? this.#result(result) : result;
  }

  register(fd: number, opcode: number, address: number, count: number): number {
    return this.#result(this.#libc.register(fd, opcode, address, count));
  }

  map(fd: number, offset: number, bytes: number): RingArea | number {
    const address = this.#libc.mmap(bytes, fd, offset);
    if (address < 0) return this.#result(-1);
    this.#leases?.mapping(address, bytes);
    return { address, buffer: this.#libc.view(address, bytes) };
  }

  unmap(area: RingArea): void {
    this.#leases?.dropMapping(area.address);
    this.#libc.munmap(area.address, area.buffer.byteLength);
  }

  addressOf(view: Uint8Array<SharedArrayBuffer>): number {
    return this.#libc.addressOf(view);
  }

  eventfd(count: number): number {
    return this.#opened(this.#libc.eventfd(count, EFD_CLOEXEC | EFD_NONBLOCK));
  }

  drain(fd: number): void {
    this.#libc.read(fd, this.#countAddress, 8); // Nothing in it: EAGAIN, which is as good.
  }

  close(fd: number): void {
    this.#leases?.dropDescriptor(fd);
    this.#libc.close(fd);
  }

  /**
   * koffi calls back outside of Node's own callbacks, so neither promises nor ticks would run after
   * it. The immediate does: its phase of the loop is the next one.
   *
   * Not in a worker. When one is terminated, also by `process.exit` of the main thread, Node runs
   * its loop once more, and a call back then ends the whole process by SIGSEGV.
   */
  poll(fd: number, onReadable: () => void): RingPoll | null {
    const { poll } = this.#libc;
    if (poll === null || !isMainThread) return null;
    const handle = poll(fd, () => void setImmediate(onReadable));
    handle.unref();
    this.#polls.add(handle);
    return {
      ref: () => handle.ref(),
      unref: () => handle.unref(),
      close: () => {
        handle.close();
        this.#polls.delete(handle);
      },
    };
  }

  soon(fn: () => void): void {
    void SETTLED.then(fn);
  }

  atExit(fn: () => void): () => void {
    process.on('exit', fn);
    return () => void process.off('exit', fn);
  }

  #opened(fd: number): number {
    if (fd >= 0) this.#leases?.descriptor(fd);
    return this.#result(fd);
  }

  #result(value: number): number {
    return value < 0 ? -(this.#libc.errno() || Errno.EIO) : value;
  }
}
