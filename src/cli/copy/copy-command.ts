import { formatSize, GIB, MIB, PAGE_BYTES } from '../../base/units.ts';
import type { Target } from '../../targets/target.ts';
import { targetOf } from '../arguments.ts';
import { ExitCode, UsageError } from '../exit-code.ts';
import { Interrupt } from '../interrupt.ts';
import { CopyJob, type CopyReport } from './copy-job.ts';
import { copyJson, copyLines, failureJson, failureLine, statsLines } from './copy-report.ts';
import { requireDistinct } from './distinct-files.ts';
import type { SparsePolicy } from './endpoint.ts';
import { Progress, type ProgressStyle } from './progress.ts';
import { TraceFile } from './trace-file.ts';

/** As commander gives them. */
export interface CopyFlags {
  readonly requestSize?: number;
  readonly requests?: number;
  readonly direct?: boolean;
  readonly sparse: SparsePolicy;
  readonly flush?: boolean;
  readonly verify?: boolean;
  readonly protect?: boolean;
  readonly store?: string;
  readonly stats?: boolean;
  readonly json?: boolean;
  readonly trace?: string;
  readonly progress: ProgressStyle;
}

/** Memory that buffers may take. */
const BUFFER_BYTES_MAX = GIB;

interface Pieces {
  readonly requestBytes: number;
  readonly requests: number;
}

/**
 * Few and long: a copy of cached pages waits 150 µs for a thread of the kernel to wake up, for each
 * request, and gains nothing from more than three; three of 4 MiB keep a disk as busy as eight of
 * 1 MiB.
 */
const LONG: Pieces = { requestBytes: 4 * MIB, requests: 3 };
/** A pipe brings its bytes when it likes: what has come shall not wait long for the rest. */
const SHORT: Pieces = { requestBytes: MIB, requests: 8 };

/** `biovec copy`: reports on standard output, or on standard error when that is the copy itself. */
export async function runCopy(from: string, to: string, flags: CopyFlags): Promise<ExitCode> {
  const source = targetOf(from);
  const destination = targetOf(to);
  const pieces = piecesOf(flags, source, destination);
  requireSense(flags, pieces, destination);
  const report = destination.kind === 'stdio' ? process.stderr : process.stdout;
  using interrupt = new Interrupt();
  const progress = new Progress(flags.progress, process.stderr);
  const trace = flags.trace === undefined ? null : new TraceFile(flags.trace);
  const job = new CopyJob(
    {
      ...pieces,
      direct: flags.direct ?? false,
      sparse: flags.sparse,
      flush: flags.flush ?? false,
      verify: flags.verify ?? false,
      protect: flags.protect ?? false,
      store: flags.store ?? null,
      trace,
    },
    interrupt.signal,
    progress,
  );
  let result: CopyReport | null = null;
  try {
    using _bar = progress;
    const { protect, store, trace: traceName } = flags;
    await requireDistinct({ source, destination, protect, store, trace: traceName });
    trace?.open();
    result = await job.run(source, destination);
    trace?.close();
  } catch (error) {
    trace?.abandon();
    const { advanced } = job;
    const line = failureLine(error, { advanced, hasBegun: job.hasBegun && result === null }, to);
    if (line === null) throw error; // A bug, not a failure.
    if (flags.json === true) report.write(`${failureJson(error, advanced)}\n`);
    process.stderr.write(`biovec: ${line}\n`);
    return ExitCode.FAILED;
  }
  const isDone = result.isComplete && (flags.verify !== true || result.verifiedBytes !== null);
  const stoppedBy = isDone ? null : interrupt.by;
  if (flags.json === true) {
    report.write(`${copyJson(result, stoppedBy)}\n`);
  } else {
    // An incomplete copy is a failure, whoever wanted it so.
    const out = isDone ? report : process.stderr;
    for (const line of copyLines(result, stoppedBy, to)) out.write(`${line}\n`);
    if (flags.stats === true) for (const line of statsLines(result)) out.write(`${line}\n`);
  }
  if (isDone) return ExitCode.OK;
  if (job.isBlocked) interrupt.die();
  return interrupt.exitCode;
}

function piecesOf(flags: CopyFlags, source: Target, destination: Target): Pieces {
  const isFree = flags.requestSize === undefined;
  const isPiped = source.kind === 'stdio' || destination.kind === 'stdio';
  const { requestBytes, requests } = isFree && !isPiped ? LONG : SHORT;
  return {
    requestBytes: flags.requestSize ?? requestBytes,
    requests: flags.requests ?? requests,
  };
}

function requireSense(flags: CopyFlags, pieces: Pieces, destination: Target): void {
  const { requestBytes, requests } = pieces;
  if (requestBytes < PAGE_BYTES || requestBytes % PAGE_BYTES !== 0) {
    throw new UsageError(
      `--request-size is ${requestBytes}; it must be a multiple of 4096, and not 0`,
    );
  }
  if (requestBytes * requests > BUFFER_BYTES_MAX) {
    const size = formatSize(requestBytes);
    throw new UsageError(`${requests} requests of ${size} are more than 1 GiB of buffers`);
  }
  if (flags.store !== undefined && flags.protect !== true) {
    throw new UsageError('--store says where --protect puts its tuples');
  }
  if (flags.protect === true && destination.kind !== 'file') {
    throw new UsageError('--protect needs a file or a block device as destination');
  }
  if (destination.kind !== 'stdio') return;
  if (flags.verify === true) throw new UsageError('--verify cannot read standard output back');
  if (flags.flush === true) throw new UsageError('--flush has no medium behind standard output');
}
