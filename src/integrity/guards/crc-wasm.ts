import { LANES, SLICES } from './crc-model.ts';
import { CRC16_DISTANCES, CRC64_DISTANCES, type Distances } from './sparse-multiples.ts';
import {
  type Code,
  get,
  i32,
  i64,
  type Local,
  lane,
  load,
  loopWhile,
  type Op,
  op,
  seq,
  set,
  ValueType,
  v128,
  WasmFunction,
  type WasmModuleCode,
  when,
  withLowLane,
} from './wasm-code.ts';

// The CRC loops in WebAssembly, for short messages and what `sparse-wasm.ts` leaves of long ones.
// Both work alike: blocks of 32 (CRC64: 128) bytes are folded into one block in vector registers,
// the folded block and the rest go through sixteen look-ups for sixteen bytes, then byte by byte.

const { I32, I64, V128 } = ValueType;
export const ZEROS: Code = v128(new Array<number>(LANES).fill(0));

/** Where things lie in the memory of the tables. */
export const TABLES = {
  /** Import index of that memory. */
  memory: 0,
  /** A CRC64 state on its way in or out. */
  state: 0,
  fold16: 64,
  slice16: 256,
  slice64: 8448,
  fold64: 41216,
  /** Where `sparse-wasm.ts` works; from there on zeros. */
  scratch: 43264,
} as const;

/** What the two widths do differently. */
export interface CrcWidth {
  readonly name: 'crc16' | 'crc64';
  /** Of the state in a function's signature. */
  readonly type: ValueType;
  /** Vectors of a block = bytes of a state. */
  readonly rows: number;
  readonly foldAt: number;
  readonly sliceAt: number;
  /** Below this the fold costs more than it saves. */
  readonly foldBytesMin: number;
  /** Of the multiple of its polynomial that long messages are divided by. */
  readonly distances: Distances;
  /** log2 of the bytes of a table's entry. */
  readonly entryShift: number;
}

export const CRC16_CODE: CrcWidth = {
  name: 'crc16',
  type: I32,
  rows: 2,
  foldAt: TABLES.fold16,
  sliceAt: TABLES.slice16,
  foldBytesMin: 64,
  distances: CRC16_DISTANCES,
  entryShift: 1,
};

export const CRC64_CODE: CrcWidth = {
  name: 'crc64',
  type: I64,
  rows: 8,
  foldAt: TABLES.fold64,
  sliceAt: TABLES.slice64,
  foldBytesMin: 256,
  distances: CRC64_DISTANCES,
  entryShift: 3,
};

export type Swizzle = 'i8x16.swizzle' | 'i8x16.relaxed_swizzle';

/**
 * `(at, bytes, state) → state` over one memory. Not exported: the state of CRC64 is no number of
 * JavaScript. A 16-bit state has its bytes swapped, so that it is XORed into what is loaded and
 * stored as it is. Without look-ups for the fold it is for short messages, and takes others slowly.
 */
export function crcFunction(
  module: WasmModuleCode,
  width: CrcWidth,
  memory: number,
  swizzle: Swizzle | null,
): WasmFunction {
  const fn = new WasmFunction(`${width.name}.${memory}`, [I32, I32, width.type], width.type, false);
  const [at, bytes, state] = [fn.param(0), fn.param(1), fn.param(2)];
  const atLeast = (count: number): Code => op('i32.ge_u', get(bytes), i32(count));
  fn.body = seq(
    swizzle === null ? '' : foldLong(fn, width, memory, swizzle),
    loopWhile(
      atLeast(SLICES),
      sliceStep(fn, width, state, [
        load('i64.load', memory, get(at)),
        load('i64.load', memory, get(at), 8),
      ]),
      step(at, SLICES),
      step(bytes, -SLICES),
    ),
    loopWhile(
      get(bytes),
      byteStep(width, state, load('i32.load8_u', memory, get(at))),
      step(at, 1),
      step(bytes, -1),
    ),
    get(state),
  );
  return module.add(fn);
}

export function step(local: Local, by: number): Code {
  return set(local, op('i32.add', get(local), i32(by)));
}

/** Folds whole blocks, if they are worth it, then takes the last one. */
function foldLong(fn: WasmFunction, width: CrcWidth, memory: number, swizzle: Swizzle): Code {
  const [bytes, state] = [fn.param(1), fn.param(2)];
  const rows = Array.from({ length: width.rows }, () => fn.local(V128));
  return when(
    op('i32.ge_u', get(bytes), i32(width.foldBytesMin)),
    foldBlocks(fn, width, rows, memory, swizzle),
    set(state, noState(width)),
    ...rows.map((row) =>
      sliceStep(fn, width, state, [
        lane('i64x2.extract_lane', get(row), 0),
        lane('i64x2.extract_lane', get(row), 1),
      ]),
    ),
  );
}

/** A state where it is XORed into the first bytes of a message. */
export function stateVector(width: CrcWidth, state: Local): Code {
  const wide = width.type === I32 ? op('i64.extend_i32_u', get(state)) : get(state);
  return withLowLane(ZEROS, wide);
}

