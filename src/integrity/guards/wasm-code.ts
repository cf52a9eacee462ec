// A small assembler for WebAssembly: expressions are written as trees, in the words of the text
// format, and become the bytes of a module. `op('i32.add', get(a), i32(4))` is
// `(i32.add (local.get $a) (i32.const 4))`. Nothing is checked here: the engine validates the
// module when it is compiled, and the tests of the kernels run it.

/**
 * The bytes of an expression or a statement, one character (0 to 255) for each. The engine joins
 * strings by reference and writes them out once, at the end: with arrays, every level of a tree
 * copied those below it, and the kernels took three times as long to make.
 */
export type Code = string;

export const ValueType = { I32: 0x7f, I64: 0x7e, V128: 0x7b } as const;
export type ValueType = (typeof ValueType)[keyof typeof ValueType];

/** A parameter or a variable of a function: its place in the list of locals. */
export type Local = number & { readonly __brand: 'Local' };

/** SIMD opcodes follow a prefix and are LEB128 themselves: 0x8d is [0x8d, 0x01]. */
const OPS = {
  'i32.eqz': '\x45',
  'i32.ne': '\x47',
  'i32.lt_u': '\x49',
  'i32.ge_u': '\x4f',
  'i32.add': '\x6a',
  'i32.sub': '\x6b',
  'i32.and': '\x71',
  'i32.or': '\x72',
  'i32.xor': '\x73',
  'i32.shl': '\x74',
  'i32.shr_u': '\x76',
  'i32.wrap_i64': '\xa7',
  'i64.ne': '\x52',
  'i64.add': '\x7c',
  'i64.and': '\x83',
  'i64.or': '\x84',
  'i64.xor': '\x85',
  'i64.shl': '\x86',
  'i64.shr_u': '\x88',
  'i64.extend_i32_s': '\xac',
  'i64.extend_i32_u': '\xad',
  'i8x16.swizzle': '\xfd\x0e',
  'i8x16.relaxed_swizzle': '\xfd\x80\x02',
  'i16x8.splat': '\xfd\x10',
  'i64x2.splat': '\xfd\x12',
  'i16x8.shr_u': '\xfd\x8d\x01',
  'i32x4.extadd_pairwise_i16x8_u': '\xfd\x7f',
  'i32x4.add': '\xfd\xae\x01',
  'i64x2.extend_low_i32x4_u': '\xfd\xc9\x01',
  'i64x2.extend_high_i32x4_u': '\xfd\xca\x01',
  'i64x2.add': '\xfd\xce\x01',
  'v128.and': '\xfd\x4e',
  'v128.xor': '\xfd\x51',
} as const;
export type Op = keyof typeof OPS;

const MEMORY_OPS = {
  'i32.load': '\x28',
  'i64.load': '\x29',
  'i32.load8_u': '\x2d',
  'i32.load16_u': '\x2f',
  'i64.store': '\x37',
  'i32.store16': '\x3b',
  'v128.load': '\xfd\x00',
  'v128.store': '\xfd\x0b',
} as const;
export type MemoryOp = keyof typeof MEMORY_OPS;

/** The bytes as characters. */
const bytes = String.fromCharCode;

