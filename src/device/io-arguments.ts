import { BlockError } from '../base/block-error.ts';
import { IOVEC_ROWS_MAX } from '../iter/iovec.ts';
import type { CopyPolicy } from '../map/verdict.ts';
import type { MetadataOptions } from './metadata-arguments.ts';

// The argument forms of FileHandle's read, readv, write and writev, turned into one shape. What
// FileHandle silently bends (a fraction as length, a string as position) is EINVAL here.

export type Position = number | bigint | null | undefined;

export interface IoOptions extends MetadataOptions {
  /** Bytes: where in the buffer they start. Default 0. */
  readonly offset?: number | null | undefined;
  /** Bytes. Default: the rest of the buffer. */
  readonly length?: number | null | undefined;
  /** Byte of the device; null or -1: the current position, which then moves on. */
  readonly position?: Position;
  /** Abort: settles with ECANCELED after the device has let go of the memory. */
  readonly signal?: AbortSignal | null | undefined;
  /** 'never': an error instead of a copy. Default 'auto'. */
  readonly copy?: CopyPolicy | undefined;
  /** Write only: on the medium when it completes. */
  readonly fua?: boolean | undefined;
}

export interface ReadResult<Memory> {
  readonly bytesRead: number;
  readonly buffer: Memory;
}
export interface WriteResult<Memory> {
  readonly bytesWritten: number;
  readonly buffer: Memory;
}
export interface ReadvResult<Memories> {
  readonly bytesRead: number;
  readonly buffers: Memories;
}
export interface WritevResult<Memories> {
  readonly bytesWritten: number;
  readonly buffers: Memories;
}

const NO_VIEWS: readonly Uint8Array[] = [];
const NO_OPTIONS: IoOptions = {};

/** Memory of one call, checked. Pooled: `readCall` and its like fill it. */
export class IoCall {
  /** What the caller gets back. */
  memory: unknown = null;
  /** The one array, or null: they are in `views`. */
  view: Uint8Array | null = null;
  views = NO_VIEWS;

  /** Lets go of what belongs to the caller. */
  clear(): void {
    this.memory = null;
    this.view = null;
    this.views = NO_VIEWS;
  }
}

/** What an error says about the call. */
export interface CallPlace {
  readonly syscall: string;
  readonly device: string;
}

/** Of `read(options)` without a buffer, as in FileHandle. */
const READ_BYTES_DEFAULT = 16384;
const COPY_POLICIES: readonly unknown[] = ['auto', 'never', 'always'];

/** Node's class where there is one; in a browser page it is absent. */
const NodeBuffer = (globalThis as { readonly Buffer?: BufferConstructor }).Buffer;

/** (buffer, offset, length, position), (buffer, options), (options with buffer), (). */
export function readCall(
  call: IoCall,
  first: ArrayBufferView | (IoOptions & { readonly buffer?: ArrayBufferView }) | null | undefined,
  second: number | IoOptions | null | undefined,
  length: number | null | undefined,
  position: Position,
  place: CallPlace,
): IoOptions {
  if (ArrayBuffer.isView(first)) {
    return setOne(call, first, optionsOf(second, length, position), place);
  }
  const options = first ?? NO_OPTIONS;
  if (typeof options !== 'object') fail('read takes a buffer or options', place);
  return setOne(call, first?.buffer ?? defaultBuffer(), options, place);
}

/** (buffer, offset, length, position), (buffer, options), (string, position, encoding). */
export function writeCall(
  call: IoCall,
  memory: ArrayBufferView | string,
  second: number | bigint | IoOptions | null | undefined,
  third: number | string | null | undefined,
  position: Position,
  place: CallPlace,
): IoOptions {
  if (typeof memory === 'string') {
    const given = typeof second === 'object' && second !== null ? second : { position: second };
    const { offset, length, ...options } = given;
    if (offset != null || length != null) fail('a string is written whole', place);
    setOne(call, encode(memory, third, place), options, place);
    call.memory = memory;
    return options;
  }
  const options = optionsOf(second as number | IoOptions | null, third as number | null, position);
  return setOne(call, memory, options, place);
}

