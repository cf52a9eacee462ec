import assert from 'node:assert/strict';
import { BlockDevice } from '../device/block-device.ts';
import { IovIter, IterDirection } from '../iter/iov-iter.ts';
import type { LimitsInput } from '../limits/limits.ts';
import { validateLimits } from '../limits/validate.ts';
import { Arena } from '../memory/arena.ts';
import { Protection } from '../memory/user/area.ts';
import { UserMemory } from '../memory/user/user-memory.ts';
import type { UserSpace } from '../memory/user/user-space.ts';
import {
  FaultPlan,
  type FaultRates,
  type FaultRule,
  NO_FAULTS,
} from '../testing/simulator/fault-plan.ts';
import { SimClock } from '../testing/simulator/sim-clock.ts';
import { SimEngine } from '../testing/simulator/sim-engine.ts';
import { BlockAllocator } from './block-allocator.ts';
import { ExtentFile, type FileOptions } from './extent-file.ts';
import { ExtentRun, ExtentState } from './extent-map.ts';
import type { FileEnd } from './file-op.ts';
import type { ExtentFileOptions } from './file-options.ts';

export const PAGE = 4096;

export interface RigOptions {
  /** Page frames of the machine. */
  readonly frames?: number;
  /** Blocks of the device, a page each. */
  readonly blocks?: number;
  readonly depth?: number;
  readonly bios?: number;
  readonly seed?: number;
  readonly rules?: readonly FaultRule[];
  readonly rates?: Partial<FaultRates>;
  readonly limits?: LimitsInput;
  readonly swapPages?: number;
}

/**
 * Arenas that a world gave back empty. Each reserves gigabytes of address space, which the host
 * frees late: thousands of worlds share a few.
 */
const spareArenas = new Map<number, Arena[]>();

function takeArena(frames: number): Arena {
  const spare = spareArenas.get(frames)?.pop();
  return spare ?? new Arena({ label: 'machine', maxBytes: frames * PAGE, places: false });
}

function giveArena(frames: number, arena: Arena): void {
  const spare = spareArenas.get(frames);
  if (spare === undefined) spareArenas.set(frames, [arena]);
  else spare.push(arena);
}

const BOUNCE_FRAMES = 2048;

/** A machine with one simulated disk under a clock that stands still unless somebody waits. */
export class CacheRig {
  readonly clock = new SimClock();
  readonly arena: Arena;
  readonly bounce = takeArena(BOUNCE_FRAMES);
  readonly #frames: number;
  /** After `dispose`: the last of it is given back. Loops over many worlds wait for it. */
  closed: Promise<void> = Promise.resolve();
  readonly memory: UserMemory;
  readonly engine: SimEngine;
  readonly device: BlockDevice;
  readonly blocks: BlockAllocator;
  readonly files: ExtentFile[] = [];
  readonly spaces: UserSpace[] = [];

  constructor(options: RigOptions = {}) {
    const { frames = 256, blocks = 96, seed = 1, rules = [] } = options;
    this.#frames = frames;
    this.arena = takeArena(frames);
    this.memory = new UserMemory({ arena: this.arena, swapPages: options.swapPages ?? 0 });
    const rates = { ...NO_FAULTS, ...options.rates };
    this.engine = new SimEngine({
      seed,
      clock: this.clock,
      limits: validateLimits(options.limits ?? {}),
      sizeBytes: blocks * PAGE,
      depth: options.depth ?? 8,
      plan: new FaultPlan(seed, rates, rules),
    });
    // What nobody wrote must never be seen: no zeros on the fresh disk.
    const garbage = new Uint8Array(PAGE).fill(0xee);
    for (let block = 0; block < blocks; block++) this.engine.medium.poke(block * PAGE, garbage);
    this.device = new BlockDevice({
      engine: this.engine,
      arena: this.bounce,
      bios: options.bios ?? 16,
      splits: 32,
      defer: this.clock.defer,
    });
    this.blocks = new BlockAllocator(blocks);
  }

  file(options: Partial<ExtentFileOptions> = {}): ExtentFile {
    const { device, memory, blocks, clock } = this;
    const file = new ExtentFile({ device, memory, blocks, defer: clock.defer, ...options });
    this.files.push(file);
    return file;
  }

  /** A process with `pages` pages of memory at `at(0)`. */
  space(pages = 0): UserSpace {
    const space = this.memory.newSpace(`p${this.spaces.length}`);
    this.spaces.push(space);
    if (pages > 0) {
      const protection = Protection.READ | Protection.WRITE;
      assert.equal(space.mmap({ addr: at(0), bytes: pages * PAGE, protection }), at(0));
    }
    return space;
  }

  mapFile(space: UserSpace, file: ExtentFile, addr: number, pages: number, index = 0): void {
    const protection = Protection.READ | Protection.WRITE;
    const ops = file.areaOps();
    const bytes = pages * PAGE;
    assert.equal(space.mmap({ addr, bytes, protection, shared: true, ops, index }), addr);
  }

