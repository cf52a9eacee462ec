import { assert } from '../base/assert.ts';
import { BlockError } from '../base/block-error.ts';
import { formatSize, PAGE_BYTES, PAGE_SHIFT } from '../base/units.ts';
import { instantiateKernels, type Kernels, type SharedMemory } from './kernels.unsafe.ts';
import type { UserColumns } from './user/user-columns.ts';

// Row = one page frame of the region.      unit    invariant
//   head      Uint32   index   first frame of its folio; itself for order 0 and for free frames
//   order     Uint8    log2    of the folio, on its head only
//   state     Uint8    enum    FrameState, on heads only
//   refs      Int32    count   on the head; >= 0
//   pins      Int32    pages   on the head; >= 0; a pin of n pages of one folio counts n
//   flags     Uint8    bits    FrameFlag, on the head
//   next/prev Int32    index   free list of its order, or -1
//
// Frame numbers are global: region index * 2^20 + frame. A frame number is the physical address
// / 4096, so the first region's frame 3 lies at byte 3 * 4096 = 12288 of its memory.

export const REGION_SHIFT = 20;
/** 2^20 frames of 4 KiB: the 4 GiB that one WebAssembly memory can hold. */
export const REGION_FRAMES = 2 ** REGION_SHIFT;
export const REGION_BYTES_MAX = REGION_FRAMES * PAGE_BYTES;
/** Frame numbers are Uint32 in the columns, so there is room for 4096 regions. */
export const REGIONS_MAX = 4096;
const FRAME_MASK = REGION_FRAMES - 1;
const WASM_PAGE_BYTES = 65536;

export const FrameState = { ABSENT: 0, FREE: 1, USED: 2, ADOPTED: 3 } as const;
export type FrameState = (typeof FrameState)[keyof typeof FrameState];

export const FrameFlag = {
  DIRTY: 1,
  LOCKED: 2,
  WRITEBACK: 4,
  /** Anonymous memory of address spaces: no file behind it, swap is where it may go. */
  ANON: 8,
} as const;

const regions: (Region | null)[] = [];

/** One window of 2^20 frame numbers: a WebAssembly memory, or an adopted SharedArrayBuffer. */
export class Region {
  readonly index: number;
  /** Global number of frame 0. */
  readonly firstPage: number;
  readonly memory: SharedMemory | null;
  readonly framesMax: number;
  readonly head: Uint32Array;
  readonly order: Uint8Array;
  readonly state: Uint8Array;
  readonly refs: Int32Array;
  readonly pins: Int32Array;
  readonly flags: Uint8Array;
  readonly next: Int32Array;
  readonly prev: Int32Array;
  /** The whole memory. Renewed when the region grows: never keep it across an allocation. */
  u8: Uint8Array<SharedArrayBuffer>;
  frames: number;
  /** Called with the head frame when the last hold of a folio went. */
  onFree: ((head: number) => void) | null = null;
  /** Told when the window goes: a ring that keeps something for the region lets go of it. */
  readonly watchers = new Set<(region: Region) => void>();
  pinnedPages = 0;
  /** Adopted memory: frames with a hold. The window goes with the last. */
  heldFrames = 0;
  /** What address spaces know of the frames; null while no `UserMemory` lives here. */
  user: UserColumns | null = null;
  /** The zero page: pins and references never count on it. -1: none. */
  zeroFrame = -1;

  /** `rows`: framesMax, or 0 for storage, whose pages nobody holds (23 bytes a frame saved). */
  constructor(
    index: number,
    framesMax: number,
    memory: SharedMemory | SharedArrayBuffer,
    rows = framesMax,
  ) {
    this.index = index;
    this.firstPage = index * REGION_FRAMES;
    this.framesMax = framesMax;
    const adopted = memory instanceof SharedArrayBuffer;
    this.memory = adopted ? null : memory;
    this.u8 = new Uint8Array(adopted ? memory : (memory.buffer as SharedArrayBuffer));
    this.frames = adopted ? framesMax : this.u8.length / PAGE_BYTES;
    this.head = new Uint32Array(rows);
    this.order = new Uint8Array(rows);
    this.state = new Uint8Array(rows);
    this.refs = new Int32Array(rows);
    this.pins = new Int32Array(rows);
    this.flags = new Uint8Array(rows);
    this.next = new Int32Array(rows);
    this.prev = new Int32Array(rows);
    for (let i = 0; i < rows; i++) this.head[i] = i;
  }

  /** Makes at least `frames` frames present. False when the host refuses. */
  grow(frames: number): boolean {
    assert(this.memory !== null && frames <= this.framesMax, 'region: cannot grow that far');
    if (frames <= this.frames) return true;
    const delta = Math.ceil(((frames - this.frames) * PAGE_BYTES) / WASM_PAGE_BYTES);
    try {
      this.memory.grow(delta);
    } catch {
      return false;
    }
    this.u8 = new Uint8Array(this.memory.buffer as unknown as SharedArrayBuffer);
    this.frames = Math.min(this.u8.length / PAGE_BYTES, this.framesMax);
    buffers.set(this.u8.buffer, this);
    return true;
  }

  /** Frees the window of frame numbers. Pre: no holds. */
  [Symbol.dispose](): void {
    assert(this.pinnedPages === 0, 'region: released while pages are pinned');
    regions[this.index] = null;
    // Another region gets these frame numbers: no cache may still lead here, nor keep the memory.
    if (lastRegion === this) {
      lastBuffer = null;
      lastRegion = null;
    }
    forgetKernels(this.index);
    for (const gone of this.watchers) gone(this);
    this.watchers.clear();
  }
}

