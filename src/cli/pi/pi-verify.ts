import { BlockError } from '../../base/block-error.ts';
import type { Disk } from '../../device/disk.ts';
import { type FaultReport, faultSentence, reportFault } from '../../integrity/fault-text.ts';
import { type IntegrityProfile, intervalBytes } from '../../integrity/integrity-profile.ts';
import { PiWalk } from '../../integrity/pi-walk.ts';
import { PiCheck, PiFault, verify } from '../../integrity/verify.ts';
import { Progress, type ProgressStyle } from '../copy/progress.ts';
import { ExitCode, UsageError } from '../exit-code.ts';
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

export interface PiVerifyFlags extends PiFormatFlags {
  readonly seed: number;
  /** CheckFlag */
  readonly check: number;
  readonly appTag: number;
  readonly appMask: number;
  /** Bad blocks that are listed; all are counted. */
  readonly list: number;
  readonly json?: boolean;
  readonly progress: ProgressStyle;
}

export interface PiVerifyReport {
  readonly blocks: number;
  /** Blocks that were looked at. */
  readonly checked: number;
  readonly bad: number;
  /** The first ones, lowest block first. */
  readonly faults: readonly FaultReport[];
}

const walk = new PiWalk();
const check = new PiCheck();
const fault = new PiFault();

/** `biovec pi verify IMAGE META`: every bad block, with tag, expected and actual; exit 1 if any. */
export async function runPiVerify(
  imageText: string,
  metaText: string | undefined,
  flags: PiVerifyFlags,
  out: PiOutput = process.stdout,
): Promise<ExitCode> {
  const profile = profileOf(flags);
  if ((metaText === undefined) !== (flags.interleaved === true)) {
    throw new UsageError('name the metadata, or say --interleaved when the image has it inside');
  }
  const arena = makePiArena();
  using interrupt = new Interrupt();
  const image = await openPi(imageText, arena);
  let report: PiVerifyReport;
  try {
    const meta = metaText === undefined ? null : await openPi(metaText, arena);
    try {
      using progress = new Progress(flags.progress, process.stderr);
      const job = new VerifyJob(profile, flags, image, meta, progress);
      report = await job.run(interrupt.signal);
    } finally {
      await meta?.close();
    }
  } finally {
    await image.close();
  }
  arena.assertNothingOutstanding();
  const isComplete = report.checked === report.blocks;
  if (flags.json === true) out.write(`${JSON.stringify({ ...report, isComplete, profile })}\n`);
  else out.write(`${verifyLines(report, profile).join('\n')}\n`);
  if (report.bad > 0) return ExitCode.FAILED;
  return isComplete ? ExitCode.OK : interrupt.exitCode;
}

function verifyLines(report: PiVerifyReport, profile: IntegrityProfile): string[] {
  const { blocks, checked, bad, faults } = report;
  const lines = faults.map(faultSentence);
  if (bad > faults.length) lines.push(`... and ${bad - faults.length} more`);
  const stopped = checked === blocks ? '' : `, stopped after ${checked}`;
  lines.push(`${bad} of ${blocks} blocks are bad${stopped} (${formatText(profile)})`);
  return lines;
}

class VerifyJob {
  readonly #profile: IntegrityProfile;
  readonly #flags: PiVerifyFlags;
  readonly #image: Disk;
  /** null: in the image. */
  readonly #meta: Disk | null;
  readonly #progress: Progress;
  readonly #faults: FaultReport[] = [];
  #bad = 0;
  #checked = 0;

  constructor(
    profile: IntegrityProfile,
    flags: PiVerifyFlags,
    image: Disk,
    meta: Disk | null,
    progress: Progress,
  ) {
    this.#profile = profile;
    this.#flags = flags;
    this.#image = image;
    this.#meta = meta;
    this.#progress = progress;
  }

  async run(signal: AbortSignal): Promise<PiVerifyReport> {
    const blocks = this.#blocks();
    this.#progress.start('verify', blocks * intervalBytes(this.#profile));
    const { arena } = this.#image.device;
    const turn = (chunk: PiChunk, slot: PiSlot): Promise<void> => this.#turn(chunk, slot);
    await forEachChunk(this.#profile, blocks, arena, signal, turn);
    this.#faults.sort((a, b) => a.block - b.block);
    const faults = this.#faults.slice(0, this.#flags.list);
    return { blocks, checked: this.#checked, bad: this.#bad, faults };
  }

  #blocks(): number {
    const interval = intervalBytes(this.#profile);
    const { metadata_size } = this.#profile;
    if (this.#meta === null) {
      return unitsOf(this.#image, interval + metadata_size, 'an interval with its record');
    }
    const blocks = unitsOf(this.#image, interval, 'an interval');
    requireSize(this.#meta, blocks, metadata_size);
    return blocks;
  }

  async #turn({ first, count }: PiChunk, { data, records }: PiSlot): Promise<void> {
    const interval = intervalBytes(this.#profile);
    const { metadata_size } = this.#profile;
    const unit = this.#meta === null ? interval + metadata_size : interval;
    const reads = [readExactly(this.#image, data.buffer.bytes, first * unit, count * unit)];
    if (this.#meta !== null) {
      const bytes = count * metadata_size;
      reads.push(readExactly(this.#meta, records.buffer.bytes, first * metadata_size, bytes));
    }
    await Promise.all(reads);
    for (let from = 0; from < count; ) {
      const left = count - from;
      const rows = data.rows(from * unit, left * unit);
      if (this.#meta === null) walk.startInterleaved(this.#profile, rows);
      else {
        const place = records.rows(from * metadata_size, left * metadata_size);
        walk.startSeparate(this.#profile, rows, place);
      }
      from += this.#check(first + from, left);
    }
    this.#checked += count;
    this.#progress.advance(count * interval);
  }

  /** Looks at the blocks of the walk up to the first bad one; how many that are. */
  #check(block: number, left: number): number {
    const { seed, check: flags, appTag, appMask } = this.#flags;
    check.flags = flags;
    check.seed = seed + block;
    check.appTag = appTag;
    check.appMask = appMask;
    if (verify(walk, this.#profile, check, fault) === 0) return left;
    this.#bad++;
    this.#faults.push(reportFault(fault, this.#profile, block));
    if (this.#faults.length > 2 * this.#flags.list + 1000) this.#keepLowest();
    return fault.interval + 1;
  }

  /** Chunks end in any order, so a few more than are listed are kept. */
  #keepLowest(): void {
    this.#faults.sort((a, b) => a.block - b.block);
    this.#faults.length = this.#flags.list;
  }
}

/**
 * Records of another image, interval or format would read as damage of every block. A device may be
 * larger than what it holds; a file has just the size that `generate` gave it.
 */
function requireSize(meta: Disk, blocks: number, recordBytes: number): void {
  const bytes = blocks * recordBytes;
  const mayBeLarger = meta.device.engine.info.fixedSize;
  if (meta.size === bytes || (mayBeLarger && meta.size > bytes)) return;
  const most = meta.size > bytes ? ': they belong to another image, interval or format' : '';
  const need = blocks === 1 ? '1 block needs' : `${blocks} blocks need`;
  const reason = `${need} ${bytes} bytes of metadata, there are ${meta.size}${most}`;
  throw new BlockError('EINVAL', { reason, device: meta.target });
}