  /** Lets time pass until `start`'s callback has come. */
  wait(start: (end: FileEnd) => unknown): number {
    let answer = Number.NaN;
    start((_op, result) => {
      assert.ok(Number.isNaN(answer), 'ended twice');
      answer = result;
    });
    assert.ok(Number.isNaN(answer), 'ended inside the call');
    while (Number.isNaN(answer)) assert.ok(this.clock.step(), 'stuck: the call never ends');
    return answer;
  }

  /** Until nothing happens any more. */
  settle(): void {
    while (this.clock.step());
  }

  write(file: ExtentFile, position: number, bytes: Uint8Array, options: FileOptions = {}): number {
    const iter = new IovIter();
    iter.initView(IterDirection.SOURCE, bytes);
    return this.wait((end) => file.startWrite(position, iter, options, end));
  }

  read(file: ExtentFile, position: number, length: number, options: FileOptions = {}): Uint8Array {
    const bytes = new Uint8Array(length).fill(0x55);
    const iter = new IovIter();
    iter.initView(IterDirection.DEST, bytes);
    const got = this.wait((end) => file.startRead(position, iter, options, end));
    assert.ok(got >= 0, `read failed: ${got}`);
    return bytes.slice(0, got);
  }

  /** From or to memory of a process. */
  user(direction: IterDirection, space: UserSpace, addr: number, bytes: number): IovIter {
    const iter = new IovIter();
    iter.initUserRange(direction, space, addr, bytes);
    return iter;
  }

  writeUser(
    file: ExtentFile,
    position: number,
    space: UserSpace,
    addr: number,
    bytes: number,
    options: FileOptions = {},
  ): number {
    const iter = this.user(IterDirection.SOURCE, space, addr, bytes);
    return this.wait((end) => file.startWrite(position, iter, options, end));
  }

  readUser(
    file: ExtentFile,
    position: number,
    space: UserSpace,
    addr: number,
    bytes: number,
    options: FileOptions = {},
  ): number {
    const iter = this.user(IterDirection.DEST, space, addr, bytes);
    return this.wait((end) => file.startRead(position, iter, options, end));
  }

  fsync(file: ExtentFile): number {
    return this.wait((end) => file.startSync(end));
  }

  truncate(file: ExtentFile, bytes: number): number {
    return this.wait((end) => file.startTruncate(bytes, end));
  }

  punch(file: ExtentFile, start: number, end: number): number {
    return this.wait((done) => file.startPunchHole(start, end, done));
  }

  allocate(file: ExtentFile, start: number, end: number, keepSize = false): number {
    return this.wait((done) => file.startAllocate(start, end, keepSize, done));
  }

  /** What the device has for the file, by its extents: holes and unwritten blocks are zeros. */
  onDevice(file: ExtentFile, length = file.size): Uint8Array {
    const bytes = new Uint8Array(length);
    const run = new ExtentRun();
    for (let block = 0; block * PAGE < length; block++) {
      file.extents.lookup(block, run);
      if (run.state !== ExtentState.MAPPED) continue;
      const device = (run.device + block - run.start) * PAGE;
      const count = Math.min(PAGE, length - block * PAGE);
      bytes.set(this.engine.medium.peek(device, count), block * PAGE);
    }
    return bytes;
  }

  /** H: hole, U: unwritten, M: mapped; one letter a block. */
  shape(file: ExtentFile, blocks = Math.ceil(file.size / PAGE)): string {
    const run = new ExtentRun();
    let text = '';
    for (let block = 0; block < blocks; block++) {
      file.extents.lookup(block, run);
      text += 'HMU'[run.state];
    }
    return text;
  }

  /** After a failure: the address space goes back, whatever is still held. */
  abandon(): void {
    for (const arena of [this.arena, this.bounce]) {
      arena.region.pinnedPages = 0;
      arena[Symbol.dispose]();
    }
  }

  [Symbol.dispose](): void {
    this.settle();
    for (const space of this.spaces) space.exit();
    this.settle();
    for (const file of this.files) {
      file.verify();
      file[Symbol.dispose]();
      file.freeAll();
    }
    assert.equal(this.blocks.reserved, 0, 'reserved blocks are left');
    assert.equal(this.blocks.free, this.blocks.blocks, 'blocks are lost');
    this.device.assertNothingOutstanding();
    this.memory[Symbol.dispose]();
    this.arena.assertNothingOutstanding();
    giveArena(this.#frames, this.arena);
    this.closed = this.device.close().then(() => giveArena(BOUNCE_FRAMES, this.bounce));
  }
}

/** Address of page `page` of a process's own memory. */
export function at(page: number): number {
  return 0x10_0000 + page * PAGE;
}

/** Bytes that tell their place: no two pages alike, no zeros. */
export function pattern(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = ((i * 7 + (i >> 8) * 13 + seed * 31) % 251) + 1;
  return bytes;
}
