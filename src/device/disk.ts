import { BlockError } from '../base/block-error.ts';
import { Errno } from '../base/errno.ts';
import { BioOp } from '../bio/bio-op.ts';
import type { Extent } from '../engine/contract.ts';
import { IovIter, IterDirection } from '../iter/iov-iter.ts';
import { Iovec } from '../iter/iovec.ts';
import type { Limits } from '../limits/limits.ts';
import { refusal } from '../map/decide.ts';
import { type CopyPolicy, MapReason } from '../map/verdict.ts';
import type { BlockDevice, TransferOptions } from './block-device.ts';
import type { DiskStats } from './disk-stats.ts';
import type { Transfer } from './transfer.ts';

export interface IoOptions {
  /** Where in the buffer the bytes start. Default 0. */
  readonly offset?: number | null | undefined;
  /** Bytes. Default: the rest of the buffer. */
  readonly length?: number | null | undefined;
  /** Byte of the device; null or -1: the current position, which then moves on. */
  readonly position?: number | bigint | null | undefined;
  /** Abort: settles with ECANCELED after the device has let go of the memory. */
  readonly signal?: AbortSignal | undefined;
  /** 'never': an error instead of a copy. Default 'auto'. */
  readonly copy?: CopyPolicy | undefined;
  /** Write only: on the medium when it completes. */
  readonly fua?: boolean | undefined;
}

export interface ReadResult<Buffer> {
  readonly bytesRead: number;
  readonly buffer: Buffer;
}
export interface WriteResult<Buffer> {
  readonly bytesWritten: number;
  readonly buffer: Buffer;
}
export interface ReadvResult<Buffers> {
  readonly bytesRead: number;
  readonly buffers: Buffers;
}
export interface WritevResult<Buffers> {
  readonly bytesWritten: number;
  readonly buffers: Buffers;
}

export interface DiskStat {
  /** Bytes. */
  readonly size: number;
  readonly blksize: number;
}

type Position = number | bigint | null | undefined;
/** Default of `read(options)` without a buffer, as in FileHandle. */
const READ_BYTES_DEFAULT = 16384;

/**
 * An open target. `read`, `readv`, `write`, `writev`, `stat`, `sync`, `datasync`, `truncate` and
 * `close` take FileHandle's arguments and give its results; more options come as extra keys.
 * Every method rejects with BlockError.
 */
export class Disk {
  readonly device: BlockDevice;
  #position = 0;
  #closing: Promise<void> | null = null;

  constructor(device: BlockDevice) {
    this.device = device;
  }

  /** What the device can take, in sysfs names. */
  get limits(): Limits {
    return this.device.limits;
  }

  /** The target, as the user wrote it. */
  get target(): string {
    return this.device.engine.info.target;
  }

  /** Bytes now. */
  get size(): number {
    return this.device.engine.sizeBytes();
  }

  /**
   * Reads into `buffer`. Ends short at the end of the device only.
   * Forms: (buffer, offset, length, position), (buffer, options), (options with buffer).
   */
  async read<Buffer extends Uint8Array>(
    buffer: Buffer | (IoOptions & { readonly buffer?: Buffer }),
    offsetOrOptions?: number | IoOptions | null,
    length?: number | null,
    position?: Position,
  ): Promise<ReadResult<Buffer>> {
    let target: Uint8Array;
    let options: IoOptions;
    if (ArrayBuffer.isView(buffer)) {
      target = buffer;
      options = ioOptions(offsetOrOptions, length, position);
    } else {
      options = buffer ?? {};
      target = buffer?.buffer ?? new Uint8Array(READ_BYTES_DEFAULT);
    }
    const bytesRead = await this.#transfer(BioOp.READ, 'read', slice(target, options), options);
    return { bytesRead, buffer: target as Buffer };
  }

