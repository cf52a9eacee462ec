import { BlockError } from '../../base/block-error.ts';
import { formatSize } from '../../base/units.ts';
import type { DiskStats } from '../../device/disk-stats.ts';
import type { StopSignal } from '../interrupt.ts';
import type { CopyReport } from './copy-job.ts';

/** What a copy says at its end, for people. */
export function copyLines(
  report: CopyReport,
  stoppedBy: StopSignal | null,
  destination: string,
): string[] {
  const lines: string[] = [];
  const { bytes, size, seconds, isComplete } = report;
  if (isComplete) {
    const rate = seconds > 0 ? formatSize(Math.round(bytes / seconds)) : '-';
    const flushed = report.isFlushed ? ', flushed to the medium' : '';
    const time = seconds < 10 ? seconds.toFixed(2) : seconds.toFixed(1);
    lines.push(`copied ${formatSize(bytes)} in ${time} s, ${rate}/s${flushed}${holes(report)}`);
    if (report.holesNote !== null) {
      lines.push(`${report.holesNote}: blocks of zeros were made holes instead`);
    }
  } else {
    const all = size === null ? '' : ` of ${formatSize(size)}${percent(bytes, size)}`;
    lines.push(`stopped by ${stoppedBy ?? 'request'} after ${formatSize(bytes)}${all}`);
    lines.push(`${destination === '-' ? 'the output' : `'${destination}'`} is incomplete`);
  }
  if (report.verifiedBytes !== null) {
    const { verifySeconds, verifiedBytes } = report;
    lines.push(`verified ${formatSize(verifiedBytes)} in ${verifySeconds.toFixed(2)} s: identical`);
  } else if (isComplete && stoppedBy !== null) {
    lines.push(`stopped by ${stoppedBy} before the end of the verification`);
  }
  return lines;
}

function holes({ holeBytes, dataBytes, holesBy }: CopyReport): string {
  if (holeBytes === 0 || holesBy === 'none') return '';
  return ` (${formatSize(dataBytes)} of data, ${formatSize(holeBytes)} of holes)`;
}

function percent(bytes: number, size: number): string {
  return size === 0 ? '' : ` (${Math.floor((bytes / size) * 100)} %)`;
}

export function copyJson(report: CopyReport, stoppedBy: StopSignal | null): string {
  const { sourceStats, destinationStats, ...rest } = report;
  const rate = report.seconds > 0 ? report.bytes / report.seconds : 0;
  const stats = { source: sourceStats, destination: destinationStats };
  return JSON.stringify({
    type: 'result',
    ok: stoppedBy === null,
    stoppedBy,
    ...rest,
    rate,
    stats,
  });
}

/** How far a copy was that failed. */
export interface CopyAtFailure {
  readonly advanced: number;
  /** The destination is open: a file was emptied, and is not what it was before. */
  readonly hasBegun: boolean;
}

/** A sentence for a failure that a user can meet; null for anything else, which is a bug. */
export function failureLine(
  error: unknown,
  job: CopyAtFailure,
  destination: string,
): string | null {
  if (!(error instanceof BlockError)) return null;
  const { advanced, hasBegun } = job;
  if (!hasBegun || error.code === 'ERR_BIOVEC_VERIFY') return error.message;
  const where = destination === '-' ? 'the output' : `'${destination}'`;
  return `${error.message}; after ${formatSize(advanced)}, so ${where} is incomplete`;
}

export function failureJson(error: unknown, advanced: number): string {
  const { code, reason, syscall, device, offset, length } = error as BlockError;
  const detail = { code, reason, syscall, device, offset, length };
  return JSON.stringify({ type: 'result', ok: false, bytes: advanced, error: detail });
}

type Cell = (stats: DiskStats) => string;

/** A table of two columns: the path on each side of the copy. */
export function statsLines(report: CopyReport): string[] {
  const sides = [report.sourceStats, report.destinationStats];
  const line = (name: string, cells: readonly string[]): string =>
    `  ${name.padEnd(24)}${cells.map((text) => text.padStart(14)).join('')}`;
  const row = (name: string, cell: Cell): string => {
    const cells = sides.map((side) => (side === null ? '-' : cell(side)));
    return line(name, cells);
  };
  const reasons = new Set(sides.flatMap((side) => Object.keys(side?.copiedByReason ?? {})));
  return [
    line('', ['source', 'destination']),
    row('mapped, not copied', (side) => formatSize(side.bytesMapped)),
    row('copied', (side) => formatSize(side.bytesCopied)),
    ...[...reasons].map((name) =>
      row(`  because of ${name}`, (side) => formatSize(side.copiedByReason[name] ?? 0)),
    ),
    row('bios', (side) => `${side.bios}`),
    row('splits', (side) => `${side.splits}`),
    row('merges', (side) => `${side.merges}`),
    row('requests', (side) => `${side.requests}`),
    row('continued short ones', (side) => `${side.requeues}`),
    row('most pages held', (side) => `${side.pagesHeldMost}`),
    row('most bounce pages', (side) => `${side.bouncePagesMost}`),
    row('pages held at the end', (side) => `${side.pagesHeld + side.bouncePages}`),
  ];
}
