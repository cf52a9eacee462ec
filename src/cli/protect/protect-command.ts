import { formatSize } from '../../base/units.ts';
import { type ProtectImageOptions, protectImage } from '../../targets/create-protected.ts';
import { type ProtectedFile, protectedFile } from '../../targets/target.ts';
import { targetOf } from '../arguments.ts';
import { Progress, type ProgressStyle } from '../copy/progress.ts';
import { ExitCode, UsageError } from '../exit-code.ts';
import { Interrupt } from '../interrupt.ts';

/** As commander gives them. */
export interface ProtectFlags {
  readonly store?: string;
  readonly again?: boolean;
  readonly guard?: 'crc64' | 'crc16';
  readonly interval?: number;
  readonly json?: boolean;
  readonly progress: ProgressStyle;
}

/** `IMAGE` or `protect:IMAGE`, with a store elsewhere if the user says so. */
export function imageOf(text: string, store: string | undefined): ProtectedFile {
  const target = targetOf(text);
  const plain = target.kind === 'protect' ? target.data : target;
  if (plain.kind !== 'file') {
    throw new UsageError(`'${text}' keeps nothing: name a file or a block device`);
  }
  const named = target.kind === 'protect' ? target.store : null;
  return protectedFile(plain, store ?? named);
}

/** `biovec protect IMAGE`: the image is only read. */
export async function runProtect(text: string, flags: ProtectFlags): Promise<ExitCode> {
  const target = imageOf(text, flags.store);
  using interrupt = new Interrupt();
  using progress = new Progress(flags.progress, process.stderr);
  const options: ProtectImageOptions = {
    guard: flags.guard,
    intervalBytes: flags.interval,
    again: flags.again,
    signal: interrupt.signal,
    onStart: (bytes) => progress.start('generate', bytes),
    onProgress: (bytes) => progress.advance(bytes),
  };
  const result = await protectImage(target, options);
  progress[Symbol.dispose]();
  if (flags.json === true) process.stdout.write(`${JSON.stringify(result)}\n`);
  if (!result.isComplete) {
    process.stderr.write(`biovec: stopped; '${result.store}' is not finished\n`);
    return interrupt.exitCode;
  }
  if (flags.json === true) return ExitCode.OK;
  const { blocks, guard, intervalBytes, tupleBytes, store, storeBytes } = result;
  const format = `${guard}, ${intervalBytes} + ${tupleBytes} bytes`;
  process.stdout.write(`${blocks} blocks protected (${format})\n`);
  process.stdout.write(`tuples in '${store}' (${formatSize(storeBytes)}); `);
  process.stdout.write(`use it as ${target.text}\n`);
  return ExitCode.OK;
}
