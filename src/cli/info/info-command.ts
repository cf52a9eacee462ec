import { promises as fs } from 'node:fs';
import { BlockError } from '../../base/block-error.ts';
import type { Disk } from '../../device/disk.ts';
import { ringState } from '../../engine/uring/lane-facts.ts';
import { nodeEnv } from '../../node/node-env.ts';
import { engineFromEnvironment } from '../../targets/file-choice.ts';
import { type OpenOptions, open } from '../../targets/open.ts';
import type { Target } from '../../targets/target.ts';
import { targetOf } from '../arguments.ts';
import { ExitCode, UsageError } from '../exit-code.ts';
import { type ExtentSummary, infoLines, type TargetInfo } from './info-format.ts';

/** As commander gives them. */
export interface InfoFlags {
  readonly direct?: boolean;
  readonly engines?: boolean;
  readonly json?: boolean;
}

/** `biovec info`. */
export async function runInfo(text: string, flags: InfoFlags): Promise<ExitCode> {
  const target = targetOf(text);
  if (target.kind === 'stdio') throw new UsageError('a stream has no limits; only copy takes -');
  const disk = await openToLook(target, flags.direct ?? false);
  let info: TargetInfo;
  try {
    info = await describe(disk, flags.engines ?? false);
  } finally {
    await disk.close();
  }
  const out = flags.json === true ? JSON.stringify(info) : infoLines(info).join('\n');
  process.stdout.write(`${out}\n`);
  return ExitCode.OK;
}

/**
 * For reading and writing where that is harmless: what a target takes in writing shows only then.
 * Closing a block device that was open for writing makes the system probe it anew, so not there;
 * opening a protected image for writing mends it after a crash, which is not for looking either.
 */
async function openToLook(target: Target, direct: boolean): Promise<Disk> {
  const options: OpenOptions = { direct };
  const isBlock = target.kind === 'file' && (await isBlockDevice(target.path));
  if (!isBlock && target.kind !== 'protect') {
    try {
      return await open(target.text, options);
    } catch (error) {
      const isForbidden = error instanceof BlockError && FORBIDDEN.has(error.code);
      if (!isForbidden) throw error;
    }
  }
  return await open(target.text, { ...options, readOnly: true });
}

const FORBIDDEN: ReadonlySet<string> = new Set(['EACCES', 'EPERM', 'EROFS', 'EBUSY', 'EIO']);

async function isBlockDevice(path: string): Promise<boolean> {
  try {
    return (await fs.stat(path)).isBlockDevice();
  } catch {
    return false; // Opening says what is wrong.
  }
}

async function describe(disk: Disk, withEngines: boolean): Promise<TargetInfo> {
  const { info } = disk.device.engine;
  return {
    target: disk.target,
    kind: info.kind,
    sizeBytes: disk.size,
    depth: info.depth,
    byteGranular: info.byteGranular,
    fixedSize: info.fixedSize,
    integrity: info.integrity,
    facts: info.facts,
    limits: disk.limits,
    extents: await summarize(disk),
    engines: withEngines ? engines() : null,
  };
}

async function summarize(disk: Disk): Promise<ExtentSummary> {
  const summary = { data: 0, dataBytes: 0, holes: 0, holeBytes: 0 };
  for await (const { start, end, kind } of disk.extents()) {
    if (kind === 'data') {
      summary.data++;
      summary.dataBytes += end - start;
    } else {
      summary.holes++;
      summary.holeBytes += end - start;
    }
  }
  return summary;
}

function engines(): NonNullable<TargetInfo['engines']> {
  const env = nodeEnv();
  const ring = ringState(env);
  const wish = engineFromEnvironment();
  const chosen = wish === 'auto' ? (ring.isAvailable ? 'uring' : 'file') : wish;
  const why = wish === 'auto' ? 'by itself' : `by BIOVEC_ENGINE=${wish}`;
  const note = (name: string): string => (name === chosen ? `; carries files, chosen ${why}` : '');
  const pool = `node:fs on ${env.ioThreads} threads`;
  return [
    { name: 'uring', ...ring, reason: ring.reason + note('uring') },
    { name: 'file', isAvailable: true, reason: pool + note('file') },
    { name: 'ram', isAvailable: true, reason: 'memory of this process' },
    { name: 'null', isAvailable: true, reason: 'reads give zeros, writes are dropped' },
    { name: 'nbd', isAvailable: false, reason: 'not part of this version' },
    { name: 'ffi', isAvailable: env.native !== null, reason: env.nativeReason },
  ];
}
