import { execFileSync } from 'node:child_process';
import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatSize, KIB, MIB } from '../../base/units.ts';
import { presetLimits } from '../../limits/presets.ts';
import { DEFAULT_PROFILE } from '../../limits/profile.ts';
import type { AddressRange } from '../arguments.ts';
import { CopyJob } from '../copy/copy-job.ts';
import { copyLines, statsLines } from '../copy/copy-report.ts';
import { Progress } from '../copy/progress.ts';
import { ExitCode } from '../exit-code.ts';
import { explainLines } from '../explain/explain-format.ts';
import { explain } from '../explain/explain-run.ts';
import { Interrupt } from '../interrupt.ts';

const IMAGE_BYTES = 64 * MIB;
/** Where distributions put programs for administrators, which a plain user's PATH may lack. */
const SBIN = ':/usr/sbin:/sbin';

/** `npm start`: the main job on a disk image of its own, in a folder that is gone afterwards. */
export async function runDemo(): Promise<ExitCode> {
  const folder = mkdtempSync(join(tmpdir(), 'biovec-demo-'));
  try {
    const code = await copyImage(folder);
    if (code !== ExitCode.OK) return code;
    await explainThree();
    say('');
    say('Yours: npx biovec copy SRC DST    npx biovec explain --help    npx biovec info TARGET');
    return ExitCode.OK;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function copyImage(folder: string): Promise<ExitCode> {
  const source = join(folder, 'disk.img');
  const destination = join(folder, 'copy.img');
  title('1. A disk image, copied and verified');
  say(`disk.img: ${formatSize(IMAGE_BYTES)}, ${makeImage(source)}`);
  say('biovec copy disk.img copy.img --verify --stats');
  using interrupt = new Interrupt();
  const progress = new Progress('auto', process.stderr);
  const job = new CopyJob(
    {
      requestBytes: MIB,
      requests: 8,
      direct: false,
      sparse: 'auto',
      flush: false,
      verify: true,
      protect: false,
      store: null,
      trace: null,
    },
    interrupt.signal,
    progress,
  );
  const from = { kind: 'file', text: source, path: source } as const;
  const to = { kind: 'file', text: destination, path: destination } as const;
  const report = await job.run(from, to);
  progress[Symbol.dispose]();
  for (const line of copyLines(report, interrupt.by, 'copy.img')) say(`  ${line}`);
  for (const line of statsLines(report)) say(line);
  say(`  on disk: ${onDisk(source)} before, ${onDisk(destination)} after`);
  return report.isComplete && report.verifiedBytes !== null ? ExitCode.OK : interrupt.exitCode;
}

interface Example {
  readonly title: string;
  readonly words: string;
  readonly op: 'read' | 'write';
  readonly ranges: readonly AddressRange[];
  readonly limitsName: string;
  readonly position: number;
}

const EXAMPLES: readonly Example[] = [
  {
    title: '2. Mapped: the device reads the pages of the program',
    words: 'write --iov 0x10000+16K --limits nvme',
    op: 'write',
    ranges: [{ addr: 0x10000, bytes: 16 * KIB }],
    limitsName: 'nvme',
    position: 0,
  },
  {
    title: '3. Bounced: an address that the device cannot take',
    words: 'read --iov 0x10001+8K --limits nvme',
    op: 'read',
    ranges: [{ addr: 0x10001, bytes: 8 * KIB }],
    limitsName: 'nvme',
    position: 0,
  },
  {
    title: '4. Split: a gap between two ranges of memory',
    words: 'read --iov 0x10000+16K,0x30200+4K --limits nvme',
    op: 'read',
    ranges: [
      { addr: 0x10000, bytes: 16 * KIB },
      { addr: 0x30200, bytes: 4 * KIB },
    ],
    limitsName: 'nvme',
    position: 0,
  },
];

async function explainThree(): Promise<void> {
  for (const { title: heading, words, op, ranges, limitsName, position } of EXAMPLES) {
    title(heading);
    say(`biovec explain ${words}`);
    const explanation = await explain({
      op,
      ranges,
      position,
      limits: presetLimits(limitsName),
      profile: DEFAULT_PROFILE,
      copy: 'auto',
      isContiguous: false,
      controller: null,
      passthrough: null,
      integrity: null,
    });
    const lines = explainLines(explanation, { limitsName, segmentsMax: 3 });
    for (const line of lines) say(line === '' ? '' : `  ${line}`);
  }
}

/** A real file system where mkfs is; else data and holes by turns. Says which. */
function makeImage(path: string): string {
  const fd = openSync(path, 'w');
  try {
    ftruncateSync(fd, IMAGE_BYTES);
    const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}${SBIN}` };
    try {
      const files = join(import.meta.dirname, '..', '..');
      execFileSync('mkfs.ext4', ['-q', '-F', '-d', files, path], { stdio: 'ignore', env });
      return 'an ext4 file system made by mkfs.ext4, with the sources of biovec in it';
    } catch {
      const block = new Uint8Array(256 * KIB);
      for (let at = 0; at < IMAGE_BYTES; at += 4 * MIB) {
        block.fill(1 + ((at / MIB) % 251));
        writeSync(fd, block, 0, block.length, at);
      }
      return 'data and holes by turns (mkfs.ext4 is not here)';
    }
  } finally {
    closeSync(fd);
  }
}

/** What a file takes; systems without holes do not tell. */
function onDisk(path: string): string {
  const { blocks } = statSync(path);
  return blocks === undefined ? 'unknown' : formatSize(blocks * 512);
}

function title(text: string): void {
  say('');
  say(text);
  say('='.repeat(text.length));
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