  async readv<Buffers extends readonly Uint8Array[]>(
    buffers: Buffers,
    position?: Position,
    options: IoOptions = {},
  ): Promise<ReadvResult<Buffers>> {
    const all = { ...options, position };
    const bytesRead = await this.#transfer(BioOp.READ, 'readv', buffers, all);
    return { bytesRead, buffers };
  }

  /**
   * Writes all of `buffer`, or fails. Forms: (buffer, offset, length, position),
   * (buffer, options), (string, position, encoding).
   */
  async write<Buffer extends Uint8Array | string>(
    buffer: Buffer,
    offsetOrOptions?: number | IoOptions | null,
    lengthOrEncoding?: number | string | null,
    position?: Position,
  ): Promise<WriteResult<Buffer>> {
    let source: Uint8Array;
    let options: IoOptions;
    if (typeof buffer === 'string') {
      source = encode(buffer, lengthOrEncoding);
      options = { position: typeof offsetOrOptions === 'number' ? offsetOrOptions : null };
    } else {
      source = buffer;
      options = ioOptions(offsetOrOptions, lengthOrEncoding as number | null, position);
    }
    const list = slice(source, options);
    const bytesWritten = await this.#transfer(BioOp.WRITE, 'write', list, options);
    return { bytesWritten, buffer };
  }

  async writev<Buffers extends readonly Uint8Array[]>(
    buffers: Buffers,
    position?: Position,
    options: IoOptions = {},
  ): Promise<WritevResult<Buffers>> {
    const all = { ...options, position };
    const bytesWritten = await this.#transfer(BioOp.WRITE, 'writev', buffers, all);
    return { bytesWritten, buffers };
  }

  /** Everything written before is on the medium. */
  async flush(): Promise<void> {
    await this.#range(BioOp.FLUSH, 'flush', 0, 0);
  }

  sync(): Promise<void> {
    return this.flush();
  }

  datasync(): Promise<void> {
    return this.flush();
  }

  /** Tells the device that the range is not needed; what it reads as then is the device's. */
  async discard(position: number, length: number): Promise<void> {
    await this.#range(BioOp.DISCARD, 'discard', position, length);
  }

  /** The range reads as zeros afterwards. */
  async writeZeroes(position: number, length: number): Promise<void> {
    await this.#range(BioOp.WRITE_ZEROES, 'writeZeroes', position, length);
  }

  /** Data, holes and zeros, in order and without gaps. Without knowledge: one data extent. */
  async *extents(start = 0, end = this.size): AsyncIterable<Extent> {
    this.#check('extents', start, end - start);
    const { engine } = this.device;
    if (engine.extents === undefined) yield { start, end, kind: 'data' };
    else yield* engine.extents(start, end);
  }

  async stat(): Promise<DiskStat> {
    this.#check('stat', 0, 0);
    return { size: this.size, blksize: this.limits.physical_block_size };
  }

  /** Regular files only. */
  async truncate(length = 0): Promise<void> {
    this.#check('truncate', length, 0);
    const { engine } = this.device;
    if (engine.truncate === undefined) {
      const reason = `a target of kind ${engine.info.kind} has a fixed size`;
      throw new BlockError('EINVAL', { reason, syscall: 'truncate', device: this.target });
    }
    await engine.truncate(length);
  }

  stats(): DiskStats {
    const { counters, queue } = this.device;
    const copiedByReason = counters.copiedByReason();
    let bytesCopied = 0;
    for (const bytes of Object.values(copiedByReason)) bytesCopied += bytes;
    return {
      transfers: counters.transfers,
      bytesMapped: counters.bytesMapped,
      bytesCopied,
      copiedByReason,
      bytesReadBeforeWrite: counters.bytesReadBeforeWrite,
      bios: queue.counters.bios,
      requests: queue.counters.requests,
      splits: queue.counters.splits,
      merges: queue.counters.merges,
      requeues: queue.counters.requeues,
      pagesHeld: counters.pagesHeld,
      pagesHeldMost: counters.pagesHeldMost,
      bouncePages: counters.bouncePages,
      bouncePagesMost: counters.bouncePagesMost,
      detached: counters.detached,
    };
  }

