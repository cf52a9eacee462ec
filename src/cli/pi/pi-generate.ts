import { BlockError } from '../../base/block-error.ts';
import type { Disk } from '../../device/disk.ts';
import { generate } from '../../integrity/generate.ts';
import { type IntegrityProfile, intervalBytes } from '../../integrity/integrity-profile.ts';
import { PiWalk } from '../../integrity/pi-walk.ts';
import { copyPages, zeroPages } from '../../memory/copy.ts';
import { targetOf } from '../arguments.ts';
import { requireDistinct } from '../copy/distinct-files.ts';
import { Progress, type ProgressStyle } from '../copy/progress.ts';
import { ExitCode } from '../exit-code.ts';
import { Interrupt } from '../interrupt.ts';
import { formatText, type PiFormatFlags, type PiOutput, profileOf } from './pi-format.ts';
import {
  forEachChunk,
  makePiArena,
  openPi,
  type PiChunk,
  type PiSlot,
  readExactly,
  unitsOf,
} from './pi-image.ts';

export interface PiGenerateFlags extends PiFormatFlags {
  /** Ref tag of the first block. */
  readonly seed: number;
  readonly appTag: number;
  readonly json?: boolean;
  readonly progress: ProgressStyle;
}

const walk = new PiWalk();

/**
 * `biovec pi generate IMAGE META`: a record for each interval of the image, or with --interleaved
 * the image with its records in it. Bytes of a record that are no tuple are zero.
 */
export async function runPiGenerate(
  from: string,
  to: string,
  flags: PiGenerateFlags,
  out: PiOutput = process.stdout,
): Promise<ExitCode> {
  const profile = profileOf(flags);
  await requireDistinct({ source: targetOf(from), destination: targetOf(to) });
  const arena = makePiArena();
  const image = await openPi(from, arena);
  let isComplete: boolean;
  let intervals: number;
  using interrupt = new Interrupt();
  try {
    intervals = unitsOf(image, intervalBytes(profile), 'an interval');
    const meta = await openPi(to, arena, true);
    try {
      using progress = new Progress(flags.progress, process.stderr);
      isComplete = await fill(image, meta, profile, flags, intervals, progress, interrupt.signal);
    } finally {
      await meta.close();
    }
  } finally {
    await image.close();
  }
  arena.assertNothingOutstanding();
  if (!isComplete) {
    process.stderr.write('biovec: stopped; the metadata is incomplete\n');
    return interrupt.exitCode;
  }
  const bytes = intervals * profile.metadata_size;
  const summary = { blocks: intervals, metadataBytes: bytes, profile };
  const text = `${intervals} blocks, ${bytes} bytes of metadata (${formatText(profile)})`;
  out.write(`${flags.json === true ? JSON.stringify(summary) : text}\n`);
  return ExitCode.OK;
}

async function fill(
  image: Disk,
  meta: Disk,
  profile: IntegrityProfile,
  flags: PiGenerateFlags,
  intervals: number,
  progress: Progress,
  signal: AbortSignal,
): Promise<boolean> {
  const interval = intervalBytes(profile);
  const isWoven = flags.interleaved === true;
  const unit = isWoven ? interval + profile.metadata_size : profile.metadata_size;
  await resize(meta, intervals * unit);
  progress.start('generate', intervals * interval);
  const turn = async ({ first, count }: PiChunk, slot: PiSlot): Promise<void> => {
    const { data, records } = slot;
    await readExactly(image, data.buffer.bytes, first * interval, count * interval);
    zeroPages(records.buffer.page, 0, count * unit);
    if (isWoven) {
      weave(slot, count, interval, unit);
      walk.startInterleaved(profile, records.rows(0, count * unit));
    } else {
      const rows = records.rows(0, count * unit);
      walk.startSeparate(profile, data.rows(0, count * interval), rows);
    }
    generate(walk, profile, flags.seed + first, flags.appTag);
    await meta.write(records.buffer.bytes, 0, count * unit, first * unit);
    progress.advance(count * interval);
  };
  return await forEachChunk(profile, intervals, meta.device.arena, signal, turn);
}

/**
 * A file gets its size first, so that a short one does not keep an old end; a device must have it.
 */
async function resize(meta: Disk, bytes: number): Promise<void> {
  if (!meta.device.engine.info.fixedSize) return await meta.truncate(bytes);
  if (meta.size >= bytes) return;
  const reason = `the metadata takes ${bytes} bytes, the target has ${meta.size}`;
  throw new BlockError('ENOSPC', { reason, device: meta.target });
}

/** Puts each interval before its record. */
function weave({ data, records }: PiSlot, count: number, interval: number, unit: number): void {
  for (let i = 0; i < count; i++) {
    copyPages(records.buffer.page, i * unit, data.buffer.page, i * interval, interval);
  }
}
