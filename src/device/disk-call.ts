import { IovIter, IterDirection } from '../iter/iov-iter.ts';
import { Iovec } from '../iter/iovec.ts';
import type { MetadataWish } from '../map/metadata/meta-mapping.ts';
import type { CopyPolicy } from '../map/verdict.ts';
import type { TransferOptions } from './block-device.ts';
import { IoCall, type IoOptions } from './io-arguments.ts';
import type { Transfer } from './transfer.ts';

/** What the caller gets for `bytes` and the memory that it gave. */
export type CallResult = (bytes: number, memory: unknown) => unknown;

/** How a call ends. `transfer` is valid inside only. */
export type CallEnd = (call: DiskCall, transfer: Transfer, result: number) => void;

/**
 * One call of a `Disk` between its start and its promise. Pooled: a promise and its result are all
 * that a call allocates here.
 */
export class DiskCall implements TransferOptions {
  copy: CopyPolicy | undefined = undefined;
  fua: boolean | undefined = undefined;
  readonly noWait: boolean | undefined = undefined;
  readonly traceId: number | undefined = undefined;
  metadata: MetadataWish | undefined = undefined;
  /** The system call, as errors name it. */
  syscall = '';
  signal: AbortSignal | undefined = undefined;
  /** Bytes that were asked for. */
  bytes = 0;
  /** Byte of the device. */
  position = 0;
  /** Where the disk's own position is to go on, or -1 for a call that brought its own. */
  start = -1;
  result: CallResult | null = null;
  resolve: ((value: unknown) => void) | null = null;
  abort: (() => void) | null = null;
  readonly given = new IoCall();
  readonly iter = new IovIter();
  readonly #one = new Iovec(1);
  /** The same function for every transfer of this call. */
  readonly ended: (transfer: Transfer, result: number) => void;

  constructor(end: CallEnd) {
    this.ended = (transfer, result) => end(this, transfer, result);
  }

  /** For `new Promise`: the same function for every use. */
  readonly settle = (resolve: (value: unknown) => void): void => {
    this.resolve = resolve;
  };

  /** Failures are rare, and to keep a second function for them costs each call. */
  reject(error: unknown): void {
    this.resolve?.(Promise.reject(error));
  }

  /** Takes over what was given. Bytes of its memory, or a negative errno. */
  load(direction: IterDirection, options: IoOptions): number {
    const { view, views } = this.given;
    this.copy = options.copy;
    this.fua = options.fua;
    const isOne = view !== null;
    const iovec = isOne ? this.#one : new Iovec(Math.max(views.length, 1));
    const bytes = isOne ? iovec.importView(view) : iovec.importViews(views);
    if (bytes >= 0) this.iter.initBytes(direction, iovec);
    return bytes;
  }

  /** Lets go of what belongs to the caller. */
  clear(): void {
    this.#one.views[0] = null;
    if (this.iter.iovec !== this.#one) this.iter.initBytes(IterDirection.DEST, this.#one);
    this.copy = undefined;
    this.fua = undefined;
    this.signal = undefined;
    this.metadata = undefined;
    this.given.clear();
    this.result = null;
    this.resolve = null;
    this.abort = null;
    this.start = -1;
  }
}