/** Unsigned LEB128. */
function leb(value: number): Code {
  let out = '';
  let rest = value;
  while (rest >= 128) {
    out += bytes((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  return out + bytes(rest);
}

/** Signed LEB128 of a 32-bit number. */
function signedLeb(value: number): Code {
  let out = '';
  let rest = value | 0;
  for (;;) {
    const low = rest & 0x7f;
    rest >>= 7;
    const isLast = (rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0);
    out += bytes(isLast ? low : low | 0x80);
    if (isLast) return out;
  }
}

/** In order; not `join('')`, which copies. */
function all(parts: readonly Code[]): Code {
  let out = '';
  for (const part of parts) out += part;
  return out;
}

function vector(items: readonly Code[]): Code {
  return leb(items.length) + all(items);
}

/** A name: letters, digits, dots. */
function text(value: string): Code {
  return leb(value.length) + value;
}

/** Several statements in a row. */
export function seq(...parts: readonly Code[]): Code {
  return all(parts);
}

/** `operands` first, then the operation on them. */
export function op(name: Op, ...operands: readonly Code[]): Code {
  return all(operands) + OPS[name];
}

export function get(local: Local): Code {
  return `\x20${leb(local)}`;
}

export function set(local: Local, value: Code): Code {
  return `${value}\x21${leb(local)}`;
}

export function i32(value: number): Code {
  return `\x41${signedLeb(value)}`;
}

/** The constant, sign-extended from 32 bits: -1 is all ones. */
export function i64(value: number): Code {
  return `\x42${signedLeb(value)}`;
}

/** A vector of 16 bytes, the first one at the lowest address. */
export function v128(values: readonly number[]): Code {
  return `\xfd\x0c${bytes(...values)}`;
}

/** Loads push a value; stores take one. `memory` is the order of the module's imports. */
export function load(name: MemoryOp, memory: number, address: Code, offset = 0): Code {
  return address + MEMORY_OPS[name] + memoryArgument(memory, offset);
}

export function store(
  name: MemoryOp,
  memory: number,
  address: Code,
  value: Code,
  offset = 0,
): Code {
  return address + value + MEMORY_OPS[name] + memoryArgument(memory, offset);
}

/** No alignment is promised. Bit 6 says that a memory index follows. */
function memoryArgument(memory: number, offset: number): Code {
  return (memory === 0 ? '\x00' : `\x40${leb(memory)}`) + leb(offset);
}

/** One lane of `vector`, as the scalar type of the operation. */
export function lane(name: 'i32x4.extract_lane' | 'i64x2.extract_lane', v: Code, at: number): Code {
  return v + bytes(0xfd, name === 'i32x4.extract_lane' ? 0x1b : 0x1d, at);
}

/** `vector` with 64-bit lane 0 replaced. */
export function withLowLane(v: Code, value: Code): Code {
  return `${v}${value}\xfd\x1e\x00`;
}

export function when(condition: Code, ...body: readonly Code[]): Code {
  return `${condition}\x04\x40${all(body)}\x0b`;
}

/** `while (condition) { body }`, tested once before the loop and then at its end. */
export function loopWhile(condition: Code, ...body: readonly Code[]): Code {
  return when(condition, '\x03\x40', all(body), condition, '\x0d\x00', '\x0b');
}

export function returnValue(value: Code): Code {
  return `${value}\x0f`;
}

/** A function of the module. Parameters come first among its locals. */
export class WasmFunction {
  readonly name: string;
  readonly params: readonly ValueType[];
  readonly result: ValueType | null;
  readonly isExported: boolean;
  readonly #locals: ValueType[] = [];
  body: Code = '';

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
    const results = this.result === null ? [] : [bytes(this.result)];
    return `\x60${vector(this.params.map((param) => bytes(param)))}${vector(results)}`;
  }

  get code(): Code {
    const code = `${vector(this.#locals.map((type) => bytes(1, type)))}${this.body}\x0b`;
    return leb(code.length) + code;
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
    return `${all(operands)}\x10${leb(this.#functions.indexOf(fn))}`;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    const functions = this.#functions;
    const imports = this.#memories.map(({ name, isShared, pagesMax }) => {
      const limits = bytes(isShared ? 0x03 : 0x01) + leb(0) + leb(pagesMax);
      return `${text('m')}${text(name)}\x02${limits}`;
    });
    const exports = functions.flatMap((fn, index) =>
      fn.isExported ? [`${text(fn.name)}\x00${leb(index)}`] : [],
    );
    const code = seq(
      '\x00asm\x01\x00\x00\x00',
      section(1, vector(functions.map((fn) => fn.type))),
      section(2, vector(imports)),
      section(3, vector(functions.map((_, index) => leb(index)))),
      section(7, vector(exports)),
      section(10, vector(functions.map((fn) => fn.code))),
    );
    return Uint8Array.from(Buffer.from(code, 'latin1'));
  }
}

function section(id: number, body: Code): Code {
  return bytes(id) + leb(body.length) + body;
}
