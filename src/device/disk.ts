import { BlockError } from '../base/block-error.ts';
import { BioOp } from '../bio/bio-op.ts';
import type { Extent } from '../engine/contract.ts';
import { IterDirection } from '../iter/iov-iter.ts';
import type { Limits } from '../limits/limits.ts';
import type { BlockDevice } from './block-device.ts';
import { type CallResult, DiskCall } from './disk-call.ts';
import { DiskStat } from './disk-stat.ts';
import { type DiskStats, statsOf } from './disk-stats.ts';
import {
  type CallPlace,
  type IoOptions,
  type Position,
  positionOf,
  type ReadResult,
  type ReadvResult,
  readCall,
  signalOf,
  vectorCall,
  type WriteResult,
  type WritevResult,
  writeCall,
} from './io-arguments.ts';
import { hasMetadata, metadataWish } from './metadata-arguments.ts';
import type { Transfer } from './transfer.ts';
import { transferError } from './transfer-error.ts';

const READ_RESULT: CallResult = (bytesRead, buffer) => ({ bytesRead, buffer });
const READV_RESULT: CallResult = (bytesRead, buffers) => ({ bytesRead, buffers });
const WRITE_RESULT: CallResult = (bytesWritten, buffer) => ({ bytesWritten, buffer });
const WRITEV_RESULT: CallResult = (bytesWritten, buffers) => ({ bytesWritten, buffers });

/**
 * An open target. `read`, `readv`, `write`, `writev`, `stat`, `sync`, `datasync`, `truncate` and
 * `close` take FileHandle's arguments and give its results; more options come as extra keys.
 * Every method rejects with BlockError; a transfer that fails or is aborted may have moved a part
 * of its bytes. `device/README.md` lists where FileHandle differs.
 */
export class Disk {
  readonly device: BlockDevice;
  readonly #calls: DiskCall[] = [];
  readonly #readPlace: CallPlace;
  readonly #writePlace: CallPlace;
  #position = 0;
  #closing: Promise<void> | null = null;