  assertNothingOutstanding(): void {
    this.device.assertNothingOutstanding();
  }

  /** Waits for what is in flight. Further calls fail with ERR_BIOVEC_CLOSED. */
  close(): Promise<void> {
    this.#closing ??= this.device.close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #transfer(
    op: BioOp,
    syscall: string,
    buffers: readonly Uint8Array[],
    options: IoOptions,
  ): Promise<number> {
    const usesCurrent = isCurrent(options.position);
    const position = usesCurrent ? this.#position : Number(options.position);
    const iovec = new Iovec(Math.max(buffers.length, 1));
    const bytes = iovec.importViews(buffers);
    if (bytes < 0) {
      const reason = `${buffers.length} buffers in one call; at most 1024`;
      throw new BlockError('EINVAL', { reason, syscall, device: this.target });
    }
    this.#check(syscall, position, bytes);
    const room = this.#room(op, syscall, position, bytes);
    if (room === 0) return 0;
    const iter = new IovIter();
    iter.initBytes(op === BioOp.READ ? IterDirection.DEST : IterDirection.SOURCE, iovec);
    iter.truncate(room);
    const done = await this.#run(op, syscall, position, iter, room, options);
    if (usesCurrent) this.#position = position + done;
    return done;
  }

  async #range(op: BioOp, syscall: string, position: number, length: number): Promise<void> {
    this.#check(syscall, position, length);
    if (op !== BioOp.FLUSH) {
      if (length === 0) return;
      this.#checkBlocks(syscall, position, length);
      if (this.#room(BioOp.WRITE, syscall, position, length) < length) {
        const reason = `the range ends at ${position + length}, the device at ${this.size}`;
        throw new BlockError('ENOSPC', { reason, syscall, device: this.target, offset: position });
      }
    }
    await this.#run(op, syscall, position, null, length, {});
  }

  /** Bytes of the call that lie on the device: reads and writes are cut at its end. */
  #room(op: BioOp, syscall: string, position: number, bytes: number): number {
    const { fixedSize } = this.device.engine.info;
    if (op === BioOp.READ) return fixedSize ? clamp(this.size - position, bytes) : bytes;
    const where = { syscall, device: this.target, offset: position, length: bytes };
    if (this.limits.read_only) {
      throw new BlockError('EROFS', { reason: 'the target was opened read-only', ...where });
    }
    if (!fixedSize || bytes === 0) return bytes;
    const room = clamp(this.size - position, bytes);
    if (room > 0) return room;
    const reason = `position ${position} is at or behind the end, ${this.size} bytes`;
    throw new BlockError('ENOSPC', { reason, ...where });
  }

  #run(
    op: BioOp,
    syscall: string,
    position: number,
    iter: IovIter | null,
    bytes: number,
    options: IoOptions,
  ): Promise<number> {
    const { signal } = options;
    if (signal?.aborted === true) return Promise.reject(this.#aborted(syscall, signal));
    return new Promise((resolve, reject) => {
      let abort: (() => void) | null = null;
      const end = (transfer: Transfer, result: number): void => {
        if (abort !== null) signal?.removeEventListener('abort', abort);
        if (result >= 0) resolve(result);
        else if (result === -Errno.ECANCELED && signal?.aborted === true) {
          reject(this.#aborted(syscall, signal));
        } else reject(this.#error(transfer, result, syscall, bytes));
      };
      const low: TransferOptions = { copy: options.copy, fua: options.fua };
      const transfer = this.device.transfer(op, position, iter, bytes, low, end);
      if (signal === undefined) return;
      abort = () => this.device.cancel(transfer);
      signal.addEventListener('abort', abort, { once: true });
    });
  }

  #aborted(syscall: string, signal: AbortSignal): BlockError {
    const reason = 'the signal was aborted; the device has let go of the memory';
    const cause: unknown = signal.reason;
    return new BlockError('ECANCELED', { reason, syscall, device: this.target, cause });
  }

  #error(transfer: Transfer, result: number, syscall: string, length: number): BlockError {
    const { mapping } = transfer;
    const where = { syscall, device: this.target, offset: transfer.position, length };
    if (mapping.detachedSegment >= 0) {
      const reason =
        `buffer ${mapping.detachedSegment} of the call was detached or resized while it was in ` +
        'flight; the device only ever saw pages of the arena';
      return new BlockError('ERR_BIOVEC_DETACHED', { reason, ...where });
    }
    const reason = this.#reason(mapping.reason, result);
    return BlockError.fromErrno(result, { reason, ...where });
  }

  #reason(reason: MapReason, result: number): string {
    const { device } = this;
    if (result === -Errno.EINVAL && reason !== MapReason.FITS) {
      return refusal(reason, device.limits, device.context.blockBytes);
    }
    switch (result) {
      case -Errno.EIO:
        return 'the device reported an I/O error, or made no progress';
      case -Errno.ENOSPC:
        return 'no space left on the device';
      case -Errno.EFAULT:
        return 'the memory of a buffer was released before the call';
      case -Errno.EOPNOTSUPP:
        return 'the device does not support this operation';
      default:
        return 'the device refused the transfer';
    }
  }

  #check(syscall: string, position: number, length: number): void {
    const where = { syscall, device: this.target, offset: position, length };
    if (this.#closing !== null) {
      throw new BlockError('ERR_BIOVEC_CLOSED', { reason: 'the disk was closed', ...where });
    }
    const isRange = Number.isSafeInteger(position) && position >= 0 && length >= 0;
    if (isRange && Number.isSafeInteger(position + length)) return;
    const reason = `position ${position} and length ${length} are no range within 2^53 - 1 bytes`;
    throw new BlockError('EINVAL', { reason, ...where });
  }

  #checkBlocks(syscall: string, position: number, length: number): void {
    const block = this.device.context.blockBytes;
    if (position % block === 0 && length % block === 0) return;
    const reason = `position ${position} and length ${length} must be multiples of ${block} bytes`;
    throw new BlockError('EINVAL', { reason, syscall, device: this.target, offset: position });
  }
}

