import { assert } from '../../base/assert.ts';

// What the two checksums are, bit by bit, and everything that is derived from it: the tables of the
// scalar kernels and of the SIMD fold. Made on first use, so on plain numbers: a state of 64 bits
// is two of 32 (with BigInt the same tables take five times as long).

/** A cyclic redundancy check, defined by what one bit does to the state. */
export interface CrcModel {
  /** Width of the state: 16 or 64. */
  readonly bits: 16 | 64;
  /** Without its highest term; in reverse for a check whose first bit is the lowest of a byte. */
  readonly polynomial: bigint;
  /** False for 16 bits only. */
  readonly isReflected: boolean;
}

/** CRC16 T10-DIF: most significant bit first, no start value, no complement. */
export const CRC16_T10: CrcModel = { bits: 16, polynomial: 0x8bb7n, isReflected: false };

/**
 * CRC64 NVMe: polynomial 0xAD93D23594C93659, least significant bit first. Start value and final
 * complement are all ones; who runs the state adds them.
 */
export const CRC64_NVME: CrcModel = {
  bits: 64,
  polynomial: 0x9a6c9329ac4bc9b5n,
  isReflected: true,
};

/** Bytes that a scalar kernel takes at a time, one table each. */
export const SLICES = 16;
/** Bytes of a vector: those of a message that lie in one row. */
export const LANES = 16;

/** States, or other numbers of up to 64 bits: the lower 32 of each and those above, signed. */
export interface Words {
  readonly low: Int32Array;
  readonly high: Int32Array;
}

function words(count: number): Words {
  return { low: new Int32Array(count), high: new Int32Array(count) };
}

/** What one byte leaves, by its value: for each bit by definition, for more bits their sum. */
function byteTable(model: CrcModel): Words {
  assert(model.isReflected || model.bits === 16, 'crc model: 64 bits, highest first');
  const table = words(256);
  const { low, high } = table;
  const polynomialLow = Number(BigInt.asIntN(32, model.polynomial));
  const polynomialHigh = Number(BigInt.asIntN(32, model.polynomial >> 32n));
  for (let byte = 1; byte < 256; byte *= 2) {
    let lo = model.isReflected ? byte : byte << 8;
    let hi = 0;
    for (let bit = 0; bit < 8; bit++) {
      const isOut = (lo & (model.isReflected ? 1 : 0x8000)) !== 0;
      lo = model.isReflected ? (lo >>> 1) | (hi << 31) : (lo << 1) & 0xffff;
      hi >>>= 1;
      if (!isOut) continue;
      lo ^= polynomialLow;
      hi ^= polynomialHigh;
    }
    low[byte] = lo;
    high[byte] = hi;
  }
  addUp(low, 256);
  addUp(high, 256);
  return table;
}

/** Fills in from the entries of 1, 2, 4, …: each is the sum of those of its bits. */
function addUp(table: Int32Array, count: number): void {
  for (let i = 1; i < count; i++) {
    const rest = i & (i - 1);
    if (rest !== 0) table[i] = (table[rest] as number) ^ (table[i ^ rest] as number);
  }
}

/** Entry `to` becomes the state of entry `from` after one more zero byte. */
function appendZero(model: CrcModel, bytes: Words, states: Words, from: number, to: number): void {
  const lo = states.low[from] as number;
  const hi = states.high[from] as number;
  const out = model.isReflected ? lo & 0xff : lo >>> 8;
  const rest = model.isReflected ? (lo >>> 8) | (hi << 24) : (lo & 0xff) << 8;
  states.low[to] = rest ^ (bytes.low[out] as number);
  states.high[to] = (hi >>> 8) ^ (bytes.high[out] as number);
}

/**
 * Entry `slice * 256 + byte`: what `byte` followed by `slice` zero bytes leaves. A state is XORed
 * into the first bytes of the message, so sixteen bytes are sixteen look-ups.
 */
export function sliceTable(model: CrcModel): Words {
  const bytes = byteTable(model);
  const table = words(SLICES * 256);
  table.low.set(bytes.low);
  table.high.set(bytes.high);
  for (let i = 256; i < SLICES * 256; i++) appendZero(model, bytes, table, i - 256, i);
  return table;
}

/**
 * The table of the SIMD fold.
 *
 * A block is `rows` = bits / 8 vectors of 16 bytes. Lane i of a block, read downwards, is a message
 * of its own: its bytes, each with the bytes that stand between them as zeros. A lane has as many
 * bits as a state, and with rows 16 bytes apart every state is what exactly one lane leaves (a test
 * shows it). So "this lane, one block further from the end" is again a lane. The fold gives it, one
 * look-up for each nibble that goes in and each byte that comes out; XORed into the next block it
 * stands for everything before.
 *
 * Entry ((rowIn * 2 + half) * rows + rowOut) * 16 + nibble: what the low (half 0) or high nibble of
 * row `rowIn` adds to row `rowOut`.
 */
