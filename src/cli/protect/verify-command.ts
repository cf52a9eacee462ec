import type { Disk } from '../../device/disk.ts';
import { type FaultReport, faultSentence, reportFault } from '../../integrity/fault-text.ts';
import type { PiFault } from '../../integrity/verify.ts';
import { forEachPageOf } from '../../protect/data-pages.ts';
import { ProtectEngine } from '../../protect/protect-engine.ts';
import type { RecoveryReport } from '../../protect/recovery.ts';
import { PAGE_FAULT_TEXT } from '../../protect/seal.ts';
import { WRITER_FACT } from '../../targets/claim-store.ts';
import { open } from '../../targets/open.ts';
import { Progress, type ProgressStyle } from '../copy/progress.ts';
import { ExitCode } from '../exit-code.ts';
import { Interrupt } from '../interrupt.ts';
import { imageOf } from './protect-command.ts';

/** As commander gives them. */
export interface VerifyFlags {
  readonly store?: string;
  readonly list: number;
  readonly json?: boolean;
  readonly progress: ProgressStyle;
}

/** A page of tuples that is not the one of the last commit: its blocks cannot be checked. */
interface LostPage {
  readonly firstBlock: number;
  readonly blocks: number;
  readonly reason: string;
}

interface VerifyReport {
  readonly blocks: number;
  /** Blocks that were looked at. */
  readonly checked: number;
  readonly bad: number;
  /** The lowest ones whose tuple does not fit. */
  readonly faults: readonly FaultReport[];
  /** Blocks that could not be read. */
  readonly unreadable: readonly number[];
  readonly lostPages: readonly LostPage[];
  /** null: the image was closed in order. */
  readonly recovery: RecoveryReport | null;
  /** Another process has it open for writing; null: nobody can tell here. */
  readonly hasWriter: boolean | null;
  readonly isComplete: boolean;
}

/** `biovec verify IMAGE`: nothing is written, also after a crash. Exit 1 when a block is bad. */
export async function runVerify(text: string, flags: VerifyFlags): Promise<ExitCode> {
  const target = imageOf(text, flags.store);
  using interrupt = new Interrupt();
  const disk = await open(target.text, { readOnly: true });
  let report: VerifyReport;
  try {
    using progress = new Progress(flags.progress, process.stderr);
    report = await new VerifyJob(engineOf(disk), flags.list, progress).run(interrupt.signal);
  } finally {
    await disk.close();
  }
  const out = flags.json === true ? [JSON.stringify(report)] : verifyLines(report);
  process.stdout.write(`${out.join('\n')}\n`);
  if (report.bad > 0) return ExitCode.FAILED;
  return report.isComplete ? ExitCode.OK : interrupt.exitCode;
}

function engineOf(disk: Disk): ProtectEngine {
  const { engine } = disk.device;
  if (engine instanceof ProtectEngine) return engine;
  throw new Error('biovec: a protected target without its engine');
}

function hasWriter({ info }: ProtectEngine): boolean | null {
  const fact = info.facts[WRITER_FACT];
  return typeof fact === 'boolean' ? fact : null;
}

class VerifyJob {
  readonly #engine: ProtectEngine;
  readonly #list: number;
  readonly #progress: Progress;
  readonly #faults: FaultReport[] = [];
  readonly #unreadable: number[] = [];
  #bad = 0;
  #checked = 0;

  constructor(engine: ProtectEngine, list: number, progress: Progress) {
    this.#engine = engine;
    this.#list = list;
    this.#progress = progress;
  }

  async run(signal: AbortSignal): Promise<VerifyReport> {
    const { tuples, layout, recovery } = this.#engine;
    this.#progress.start('verify', layout.dataBytes);
    await forEachPageOf(tuples, 0, layout.pages, signal, async (pages, index) => {
      await pages.check(index, this.#note);
      const blocks = layout.blocksOn(index);
      this.#checked += blocks;
      this.#progress.advance(blocks * layout.intervalBytes);
    });
    const byBlock = (a: FaultReport, b: FaultReport): number => a.block - b.block;
    return {
      blocks: layout.blocks,
      checked: this.#checked,
      bad: this.#bad,
      faults: this.#faults.sort(byBlock).slice(0, this.#list),
      unreadable: this.#unreadable.sort((a, b) => a - b).slice(0, this.#list),
      lostPages: this.#lostPages(),
      recovery,
      hasWriter: hasWriter(this.#engine),
      isComplete: this.#checked === layout.blocks,
    };
  }

  /** Pages end in any order, so a few more than are listed are kept. */
  readonly #note = (block: number, fault: PiFault | null): void => {
    const { layout, tuples } = this.#engine;
    this.#bad++;
    if (fault === null) {
      this.#unreadable.push(block);
      return;
    }
    if (tuples.cache.badPages.has(layout.pageOf(block))) return; // Told by the page.
    const report = reportFault(fault, layout.profile, block - fault.interval);
    this.#faults.push(report);
    if (this.#faults.length < 2 * this.#list + 1000) return;
    this.#faults.sort((a, b) => a.block - b.block);
    this.#faults.length = this.#list;
  };

  #lostPages(): LostPage[] {
    const { layout, tuples } = this.#engine;
    return [...tuples.cache.badPages]
      .sort(([a], [b]) => a - b)
      .map(([index, fault]) => ({
        firstBlock: layout.firstBlockOf(index),
        blocks: layout.blocksOn(index),
        reason: PAGE_FAULT_TEXT[fault],
      }));
  }
}

function verifyLines(report: VerifyReport): string[] {
  const { blocks, checked, bad, faults, lostPages, unreadable, recovery } = report;
  const lines: string[] = [];
  if (report.hasWriter === true) {
    lines.push('another process has it open for writing: what is in flight may look bad');
  }
  if (recovery !== null) lines.push(...recoveryLines(recovery));
  for (const page of lostPages) {
    const last = page.firstBlock + page.blocks - 1;
    lines.push(`blocks ${page.firstBlock} to ${last}: their page of tuples ${page.reason}`);
  }
  lines.push(...faults.map(faultSentence));
  for (const block of unreadable) lines.push(`block ${block}: cannot be read`);
  const stopped = checked === blocks ? '' : `, stopped after ${checked}`;
  lines.push(`${bad} of ${blocks} blocks are bad${stopped}`);
  return lines;
}

function recoveryLines(recovery: RecoveryReport): string[] {
  const { blocksChecked, settled, tornCount, unloggedCount, torn, unlogged } = recovery;
  const lines = [
    `it was not closed: ${blocksChecked} blocks were looked at, ${settled} of them by the log`,
  ];
  const taken = tornCount + unloggedCount;
  if (taken === 0) return lines;
  const names = [...torn, ...unlogged].sort((a, b) => a - b).slice(0, 10);
  const more = taken > names.length ? ' ...' : '';
  lines.push(`${taken} were in flight and taken as they are: ${names.join(', ')}${more}`);
  return lines;
}