function clamp(room: number, bytes: number): number {
  return Math.min(Math.max(room, 0), bytes);
}

function isCurrent(position: Position): boolean {
  return position === undefined || position === null || Number(position) === -1;
}

/** The rest of `buffer` from `offset`, at most `length`; both are checked as fs.read does. */
function slice(buffer: Uint8Array, options: IoOptions): readonly Uint8Array[] {
  const offset = options.offset ?? 0;
  const length = options.length ?? buffer.byteLength - offset;
  const isInside = Number.isInteger(offset) && Number.isInteger(length) && offset >= 0;
  if (!isInside || length < 0 || offset + length > buffer.byteLength) {
    const reason = `offset ${offset} and length ${length} leave the buffer of ${buffer.byteLength} bytes`;
    throw new BlockError('EINVAL', { reason });
  }
  if (offset === 0 && length === buffer.byteLength && buffer instanceof Uint8Array) return [buffer];
  return [new Uint8Array(buffer.buffer, buffer.byteOffset + offset, length)];
}

function ioOptions(
  offsetOrOptions: number | IoOptions | null | undefined,
  length: number | null | undefined,
  position: Position,
): IoOptions {
  if (typeof offsetOrOptions === 'object' && offsetOrOptions !== null) return offsetOrOptions;
  return { offset: offsetOrOptions, length, position };
}

function encode(text: string, encoding: unknown): Uint8Array {
  if (encoding === undefined || encoding === null || encoding === 'utf8' || encoding === 'utf-8') {
    return new TextEncoder().encode(text);
  }
  const reason = `encoding ${String(encoding)} is not utf8; encode the text yourself`;
  throw new BlockError('EINVAL', { reason });
}
