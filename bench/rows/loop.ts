// How long the engine holds up the event loop of a program: its longest turn, and the longest time
// between two passes of the loop, under load. And what an open disk costs when nobody uses it.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PerformanceObserver } from 'node:perf_hooks';
import { Arena, type Disk, open } from '../../src/index.ts';
import { runProcess } from '../peer.ts';
import { progressOf } from '../progress.ts';
import { IS_QUICK, printRow } from '../row.ts';
import { summarize } from '../stats.ts';
import { Durations, type TimedEnv, timedEnv } from '../timed-env.ts';

const FILE_MIBS = IS_QUICK ? 64 : 256;
const SECONDS = IS_QUICK ? 0.3 : 1;
const ROUNDS = IS_QUICK ? 2 : 5;
const IDLE_SECONDS = IS_QUICK ? 1 : 5;
/** An application may be held up for so long. */
const TARGET_MS = 2;
const MIB = 2 ** 20;

interface Load {
  readonly name: string;
  readonly blockBytes: number;
  readonly depth: number;
  readonly direct: boolean;
  readonly write: boolean;
}

function load(kind: 'cached' | 'direct', op: 'read' | 'write', kib: number, depth: number): Load {
  const size = kib >= 1024 ? `${kib / 1024}m` : `${kib}k`;
  return {
    name: `loop-${kind}-${op}-${size}-d${depth}`,
    blockBytes: kib * 1024,
    depth,
    direct: kind === 'direct',
    write: op === 'write',
  };
}

const LOADS: readonly Load[] = [
  load('cached', 'read', 4, 32),
  load('cached', 'read', 4, 256),
  load('direct', 'read', 4, 1),
  load('direct', 'read', 4, 256),
  load('cached', 'write', 4, 256),
  load('cached', 'read', 128, 64),
  load('cached', 'read', 1024, 8),
  load('cached', 'write', 1024, 8),
  load('direct', 'read', 1024, 8),
];

/** The time between two passes of the event loop; the watch itself keeps the loop from sleeping. */
class LoopWatch {
  readonly gaps = new Durations();
  #isOver = false;

  constructor() {
    this.gaps.begin();
    setImmediate(this.#pass);
  }

  readonly #pass = (): void => {
    this.gaps.end();
    this.gaps.begin();
    if (!this.#isOver) setImmediate(this.#pass);
  };

  stop(): void {
    this.#isOver = true;
  }
}

/** The longest pause that V8's collector made, which is in the time of whatever it interrupted. */
class CollectorWatch {
  maxMs = 0;
  readonly #observer = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) this.maxMs = Math.max(this.maxMs, duration);
  });

  constructor() {
    this.#observer.observe({ entryTypes: ['gc'] });
  }

  [Symbol.dispose](): void {
    this.#observer.disconnect();
  }
}

/** How long this machine keeps a loop that does nothing from its next look at the clock. */
function stallMs(): number {
  let longest = 0;
  let last = performance.now();
  for (const end = last + SECONDS * 1000; last < end; ) {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  }
  return longest;
}

/** The longest of one round, in milliseconds. */
interface Held {
  readonly turn: number;
  readonly turn999: number;
  readonly turnWithWait: number;
  readonly enter: number;
  readonly register: number;
  readonly gap: number;
  readonly gap999: number;
  /** Of the machine, beside the round. */
  readonly stall: number;
}

async function round(disk: Disk, memory: Uint8Array, bench: Load, env: TimedEnv): Promise<Held> {
  const { blockBytes, depth, write } = bench;
  const blocks = Math.floor(disk.size / blockBytes);
  env.turns.clear();
  env.enters.clear();
  const watch = new LoopWatch();
  const end = performance.now() + SECONDS * 1000;
  let isOver = false;
  const worker = async (slot: number): Promise<void> => {
    const buffer = memory.subarray(slot * blockBytes, (slot + 1) * blockBytes);
    while (!isOver) {
      const position = Math.floor(Math.random() * blocks) * blockBytes;
      if (write) await disk.write(buffer, { position });
      else await disk.read(buffer, { position });
      if (performance.now() > end) isOver = true;
    }
  };
  await Promise.all(Array.from({ length: depth }, (_, slot) => worker(slot)));
  watch.stop();
  return {
    turn: env.turns.maxNs / 1e6,
    turn999: env.turns.quantileNs(0.999) / 1e6,
    turnWithWait: env.turns.maxWithWaitNs / 1e6,
    enter: env.enters.maxNs / 1e6,
    register: env.registers.maxNs / 1e6,
    gap: watch.gaps.maxNs / 1e6,
    gap999: watch.gaps.quantileNs(0.999) / 1e6,
    stall: stallMs(),
  };
}