export function foldTable(model: CrcModel): Uint8Array<ArrayBuffer> {
  const rows = model.bits / 8;
  const { near, far } = rowStates(model, rows);
  const solver = new LaneSolver(near);
  const out = new Uint8Array(rows * 2 * rows * LANES);
  const { low, high } = words(16);
  for (let part = 0; part < 2 * rows; part++) {
    // Bits of row `part / 2`, the lower or the upper four.
    for (let bit = 0; bit < 4; bit++) {
      const at = 4 * part + bit;
      solver.solve(far.low[at] as number, far.high[at] as number);
      low[1 << bit] = solver.laneLow;
      high[1 << bit] = solver.laneHigh;
    }
    addUp(low, 16);
    addUp(high, 16);
    for (let to = 0; to < rows; to++) {
      const half = to < 4 ? low : high;
      const at = (part * rows + to) * LANES;
      for (let nibble = 0; nibble < 16; nibble++) {
        out[at + nibble] = (half[nibble] as number) >>> (8 * (to % 4));
      }
    }
  }
  return out;
}

/** What bit b of row r leaves, at [8 * r + b]: inside the last block, and one block before it. */
function rowStates(model: CrcModel, rows: number): { near: Words; far: Words } {
  const bytes = byteTable(model);
  const [near, far] = [words(rows * 8), words(rows * 8)];
  const behind = words(2 * rows * LANES + 1);
  for (let bit = 0; bit < 8; bit++) {
    behind.low[0] = bytes.low[1 << bit] as number;
    behind.high[0] = bytes.high[1 << bit] as number;
    for (let zeros = 0; zeros < 2 * rows * LANES; zeros++) {
      if (zeros % LANES === 0) {
        const back = zeros / LANES;
        const to = back < rows ? near : far;
        const at = 8 * (rows - 1 - (back % rows)) + bit;
        to.low[at] = behind.low[zeros] as number;
        to.high[at] = behind.high[zeros] as number;
      }
      appendZero(model, bytes, behind, zeros, zeros + 1);
    }
  }
  return { near, far };
}

/** Gives for a state the one lane that leaves it: row r is byte r of the lane. */
class LaneSolver {
  // Row = highest bit of a state. No two states that are kept have the same one.
  readonly #isKnown = new Uint8Array(64);
  readonly #states = words(64);
  readonly #lanes = words(64);
  /** The lane that was found, or of the part of the state that is known. */
  laneLow = 0;
  laneHigh = 0;
  /** What of the state is not known. */
  #restLow = 0;
  #restHigh = 0;

  /** `near`: what each bit of a lane leaves. */
  constructor(near: Words) {
    for (let bit = 0; bit < near.low.length; bit++) {
      this.#reduce(near.low[bit] as number, near.high[bit] as number);
      if (this.#isDone) throw new Error('fold: two lanes leave the same state');
      const row = this.#highestBit;
      this.#isKnown[row] = 1;
      this.#states.low[row] = this.#restLow;
      this.#states.high[row] = this.#restHigh;
      this.#lanes.low[row] = this.laneLow ^ (bit < 32 ? 1 << bit : 0);
      this.#lanes.high[row] = this.laneHigh ^ (bit < 32 ? 0 : 1 << (bit - 32));
    }
  }

  /** Sets `laneLow` and `laneHigh`. */
  solve(low: number, high: number): void {
    this.#reduce(low, high);
    assert(this.#isDone, 'fold: a state that no lane leaves');
  }

  get #isDone(): boolean {
    return (this.#restLow | this.#restHigh) === 0;
  }

  get #highestBit(): number {
    if (this.#restHigh !== 0) return 63 - Math.clz32(this.#restHigh);
    return 31 - Math.clz32(this.#restLow);
  }

  #reduce(low: number, high: number): void {
    this.#restLow = low;
    this.#restHigh = high;
    this.laneLow = 0;
    this.laneHigh = 0;
    while (!this.#isDone) {
      const row = this.#highestBit;
      if (this.#isKnown[row] === 0) return;
      this.#restLow ^= this.#states.low[row] as number;
      this.#restHigh ^= this.#states.high[row] as number;
      this.laneLow ^= this.#lanes.low[row] as number;
      this.laneHigh ^= this.#lanes.high[row] as number;
    }
  }
}