/** The state that adds nothing. */
export function noState(width: CrcWidth): Code {
  return width.type === I32 ? i32(0) : i64(0);
}

/** Loads the first block with the state in its first bytes, then folds as many as there are. */
function foldBlocks(
  fn: WasmFunction,
  width: CrcWidth,
  rows: readonly Local[],
  memory: number,
  swizzle: Swizzle,
): Code {
  const [at, bytes, state] = [fn.param(0), fn.param(1), fn.param(2)];
  const blockBytes = width.rows * LANES;
  const first = stateVector(width, state);
  const rowAt = (row: number): Code => load('v128.load', memory, get(at), row * LANES);
  return seq(
    ...rows.map((row, r) => set(row, rowAt(r))),
    set(rows[0] as Local, op('v128.xor', get(rows[0] as Local), first)),
    step(at, blockBytes),
    step(bytes, -blockBytes),
    loopWhile(
      op('i32.ge_u', get(bytes), i32(blockBytes)),
      foldStep(fn, width, rows, rowAt, swizzle),
      step(at, blockBytes),
      step(bytes, -blockBytes),
    ),
  );
}

/** `rows` := the next block XOR what folding makes of `rows`. */
function foldStep(
  fn: WasmFunction,
  width: CrcWidth,
  rows: readonly Local[],
  rowAt: (row: number) => Code,
  swizzle: Swizzle,
): Code {
  const sums = rows.map(() => fn.local(V128));
  const [low, high] = [fn.local(V128), fn.local(V128)];
  const nibbles = v128(new Array<number>(LANES).fill(0x0f));
  const nowhere = i32(0);
  const nibble = [get(low), get(high)];
  const lookUp = (from: number, half: number, to: number): Code => {
    const at = width.foldAt + ((from * 2 + half) * width.rows + to) * LANES;
    return op(swizzle, load('v128.load', TABLES.memory, nowhere, at), nibble[half] as Code);
  };
  return seq(
    ...sums.map((sum, r) => set(sum, rowAt(r))),
    ...rows.flatMap((row, from) => [
      set(low, op('v128.and', get(row), nibbles)),
      set(high, op('v128.and', op('i16x8.shr_u', get(row), i32(4)), nibbles)),
      ...sums.map((sum, to) =>
        set(
          sum,
          op('v128.xor', get(sum), op('v128.xor', lookUp(from, 0, to), lookUp(from, 1, to))),
        ),
      ),
    ]),
    ...rows.map((row, r) => set(row, get(sums[r] as Local))),
  );
}

/** Eight bytes: the first of them has seven behind it, so it is looked up in table 7. */
function sliceStep(fn: WasmFunction, width: CrcWidth, state: Local, words: Code[]): Code {
  const wide = width.type === I32 ? op('i64.extend_i32_u', get(state)) : get(state);
  const locals = words.map(() => fn.local(I64));
  const tables = Array.from({ length: SLICES }, (_, byte) => {
    const word = get(locals[byte >> 3] as Local);
    const half = op('i32.wrap_i64', byte % 8 < 4 ? word : op('i64.shr_u', word, i64(32)));
    return entry(width, half, 8 * (byte % 4), SLICES - 1 - byte);
  });
  const xor = width.type === I32 ? 'i32.xor' : 'i64.xor';
  return seq(
    ...words.map((word, i) => set(locals[i] as Local, i === 0 ? op('i64.xor', word, wide) : word)),
    set(state, xorTree(xor, tables)),
  );
}

/** As a tree, so that the longest chain is three operations and not seven. */
function xorTree(xor: Op, terms: readonly Code[]): Code {
  if (terms.length === 1) return terms[0] as Code;
  const half = terms.length / 2;
  return op(xor, xorTree(xor, terms.slice(0, half)), xorTree(xor, terms.slice(half)));
}

function byteStep(width: CrcWidth, state: Local, byte: Code): Code {
  if (width.type === I32) {
    const index = op('i32.xor', get(state), byte);
    const rest = op('i32.shr_u', get(state), i32(8));
    return set(state, op('i32.xor', rest, entry(width, index, 0, 0)));
  }
  const index = op('i32.xor', op('i32.wrap_i64', get(state)), byte);
  const rest = op('i64.shr_u', get(state), i64(8));
  return set(state, op('i64.xor', rest, entry(width, index, 0, 0)));
}

/** The entry for the byte of `word` that starts at bit `shift`, in the table `slice`. */
function entry(width: CrcWidth, word: Code, shift: number, slice: number): Code {
  const move = shift - width.entryShift;
  const moved = move < 0 ? op('i32.shl', word, i32(-move)) : op('i32.shr_u', word, i32(move));
  const address = op('i32.and', moved, i32(0xff << width.entryShift));
  const name = width.type === I32 ? 'i32.load16_u' : 'i64.load';
  return load(name, TABLES.memory, address, width.sliceAt + slice * (256 << width.entryShift));
}
