import { unreachable } from '../../base/assert.ts';
import type { Csum } from '../integrity-profile.ts';
import { CRC16_T10, CRC64_NVME, foldTable, sliceTable } from './crc-model.ts';
import {
  CRC16_CODE,
  CRC64_CODE,
  type CrcWidth,
  crcFunction,
  type Swizzle,
  TABLES,
  ZEROS,
} from './crc-wasm.ts';
import { swap16 } from './guard-state.ts';
import { ipSumFunction } from './ip-wasm.ts';
import { sparseFunction } from './sparse-wasm.ts';
import {
  type Code,
  get,
  i32,
  i64,
  type Local,
  lane,
  load,
  loopWhile,
  op,
  returnValue,
  seq,
  set,
  store,
  ValueType,
  v128,
  WasmFunction,
  WasmModuleCode,
  when,
} from './wasm-code.ts';

// The module of a guard: its memories, its tables, and the loops over intervals around the
// kernels of `sparse-wasm.ts`, `crc-wasm.ts` and `ip-wasm.ts`. One call makes or checks the guards
// of many intervals.

const { I32, I64, V128 } = ValueType;
const MEMORY_PAGES_MAX = 65536;
const DATA = 1;
const METADATA = 2;

/** What a module makes: it has the kernels of one, a program seldom needs more. */
export type GuardKind = Exclude<Csum, 'none'>;

/** The module's bytes. Imports: 'm' 't' (tables, one page), 'd' (data), 'p' (metadata). */
export function guardModuleBytes(kind: GuardKind, swizzle: Swizzle): Uint8Array<ArrayBuffer> {
  const module = new WasmModuleCode([
    { name: 't', isShared: false, pagesMax: 1 },
    { name: 'd', isShared: true, pagesMax: MEMORY_PAGES_MAX },
    { name: 'p', isShared: true, pagesMax: MEMORY_PAGES_MAX },
  ]);
  const guard = guardOf(module, kind, swizzle);
  addPiece(module, kind, guard.over[0] as WasmFunction);
  addLoops(module, guard);
  return module.bytes();
}

/** A module that an engine takes when it has relaxed look-ups: one function with one of them. */
export function relaxedProbeBytes(): Uint8Array<ArrayBuffer> {
  const module = new WasmModuleCode([]);
  const fn = new WasmFunction('f', [], V128);
  fn.body = op('i8x16.relaxed_swizzle', ZEROS, ZEROS);
  module.add(fn);
  return module.bytes();
}

function guardOf(module: WasmModuleCode, kind: GuardKind, swizzle: Swizzle): Guard {
  switch (kind) {
    case 'crc16':
      return {
        isWide: false,
        over: crcFunctions(module, CRC16_CODE, swizzle),
        start: i32(0),
        finish: (sum) => sum,
      };
    case 'crc64':
      return {
        isWide: true,
        over: crcFunctions(module, CRC64_CODE, swizzle),
        start: i64(-1),
        finish: (sum) => bigEndian64(op('i64.xor', sum, i64(-1))),
      };
    case 'ip': {
      const over = [DATA, METADATA].map((memory) => ipSumFunction(module, memory));
      return { isWide: false, over, start: null, finish: complement16 };
    }
    default:
      return unreachable(kind);
  }
}

/** Over data, and over metadata, of which there are only some bytes before a tuple. */
function crcFunctions(module: WasmModuleCode, width: CrcWidth, swizzle: Swizzle): WasmFunction[] {
  const over = (memory: number): WasmFunction => crcFunction(module, width, memory, swizzle);
  const folds = { overScratch: over(TABLES.memory), overData: over(DATA) };
  const overMetadata = crcFunction(module, width, METADATA, null);
  return [sparseFunction(module, width, DATA, folds), overMetadata];
}

