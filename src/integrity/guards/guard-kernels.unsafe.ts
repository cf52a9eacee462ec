import { assert } from '../../base/assert.ts';
import type { SharedMemory } from '../../memory/kernels.unsafe.ts';
import { pageExists, type Region, regionOf } from '../../memory/region.unsafe.ts';
import { TABLES } from './crc-wasm.ts';
import {
  type GuardKind,
  guardModuleBytes,
  relaxedProbeBytes,
  writeTables,
} from './guard-module.ts';

// The compiled modules of the guards, one for each kind that is used, and their instances: one for
// each ordered pair of memories, data and metadata, that ever met.

/**
 * Kernels of one kind of guard. Data in one memory, metadata in another or the same; bytes and
 * places unsigned, below 2^32.
 */
export interface GuardKernels {
  /**
   * Over data. crc16: the state in and out. crc64: the state is in `stateWords`; gives 0. ip: gives
   * the sum of at most IP_BYTES_MAX, whatever `state` is.
   */
  piece(at: number, bytes: number, state: number): number;
  fill: FillTuples;
  check: CheckTuples;
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

/** The page that all modules import: their tables, a state, and room to work in. */
let tables: WebAssembly.Memory | null = null;
let words: Int32Array | null = null;
/** The host had no address space for that page: guards are made in plain code from then on. */
let isRefused = false;

/** null: refused. For one page too, an engine reserves 8 to 10 GiB of address space. */
function tableMemory(): WebAssembly.Memory | null {
  if (tables !== null || isRefused) return tables;
  try {
    tables = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  } catch (error) {
    // What `ulimit -v` leaves was enough for the arena and is not for a page more: no reason to
    // fail, and none to ask again for every guard.
    if (!(error instanceof RangeError)) throw error;
    isRefused = true;
  }
  return tables;
}

/**
 * Where a CRC64 state goes into a kernel and comes back: its lower and its upper 32 bits.
 * Pre: there are kernels.
 */
export function stateWords(): Int32Array {
  if (words === null) {
    const memory = tableMemory();
    assert(memory !== null, 'guard: a state without its memory');
    words = new Int32Array(memory.buffer, TABLES.state, 2);
  }
  return words;
}

const modules: Partial<Record<GuardKind, WebAssembly.Module>> = {};

/** Made on the first use of the kind, with its tables. */
function moduleOf(kind: GuardKind, memory: WebAssembly.Memory): WebAssembly.Module {
  const known = modules[kind];
  if (known !== undefined) return known;
  writeTables(kind, new Uint8Array(memory.buffer));
  // Relaxed look-ups are one instruction less on x86. Nibbles never leave the table, so both forms
  // give the same.
  const made = compile(kind, hasRelaxedSwizzle() ? 'relaxed' : 'plain');
  modules[kind] = made;
  return made;
}

let isRelaxed: boolean | null = null;

function hasRelaxedSwizzle(): boolean {
  isRelaxed ??= WebAssembly.validate(relaxedProbeBytes());
  return isRelaxed;
}

function compile(kind: GuardKind, swizzle: 'relaxed' | 'plain'): WebAssembly.Module {
  return new WebAssembly.Module(
    guardModuleBytes(kind, swizzle === 'plain' ? 'i8x16.swizzle' : 'i8x16.relaxed_swizzle'),
  );
}

/**
 * Kernels over two memories with the look-up asked for, apart from the pairs: for tests. null: this
 * engine has no relaxed SIMD, or the host no address space.
 */
export function instantiateGuards(
  kind: GuardKind,
  data: SharedMemory,
  metadata: SharedMemory,
  swizzle: 'relaxed' | 'plain',
): GuardKernels | null {
  if (swizzle === 'relaxed' && !hasRelaxedSwizzle()) return null;
  const memory = tableMemory();
  if (memory === null) return null;
  writeTables(kind, new Uint8Array(memory.buffer));
  return instantiate(compile(kind, swizzle), memory, data, metadata);
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
  readonly kind: GuardKind;
  readonly data: Region;
  readonly metadata: Region;
  readonly kernels: GuardKernels;
}

const pairs: Pair[] = [];
let lastPair: Pair | null = null;

/**
 * Kernels for data in one region and metadata in the other; null when one is adopted memory, or the
 * host refused the memory of the tables.
 */
export function guardKernelsFor(
  kind: GuardKind,
  data: Region,
  metadata: Region,
): GuardKernels | null {
  const last = lastPair;
  if (last !== null && last.data === data && last.metadata === metadata && last.kind === kind) {
    return last.kernels;
  }
  if (data.memory === null || metadata.memory === null) return null;
  const memory = tableMemory();
  if (memory === null) return null;
  for (const pair of pairs) {
    if (pair.data !== data || pair.metadata !== metadata || pair.kind !== kind) continue;
    lastPair = pair;
    return pair.kernels;
  }
  // A new pair also is the time to forget those of regions that are gone.
  const living = pairs.filter((pair) => isLiving(pair.data) && isLiving(pair.metadata));
  pairs.length = 0;
  pairs.push(...living);
  const kernels = instantiate(moduleOf(kind, memory), memory, data.memory, metadata.memory);
  lastPair = { kind, data, metadata, kernels };
  pairs.push(lastPair);
  return kernels;
}

function isLiving(region: Region): boolean {
  return pageExists(region.firstPage) && regionOf(region.firstPage) === region;
}
