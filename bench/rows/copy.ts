// File → file in the page cache, as a whole process, beside dd bs=1M in interleaved rounds.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Run, runProcess } from '../peer.ts';
import { printRow, SCALE } from '../row.ts';
import { summarize } from '../stats.ts';

const MIBS = Math.ceil(1024 * SCALE);
const ROUNDS = SCALE < 1 ? 3 : 7;
const launcher = fileURLToPath(new URL('../../bin/biovec.cjs', import.meta.url));

const folder = mkdtempSync(join(tmpdir(), 'biovec-bench-'));
try {
  const source = join(folder, 'source.img');
  runProcess('dd', ['if=/dev/urandom', `of=${source}`, 'bs=1M', `count=${MIBS}`]);
  const ours = (to: string): Run =>
    runProcess(process.execPath, [launcher, 'copy', source, to, '--progress=none']);
  const dd = (to: string): Run => runProcess('dd', [`if=${source}`, `of=${to}`, 'bs=1M']);
  const fresh = (run: (to: string) => Run): Run => {
    const to = join(folder, 'copy.img');
    rmSync(to, { force: true });
    runProcess('sync', ['-f', folder]); // What was written before is not our time.
    return run(to);
  };
  fresh(ours);
  fresh(dd);
  const a: Run[] = [];
  const b: Run[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    if (round % 2 === 0) a.push(fresh(ours));
    b.push(fresh(dd));
    if (round % 2 === 1) a.push(fresh(ours));
  }
  const bytes = MIBS * 1024 * 1024;
  const rate = (run: Run): number => bytes / run.seconds / 1e6;
  const cpu = (run: Run): number => (run.cpuSeconds / bytes) * 1e9;
  printRow({
    name: 'copy-cached',
    unit: 'MB/s',
    ours: summarize(a.map(rate)),
    peer: { name: 'dd bs=1M', figure: summarize(b.map(rate)) },
    ratio: summarize(a.map((run, i) => rate(run) / rate(b[i] as Run))),
    target: 0.9,
    notes: {
      'CPU ns per byte': summarize(a.map(cpu)).median.toFixed(3),
      'of dd': summarize(b.map(cpu)).median.toFixed(3),
      MiB: MIBS,
    },
  });
} finally {
  rmSync(folder, { recursive: true, force: true });
}
