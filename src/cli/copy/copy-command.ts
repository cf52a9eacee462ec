import { formatSize, GIB, PAGE_BYTES } from '../../base/units.ts';
import type { Target } from '../../targets/target.ts';
import { targetOf } from '../arguments.ts';
import { ExitCode, UsageError } from '../exit-code.ts';
import { Interrupt } from '../interrupt.ts';
import { CopyJob, type CopyReport } from './copy-job.ts';
import { copyJson, copyLines, failureJson, failureLine, statsLines } from './copy-report.ts';
import type { SparsePolicy } from './endpoint.ts';
import { Progress, type ProgressStyle } from './progress.ts';
import { TraceFile } from './trace-file.ts';

/** As commander gives them. */
export interface CopyFlags {
  readonly requestSize: number;
  readonly requests: number;
  readonly direct?: boolean;
  readonly sparse: SparsePolicy;
  readonly flush?: boolean;
  readonly verify?: boolean;
  readonly stats?: boolean;
  readonly json?: boolean;
  readonly trace?: string;
  readonly progress: ProgressStyle;
}

/** Memory that buffers may take. */
const BUFFER_BYTES_MAX = GIB;

/** `biovec copy`: reports on standard output, or on standard error when that is the copy itself. */
export async function runCopy(from: string, to: string, flags: CopyFlags): Promise<ExitCode> {
  const source = targetOf(from);
  const destination = targetOf(to);
  requireSense(flags, destination);
  const report = destination.kind === 'stdio' ? process.stderr : process.stdout;
  using interrupt = new Interrupt();
  const progress = new Progress(flags.progress, process.stderr);
  const trace = flags.trace === undefined ? null : new TraceFile(flags.trace);
  const job = new CopyJob(
    {
      requestBytes: flags.requestSize,
      requests: flags.requests,
      direct: flags.direct ?? false,
      sparse: flags.sparse,
      flush: flags.flush ?? false,
      verify: flags.verify ?? false,
      trace,
    },
    interrupt.signal,
    progress,
  );
  let result: CopyReport;
  try {
    using _bar = progress;
    result = await job.run(source, destination);
  } catch (error) {
    const line = failureLine(error, job.advanced, to);
    if (line === null) throw error; // A bug, not a failure.
    if (flags.json === true) report.write(`${failureJson(error, job.advanced)}\n`);
    process.stderr.write(`biovec: ${line}\n`);
    return ExitCode.FAILED;
  } finally {
    trace?.close();
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

function requireSense(flags: CopyFlags, destination: Target): void {
  const { requestSize, requests } = flags;
  if (requestSize < PAGE_BYTES || requestSize % PAGE_BYTES !== 0) {
    throw new UsageError(`--request-size is ${requestSize}; it must be a multiple of 4096`);
  }
  if (requestSize * requests > BUFFER_BYTES_MAX) {
    const size = formatSize(requestSize);
    throw new UsageError(`${requests} requests of ${size} are more than 1 GiB of buffers`);
  }
  if (destination.kind !== 'stdio') return;
  if (flags.verify === true) throw new UsageError('--verify cannot read standard output back');
  if (flags.flush === true) throw new UsageError('--flush has no medium behind standard output');
}
