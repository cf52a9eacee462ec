// `node --expose-gc bench/carriers/measure.ts DESIGN [ROUNDS SLICE]`: one design in a process of
// its own, so that none trains the compiler for another: nanoseconds of a transfer by layout and
// number of segments, and what it leaves on the heap. `--count` instead: what it touches.

import { spawnSync } from 'node:child_process';
import { argv, execPath } from 'node:process';
import { getHeapStatistics } from 'node:v8';
import { assert } from '../../src/base/assert.ts';
import { MIB } from '../../src/base/units.ts';
import { DmaDevice } from '../../src/dma/dma-device.ts';
import { DEFAULT_LIMITS, makeLimits } from '../../src/limits/limits.ts';
import { type Carrier, SEGMENTS_MAX } from './carrier.ts';
import { Columns } from './columns.ts';
import { DESIGNS } from './designs.ts';
import { LAYOUTS, type Layout, SEGMENT_COUNTS, World } from './layouts.ts';
import { PinsAlone } from './pins-alone.ts';
import { Touched, type TouchedFigures } from './touched.ts';

/** No design; see `PinsAlone`. */
export const FLOOR = 'pins-alone';
const DEVICE = new DmaDevice();
const LIMITS = makeLimits({
  ...DEFAULT_LIMITS,
  max_segments: SEGMENTS_MAX,
  max_segment_size: 4 * MIB,
});
/** 256 folios of 2 MiB. */
const PAGES_MAX = SEGMENTS_MAX * 512;
const FRAME_COLUMNS = ['head', 'order', 'refs', 'pins', 'flags'];

export interface TimeFigure {
  readonly layout: Layout;
  readonly segments: number;
  /** Nanoseconds of a transfer, the least of the rounds. */
  readonly ns: number;
  /** Bytes on the heap that a transfer leaves, the least of the rounds. */
  readonly heapBytes: number;
}

export interface CostFigure {
  readonly layout: Layout;
  readonly segments: number;
  readonly ranges: number;
  readonly bios: number;
  readonly tables: number;
  readonly lists: TouchedFigures;
  readonly frames: TouchedFigures;
}

export interface MeasureOptions {
  readonly rounds: number;
  /** Milliseconds of one figure of one round. */
  readonly slice: number;
}

type Subject = Pick<Carrier, 'map' | 'unmap' | 'warmUp'>;

function subjectOf(name: string): Subject {
  return name === FLOOR ? new PinsAlone(PAGES_MAX) : carrierOf(name);
}

function carrierOf(name: string): Carrier {
  const design = DESIGNS.find((one) => one.name === name);
  assert(design !== undefined, 'carriers: no design of that name');
  return design.make({ device: DEVICE, limits: LIMITS, pagesMax: PAGES_MAX });
}

function runCalls(world: World, subject: Subject, segments: number, calls: number): void {
  const { transfer } = world;
  for (let turn = 0; turn < calls; turn++) {
    world.place(segments, turn);
    assert(subject.map(transfer) > 0, 'carriers: a transfer failed');
    subject.unmap();
  }
}

function measureTime(name: string, { rounds, slice }: MeasureOptions): TimeFigure[] {
  const subject = subjectOf(name);
  return LAYOUTS.flatMap((layout) => {
    const world = new World(layout);
    world.place(SEGMENTS_MAX, 0);
    for (let i = 0; i < 20; i++) subject.warmUp?.(world.transfer);
    const plans = SEGMENT_COUNTS.map((segments) => {
      runCalls(world, subject, segments, Math.ceil(4000 / segments));
      const start = performance.now();
      runCalls(world, subject, segments, 4);
      const calls = Math.max(Math.ceil((slice * 4) / (performance.now() - start)), 2);
      return { segments, calls, ns: Number.POSITIVE_INFINITY, heap: Number.POSITIVE_INFINITY };
    });
    for (let round = 0; round < rounds; round++) {
      for (const plan of plans) {
        globalThis.gc?.();
        const before = getHeapStatistics().used_heap_size;
        const start = performance.now();
        runCalls(world, subject, plan.segments, plan.calls);
        plan.ns = Math.min(plan.ns, ((performance.now() - start) * 1e6) / plan.calls);
        const grown = getHeapStatistics().used_heap_size - before;
        plan.heap = Math.min(plan.heap, Math.max(grown - OWN_HEAP_BYTES, 0) / plan.calls);
      }
    }
    return plans.map(({ segments, ns, heap }) => ({ layout, segments, ns, heapBytes: heap }));
  });
}

/** What asking for the heap's size and the time leaves on the heap itself. */
const OWN_HEAP_BYTES = ownHeapBytes();

function ownHeapBytes(): number {
  const figures = Array.from({ length: 5 }, () => {
    const before = getHeapStatistics().used_heap_size;
    performance.now();
    performance.now();
    return getHeapStatistics().used_heap_size - before;
  });
  return Math.max(...figures);
}

/** Of the second transfer: the first one finds pools that were never used. */
export function countDesign(
  name: string,
  layouts: readonly Layout[] = LAYOUTS,
  programPages?: number,
): CostFigure[] {
  const carrier = carrierOf(name);
  const lists = new Touched();
  for (const owner of Object.values(carrier.lists())) lists.watch(owner);
  if (carrier instanceof Columns) lists.watchBios(carrier.bios);
  return layouts.flatMap((layout) => {
    const world = new World(layout, programPages);
    const frames = new Touched();
    frames.watch(world.memory.region, FRAME_COLUMNS);
    frames.watch(world.memory.columns, ['exclusive', 'poisoned']);
    return SEGMENT_COUNTS.map((segments) => {
      runCalls(world, carrier, segments, 1);
      world.place(segments, 1);
      const { bios, tables } = carrier.counts;
      lists.reset();
      frames.reset();
      const ranges = carrier.map(world.transfer);
      carrier.unmap();
      return {
        layout,
        segments,
        ranges,
        bios: carrier.counts.bios - bios,
        tables: carrier.counts.tables - tables,
        lists: lists.figures(),
        frames: frames.figures(),
      };
    });
  });
}

function runChild<T>(name: string, args: readonly string[]): T {
  const run = spawnSync(execPath, ['--expose-gc', import.meta.filename, name, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (run.status !== 0) throw new Error(`bench: '${name}' failed`);
  return JSON.parse(run.stdout) as T;
}

/** Time of a design, in a process of its own. */
export function timeOf(name: string, { rounds, slice }: MeasureOptions): TimeFigure[] {
  return runChild(name, [String(rounds), String(slice)]);
}

/** What a design touches, in a process of its own. */
export function costOf(name: string): CostFigure[] {
  return runChild(name, ['--count']);
}

if (import.meta.main) {
  const [, , name = '', rounds = '9', slice = '2'] = argv;
  const figures =
    rounds === '--count'
      ? countDesign(name)
      : measureTime(name, { rounds: Number(rounds), slice: Number(slice) });
  console.log(JSON.stringify(figures));
}