/** Writes what the module of `kind` looks up into the page that it imports as its tables. */
export function writeTables(kind: GuardKind, u8: Uint8Array): void {
  if (kind === 'ip') return;
  const { low, high } = sliceTable(kind === 'crc16' ? CRC16_T10 : CRC64_NVME);
  const start = u8.byteOffset + (kind === 'crc16' ? TABLES.slice16 : TABLES.slice64);
  if (kind === 'crc16') {
    // The bytes of a 16-bit state are swapped, as they lie in a tuple; see `crcFunction`.
    const entries = new Uint16Array(u8.buffer, start, low.length);
    for (let i = 0; i < low.length; i++) entries[i] = swap16(low[i] as number);
  } else {
    const entries = new Int32Array(u8.buffer, start, 2 * low.length);
    for (let i = 0; i < low.length; i++) {
      entries[2 * i] = low[i] as number;
      entries[2 * i + 1] = high[i] as number;
    }
  }
  if (kind === 'crc16') u8.set(foldTable(CRC16_T10), TABLES.fold16);
  else u8.set(foldTable(CRC64_NVME), TABLES.fold64);
}

/** One guard of any kind: how it starts, goes on and becomes the bytes of a tuple. */
interface Guard {
  /** 8 bytes and not 2. */
  readonly isWide: boolean;
  /** Its kernel over data, and over metadata. */
  readonly over: readonly WasmFunction[];
  /** null: the kernel takes no state, its sums are added. */
  readonly start: Code | null;
  readonly finish: (sum: Code) => Code;
}

/** `piece(at, bytes, state) → state`, for an interval that does not lie in one piece. */
function addPiece(module: WasmModuleCode, kind: GuardKind, over: WasmFunction): void {
  const piece = new WasmFunction('piece', [I32, I32, I32], I32);
  const [at, bytes, state] = [get(piece.param(0)), get(piece.param(1)), get(piece.param(2))];
  if (kind === 'crc16') {
    piece.body = module.call(over, at, bytes, state);
  } else if (kind === 'ip') {
    piece.body = module.call(over, at, bytes);
  } else {
    // 64 bits would be a BigInt in JavaScript: they travel through the memory of the tables.
    const before = load('i64.load', TABLES.memory, i32(TABLES.state));
    const next = module.call(over, at, bytes, op('i64.xor', before, i64(-1)));
    piece.body = seq(
      store('i64.store', TABLES.memory, i32(TABLES.state), op('i64.xor', next, i64(-1))),
      i32(0),
    );
  }
  module.add(piece);
}

const FILL_PARAMETERS = new Array<ValueType>(11).fill(I32);
const CHECK_PARAMETERS = new Array<ValueType>(13).fill(I32);

/**
 * `fill` writes the tuples of `count` intervals, `check` gives the index of the first one that
 * has another tuple, or `count`. Parameters: data at, data stride, bytes of an interval, count,
 * metadata at, metadata stride, bytes before the tuple, app tag, ref tag of the first interval
 * (lower 32 bits, those above), what it grows by; `check` also bits of the app tag and of the ref
 * tag (0 or -1) that are compared.
 */
function addLoops(module: WasmModuleCode, guard: Guard): void {
  const fill = new WasmFunction('fill', FILL_PARAMETERS, null);
  fill.body = overIntervals(module, guard, fill, (sum, tags, tuple) => {
    if (!guard.isWide) return store('i64.store', METADATA, tuple, op('i64.or', sum, tags));
    const second = store('i64.store', METADATA, tuple, tags, 8);
    return seq(store('i64.store', METADATA, tuple, sum), second);
  });
  module.add(fill);

  const check = new WasmFunction('check', CHECK_PARAMETERS, I32);
  const done = check.local(I32);
  const mask = check.local(I64);
  const refMask = op('i64.shr_u', signed64(get(check.param(12))), i64(64 - refBits(guard)));
  const loop = overIntervals(module, guard, check, (sum, tags, tuple) => {
    const at = (offset: number): Code => load('i64.load', METADATA, tuple, offset);
    const differs = (a: Code, b: Code): Code => op('i64.and', op('i64.xor', a, b), get(mask));
    const difference = guard.isWide
      ? op('i64.or', op('i64.xor', at(0), sum), differs(at(8), tags))
      : differs(at(0), op('i64.or', sum, tags));
    return seq(when(op('i64.ne', difference, i64(0)), returnValue(get(done))), step(done, i32(1)));
  });
  const tagMask = bigEndian64(withApp(guard, get(check.param(11)), refMask));
  check.body = seq(
    set(mask, guard.isWide ? tagMask : op('i64.or', tagMask, i64(0xffff))),
    loop,
    get(done),
  );
  module.add(check);
}

