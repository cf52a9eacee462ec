// Random I/O on one file through the public API, beside fio's io_uring engine with registered
// buffers and files; one row also beside both ways of node:fs. Every subject has its own process.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ringState } from '../../src/engine/uring/lane-facts.ts';
import { nodeEnv } from '../../src/node/node-env.ts';
import { Fio } from '../fio.ts';
import type { IoCase, IoTask, IoWay } from '../io-case.ts';
import { IoProcess } from '../io-process.ts';
import { hasCommand, runProcess } from '../peer.ts';
import { progressOf } from '../progress.ts';
import { type Rounds, type RowOptions, rowOf, runRounds, type Subject } from '../rounds.ts';
import { IS_QUICK, printRow, type Row } from '../row.ts';

const FILE_MIBS = IS_QUICK ? 64 : 512;
const SECONDS = IS_QUICK ? 0.3 : 1.5;
const ROUNDS = IS_QUICK ? 3 : 7;
const WARM_UPS = IS_QUICK ? 1 : 2;
/** CPU per I/O, ours / fio's, may be so much. */
const CPU_TARGET = 1.15;

interface Case extends IoCase {
  readonly name: string;
  /** Of the ratio to fio. */
  readonly target: number;
  /** Also with `transfer`, our API with callbacks. */
  readonly transfers?: true;
  /**
   * Also beside node:fs, promises beside promises and callbacks beside callbacks, with the targets
   * of these ratios.
   */
  readonly node?: { readonly promises: number; readonly callbacks: number };
}

const SMALL = { blockBytes: 4096, write: false };
const LARGE = { blockBytes: 2 ** 20, depth: 8, direct: true, target: 1 };
const CASES: readonly Case[] = [
  {
    name: 'cached-read-4k-d32',
    ...SMALL,
    depth: 32,
    direct: false,
    target: 1.1,
    transfers: true,
    node: { promises: 6, callbacks: 2 },
  },
  {
    name: 'cached-read-4k-d1',
    ...SMALL,
    depth: 1,
    direct: false,
    target: 0.95,
    transfers: true,
  },
  { name: 'direct-read-4k-d32', ...SMALL, depth: 32, direct: true, target: 0.95 },
  { name: 'direct-read-4k-d1', ...SMALL, depth: 1, direct: true, target: 0.95 },
  { name: 'cached-write-4k-d32', ...SMALL, write: true, depth: 32, direct: false, target: 1 },
  { name: 'direct-write-4k-d32', ...SMALL, write: true, depth: 32, direct: true, target: 1 },
  {
    name: 'direct-read-128k-d8',
    blockBytes: 128 * 1024,
    depth: 8,
    direct: true,
    write: false,
    target: 0.95,
  },
  { name: 'direct-read-1m-d8', ...LARGE, write: false },
  { name: 'direct-write-1m-d8', ...LARGE, write: true },
];

/** The file is in the page cache, or out of it; nothing that was written waits for the disk. */
function prepare(path: string, { direct, write }: Case): void {
  if (write) execFileSync('sync', [path]);
  if (direct)
    runProcess('dd', [`of=${path}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0']);
  else execFileSync('cat', [path], { stdio: ['ignore', 'ignore', 'inherit'] });
}

function print(rounds: Rounds, peer: number, bench: Case, options: Partial<RowOptions>): void {
  const isLarge = bench.blockBytes >= 2 ** 20;
  const row = rowOf(rounds, peer, {
    name: bench.name,
    unit: isLarge ? 'MB/s' : 'I/O/s',
    amountOfUnit: isLarge ? 1e6 / bench.blockBytes : 1,
    cpuUnit: 'µs per I/O',
    ...options,
  });
  printRow(row satisfies Row);
}

async function compare(path: string, bench: Case, hasFio: boolean): Promise<void> {
  const { blockBytes, depth, direct, write } = bench;
  const task: IoTask = { path, blockBytes, depth, direct, write, seconds: SECONDS, way: 'biovec' };
  const subjects: Subject[] = [await IoProcess.start(task)];
  const add = async (way: IoWay): Promise<number> =>
    subjects.push(await IoProcess.start({ ...task, way })) - 1;
  let fio = -1;
  if (hasFio) {
    const subject = new Fio(path, bench, SECONDS);
    await subject.measureStart();
    fio = subjects.push(subject) - 1;
  }
  const ours = bench.transfers === undefined ? 0 : await add('biovec transfer');
  const promises = bench.node === undefined ? -1 : await add('fs.promises');
  const callbacks = bench.node === undefined ? -1 : await add('fs callbacks');
  try {
    const rounds = await runRounds(subjects, {
      rounds: ROUNDS,
      warmUps: WARM_UPS,
      before: () => prepare(path, bench),
      progress: progressOf(bench.name),
    });
    const { name, target, node } = bench;
    const targets = { target, cpuTarget: CPU_TARGET };
    if (hasFio) print(rounds, fio, bench, targets);
    else print(rounds, -1, bench, { target, notes: { peer: 'none: no fio here' } });
    if (ours > 0) print(rounds, fio, bench, { name: `${name}-transfer`, ours, ...targets });
    if (node !== undefined) {
      print(rounds, promises, bench, { name: `${name}-promises`, target: node.promises });
      print(rounds, callbacks, bench, { name: `${name}-callbacks`, ours, target: node.callbacks });
    }
  } finally {
    for (const subject of subjects) await subject.close?.();
  }
}

const state = ringState(nodeEnv());
if (!state.isAvailable) {
  process.stderr.write(`io: no ring here, so node:fs carries ours: ${state.reason}\n`);
}
const hasFio = hasCommand('fio');
const folder = mkdtempSync(join(tmpdir(), 'biovec-bench-'));
try {
  const path = join(folder, 'io.img');
  const count = `count=${FILE_MIBS}`;
  runProcess('dd', ['if=/dev/urandom', `of=${path}`, 'bs=1M', count, 'conv=fsync']);
  for (const bench of CASES) await compare(path, bench, hasFio);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
