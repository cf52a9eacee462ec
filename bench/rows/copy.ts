// `biovec copy` of one file to another as a whole process: with O_DIRECT beside dd and qemu-img,
// through the page cache beside dd and cp. What was written before is on the disk when a turn
// begins, and the destination is new each time. The cached copies are of files that have no disk
// (tmpfs) where there is room for them: else half of the time is the disk's, which writes what was
// copied before, and rounds differ by a factor of two.

import { existsSync, mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Fio } from '../fio.ts';
import { hasCommand, runProcess } from '../peer.ts';
import { progressOf } from '../progress.ts';
import { type Rounds, rowOf, runRounds, type Subject } from '../rounds.ts';
import { IS_QUICK, printRow } from '../row.ts';
import { summarize } from '../stats.ts';

const MIBS = IS_QUICK ? 128 : 2048;
const ROUNDS = IS_QUICK ? 2 : 5;
/** From here on a disk is said to gain from depth, and ours has to show it. */
const GAIN = 1.2;
const launcher = fileURLToPath(new URL('../../bin/biovec.cjs', import.meta.url));

/** Files in the page cache alone, on Linux. */
const MEMORY = '/dev/shm';

interface Place {
  readonly folder: string;
  readonly from: string;
  readonly to: string;
}

function makePlace(parent: string): Place {
  const folder = mkdtempSync(join(parent, 'biovec-bench-'));
  return { folder, from: join(folder, 'source.img'), to: join(folder, 'copy.img') };
}

/** Room for both files, and as much again for others. */
function hasMemory(): boolean {
  if (!existsSync(MEMORY)) return false;
  const { bavail, bsize } = statfsSync(MEMORY);
  return bavail * bsize >= 4 * MIBS * 2 ** 20;
}

/** A copying program; its memory is not known after its end. */
function copying(at: Place, name: string, command: string, args: readonly string[]): Subject {
  const round = async () => {
    rmSync(at.to, { force: true });
    runProcess('sync', ['-f', at.folder]);
    const run = runProcess(command, args);
    return { ...run, amount: MIBS * 2 ** 20, rssBytes: Number.NaN };
  };
  return { name, round };
}

function ours(at: Place, ...flags: string[]): Subject {
  const args = [launcher, 'copy', at.from, at.to, '--progress=none', ...flags];
  return copying(at, 'biovec', process.execPath, args);
}

/** How much faster 1 MiB requests are with eight at once, the worse of reading and writing. */
async function gainOfDepth(from: string): Promise<number> {
  const seconds = IS_QUICK ? 0.3 : 1;
  const gains: number[] = [];
  for (const write of [false, true]) {
    const rates: number[] = [];
    for (const depth of [1, 8]) {
      const bench = { blockBytes: 2 ** 20, depth, direct: true, write };
      const fio = new Fio(from, bench, seconds);
      const rounds: number[] = [];
      for (let i = 0; i < 3; i++) {
        const { amount, seconds: took } = await fio.round();
        rounds.push(amount / took);
      }
      rates.push(summarize(rounds).median);
    }
    gains.push(rates[1] / rates[0]);
  }
  return Math.min(...gains);
}

async function compare(
  name: string,
  subjects: readonly Subject[],
  targetOf: (peer: string) => number,
  notes: Record<string, string | number>,
): Promise<void> {
  const rounds: Rounds = await runRounds(subjects, {
    rounds: ROUNDS,
    warmUps: 1,
    progress: progressOf(name),
  });
  for (let peer = 1; peer < subjects.length; peer++) {
    const target = targetOf(subjects[peer].name);
    const row = rowOf(rounds, peer, {
      name: `${name}-${subjects[peer].name.split(' ')[0]}`,
      unit: 'MB/s',
      amountOfUnit: 1e6,
      cpuUnit: 'ns per byte',
      ...(Number.isNaN(target) ? {} : { target }),
      notes: { ...notes, MiB: MIBS },
    });
    const { rssMib: _unknown, ...known } = row;
    printRow(known);
  }
}

async function compareDirect(at: Place): Promise<void> {
  const { from, to } = at;
  const gain = hasCommand('fio') ? await gainOfDepth(from) : Number.NaN;
  const dd = ['bs=1M', 'iflag=direct', 'oflag=direct', `if=${from}`, `of=${to}`];
  const subjects = [ours(at, '--direct'), copying(at, 'dd bs=1M direct', 'dd', dd)];
  const qemu = ['convert', '-t', 'none', '-T', 'none', '-W', '-m', '8', '-f', 'raw', '-O', 'raw'];
  if (hasCommand('qemu-img')) {
    const args = [...qemu, from, to];
    subjects.push(copying(at, 'qemu-img convert -t none -T none -W -m 8', 'qemu-img', args));
  }
  const notes = {
    'disk gains from depth': Number.isNaN(gain) ? 'not known: no fio here' : gain.toFixed(2),
    ...(hasCommand('qemu-img') ? {} : { 'qemu-img': 'none here' }),
  };
  const target = (peer: string): number => (peer.startsWith('dd') && gain >= GAIN ? GAIN : 1);
  await compare('copy-direct', subjects, target, notes);
}

async function compareCached(at: Place): Promise<void> {
  const { from, to } = at;
  const subjects = [
    ours(at),
    copying(at, 'dd bs=1M', 'dd', ['bs=1M', `if=${from}`, `of=${to}`]),
    // Neither a shared extent nor holes: every byte is copied, as by the others.
    copying(at, 'cp', 'cp', ['--reflink=never', '--sparse=never', from, to]),
  ];
  const target = (peer: string): number => (peer.startsWith('dd') ? 0.9 : Number.NaN);
  const disk = from.startsWith(MEMORY) ? 'none: tmpfs' : 'writes what was copied before';
  await compare('copy-cached', subjects, target, { disk });
}

async function inPlace(parent: string, run: (at: Place) => Promise<void>): Promise<void> {
  const at = makePlace(parent);
  try {
    runProcess('dd', ['if=/dev/urandom', `of=${at.from}`, 'bs=1M', `count=${MIBS}`, 'conv=fsync']);
    await run(at);
  } finally {
    rmSync(at.folder, { recursive: true, force: true });
  }
}

await inPlace(tmpdir(), compareDirect);
await inPlace(hasMemory() ? MEMORY : tmpdir(), compareCached);