/** Every buffer object that a region ever had: growth makes a new one, old views keep the old. */
const buffers = new WeakMap<ArrayBufferLike, Region>();
let lastBuffer: ArrayBufferLike | null = null;
let lastRegion: Region | null = null;

/** The region whose memory is behind `buffer`, or null for memory of the outside. */
export function regionOfBuffer(buffer: ArrayBufferLike): Region | null {
  if (buffer === lastBuffer) return lastRegion;
  const region = buffers.get(buffer) ?? null;
  if (region === null || regions[region.index] !== region) return null;
  lastBuffer = buffer;
  lastRegion = region;
  return region;
}

/** Pre: `page` lies in a living region. */
export function regionOf(page: number): Region {
  const region = regions[page >>> REGION_SHIFT];
  assert(region !== undefined && region !== null, 'regionOf: no region has this page');
  return region;
}

export function frameOf(page: number): number {
  return page & FRAME_MASK;
}

/** True when `page` lies in present memory of a living region. */
export function pageExists(page: number): boolean {
  const region = regions[page >>> REGION_SHIFT];
  return region !== undefined && region !== null && frameOf(page) < region.frames;
}

function freeWindow(): number {
  let index = 0;
  while (regions[index] !== undefined && regions[index] !== null) index++;
  if (index >= REGIONS_MAX) {
    const reason = `the process has ${REGIONS_MAX} memory regions already, the most it can have`;
    throw new BlockError('ENOMEM', { reason });
  }
  return index;
}

/** What a region is for: page frames that are counted, or the bytes of a RAM disk. */
export type RegionUse = 'frames' | 'storage';

/** A region of at most `bytesMax` (rounded up to 64 KiB), with `bytes` of it present. */
export function createRegion(bytes: number, bytesMax: number, use: RegionUse = 'frames'): Region {
  assert(bytesMax > 0 && bytesMax <= REGION_BYTES_MAX, 'region: size outside 1..4 GiB');
  const index = freeWindow();
  const maximum = Math.ceil(bytesMax / WASM_PAGE_BYTES);
  const initial = Math.min(Math.ceil(bytes / WASM_PAGE_BYTES), maximum);
  let memory: SharedMemory;
  try {
    memory = new WebAssembly.Memory({ initial, maximum, shared: true });
  } catch (cause) {
    const reason =
      `the host refused to reserve address space for ${formatSize(bytesMax)} of page frames` +
      ' (each region needs 8 to 10 GiB of it; see ulimit -v and vm.overcommit_memory)';
    throw new BlockError('ENOMEM', { reason, cause });
  }
  const framesMax = (maximum * WASM_PAGE_BYTES) / PAGE_BYTES;
  const region = new Region(index, framesMax, memory, use === 'storage' ? 0 : framesMax);
  regions[index] = region;
  buffers.set(region.u8.buffer, region);
  return region;
}

/** Gives memory of the program that can be neither detached nor resized its own frame numbers. */
export function adoptRegion(buffer: SharedArrayBuffer): Region {
  const known = regionOfBuffer(buffer);
  if (known !== null) return adoptAgain(known);
  if (buffer.growable) {
    const reason = 'a growable SharedArrayBuffer can change under a transfer; use a fixed one';
    throw new BlockError('EINVAL', { reason });
  }
  if (buffer.byteLength === 0 || buffer.byteLength > REGION_BYTES_MAX) {
    const reason = `adopted memory must have 1 byte to 4 GiB, not ${buffer.byteLength} bytes`;
    throw new BlockError('EINVAL', { reason });
  }
  const region = new Region(freeWindow(), Math.ceil(buffer.byteLength / PAGE_BYTES), buffer);
  region.state.fill(FrameState.ADOPTED);
  region.refs.fill(1);
  region.heldFrames = region.frames;
  region.onFree = () => {
    region.heldFrames--;
    if (region.heldFrames === 0) region[Symbol.dispose]();
  };
  regions[region.index] = region;
  buffers.set(buffer, region);
  return region;
}

/** One more reference on each frame, for one more buffer. */
function adoptAgain(region: Region): Region {
  if (region.memory !== null) {
    const reason = 'this memory belongs to an arena, so it has page frames already';
    throw new BlockError('EINVAL', { reason });
  }
  for (let frame = 0; frame < region.frames; frame++) {
    if (region.refs[frame] === 0 && region.pins[frame] === 0) region.heldFrames++;
    region.refs[frame]++;
  }
  return region;
}

// One instance of the kernels for each ordered pair of memories that ever met.
const pairs = new Map<number, Kernels>();
let pairKey = -1;
let pairKernels: Kernels | null = null;

/** Kernels that write to `dst` and read from `src`; null when one of them is adopted memory. */
export function kernelsFor(dst: Region, src: Region): Kernels | null {
  const key = dst.index * REGIONS_MAX + src.index;
  if (key === pairKey) return pairKernels;
  if (dst.memory === null || src.memory === null) return null;
  let kernels = pairs.get(key);
  if (kernels === undefined) {
    kernels = instantiateKernels(dst.memory, src.memory);
    pairs.set(key, kernels);
  }
  pairKey = key;
  pairKernels = kernels;
  return kernels;
}

function forgetKernels(index: number): void {
  pairKey = -1;
  pairKernels = null;
  for (const key of pairs.keys()) {
    if (Math.floor(key / REGIONS_MAX) === index || key % REGIONS_MAX === index) pairs.delete(key);
  }
}

/** Byte position of (page, offset) in its region's memory. */
export function byteAt(page: number, offset: number): number {
  return frameOf(page) * (1 << PAGE_SHIFT) + offset;
}
