import { LANES } from './crc-model.ts';
import {
  type Code,
  get,
  i32,
  type Local,
  lane,
  load,
  loopWhile,
  op,
  seq,
  set,
  ValueType,
  v128,
  WasmFunction,
  type WasmModuleCode,
  when,
} from './wasm-code.ts';

const { I32, V128 } = ValueType;
/** Four vectors a turn, each with a sum of its own. */
const TURN_BYTES = 4 * LANES;

/**
 * Most bytes of one call. Each of the four lanes of a sum gets at most 2 * 65535 from 16 bytes:
 * 4096 vectors make 4096 * 131070 * 4 < 2^31 in all lanes together.
 */
export const IP_BYTES_MAX = 65536;

/**
 * `(at, bytes) → sum` over one memory: the ones-complement sum of little-endian words, 0 to 65535,
 * a last odd byte filled up with zero. Pre: bytes <= IP_BYTES_MAX.
 */
export function ipSumFunction(module: WasmModuleCode, memory: number): WasmFunction {
  const fn = new WasmFunction(`ip.${memory}`, [I32, I32], I32, false);
  const [at, bytes] = [fn.param(0), fn.param(1)];
  const sum = fn.local(I32);
  const lanes = [fn.local(V128), fn.local(V128), fn.local(V128), fn.local(V128)];
  const pairs = (offset: number): Code =>
    op('i32x4.extadd_pairwise_i16x8_u', load('v128.load', memory, get(at), offset));
  const add = (to: Local, value: Code): Code => set(to, op('i32x4.add', get(to), value));
  const zero = v128(new Array<number>(LANES).fill(0));
  const [first, second, third, fourth] = lanes as [Local, Local, Local, Local];
  const lower16 = op('i32.and', get(sum), i32(0xffff));
  const fold = set(sum, op('i32.add', lower16, op('i32.shr_u', get(sum), i32(16))));
  fn.body = seq(
    ...lanes.map((local) => set(local, zero)),
    loopWhile(
      op('i32.ge_u', get(bytes), i32(TURN_BYTES)),
      ...lanes.map((local, i) => add(local, pairs(i * LANES))),
      move(at, bytes, TURN_BYTES),
    ),
    loopWhile(op('i32.ge_u', get(bytes), i32(LANES)), add(first, pairs(0)), move(at, bytes, LANES)),
    add(first, op('i32x4.add', get(second), op('i32x4.add', get(third), get(fourth)))),
    ...[0, 1, 2, 3].map((i) =>
      set(sum, op('i32.add', get(sum), lane('i32x4.extract_lane', get(first), i))),
    ),
    loopWhile(
      op('i32.ge_u', get(bytes), i32(2)),
      set(sum, op('i32.add', get(sum), load('i32.load16_u', memory, get(at)))),
      move(at, bytes, 2),
    ),
    when(get(bytes), set(sum, op('i32.add', get(sum), load('i32.load8_u', memory, get(at))))),
    fold,
    fold,
    get(sum),
  );
  return module.add(fn);
}

function move(at: Local, bytes: Local, by: number): Code {
  return seq(
    set(at, op('i32.add', get(at), i32(by))),
    set(bytes, op('i32.sub', get(bytes), i32(by))),
  );
}