  constructor(device: BlockDevice) {
    this.device = device;
    this.#readPlace = this.#place('read');
    this.#writePlace = this.#place('write');
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
   * Reads into `buffer`. Ends short at the end of the device, or at 2 GiB - 4096 bytes.
   * Forms: (buffer, offset, length, position), (buffer, options), (options with buffer), ().
   */
  read<Memory extends ArrayBufferView>(
    buffer: Memory,
    offset?: number | null,
    length?: number | null,
    position?: Position,
  ): Promise<ReadResult<Memory>>;
  read<Memory extends ArrayBufferView>(
    buffer: Memory,
    options: IoOptions | null,
  ): Promise<ReadResult<Memory>>;
  read<Memory extends ArrayBufferView = Uint8Array>(
    options?: (IoOptions & { readonly buffer?: Memory }) | null,
  ): Promise<ReadResult<Memory>>;
  read<Memory extends ArrayBufferView>(
    buffer?: Memory | (IoOptions & { readonly buffer?: Memory }) | null,
    offsetOrOptions?: number | IoOptions | null,
    length?: number | null,
    position?: Position,
  ): Promise<ReadResult<Memory>> {
    const place = this.#readPlace;
    const call = this.#takeCall();
    try {
      const asked = readCall(call.given, buffer, offsetOrOptions, length, position, place);
      this.#load(BioOp.READ, call, asked, place);
    } catch (error) {
      return this.#refuse(call, error);
    }
    return this.#transfer(BioOp.READ, call, place, READ_RESULT);
  }

  readv<Memories extends readonly ArrayBufferView[]>(
    buffers: Memories,
    position?: Position,
    options?: IoOptions,
  ): Promise<ReadvResult<Memories>> {
    const place = this.#place('readv');
    const call = this.#takeCall();
    try {
      const asked = vectorCall(call.given, buffers, position, options, place);
      this.#load(BioOp.READ, call, asked, place);
    } catch (error) {
      return this.#refuse(call, error);
    }
    return this.#transfer(BioOp.READ, call, place, READV_RESULT);
  }

  /**
   * Writes all of `buffer`, or what fits before the end of a device of fixed size and into 2 GiB -
   * 4096 bytes, or fails.
   * Forms: (buffer, offset, length, position), (buffer, options), (string, position, encoding).
   */
  write<Memory extends ArrayBufferView | string>(
    buffer: Memory,
    offsetOrOptions?: number | bigint | IoOptions | null,
    lengthOrEncoding?: number | string | null,
    position?: Position,
  ): Promise<WriteResult<Memory>> {
    const place = this.#writePlace;
    const call = this.#takeCall();
    try {
      const asked = writeCall(
        call.given,
        buffer,
        offsetOrOptions,
        lengthOrEncoding,
        position,
        place,
      );
      this.#load(BioOp.WRITE, call, asked, place);
    } catch (error) {
      return this.#refuse(call, error);
    }
    return this.#transfer(BioOp.WRITE, call, place, WRITE_RESULT);
  }

  writev<Memories extends readonly ArrayBufferView[]>(
    buffers: Memories,
    position?: Position,
    options?: IoOptions,
  ): Promise<WritevResult<Memories>> {
    const place = this.#place('writev');
    const call = this.#takeCall();
    try {
      const asked = vectorCall(call.given, buffers, position, options, place);
      this.#load(BioOp.WRITE, call, asked, place);
    } catch (error) {
      return this.#refuse(call, error);
    }
    return this.#transfer(BioOp.WRITE, call, place, WRITEV_RESULT);
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

  stat(options?: { readonly bigint?: false | undefined }): Promise<DiskStat>;
  stat(options: { readonly bigint: true }): Promise<DiskStat<bigint>>;
  async stat(options?: { readonly bigint?: boolean | undefined }): Promise<object> {
    this.#check('stat', 0, 0);
    const { size } = this;
    const { physical_block_size: block } = this.limits;
    const { fixedSize } = this.device.engine.info;
    if (options?.bigint === true) return new DiskStat(BigInt(size), BigInt(block), fixedSize);
    return new DiskStat(size, block, fixedSize);
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
    return statsOf(this.device);
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

  /** Makes memory and range of what was given. Throws BlockError; then nothing has begun. */
  #load(op: BioOp, call: DiskCall, options: IoOptions, place: CallPlace): void {
    const own = positionOf(options, place);
    const position = own ?? this.#position;
    const direction = op === BioOp.READ ? IterDirection.DEST : IterDirection.SOURCE;
    call.signal = signalOf(options, place);
    const bytes = call.load(direction, options);
    this.#check(place.syscall, position, bytes);
    if (hasMetadata(options)) {
      const range = { direction, position, bytes };
      call.metadata = metadataWish(options, range, this.device, place);
    }
    call.bytes = this.#room(op, place.syscall, position, bytes);
    call.iter.truncate(call.bytes);
    call.position = position;
    if (own === null) {
      // The bytes are taken at once, so that the next call gets those behind them.
      call.start = position;
      this.#position = position + call.bytes;
    }
  }

  #refuse(call: DiskCall, error: unknown): Promise<never> {
    this.#giveCall(call);
    return Promise.reject(error);
  }

  /** The promise of what `result` makes of the bytes. */
  #transfer<Result>(
    op: BioOp,
    call: DiskCall,
    place: CallPlace,
    result: CallResult,
  ): Promise<Result> {
    if (call.bytes === 0) {
      const { memory } = call.given;
      this.#giveCall(call);
      return Promise.resolve(result(0, memory) as Result);
    }
    call.result = result;
    try {
      return this.#run(op, place.syscall, call) as Promise<Result>;
    } catch (error) {
      return Promise.reject(error); // A bug: nobody knows who has the call, so it is not pooled.
    }
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
    const call = this.#takeCall();
    call.bytes = length;
    call.position = position;
    await this.#run(op, syscall, call);
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

  #run(op: BioOp, syscall: string, call: DiskCall): Promise<unknown> {
    const { signal, position } = call;
    call.syscall = syscall;
    const promise = new Promise(call.settle);
    if (signal?.aborted === true) {
      this.#stopAt(call, 0);
      call.reject(this.#aborted(syscall, signal));
      this.#giveCall(call);
      return promise;
    }
    const iter = call.result === null ? null : call.iter;
    const transfer = this.device.transfer(op, position, iter, call.bytes, call, call.ended);
    if (signal !== undefined) {
      call.abort = () => this.device.cancel(transfer);
      signal.addEventListener('abort', call.abort, { once: true });
    }
    return promise;
  }

  /** The end of every call that reached the device. */
  readonly #ended = (call: DiskCall, transfer: Transfer, result: number): void => {
    const { signal, resolve } = call;
    if (call.abort !== null) signal?.removeEventListener('abort', call.abort);
    const isAborted = signal?.aborted === true;
    this.#stopAt(call, isAborted || result < 0 ? 0 : result);
    if (isAborted) call.reject(this.#aborted(call.syscall, signal));
    else if (result < 0) call.reject(transferError(transfer, result, call.syscall, call.bytes));
    else resolve?.(call.result === null ? result : call.result(result, call.given.memory));
    this.#giveCall(call);
  };

  /** The disk's own position is behind what was done, unless somebody moved it meanwhile. */
  #stopAt(call: DiskCall, done: number): void {
    if (call.start < 0) return;
    if (this.#position === call.start + call.bytes) this.#position = call.start + done;
  }

  #takeCall(): DiskCall {
    return this.#calls.pop() ?? new DiskCall(this.#ended);
  }

  #giveCall(call: DiskCall): void {
    call.clear();
    this.#calls.push(call);
  }

  #aborted(syscall: string, signal: AbortSignal): BlockError {
    const reason = 'the signal was aborted; the device has let go of the memory';
    const cause: unknown = signal.reason;
    return new BlockError('ECANCELED', { reason, syscall, device: this.target, cause });
  }

  #place(syscall: string): CallPlace {
    return { syscall, device: this.target };
  }

  #check(syscall: string, position: number, length: number): void {
    const isRange = Number.isSafeInteger(position) && position >= 0 && length >= 0;
    if (isRange && Number.isSafeInteger(position + length) && this.#closing === null) return;
    const where = { syscall, device: this.target, offset: position, length };
    if (this.#closing !== null) {
      throw new BlockError('ERR_BIOVEC_CLOSED', { reason: 'the disk was closed', ...where });
    }
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
