import { CRC16_T10, CRC64_NVME, foldTable, sliceTable } from './crc-model.ts';
import {
  CRC16_CODE,
  CRC64_CODE,
  type CrcWidth,
  crcFunction,
  type Swizzle,
  TABLES,
} from './crc-wasm.ts';
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

// The module of the guards: its memories, its tables, and the loops over intervals around the
// kernels of `sparse-wasm.ts`, `crc-wasm.ts` and `ip-wasm.ts`. One call makes or checks the guards
// of many intervals.

const { I32, I64 } = ValueType;
const MEMORY_PAGES_MAX = 65536;
const DATA = 1;
const METADATA = 2;

/** The module's bytes. Imports: 'm' 't' (tables, one page), 'd' (data), 'p' (metadata). */
export function guardModuleBytes(swizzle: Swizzle): Uint8Array<ArrayBuffer> {
  const module = new WasmModuleCode([
    { name: 't', isShared: false, pagesMax: 1 },
    { name: 'd', isShared: true, pagesMax: MEMORY_PAGES_MAX },
    { name: 'p', isShared: true, pagesMax: MEMORY_PAGES_MAX },
  ]);
  const crc16 = crcFunctions(module, CRC16_CODE, swizzle);
  const crc64 = crcFunctions(module, CRC64_CODE, swizzle);
  const ip = [DATA, METADATA].map((memory) => ipSumFunction(module, memory));
  addPieces(module, crc16[0] as WasmFunction, crc64[0] as WasmFunction, ip[0] as WasmFunction);
  const guards: Guard[] = [
    { name: 'Crc16', isWide: false, over: crc16, start: i32(0), finish: (sum) => sum },
    {
      name: 'Crc64',
      isWide: true,
      over: crc64,
      start: i64(-1),
      finish: (sum) => bigEndian64(op('i64.xor', sum, i64(-1))),
    },
    { name: 'Ip', isWide: false, over: ip, start: null, finish: complement16 },
  ];
  for (const guard of guards) addLoops(module, guard);
  return module.bytes();
}

/** Over data, and over metadata, of which there are only some bytes before a tuple. */
function crcFunctions(module: WasmModuleCode, width: CrcWidth, swizzle: Swizzle): WasmFunction[] {
  const over = (memory: number): WasmFunction => crcFunction(module, width, memory, swizzle);
  const folds = { overScratch: over(TABLES.memory), overData: over(DATA) };
  const overMetadata = crcFunction(module, width, METADATA, null);
  return [sparseFunction(module, width, DATA, folds), overMetadata];
}

/** Fills the page that the module imports as its tables. */
export function writeTables(u8: Uint8Array): void {
  const view = new DataView(u8.buffer, u8.byteOffset, u8.length);
  // The bytes of a 16-bit state are swapped, as they lie in a tuple; see `crcFunction`.
  for (const [i, entry] of sliceTable(CRC16_T10).entries()) {
    view.setUint16(TABLES.slice16 + 2 * i, Number(entry), false);
  }
  for (const [i, entry] of sliceTable(CRC64_NVME).entries()) {
    view.setBigUint64(TABLES.slice64 + 8 * i, entry, true);
  }
  u8.set(foldTable(CRC16_T10), TABLES.fold16);
  u8.set(foldTable(CRC64_NVME), TABLES.fold64);
}

/** One guard of any kind: how it starts, goes on and becomes the bytes of a tuple. */
interface Guard {
  readonly name: string;
  /** 8 bytes and not 2. */
  readonly isWide: boolean;
  /** Its kernel over data, and over metadata. */
  readonly over: readonly WasmFunction[];
  /** null: the kernel takes no state, its sums are added. */
  readonly start: Code | null;
  readonly finish: (sum: Code) => Code;
}

/** Kernels for one piece, where an interval does not lie in one. */
function addPieces(
  module: WasmModuleCode,
  crc16: WasmFunction,
  crc64: WasmFunction,
  ip: WasmFunction,
): void {
  const short = new WasmFunction('crc16', [I32, I32, I32], I32);
  short.body = module.call(crc16, ...parameters(short));
  module.add(short);

  // 64 bits would be a BigInt in JavaScript: they travel through the memory of the tables.
  const wide = new WasmFunction('crc64', [I32, I32], null);
  const state = load('i64.load', TABLES.memory, i32(TABLES.state));
  const next = module.call(crc64, ...parameters(wide), op('i64.xor', state, i64(-1)));
  wide.body = store('i64.store', TABLES.memory, i32(TABLES.state), op('i64.xor', next, i64(-1)));
  module.add(wide);

  const sum = new WasmFunction('ip', [I32, I32], I32);
  sum.body = module.call(ip, ...parameters(sum));
  module.add(sum);
}

function parameters(fn: WasmFunction): Code[] {
  return fn.params.map((_, i) => get(fn.param(i)));
}

const FILL_PARAMETERS = new Array<ValueType>(11).fill(I32);
const CHECK_PARAMETERS = new Array<ValueType>(13).fill(I32);

/**
 * `fillX` writes the tuples of `count` intervals, `checkX` gives the index of the first one that
 * has another tuple, or `count`. Parameters: data at, data stride, bytes of an interval, count,
 * metadata at, metadata stride, bytes before the tuple, app tag, ref tag of the first interval
 * (lower 32 bits, those above), what it grows by; `checkX` also bits of the app tag and of the ref
 * tag (0 or -1) that are compared.
 */
function addLoops(module: WasmModuleCode, guard: Guard): void {
  const fill = new WasmFunction(`fill${guard.name}`, FILL_PARAMETERS, null);
  fill.body = overIntervals(module, guard, fill, (sum, tags, tuple) => {
    if (!guard.isWide) return store('i64.store', METADATA, tuple, op('i64.or', sum, tags));
    const second = store('i64.store', METADATA, tuple, tags, 8);
    return seq(store('i64.store', METADATA, tuple, sum), second);
  });
  module.add(fill);

  const check = new WasmFunction(`check${guard.name}`, CHECK_PARAMETERS, I32);
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
