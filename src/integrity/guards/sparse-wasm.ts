import { LANES } from './crc-model.ts';
import { type CrcWidth, noState, stateVector, step, TABLES, ZEROS } from './crc-wasm.ts';
import {
  type Code,
  get,
  i32,
  load,
  loopWhile,
  op,
  seq,
  set,
  store,
  ValueType,
  WasmFunction,
  type WasmModuleCode,
  when,
} from './wasm-code.ts';

// A long message is divided by a multiple of the polynomial that has few terms; the fold then takes
// the remainder, an eighth of 4 KiB or less. `sparse-multiples.ts` says why that is right.
//
// Scratch, in the memory of the tables. What is XORed at the edges of the message, where bytes
// beside the quotient would count, is zeros:
//
//   zeros        16 bytes   before the quotient; its vectors are aligned
//   quotient     PIECE_BYTES_MAX - span, as long as the piece needs
//   zeros        16 bytes   written behind it
//   remainder    span

const { I32 } = ValueType;

/** Quotient and data stay in the first cache; 16 KiB are 10 % faster for 64 KiB and not for 4. */
const PIECE_BYTES_MAX = 8192;
/** Zeros, and the quotient starts with a cache line. */
const BEFORE = 64;
const QUOTIENT = TABLES.scratch + BEFORE;
const REMAINDER = QUOTIENT + PIECE_BYTES_MAX;
/** Two vectors a turn: four are no faster, one is 5 % slower. */
const TURN_BYTES = 2 * LANES;

/**
 * `(at, bytes, state) → state` over `memory` for messages of any length, like that of
 * `crcFunction`, of which `overData` is one over the same memory and `overScratch` one over that of
 * the tables.
 */
export function sparseFunction(
  module: WasmModuleCode,
  width: CrcWidth,
  memory: number,
  { overData, overScratch }: { overData: WasmFunction; overScratch: WasmFunction },
): WasmFunction {
  const { type, distances } = width;
  const fn = new WasmFunction(`${width.name}.sparse`, [I32, I32, type], type, false);
  const [at, bytes, state] = [fn.param(0), fn.param(1), fn.param(2)];
  const blockBytes = width.rows * LANES;
  // Whole blocks of the fold.
  const span = Math.ceil(Math.max(...distances) / blockBytes) * blockBytes;
  fn.body = seq(
    // A piece has a first and a last part, of `span` bytes each.
    loopWhile(
      op('i32.ge_u', get(bytes), i32(2 * span)),
      dividePiece(fn, width, memory, span),
      set(state, module.call(overScratch, i32(REMAINDER), i32(span), noState(width))),
    ),
    module.call(overData, get(at), get(bytes), get(state)),
  );
  return module.add(fn);
}

/** Leaves a remainder, and `at` and `bytes` behind what it stands for. */
function dividePiece(fn: WasmFunction, width: CrcWidth, memory: number, span: number): Code {
  const [at, bytes, state] = [fn.param(0), fn.param(1), fn.param(2)];
  const { distances } = width;
  /** Bytes of the quotient: those that there are, and that there will be. */
  const [done, end] = [fn.local(I32), fn.local(I32)];
  /** What is kept `offset` bytes on: data, and what the distances that count bring there. */
  const vector = (offset: number, counts: (distance: number) => boolean = () => true): Code =>
    distances
      .filter(counts)
      .map((d) => load('v128.load', TABLES.memory, get(done), QUOTIENT + offset - d))
      .reduce((sum, term) => op('v128.xor', sum, term), load('v128.load', memory, get(at), offset));
  const keep = (offset: number, value: Code): Code =>
    store('v128.store', TABLES.memory, get(done), value, QUOTIENT + offset);
  const offsets = Array.from({ length: span / LANES }, (_, i) => i * LANES);
  // Before its start and behind its end there is no quotient.
  const first = offsets.map((offset) => vector(offset, (d) => d < offset + LANES));
  const last = offsets.map((offset) => vector(offset, (d) => d > offset));
  const turn = Array.from({ length: TURN_BYTES / LANES }, (_, i) => i * LANES);
  return seq(
    set(end, get(bytes)),
    when(op('i32.ge_u', get(end), i32(PIECE_BYTES_MAX)), set(end, i32(PIECE_BYTES_MAX))),
    step(end, -2 * span),
    set(end, op('i32.and', get(end), i32(-TURN_BYTES))),
    step(end, span),
    set(done, i32(0)),
    ...first.map((sum, i) =>
      keep(i * LANES, i > 0 ? sum : op('v128.xor', sum, stateVector(width, state))),
    ),
    set(done, i32(span)),
    step(at, span),
    loopWhile(
      op('i32.ne', get(done), get(end)),
      ...turn.map((offset) => keep(offset, vector(offset))),
      step(done, TURN_BYTES),
      step(at, TURN_BYTES),
    ),
    keep(0, ZEROS),
    ...last.map((sum, i) => store('v128.store', TABLES.memory, i32(0), sum, REMAINDER + i * LANES)),
    step(at, span),
    set(bytes, op('i32.sub', get(bytes), op('i32.add', get(end), i32(span)))),
  );
}
