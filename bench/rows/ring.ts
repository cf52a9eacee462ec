// The ring through the public API beside fio's io_uring engine with registered buffers and files,
// at the same block size and depth, in interleaved rounds. CPU per I/O and the longest time that
// the event loop stood still are notes of each row.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ringState } from '../../src/engine/uring/lane-facts.ts';
import { Arena, open } from '../../src/index.ts';
import { nodeEnv } from '../../src/node/node-env.ts';
import { hasCommand, runProcess } from '../peer.ts';
import { printRow, SCALE } from '../row.ts';
import { summarize } from '../stats.ts';

const FILE_MIBS = 256;
const SECONDS = SCALE < 1 ? 0.5 : 1.5;
/** A timer that is late tells how long the event loop stood still. */
const WATCH_MS = 2;
const ROUNDS = SCALE < 1 ? 3 : 7;
const FIO = ['--ioengine=io_uring', '--fixedbufs', '--registerfiles', '--invalidate=0'];

interface Case {
  readonly name: string;
  readonly blockBytes: number;
  readonly depth: number;
  readonly direct: boolean;
  readonly write?: boolean;
  readonly target: number;
}

const K = 1024;
const CASES: readonly Case[] = [
  { name: 'ring-cached-read-4k-d32', blockBytes: 4 * K, depth: 32, direct: false, target: 1.1 },
  { name: 'ring-cached-read-4k-d1', blockBytes: 4 * K, depth: 1, direct: false, target: 0.95 },
  { name: 'ring-read-4k-d32', blockBytes: 4 * K, depth: 32, direct: true, target: 0.95 },
  { name: 'ring-read-4k-d1', blockBytes: 4 * K, depth: 1, direct: true, target: 0.95 },
  { name: 'ring-read-128k-d8', blockBytes: 128 * K, depth: 8, direct: true, target: 0.95 },
  { name: 'ring-read-1m-d8', blockBytes: K * K, depth: 8, direct: true, target: 1 },
  {
    name: 'ring-cached-write-4k-d32',
    blockBytes: 4 * K,
    depth: 32,
    direct: false,
    write: true,
    target: 1,
  },
  { name: 'ring-write-4k-d32', blockBytes: 4 * K, depth: 32, direct: true, write: true, target: 1 },
  { name: 'ring-write-1m-d8', blockBytes: K * K, depth: 8, direct: true, write: true, target: 1 },
];

interface Figure {
  readonly rate: number;
  readonly cpuMicros: number;
  /** The longest time that the event loop stood still; 0 for fio. */
  readonly stillMs: number;
}

async function ours(path: string, bench: Case): Promise<Figure> {
  const { blockBytes, depth, direct, write = false } = bench;
  const arena = new Arena({ maxBytes: 64 * K * K });
  const disk = await open(path, { direct, readOnly: !write, arena, engine: 'uring' });
  const blocks = Math.floor(disk.size / blockBytes);
  const cpu = process.cpuUsage();
  const start = performance.now();
  let count = 0;
  let isOver = false;
  let stillMs = 0;
  let seen = start;
  const watch = setInterval(() => {
    const now = performance.now();
    stillMs = Math.max(stillMs, now - seen - WATCH_MS);
    seen = now;
    isOver = now - start > SECONDS * 1000;
  }, WATCH_MS);
  const worker = async (): Promise<void> => {
    using buffer = arena.alloc(blockBytes);
    while (!isOver) {
      const position = Math.floor(Math.random() * blocks) * blockBytes;
      if (write) await disk.write(buffer.bytes, { position });
      else await disk.read(buffer.bytes, { position });
      count++;
    }
  };
  await Promise.all(Array.from({ length: depth }, worker));
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  clearInterval(watch);
  await disk.close();
  return { rate: count / seconds, cpuMicros: (user + system) / count, stillMs };
}

function fio(path: string, bench: Case): Figure {
  const { blockBytes, depth, direct, write = false } = bench;
  const args = ['--name=peer', `--filename=${path}`, ...FIO, `--direct=${direct ? 1 : 0}`];
  args.push(`--rw=${write ? 'randwrite' : 'randread'}`, `--bs=${blockBytes}`);
  // A fraction of a second would be read as 0.
  args.push(`--iodepth=${depth}`, '--time_based', `--runtime=${SECONDS * 1000}ms`);
  args.push('--output-format=json', '--norandommap', '--randrepeat=0');
  const run = spawnSync('fio', args, { encoding: 'utf8', maxBuffer: 1 << 24 });
  if (run.status !== 0) throw new Error(`fio failed: ${run.stderr}`);
  const [job] = JSON.parse(run.stdout.slice(run.stdout.indexOf('{'))).jobs;
  const side = write ? job.write : job.read;
  const cpuSeconds = ((job.usr_cpu + job.sys_cpu) / 100) * (job.job_runtime / 1000);
  return { rate: side.iops, cpuMicros: (cpuSeconds / side.total_ios) * 1e6, stillMs: 0 };
}

/** A "cached" file that the host took memory from is none. */
function warm(path: string, bench: Case): void {
  if (!bench.direct) execFileSync('cat', [path], { stdio: ['ignore', 'ignore', 'inherit'] });
}

async function compare(path: string, bench: Case): Promise<void> {
  const hasPeer = hasCommand('fio');
  warm(path, bench);
  for (let i = 0; i < 2; i++) await ours(path, bench); // The compiler learns the path.
  const a: Figure[] = [];
  const b: Figure[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    warm(path, bench);
    if (round % 2 === 0) a.push(await ours(path, bench));
    if (hasPeer) b.push(fio(path, bench));
    if (round % 2 === 1) a.push(await ours(path, bench));
  }
  const cpu = summarize(a.map(({ cpuMicros }) => cpuMicros)).median;
  const still = summarize(a.map(({ stillMs }) => stillMs)).median.toFixed(2);
  const notes = { 'CPU µs per I/O': cpu.toFixed(2), 'loop stood still, ms': still };
  const { name, target } = bench;
  const rates = summarize(a.map(({ rate }) => rate));
  if (!hasPeer) {
    printRow({ name, unit: 'I/O/s', ours: rates, notes: { ...notes, peer: 'none: no fio here' } });
    return;
  }
  const peerCpu = summarize(b.map(({ cpuMicros }) => cpuMicros)).median;
  printRow({
    name,
    unit: 'I/O/s',
    ours: rates,
    peer: { name: 'fio io_uring', figure: summarize(b.map(({ rate }) => rate)) },
    ratio: summarize(a.map(({ rate }, i) => rate / b[i].rate)),
    target,
    notes: { ...notes, 'of fio': peerCpu.toFixed(2), 'CPU ratio': (cpu / peerCpu).toFixed(2) },
  });
}

const state = ringState(nodeEnv());
if (state.isAvailable) {
  const folder = mkdtempSync(join(tmpdir(), 'biovec-bench-'));
  try {
    const path = join(folder, 'ring.img');
    const count = `count=${FILE_MIBS}`;
    runProcess('dd', ['if=/dev/urandom', `of=${path}`, 'bs=1M', count, 'conv=fsync']);
    for (const bench of CASES) await compare(path, bench);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
} else {
  process.stderr.write(`ring: there is none here: ${state.reason}\n`);
}
