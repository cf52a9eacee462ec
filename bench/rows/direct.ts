// O_DIRECT reads of a file through the public API, beside the best engine of fio at the same block
// size and depth, in interleaved rounds.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Arena, open } from '../../src/index.ts';
import { hasCommand, runProcess } from '../peer.ts';
import { printRow, SCALE } from '../row.ts';
import { summarize } from '../stats.ts';

const MIBS = Math.ceil(1024 * SCALE);
const SECONDS = SCALE < 1 ? 0.5 : 1.5;
const ROUNDS = SCALE < 1 ? 3 : 7;
const FIO_ENGINES = ['io_uring', 'libaio', 'psync'];

interface Case {
  readonly name: string;
  readonly blockBytes: number;
  readonly depth: number;
  /** Absent: node:fs hops a thread per I/O, so small blocks wait for the ring engine. */
  readonly target?: number;
}

const CASES: readonly Case[] = [
  { name: 'direct-read-1m-d8', blockBytes: 1024 * 1024, depth: 8, target: 0.95 },
  { name: 'direct-read-128k-d8', blockBytes: 128 * 1024, depth: 8, target: 0.95 },
  { name: 'direct-read-4k-d1', blockBytes: 4096, depth: 1 },
  { name: 'direct-read-4k-d32', blockBytes: 4096, depth: 32 },
];

interface Figure {
  readonly rate: number;
  readonly cpuNsPerByte: number;
}

async function ours(path: string, bench: Case): Promise<Figure> {
  const { blockBytes, depth } = bench;
  const arena = new Arena({ maxBytes: 64 * 1024 * 1024 });
  const disk = await open(path, { direct: true, readOnly: true, arena });
  const blocks = Math.floor(disk.size / blockBytes);
  const cpu = process.cpuUsage();
  const start = performance.now();
  let reads = 0;
  const worker = async (): Promise<void> => {
    using buffer = arena.alloc(blockBytes);
    while (performance.now() - start < SECONDS * 1000) {
      const position = Math.floor(Math.random() * blocks) * blockBytes;
      await disk.read(buffer.bytes, { position });
      reads++;
    }
  };
  await Promise.all(Array.from({ length: depth }, worker));
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  await disk.close();
  const bytes = reads * blockBytes;
  return { rate: bytes / seconds / 1e6, cpuNsPerByte: ((user + system) * 1000) / bytes };
}

function fio(path: string, bench: Case, engine: string): Figure | null {
  const args = ['--name=peer', `--filename=${path}`, '--rw=randread', '--direct=1', '--time_based'];
  args.push(`--bs=${bench.blockBytes}`, `--iodepth=${bench.depth}`, `--ioengine=${engine}`);
  args.push(`--runtime=${SECONDS}`, '--output-format=json', '--norandommap', '--randrepeat=0');
  // A synchronous engine has depth 1: as many jobs instead.
  if (engine === 'psync') args.push(`--numjobs=${bench.depth}`, '--group_reporting');
  const run = spawnSync('fio', args, { encoding: 'utf8', maxBuffer: 1 << 24 });
  if (run.status !== 0) return null;
  const [job] = JSON.parse(run.stdout.slice(run.stdout.indexOf('{'))).jobs;
  const bytes: number = job.read.io_bytes;
  const cpuSeconds = ((job.usr_cpu + job.sys_cpu) / 100) * (job.job_runtime / 1000);
  return { rate: job.read.bw_bytes / 1e6, cpuNsPerByte: (cpuSeconds / bytes) * 1e9 };
}

/** The engine with the best median of three: fio at its best is the peer. */
function bestEngine(path: string, bench: Case): string {
  const medians = FIO_ENGINES.map((engine) => {
    const rates = [0, 1, 2].map(() => fio(path, bench, engine)?.rate ?? 0);
    return { engine, rate: summarize(rates).median };
  });
  return medians.sort((a, b) => b.rate - a.rate)[0]?.engine ?? 'psync';
}

async function compare(path: string, bench: Case): Promise<void> {
  if (!hasCommand('fio')) {
    await alone(path, bench);
    return;
  }
  const engine = bestEngine(path, bench);
  await ours(path, bench);
  const a: Figure[] = [];
  const b: Figure[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    if (round % 2 === 0) a.push(await ours(path, bench));
    b.push(fio(path, bench, engine) ?? { rate: Number.NaN, cpuNsPerByte: Number.NaN });
    if (round % 2 === 1) a.push(await ours(path, bench));
  }
  const { name, target } = bench;
  printRow({
    name,
    unit: 'MB/s',
    ours: summarize(a.map((figure) => figure.rate)),
    peer: { name: `fio ${engine}`, figure: summarize(b.map((figure) => figure.rate)) },
    ratio: summarize(a.map((figure, i) => figure.rate / (b[i]?.rate ?? Number.NaN))),
    ...(target === undefined ? {} : { target }),
    notes: {
      'CPU ns per byte': summarize(a.map((figure) => figure.cpuNsPerByte)).median.toFixed(3),
      'of fio': summarize(b.map((figure) => figure.cpuNsPerByte)).median.toFixed(3),
    },
  });
}

/** Without the peer there is a figure, but nothing to hold it against. */
async function alone(path: string, bench: Case): Promise<void> {
  await ours(path, bench);
  const rates: number[] = [];
  for (let round = 0; round < ROUNDS; round++) rates.push((await ours(path, bench)).rate);
  const notes = { peer: 'none: apt-get install fio' };
  printRow({ name: bench.name, unit: 'MB/s', ours: summarize(rates), notes });
}

const folder = mkdtempSync(join(tmpdir(), 'biovec-bench-'));
try {
  const path = join(folder, 'direct.img');
  runProcess('dd', ['if=/dev/urandom', `of=${path}`, 'bs=1M', `count=${MIBS}`, 'conv=fsync']);
  for (const bench of CASES) await compare(path, bench);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
