// What protection costs a copy: the same work with and without tuples, in interleaved rounds.
// Files: `biovec copy` as a whole process. RAM disks: CPU of this process, from ram: to ram:.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MIB } from '../../src/base/units.ts';
import type { Disk } from '../../src/device/disk.ts';
import { generate } from '../../src/integrity/generate.ts';
import { intervalBytes } from '../../src/integrity/integrity-profile.ts';
import { PiWalk } from '../../src/integrity/pi-walk.ts';
import { Arena } from '../../src/memory/arena.ts';
import type { ArenaBuffer } from '../../src/memory/arena-buffer.ts';
import { OneRow } from '../../src/protect/fresh-tuples.ts';
import { open } from '../../src/targets/open.ts';
import { type Run, runProcess } from '../peer.ts';
import { printRow, SCALE } from '../row.ts';
import { summarize } from '../stats.ts';

const FILE_MIBS = Math.ceil(512 * SCALE);
const RAM_MIBS = Math.ceil(256 * SCALE);
const FILE_ROUNDS = SCALE < 1 ? 3 : 9;
const RAM_ROUNDS = SCALE < 1 ? 3 : 15;
const REQUESTS = 8;
/** A protected copy may take so many times the time (files) or the CPU (memory) of a plain one. */
const TIME_MOST = 1.3;
const CPU_MOST = 1.5;
const launcher = fileURLToPath(new URL('../../bin/biovec.cjs', import.meta.url));

function fileRow(flags: readonly string[], name: string): void {
  const folder = mkdtempSync(join(tmpdir(), 'biovec-bench-'));
  try {
    const source = join(folder, 'source.img');
    runProcess('dd', ['if=/dev/urandom', `of=${source}`, 'bs=1M', `count=${FILE_MIBS}`]);
    const to = join(folder, 'copy.img');
    const copy = (...more: string[]): Run => {
      for (const path of [to, `${to}.pi`]) rmSync(path, { force: true });
      runProcess('sync', ['-f', folder]); // What was written before is not our time.
      const args = [launcher, 'copy', source, to, '--progress=none', ...flags, ...more];
      return runProcess(process.execPath, args);
    };
    copy();
    copy('--protect');
    const plain: Run[] = [];
    const protectedRuns: Run[] = [];
    for (let round = 0; round < FILE_ROUNDS; round++) {
      plain.push(copy());
      protectedRuns.push(copy('--protect'));
    }
    const seconds = (runs: readonly Run[]): number[] => runs.map((run) => run.seconds);
    const cpu = (runs: readonly Run[]): string =>
      summarize(runs.map((run) => run.cpuSeconds)).median.toFixed(2);
    const least = (runs: readonly Run[]): string => Math.min(...seconds(runs)).toFixed(2);
    printRow({
      name,
      unit: 's',
      ours: summarize(seconds(protectedRuns)),
      peer: { name: 'unprotected', figure: summarize(seconds(plain)) },
      ratio: summarize(protectedRuns.map((run, i) => (plain[i] as Run).seconds / run.seconds)),
      target: 1 / TIME_MOST,
      lessIsBetter: true,
      notes: {
        'CPU s': `${cpu(protectedRuns)} against ${cpu(plain)}`,
        'least s': `${least(protectedRuns)} against ${least(plain)}`,
        MiB: FILE_MIBS,
      },
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** CPU in s of copying one RAM disk to another. */
async function copyCpu(from: Disk, to: Disk, arena: Arena): Promise<number> {
  const buffers = Array.from({ length: REQUESTS }, () => arena.alloc(MIB));
  const before = process.cpuUsage();
  let next = 0;
  await Promise.all(
    buffers.map(async ({ bytes }) => {
      while (next < RAM_MIBS) {
        const position = next++ * MIB;
        await from.read(bytes, { position });
        await to.write(bytes, { position });
      }
    }),
  );
  const { user, system } = process.cpuUsage(before);
  for (const buffer of buffers) buffer.release();
  return (user + system) / 1e6;
}

/** CPU in s of the guards alone, of buffers as the copy has them. */
function guardCpu(to: Disk, arena: Arena): number {
  const { integrity: profile } = to.device.engine.info;
  if (profile === null) throw new Error('a protected disk without a profile');
  const buffers = Array.from({ length: REQUESTS }, () => arena.alloc(MIB));
  const blocks = MIB / intervalBytes(profile);
  const tuples = arena.alloc(blocks * profile.metadata_size);
  const walk = new PiWalk();
  const row = new OneRow().rows(tuples.page, 0, tuples.length);
  const before = process.cpuUsage();
  for (let i = 0; i < RAM_MIBS; i++) {
    const { page } = buffers[i % REQUESTS] as ArenaBuffer;
    walk.startSeparate(profile, new OneRow().rows(page, 0, MIB), row);
    generate(walk, profile, i * blocks);
  }
  const { user, system } = process.cpuUsage(before);
  for (const buffer of [...buffers, tuples]) buffer.release();
  return (user + system) / 1e6;
}

async function ramRow(guard: string, interval: number): Promise<void> {
  const arena = new Arena({ maxBytes: 64 * MIB });
  const options = { arena } as const;
  await using from = await open(`ram:${RAM_MIBS}M`, options);
  await using plain = await open(`ram:${RAM_MIBS}M,block=4096`, options);
  const name = `protect:ram:${RAM_MIBS}M,guard=${guard},interval=${interval}`;
  await using guarded = await open(name, options);
  const bytes = new Uint8Array(MIB).map((_, i) => i * 31);
  for (let i = 0; i < RAM_MIBS; i++) await from.write(bytes, { position: i * MIB });
  const a: number[] = [];
  const b: number[] = [];
  let guardLeast = Number.POSITIVE_INFINITY;
  for (let round = 0; round < RAM_ROUNDS; round++) {
    b.push(await copyCpu(from, plain, arena));
    a.push(await copyCpu(from, guarded, arena));
    guardLeast = Math.min(guardLeast, guardCpu(guarded, arena));
  }
  const perByte = (seconds: number): number => (seconds / (RAM_MIBS * MIB)) * 1e9;
  const rest = Math.min(...a) - Math.min(...b) - guardLeast;
  printRow({
    name: `protect-ram-${guard}-${interval}`,
    unit: 'ns/B of CPU',
    ours: summarize(a.map(perByte)),
    peer: { name: 'unprotected', figure: summarize(b.map(perByte)) },
    ratio: summarize(a.map((seconds, i) => (b[i] as number) / seconds)),
    target: 1 / CPU_MOST,
    lessIsBetter: true,
    notes: {
      least: `${perByte(Math.min(...a)).toFixed(3)} against ${perByte(Math.min(...b)).toFixed(3)}`,
      'of that guards': perByte(guardLeast).toFixed(3),
      'log, tuples, commits': perByte(rest).toFixed(3),
      MiB: RAM_MIBS,
    },
  });
}

await ramRow('crc64', 4096);
await ramRow('crc16', 4096);
fileRow([], 'protect-file');
fileRow(['--flush'], 'protect-file-flush');
