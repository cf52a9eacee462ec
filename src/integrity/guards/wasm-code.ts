// A small assembler for WebAssembly: expressions are written as trees, in the words of the text
// format, and become the bytes of a module. `op('i32.add', get(a), i32(4))` is
// `(i32.add (local.get $a) (i32.const 4))`. Nothing is checked here: the engine validates the
// module when it is compiled, and the tests of the kernels run it.

/** The bytes of an expression or a statement. */
export type Code = readonly number[];

export const ValueType = { I32: 0x7f, I64: 0x7e, V128: 0x7b } as const;
export type ValueType = (typeof ValueType)[keyof typeof ValueType];

/** A parameter or a variable of a function: its place in the list of locals. */
export type Local = number & { readonly __brand: 'Local' };

/** SIMD opcodes follow a prefix and are LEB128 themselves: 0x8d is [0x8d, 0x01]. */
const OPS = {
  'i32.eqz': [0x45],
  'i32.ne': [0x47],
  'i32.lt_u': [0x49],
  'i32.ge_u': [0x4f],
  'i32.add': [0x6a],
  'i32.sub': [0x6b],
  'i32.and': [0x71],
  'i32.or': [0x72],
  'i32.xor': [0x73],
  'i32.shl': [0x74],
  'i32.shr_u': [0x76],
  'i32.wrap_i64': [0xa7],
  'i64.ne': [0x52],
  'i64.add': [0x7c],
  'i64.and': [0x83],
  'i64.or': [0x84],
  'i64.xor': [0x85],
  'i64.shl': [0x86],
  'i64.shr_u': [0x88],
  'i64.extend_i32_s': [0xac],
  'i64.extend_i32_u': [0xad],
  'i8x16.swizzle': [0xfd, 0x0e],
  'i8x16.relaxed_swizzle': [0xfd, 0x80, 0x02],
  'i16x8.splat': [0xfd, 0x10],
  'i64x2.splat': [0xfd, 0x12],
  'i16x8.shr_u': [0xfd, 0x8d, 0x01],
  'i32x4.extadd_pairwise_i16x8_u': [0xfd, 0x7f],
  'i32x4.add': [0xfd, 0xae, 0x01],
  'i64x2.extend_low_i32x4_u': [0xfd, 0xc9, 0x01],
  'i64x2.extend_high_i32x4_u': [0xfd, 0xca, 0x01],
  'i64x2.add': [0xfd, 0xce, 0x01],
  'v128.and': [0xfd, 0x4e],
  'v128.xor': [0xfd, 0x51],
} as const;
export type Op = keyof typeof OPS;

const MEMORY_OPS = {
  'i32.load': [0x28],
  'i64.load': [0x29],
  'i32.load8_u': [0x2d],
  'i32.load16_u': [0x2f],
  'i64.store': [0x37],
  'i32.store16': [0x3b],
  'v128.load': [0xfd, 0x00],
  'v128.store': [0xfd, 0x0b],
} as const;
export type MemoryOp = keyof typeof MEMORY_OPS;

/** Unsigned LEB128. */
function leb(value: number): number[] {
  const out: number[] = [];
  let rest = value;
  do {
    const low = rest % 128;
    rest = Math.floor(rest / 128);
    out.push(rest > 0 ? low + 128 : low);
  } while (rest > 0);
  return out;
}

/** Signed LEB128 of a 32-bit number. */
function signedLeb(value: number): number[] {
  const out: number[] = [];
  let rest = value | 0;
  for (;;) {
    const low = rest & 0x7f;
    rest >>= 7;
    const isLast = (rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0);
    out.push(isLast ? low : low | 0x80);
    if (isLast) return out;
  }
}

function vector(items: readonly Code[]): number[] {
  return [...leb(items.length), ...items.flat()];
}

function text(value: string): number[] {
  const bytes = [...new TextEncoder().encode(value)];
  return [...leb(bytes.length), ...bytes];
}

/** Several statements in a row. */
export function seq(...parts: readonly Code[]): Code {
  return parts.flat();
}

/** `operands` first, then the operation on them. */
export function op(name: Op, ...operands: readonly Code[]): Code {
  return [...operands.flat(), ...OPS[name]];
}

export function get(local: Local): Code {
  return [0x20, ...leb(local)];
}

export function set(local: Local, value: Code): Code {
  return [...value, 0x21, ...leb(local)];
}

export function i32(value: number): Code {
  return [0x41, ...signedLeb(value)];
}

/** The constant, sign-extended from 32 bits: -1 is all ones. */
export function i64(value: number): Code {
  return [0x42, ...signedLeb(value)];
}