function refBits(guard: Guard): number {
  return guard.isWide ? 48 : 32;
}

/** The number in which the app tag stands above the ref tag. */
function withApp(guard: Guard, app: Code, ref: Code): Code {
  return op('i64.or', op('i64.shl', op('i64.extend_i32_u', app), i64(refBits(guard))), ref);
}

/** 0 or -1, from 32 bits. */
function signed64(value: Code): Code {
  return op('i64.extend_i32_s', value);
}

/**
 * Runs `body(guard, tags, address of the tuple)` for each interval. Guard and tags are the words
 * that lie in memory: of a narrow tuple both are parts of one word, of a wide one the first and the
 * second.
 */
function overIntervals(
  module: WasmModuleCode,
  guard: Guard,
  fn: WasmFunction,
  body: (sum: Code, tags: Code, tuple: Code) => Code,
): Code {
  const [dataAt, dataStride, bytes, count] = [fn.param(0), fn.param(1), fn.param(2), fn.param(3)];
  const [metaAt, metaStride, prefix] = [fn.param(4), fn.param(5), fn.param(6)];
  const [appTag, refLow, refHigh, refStep] = [fn.param(7), fn.param(8), fn.param(9), fn.param(10)];
  const sum = fn.local(guard.isWide ? I64 : I32);
  const ref = fn.local(I64);
  const tags = fn.local(I64);
  const [overData, overMetadata] = guard.over as readonly [WasmFunction, WasmFunction];
  const state = guard.start === null ? [] : [guard.start];
  const onward = guard.start === null ? [] : [get(sum)];
  const prefixSum = module.call(overMetadata, get(metaAt), get(prefix), ...onward);
  const wide = (value: Local): Code => op('i64.extend_i32_u', get(value));
  const refOnes = op('i64.shr_u', i64(-1), i64(64 - refBits(guard)));
  const lastRef = op('i64.or', op('i64.shl', wide(refHigh), i64(32)), wide(refLow));
  const finished = guard.finish(get(sum));
  return seq(
    set(ref, lastRef),
    loopWhile(
      get(count),
      set(sum, module.call(overData, get(dataAt), get(bytes), ...state)),
      // An interval has an even number of bytes, so the sums of words just add up.
      when(
        get(prefix),
        set(sum, guard.start === null ? addOnes(fn, get(sum), prefixSum) : prefixSum),
      ),
      set(ref, op('i64.and', get(ref), refOnes)),
      set(tags, bigEndian64(withApp(guard, get(appTag), get(ref)))),
      body(
        guard.isWide ? finished : op('i64.extend_i32_u', finished),
        get(tags),
        op('i32.add', get(metaAt), get(prefix)),
      ),
      set(ref, op('i64.add', get(ref), wide(refStep))),
      step(dataAt, get(dataStride)),
      step(metaAt, get(metaStride)),
      step(count, i32(-1)),
    ),
  );
}

function step(local: Local, by: Code): Code {
  return set(local, op('i32.add', get(local), by));
}

/** Two sums below 2^16; a carry comes back at the lower end. */
function addOnes(fn: WasmFunction, a: Code, b: Code): Code {
  const total = fn.local(I32);
  const low = op('i32.and', get(total), i32(0xffff));
  return seq(
    set(total, op('i32.add', a, b)),
    op('i32.add', low, op('i32.shr_u', get(total), i32(16))),
  );
}

function complement16(sum: Code): Code {
  return op('i32.xor', sum, i32(0xffff));
}

/** The bytes from the highest to the lowest. */
function bigEndian64(value: Code): Code {
  const reversed = v128([7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8]);
  const swapped = op('i8x16.swizzle', op('i64x2.splat', value), reversed);
  return lane('i64x2.extract_lane', swapped, 0);
}
