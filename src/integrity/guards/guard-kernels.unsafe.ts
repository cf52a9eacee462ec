import type { SharedMemory } from '../../memory/kernels.unsafe.ts';
import { pageExists, type Region, regionOf } from '../../memory/region.unsafe.ts';
import { TABLES } from './crc-wasm.ts';
import { guardModuleBytes, writeTables } from './guard-module.ts';

// The compiled module of the guards and its instances: one for each ordered pair of memories, data
// and metadata, that ever met.

/** Data in one memory, metadata in another or the same; bytes and places unsigned, below 2^32. */
export interface GuardKernels {
  /** Over data; the state in and out. */
  crc16(at: number, bytes: number, state: number): number;
  /** Over data; the state is in `stateWords`. */
  crc64(at: number, bytes: number): void;
  /** Over data, at most IP_BYTES_MAX. */
  ip(at: number, bytes: number): number;
  fillCrc16: FillTuples;
  fillCrc64: FillTuples;
  fillIp: FillTuples;
  checkCrc16: CheckTuples;
  checkCrc64: CheckTuples;
  checkIp: CheckTuples;
}

export type FillTuples = (
  dataAt: number,
  dataStride: number,
  intervalBytes: number,
  count: number,
  metaAt: number,
  metaStride: number,
  prefixBytes: number,
  appTag: number,
  refLow: number,
  refHigh: number,
  refStep: number,
) => void;

/** The first interval whose tuple is another one, or `count`. `refMask`: 0 or -1. */
export type CheckTuples = (
  ...parameters: [...Parameters<FillTuples>, appMask: number, refMask: number]
) => number;

interface Tables {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  /** State of CRC64: lower and upper 32 bits. */
  readonly stateWords: Int32Array;
  readonly swizzle: 'relaxed' | 'plain';
}

let tables: Tables | null = null;

function makeTables(): Tables {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  writeTables(new Uint8Array(memory.buffer));
  const stateWords = new Int32Array(memory.buffer, TABLES.state, 2);
  // Relaxed look-ups are one instruction less on x86. Nibbles never leave the table, so both forms
  // give the same.
  const relaxed = compile('relaxed');
  return {
    module: relaxed ?? (compile('plain') as WebAssembly.Module),
    memory,
    stateWords,
    swizzle: relaxed === null ? 'plain' : 'relaxed',
  };
}

/** null: this engine has no relaxed SIMD. */
function compile(swizzle: 'relaxed' | 'plain'): WebAssembly.Module | null {
  const bytes = guardModuleBytes(swizzle === 'plain' ? 'i8x16.swizzle' : 'i8x16.relaxed_swizzle');
  try {
    return new WebAssembly.Module(bytes);
  } catch (error) {
    if (swizzle === 'plain') throw error;
    return null;
  }
}

/** The words through which a CRC64 state goes into a kernel and comes back. */
export function stateWords(): Int32Array {
  tables ??= makeTables();
  return tables.stateWords;
}

/** Kernels over two memories with the look-up asked for, apart from the pairs: for tests. */
export function instantiateGuards(
  data: SharedMemory,
  metadata: SharedMemory,
  swizzle: 'relaxed' | 'plain',
): GuardKernels | null {
  tables ??= makeTables();
  const module = swizzle === tables.swizzle ? tables.module : compile(swizzle);
  return module === null ? null : instantiate(module, tables.memory, data, metadata);
}

function instantiate(
  module: WebAssembly.Module,
  t: WebAssembly.Memory,
  d: SharedMemory,
  p: SharedMemory,
): GuardKernels {
  const instance = new WebAssembly.Instance(module, {
    m: { t, d: d as WebAssembly.Memory, p: p as WebAssembly.Memory },
  });
  return instance.exports as unknown as GuardKernels;
}

interface Pair {
  readonly data: Region;
  readonly metadata: Region;
  readonly kernels: GuardKernels;
}

const pairs: Pair[] = [];
let lastPair: Pair | null = null;

/** Kernels for data in one region and metadata in the other; null when one is adopted memory. */
export function guardKernelsFor(data: Region, metadata: Region): GuardKernels | null {
  if (lastPair !== null && lastPair.data === data && lastPair.metadata === metadata) {
    return lastPair.kernels;
  }
  if (data.memory === null || metadata.memory === null) return null;
  for (const pair of pairs) {
    if (pair.data !== data || pair.metadata !== metadata) continue;
    lastPair = pair;
    return pair.kernels;
  }
  return addPair(data, metadata, data.memory, metadata.memory);
}

/** A new pair also is the time to forget those of regions that are gone. */
function addPair(data: Region, metadata: Region, d: SharedMemory, p: SharedMemory): GuardKernels {
  tables ??= makeTables();
  const living = pairs.filter((pair) => isLiving(pair.data) && isLiving(pair.metadata));
  pairs.length = 0;
  pairs.push(...living);
  const kernels = instantiate(tables.module, tables.memory, d, p);
  lastPair = { data, metadata, kernels };
  pairs.push(lastPair);
  return kernels;
}

function isLiving(region: Region): boolean {
  return pageExists(region.firstPage) && regionOf(region.firstPage) === region;
}