/** A vector of 16 bytes, the first one at the lowest address. */
export function v128(bytes: readonly number[]): Code {
  return [0xfd, 0x0c, ...bytes];
}

/** Loads push a value; stores take one. `memory` is the order of the module's imports. */
export function load(name: MemoryOp, memory: number, address: Code, offset = 0): Code {
  return [...address, ...MEMORY_OPS[name], ...memoryArgument(memory, offset)];
}

export function store(
  name: MemoryOp,
  memory: number,
  address: Code,
  value: Code,
  offset = 0,
): Code {
  return [...address, ...value, ...MEMORY_OPS[name], ...memoryArgument(memory, offset)];
}

/** No alignment is promised. Bit 6 says that a memory index follows. */
function memoryArgument(memory: number, offset: number): number[] {
  return memory === 0 ? [0, ...leb(offset)] : [0x40, ...leb(memory), ...leb(offset)];
}

/** One lane of `vector`, as the scalar type of the operation. */
export function lane(name: 'i32x4.extract_lane' | 'i64x2.extract_lane', v: Code, at: number): Code {
  return [...v, 0xfd, name === 'i32x4.extract_lane' ? 0x1b : 0x1d, at];
}

/** `vector` with 64-bit lane 0 replaced. */
export function withLowLane(v: Code, value: Code): Code {
  return [...v, ...value, 0xfd, 0x1e, 0];
}

export function when(condition: Code, ...body: readonly Code[]): Code {
  return [...condition, 0x04, 0x40, ...body.flat(), 0x0b];
}

/** `while (condition) { body }`, tested once before the loop and then at its end. */
export function loopWhile(condition: Code, ...body: readonly Code[]): Code {
  return when(condition, [0x03, 0x40], ...body, condition, [0x0d, 0x00], [0x0b]);
}

export function returnValue(value: Code): Code {
  return [...value, 0x0f];
}

/** A function of the module. Parameters come first among its locals. */
export class WasmFunction {
  readonly name: string;
  readonly params: readonly ValueType[];
  readonly result: ValueType | null;
  readonly isExported: boolean;
  readonly #locals: ValueType[] = [];
  body: Code = [];

  constructor(
    name: string,
    params: readonly ValueType[],
    result: ValueType | null,
    isExported = true,
  ) {
    this.name = name;
    this.params = params;
    this.result = result;
    this.isExported = isExported;
  }

  param(index: number): Local {
    return index as Local;
  }

  local(type: ValueType): Local {
    this.#locals.push(type);
    return (this.params.length + this.#locals.length - 1) as Local;
  }

  /** `type` of the signature: its own entry in the table of types. */
  get type(): Code {
    const results = this.result === null ? [] : [[this.result]];
    return [0x60, ...vector(this.params.map((param) => [param])), ...vector(results)];
  }

  get code(): Code {
    const locals = vector(this.#locals.map((type) => [1, type]));
    const bytes = [...locals, ...this.body, 0x0b];
    return [...leb(bytes.length), ...bytes];
  }
}

export interface MemoryImport {
  readonly name: string;
  readonly isShared: boolean;
  /** 64 KiB pages; a shared memory always has a maximum. */
  readonly pagesMax: number;
}

/** A module over imported memories ('m', name), with the functions that were added. */
export class WasmModuleCode {
  readonly #memories: readonly MemoryImport[];
  readonly #functions: WasmFunction[] = [];

  constructor(memories: readonly MemoryImport[]) {
    this.#memories = memories;
  }

  add(fn: WasmFunction): WasmFunction {
    this.#functions.push(fn);
    return fn;
  }

  call(fn: WasmFunction, ...operands: readonly Code[]): Code {
    return [...operands.flat(), 0x10, ...leb(this.#functions.indexOf(fn))];
  }

  bytes(): Uint8Array<ArrayBuffer> {
    const functions = this.#functions;
    const imports = this.#memories.map(({ name, isShared, pagesMax }) => {
      const limits = [isShared ? 0x03 : 0x01, ...leb(0), ...leb(pagesMax)];
      return [...text('m'), ...text(name), 0x02, ...limits];
    });
    const exports = functions.flatMap((fn, index) =>
      fn.isExported ? [[...text(fn.name), 0x00, ...leb(index)]] : [],
    );
    return new Uint8Array([
      ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      ...section(1, vector(functions.map((fn) => fn.type))),
      ...section(2, vector(imports)),
      ...section(3, vector(functions.map((_, index) => leb(index)))),
      ...section(7, vector(exports)),
      ...section(10, vector(functions.map((fn) => fn.code))),
    ]);
  }
}

function section(id: number, body: readonly number[]): number[] {
  return [id, ...leb(body.length), ...body];
}