async function measure(path: string, bench: Load, env: TimedEnv): Promise<void> {
  const arena = new Arena({ maxBytes: 64 * MIB });
  const memory = arena.alloc(bench.blockBytes * bench.depth);
  const disk = await open(path, { direct: bench.direct, readOnly: !bench.write, arena, env });
  const held: Held[] = [];
  using collector = new CollectorWatch();
  const tell = progressOf(bench.name);
  for (let i = -1; i < ROUNDS; i++) {
    const figures = await round(disk, memory.bytes, bench, env);
    if (i >= 0) held.push(figures);
    else collector.maxMs = 0; // The first one has the compiler in it, and is not counted.
    tell(`round ${i + 1} of ${ROUNDS}`);
  }
  await disk.close();
  memory.release();
  arena[Symbol.dispose]();
  const worst = (of: (figures: Held) => number): string => Math.max(...held.map(of)).toFixed(2);
  printRow({
    name: bench.name,
    unit: 'ms, the longest turn of the engine',
    ours: summarize(held.map(({ turn }) => turn)),
    target: TARGET_MS,
    lessIsBetter: true,
    notes: {
      worst: worst(({ turn }) => turn),
      'in line for a core as well': worst(({ turnWithWait }) => turnWithWait),
      '999 of 1000 turns': worst(({ turn999 }) => turn999),
      'worst enter': worst(({ enter }) => enter),
      'worst register, also of the first round': worst(({ register }) => register),
      'worst garbage collection': collector.maxMs.toFixed(2),
      'between two passes of the loop': worst(({ gap }) => gap),
      '999 of 1000': worst(({ gap999 }) => gap999),
      'a loop that does nothing': worst(({ stall }) => stall),
    },
  });
}

/** CPU of the whole process while nothing is in flight, with a disk open and without. */
async function measureIdle(path: string): Promise<void> {
  const cpuMsPerSecond = async (): Promise<number> => {
    const before = process.cpuUsage();
    await new Promise((resolve) => setTimeout(resolve, IDLE_SECONDS * 1000));
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000 / IDLE_SECONDS;
  };
  const arena = new Arena({ maxBytes: MIB });
  const buffer = arena.alloc(4096);
  const disk = await open(path, { readOnly: true, arena });
  for (let i = 0; i < 1000; i++) await disk.read(buffer.bytes, { position: 0 });
  await new Promise((resolve) => setTimeout(resolve, 500)); // The compiler and the collector end.
  const open_ = await cpuMsPerSecond();
  await disk.close();
  await new Promise((resolve) => setTimeout(resolve, 500));
  const closed = await cpuMsPerSecond();
  printRow({
    name: 'idle-open-disk',
    unit: 'ms of CPU a second',
    ours: summarize([open_]),
    target: 1,
    lessIsBetter: true,
    notes: { 'without a disk': closed.toFixed(2), seconds: IDLE_SECONDS },
  });
}

const folder = mkdtempSync(join(tmpdir(), 'biovec-bench-'));
try {
  const path = join(folder, 'loop.img');
  const count = `count=${FILE_MIBS}`;
  runProcess('dd', ['if=/dev/urandom', `of=${path}`, 'bs=1M', count, 'conv=fsync']);
  await measureIdle(path);
  const env = timedEnv();
  if (env === null) process.stderr.write('loop: there is no ring here\n');
  else for (const bench of LOADS) await measure(path, bench, env);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
