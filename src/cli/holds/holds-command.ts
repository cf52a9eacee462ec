import { readFileSync, statSync } from 'node:fs';
import { BlockError } from '../../base/block-error.ts';
import { formatSize, MIB } from '../../base/units.ts';
import { askHolds, holdsSocketOf } from '../../node/holds-server.ts';
import { ExitCode, UsageError } from '../exit-code.ts';
import { processLines, recordedLines } from './holds-format.ts';
import { heldAt, recordedHolds } from './recorded-holds.ts';

/** As commander gives them. */
export interface HoldsFlags {
  readonly at?: number;
  readonly json?: boolean;
}

/** A record is read whole. */
const RECORD_BYTES_MAX = 512 * MIB;

/**
 * `biovec holds`: a process id or its socket shows what is held now, a record who held what.
 * Exit code 1 when a page has no owner or was never released.
 */
export async function runHolds(subject: string, flags: HoldsFlags): Promise<ExitCode> {
  const stat = statSync(subject, { throwIfNoEntry: false });
  if (stat?.isFile() === true) return showRecord(subject, stat.size, flags);
  if (stat !== undefined && !stat.isSocket()) {
    const reason = 'it is neither a recorded run nor the socket of a program';
    throw new BlockError('EINVAL', { reason, device: subject });
  }
  if (flags.at !== undefined) throw new UsageError('--at names a line of a recorded run');
  const isPid = stat === undefined && /^\d+$/.test(subject);
  const report = await askHolds(isPid ? holdsSocketOf(Number(subject)) : subject);
  const out = flags.json === true ? JSON.stringify(report) : processLines(report).join('\n');
  process.stdout.write(`${out}\n`);
  return report.unexplainedPages === 0 ? ExitCode.OK : ExitCode.FAILED;
}

function showRecord(path: string, bytes: number, flags: HoldsFlags): ExitCode {
  if (bytes > RECORD_BYTES_MAX) {
    const most = formatSize(RECORD_BYTES_MAX);
    const reason = `the record has ${formatSize(bytes)}; at most ${most} can be read`;
    throw new BlockError('EFBIG', { reason });
  }
  const all = recordedHolds(readFileSync(path, 'utf8'));
  const holds = flags.at === undefined ? all : heldAt(all, flags.at);
  const out = flags.json === true ? JSON.stringify(holds) : recordedLines(holds).join('\n');
  process.stdout.write(`${out}\n`);
  const hasLeak = all.some((hold) => hold.releasedLine === null);
  return hasLeak && flags.at === undefined ? ExitCode.FAILED : ExitCode.OK;
}