/** Any views; at most 1024 of them. */
export function vectorCall(
  call: IoCall,
  memory: readonly ArrayBufferView[],
  position: Position,
  more: IoOptions | null | undefined,
  place: CallPlace,
): IoOptions {
  if (!Array.isArray(memory)) fail('the buffers must be an array of buffers', place);
  if (memory.length > IOVEC_ROWS_MAX) {
    fail(`${memory.length} buffers in one call; at most ${IOVEC_ROWS_MAX}`, place);
  }
  // `map` would leave a hole a hole, and nobody behind it expects one.
  call.views = Array.from(memory, (view) => bytesOf(view, place));
  call.memory = memory;
  return checked({ ...more, position: position ?? more?.position }, place);
}

/** The byte of the device, or null for the current position. */
export function positionOf(options: IoOptions, place: CallPlace): number | null {
  const { position } = options;
  if (typeof position === 'number' && Number.isSafeInteger(position) && position >= 0) {
    return position;
  }
  if (position === undefined || position === null || position === -1 || position === -1n) {
    return null;
  }
  const byte = typeof position === 'bigint' ? Number(position) : -1;
  if (Number.isSafeInteger(byte) && byte >= 0) return byte;
  return fail(`position ${String(position)} is no whole number from 0 to 2^53 - 1`, place);
}

/**
 * The signal, or undefined for none. What only looks like one is found here and not when the
 * transfer ends, where nobody could be told. An object of another realm is as good as ours.
 */
export function signalOf(options: IoOptions, place: CallPlace): AbortSignal | undefined {
  const { signal } = options;
  if (signal === undefined || signal === null) return undefined;
  const { aborted, addEventListener: add, removeEventListener: remove } = signal;
  const isSignal = typeof add === 'function' && typeof remove === 'function';
  if (isSignal && typeof aborted === 'boolean') return signal;
  return fail('signal must be an AbortSignal', place);
}

function optionsOf(
  second: number | IoOptions | null | undefined,
  length: number | null | undefined,
  position: Position,
): IoOptions {
  if (typeof second === 'object' && second !== null) return second;
  return { offset: second, length, position };
}

function checked(options: IoOptions, place: CallPlace): IoOptions {
  if (options.copy === undefined || COPY_POLICIES.includes(options.copy)) return options;
  return fail(`copy is '${String(options.copy)}', but must be 'auto', 'never' or 'always'`, place);
}

/** The rest of `memory` from `offset`, at most `length`. */
function setOne(
  call: IoCall,
  memory: ArrayBufferView,
  options: IoOptions,
  place: CallPlace,
): IoOptions {
  checked(options, place);
  call.memory = memory;
  const bytes = bytesOf(memory, place);
  const total = bytes.length;
  const offset = options.offset ?? 0;
  const length = options.length ?? total - offset;
  const isInside = Number.isInteger(offset) && Number.isInteger(length) && offset >= 0;
  if (!isInside || length < 0 || offset + length > total) {
    fail(
      `offset ${String(offset)} and length ${String(length)} leave the buffer of ${total} bytes`,
      place,
    );
  }
  const isWhole = length === total;
  call.view = isWhole ? bytes : new Uint8Array(bytes.buffer, bytes.byteOffset + offset, length);
  return options;
}

function bytesOf(memory: unknown, place: CallPlace): Uint8Array {
  if (memory instanceof Uint8Array) return memory;
  if (!ArrayBuffer.isView(memory)) fail('a buffer must be a TypedArray or a DataView', place);
  return new Uint8Array(memory.buffer, memory.byteOffset, memory.byteLength);
}

function defaultBuffer(): Uint8Array {
  return NodeBuffer?.alloc(READ_BYTES_DEFAULT) ?? new Uint8Array(READ_BYTES_DEFAULT);
}

function encode(text: string, encoding: unknown, place: CallPlace): Uint8Array {
  const name = encoding ?? 'utf8';
  if (name === 'utf8' || name === 'utf-8') return new TextEncoder().encode(text);
  if (typeof name === 'string' && NodeBuffer?.isEncoding(name) === true) {
    return NodeBuffer.from(text, name);
  }
  return fail(`encoding ${String(name)} is not known here; encode the text yourself`, place);
}

function fail(reason: string, place: CallPlace): never {
  throw new BlockError('EINVAL', { reason, ...place });
}
