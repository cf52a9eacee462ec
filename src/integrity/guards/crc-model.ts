// What the two checksums are, bit by bit, and everything that is derived from it: the tables of the
// scalar kernels and of the SIMD fold. Made once, on first use.

/** A cyclic redundancy check, defined by what one bit does to the state. */
export interface CrcModel {
  /** Width of the state: 16 or 64. */
  readonly bits: 16 | 64;
  /** Without its highest term; in reverse for a check whose first bit is the lowest of a byte. */
  readonly polynomial: bigint;
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

/** The state after eight more zero bits. */
function shiftByte(model: CrcModel, state: bigint): bigint {
  let next = state;
  for (let bit = 0; bit < 8; bit++) {
    if (model.isReflected) {
      next = (next & 1n) !== 0n ? (next >> 1n) ^ model.polynomial : next >> 1n;
    } else {
      next <<= 1n;
      if (next >> BigInt(model.bits) !== 0n) next ^= (1n << BigInt(model.bits)) | model.polynomial;
    }
  }
  return next;
}

/** What one byte leaves, by its value. */
function byteTable(model: CrcModel): bigint[] {
  const shift = model.isReflected ? 0n : BigInt(model.bits - 8);
  return Array.from({ length: 256 }, (_, byte) => shiftByte(model, BigInt(byte) << shift));
}

/** The state after one more zero byte, by a table. */
function appendZero(model: CrcModel, table: readonly bigint[], state: bigint): bigint {
  if (model.isReflected) return (state >> 8n) ^ (table[Number(state & 0xffn)] as bigint);
  const top = BigInt(model.bits - 8);
  const rest = state & ((1n << top) - 1n);
  return (rest << 8n) ^ (table[Number(state >> top)] as bigint);
}

/**
 * Entry `slice * 256 + byte`: what `byte` followed by `slice` zero bytes leaves. A state is XORed
 * into the first bytes of the message, so sixteen bytes are sixteen look-ups.
 */
export function sliceTable(model: CrcModel): bigint[] {
  const bytes = byteTable(model);
  const table = [...bytes];
  for (let i = 256; i < SLICES * 256; i++) {
    table.push(appendZero(model, bytes, table[i - 256] as bigint));
  }
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
  const lanes = laneSolver(near);
  const out = new Uint8Array(rows * 2 * rows * LANES);
  for (let row = 0; row < rows; row++) {
    const ofBit = far.slice(row * 8, row * 8 + 8).map(lanes);
    for (let half = 0; half < 2; half++) {
      for (let nibble = 0; nibble < 16; nibble++) {
        let lane = 0n;
        for (let bit = 0; bit < 4; bit++) {
          if ((nibble & (1 << bit)) !== 0) lane ^= ofBit[half * 4 + bit] as bigint;
        }
        for (let to = 0; to < rows; to++) {
          const at = ((row * 2 + half) * rows + to) * LANES + nibble;
          out[at] = Number((lane >> BigInt(8 * to)) & 0xffn);
        }
      }
    }
  }
  return out;
}

/** What bit b of row r leaves, at [8 * r + b]: inside the last block, and one block before it. */
function rowStates(model: CrcModel, rows: number): { near: bigint[]; far: bigint[] } {
  const bytes = byteTable(model);
  const near = new Array<bigint>(rows * 8);
  const far = new Array<bigint>(rows * 8);
  for (let bit = 0; bit < 8; bit++) {
    let state = bytes[1 << bit] as bigint;
    for (let zeros = 0; zeros < 2 * rows * LANES; zeros++) {
      if (zeros % LANES === 0) {
        const back = zeros / LANES;
        const row = rows - 1 - (back % rows);
        (back < rows ? near : far)[8 * row + bit] = state;
      }
      state = appendZero(model, bytes, state);
    }
  }
  return { near, far };
}

/** Gives for a state the one lane that leaves it: row r is byte r of the number. */
function laneSolver(near: readonly bigint[]): (state: bigint) => bigint {
  // Each entry: a state whose highest bit no other entry has, and the lane that leaves it.
  const entries: { readonly state: bigint; readonly lane: bigint }[] = [];
  const reduce = (start: bigint, startLane: bigint): { state: bigint; lane: bigint } => {
    let [state, lane] = [start, startLane];
    for (const entry of entries) {
      if ((state ^ entry.state) < state) {
        state ^= entry.state;
        lane ^= entry.lane;
      }
    }
    return { state, lane };
  };
  for (const [bit, state] of near.entries()) {
    const entry = reduce(state, 1n << BigInt(bit));
    if (entry.state === 0n) throw new Error('fold: two lanes leave the same state');
    entries.push(entry);
    entries.sort((a, b) => (a.state > b.state ? -1 : 1));
  }
  return (state) => reduce(state, 0n).lane;
}
