import { assert } from '../../base/assert.ts';
import type { Region } from '../../memory/region.unsafe.ts';
import { type Csum, TUPLE_BYTES } from '../integrity-profile.ts';
import {
  appTagStart,
  highBits,
  isGuard,
  isRef,
  lowBits,
  read16,
  writeGuard,
  writeTags,
} from '../tuple.ts';
import { guardKernelsFor, stateWords } from './guard-kernels.unsafe.ts';
import type { GuardRun } from './guard-run.ts';
import { addIpSum, GuardState, swap16 } from './guard-state.ts';
import { IP_BYTES_MAX } from './ip-wasm.ts';
import { crc16Sliced, crc64Sliced, ipSumSliced } from './sliced.ts';

// One guard over bytes in page frames, in pieces or in runs of whole intervals. Which way it is
// computed is decided once for a piece or a run: WebAssembly on the memory of the region, or plain
// TypeScript for adopted memory. Both give the same.

/** Moves `state` over `bytes` more bytes of `region`. Linux: crc_t10dif_update(), crc64_nvme(). */
export function updateGuard(
  csum: Csum,
  state: GuardState,
  region: Region,
  at: number,
  bytes: number,
): void {
  assert(at + bytes <= region.u8.length, 'guard: outside its region');
  if (csum === 'none') return;
  const kernels = guardKernelsFor(csum, region, region);
  if (kernels === null) {
    updateInPlainCode(csum, state, region.u8, at, bytes);
    return;
  }
  if (csum === 'crc16') {
    state.low = swap16(kernels.piece(at, bytes, swap16(state.low)));
  } else if (csum === 'crc64') {
    const words = stateWords();
    words[0] = state.low;
    words[1] = state.high;
    kernels.piece(at, bytes, 0);
    state.low = words[0];
    state.high = words[1];
  } else {
    for (let done = 0; done < bytes; done += IP_BYTES_MAX) {
      const piece = bytes - done < IP_BYTES_MAX ? bytes - done : IP_BYTES_MAX;
      addIpSum(state, kernels.piece(at + done, piece, 0), piece);
    }
  }
}

/** The same over any bytes, without WebAssembly. */
export function updateInPlainCode(
  csum: Csum,
  state: GuardState,
  u8: Uint8Array,
  at: number,
  bytes: number,
): void {
  if (csum === 'crc16') state.low = crc16Sliced(u8, at, bytes, state.low);
  else if (csum === 'crc64') crc64Sliced(u8, at, bytes, state);
  else if (csum === 'ip') addIpSum(state, ipSumSliced(u8, at, bytes), bytes);
}

/** Turns the state after the last byte into the guard: its bytes from the highest to the lowest. */
export function finishGuard(csum: Csum, state: GuardState): void {
  if (csum === 'ip') {
    state.low = swap16(state.low ^ 0xffff);
    state.high = 0;
  }
}

/** Writes the tuples of a run: guard, app tag, ref tag. */
export function fillTuples(csum: Csum, run: GuardRun): void {
  const { data, metadata, dataAt, dataStride, intervalBytes, count } = run;
  const { metadataAt, metadataStride, prefixBytes, appTag, block, refStep } = run;
  assert(data !== null && metadata !== null, 'guard: a run without memory');
  assert(csum !== 'none', 'guard: a run without guards');
  checkBounds(csum, run, data, metadata);
  const kernels = guardKernelsFor(csum, data, metadata);
  if (kernels === null) {
    fillOneByOne(csum, run);
    return;
  }
  kernels.fill(
    dataAt,
    dataStride,
    intervalBytes,
    count,
    metadataAt,
    metadataStride,
    prefixBytes,
    appTag,
    lowBits(block),
    highBits(block),
    refStep,
  );
}

/**
 * The first interval from `from` on whose tuple is another one than it should be, or `run.count`.
 * The guard is always compared; an escape is a tuple like others here.
 */
export function firstBadTuple(csum: Csum, run: GuardRun, from: number): number {
  const { data, metadata, dataStride, metadataStride, count } = run;
  assert(data !== null && metadata !== null, 'guard: a run without memory');
  assert(csum !== 'none', 'guard: a run without guards');
  assert(from <= count, 'guard: outside its run');
  checkBounds(csum, run, data, metadata);
  const kernels = guardKernelsFor(csum, data, metadata);
  if (kernels === null) return firstBadOneByOne(csum, run, from);
  const block = run.block + run.refStep * from;
  const good = kernels.check(
    run.dataAt + from * dataStride,
    dataStride,
    run.intervalBytes,
    count - from,
    run.metadataAt + from * metadataStride,
    metadataStride,
    run.prefixBytes,
    run.appTag,
    lowBits(block),
    highBits(block),
    run.refStep,
    run.appMask,
    run.checksRef ? -1 : 0,
  );
  return from + good;
}

function checkBounds(csum: Csum, run: GuardRun, data: Region, metadata: Region): void {
  const last = run.count - 1;
  assert(last >= 0, 'guard: an empty run');
  const dataEnd = run.dataAt + last * run.dataStride + run.intervalBytes;
  const record = run.metadataAt + last * run.metadataStride;
  const metadataEnd = record + run.prefixBytes + TUPLE_BYTES[csum];
  assert(dataEnd <= data.u8.length, 'guard: data outside its region');
  assert(metadataEnd <= metadata.u8.length, 'guard: metadata outside its region');
}

/** The guard of interval `index` of a run, in `state`. */
export function guardOfInterval(csum: Csum, run: GuardRun, index: number, state: GuardState): void {
  const { data, metadata, intervalBytes, prefixBytes } = run;
  assert(data !== null && metadata !== null, 'guard: a run without memory');
  const at = run.dataAt + index * run.dataStride;
  state.reset();
  updateGuard(csum, state, data, at, intervalBytes);
  if (prefixBytes > 0) {
    updateGuard(csum, state, metadata, run.metadataAt + index * run.metadataStride, prefixBytes);
  }
  finishGuard(csum, state);
}

const guard = new GuardState();

function fillOneByOne(csum: Csum, run: GuardRun): void {
  const { u8 } = run.metadata as Region;
  for (let i = 0; i < run.count; i++) {
    const at = run.metadataAt + i * run.metadataStride + run.prefixBytes;
    guardOfInterval(csum, run, i, guard);
    writeGuard(csum, u8, at, guard);
    writeTags(csum, u8, at, run.appTag, run.block + run.refStep * i);
  }
}

function firstBadOneByOne(csum: Csum, run: GuardRun, from: number): number {
  const { u8 } = run.metadata as Region;
  for (let i = from; i < run.count; i++) {
    const at = run.metadataAt + i * run.metadataStride + run.prefixBytes;
    if (run.checksRef && !isRef(csum, u8, at, run.block + run.refStep * i)) return i;
    const app = read16(u8, at + appTagStart(csum));
    if (((app ^ run.appTag) & run.appMask) !== 0) return i;
    guardOfInterval(csum, run, i, guard);
    if (!isGuard(csum, u8, at, guard)) return i;
  }
  return run.count;
}
