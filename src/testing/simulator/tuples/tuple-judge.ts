import { AssertionError } from '../../../base/assert.ts';
import { Errno } from '../../../base/errno.ts';
import { roundDown } from '../../../base/units.ts';
import { BIO_OP_NAMES, BioOp, opIsWrite } from '../../../bio/bio-op.ts';
import type { FaultReport } from '../../../integrity/fault-text.ts';
import type { Limits } from '../../../limits/limits.ts';
import type { SimEngine } from '../sim-engine.ts';
import { TupleFault } from './tuple-format.ts';
import type { TupleModel } from './tuple-model.ts';
import type { TupleOp } from './tuple-op.ts';
import { WriteCheck } from './write-check.ts';

/** Errors that the fault plan may cause by itself. */
const INJECTED: readonly number[] = [
  Errno.EIO,
  Errno.ENOSPC,
  Errno.ETIMEDOUT,
  Errno.EREMOTEIO,
  Errno.EAGAIN,
].map((errno) => -errno);

export interface JudgeOptions {
  readonly model: TupleModel;
  readonly engine: SimEngine;
  readonly limits: Limits;
  /** Requests may fail by themselves. */
  readonly hasErrors: boolean;
}

/** How an operation ended, as its submitter was told. */
export interface OpEnd {
  /** 0 or -errno. */
  readonly status: number;
  /** Bytes from its start, when the status is 0. */
  readonly done: number;
  /** What a transfer says of the first block that did not fit. */
  readonly report: FaultReport | null;
}

/** Says of each operation that ended whether it may have ended so, and what must be stored now. */
export class TupleJudge {
  /** Reads and writes that ended with a mismatch, and were right to. */
  mismatches = 0;
  /** Intervals whose stored tuples were compared with the model's own. */
  tuplesCompared = 0;
  readonly #model: TupleModel;
  readonly #engine: SimEngine;
  readonly #limits: Limits;
  readonly #hasErrors: boolean;
  readonly #scratch = new TupleFault();

  constructor(options: JudgeOptions) {
    this.#model = options.model;
    this.#engine = options.engine;
    this.#limits = options.limits;
    this.#hasErrors = options.hasErrors;
  }

  judge(op: TupleOp, end: OpEnd): void {
    const why = this.#statusFault(op, end.status);
    if (why !== null) this.#fail(why, op);
    if (op.op === BioOp.READ) this.#judgeRead(op, end);
    else if (op.op !== BioOp.FLUSH) this.#judgeWrite(op, end);
  }

  #statusFault(op: TupleOp, status: number): string | null {
    const text = `it ended with ${status}`;
    const { max_discard_sectors: discards, max_write_zeroes_sectors: zeroes } = this.#limits;
    const isNever =
      (op.op === BioOp.DISCARD && discards === 0) || (op.op === BioOp.WRITE_ZEROES && zeroes === 0);
    if (isNever) return status === -Errno.EOPNOTSUPP ? null : `${text}, not EOPNOTSUPP`;
    const isBeyond = op.end > this.#model.sizeBytes;
    if (isBeyond && opIsWrite(op.op) && status === 0) return `${text} beyond the end of the device`;
    if (status === 0 || status === -Errno.EILSEQ) return null;
    if (INJECTED.includes(status) && this.#hasErrors) return null;
    if (status === -Errno.ENOSPC && isBeyond) return null;
    if (status === -Errno.EINVAL && (op.isRagged || this.#writesCutBlock(op))) return null;
    if (status === -Errno.ECANCELED && op.isCancelled) return null;
    // A process that is gone has no memory that was not pinned yet.
    if (status === -Errno.EFAULT && op.isGone) return null;
    return `${text}, but nothing was wrong with it`;
  }

  #writesCutBlock(op: TupleOp): boolean {
    const size = this.#model.sizeBytes;
    return op.way === 'transfer' && op.op === BioOp.WRITE && op.blockEnd > size && op.end <= size;
  }

  #judgeRead(op: TupleOp, { status, done, report }: OpEnd): void {
    const model = this.#model;
    const end = Math.min(op.end, model.sizeBytes);
    const readable = Math.max(end - op.start, 0);
    if (status === 0 && done !== readable && !op.isGone) {
      this.#fail(`${done} of ${readable} bytes came`, op);
    }
    // The memory of a program that is gone ends somewhere, and the read with it.
    const isCut = status === 0 && done < readable;
    const readEnd = isCut ? Math.min(op.blockEnd, op.start + done) : op.blockEnd;
    const [first, last] = model.intervalsOf(op.blockStart, readEnd);
    const bad = model.firstBad(first, last, this.#expectation(op));
    this.#judgeMismatch(op, status, bad, report);
    this.#judgeMemory(op, status === 0 ? Math.min(done, readable) : -1);
    if (bad >= 0 && status !== 0 && op.isCopied) this.#judgeUntouched(op, bad, last);
  }

  /** What is checked of a read, or of blocks that are read before a part of them is written. */
  #expectation({ metadata }: TupleOp): { check: number; appTag: number } {
    if (metadata !== null) return { check: metadata.check, appTag: metadata.appTag };
    return { check: this.#model.format.ownChecks, appTag: 0 };
  }

  /** `bad`: the first interval that does not fit, or -1; what is wrong with it in `model.fault`. */
  #judgeMismatch(op: TupleOp, status: number, bad: number, report: FaultReport | null): void {
    if (bad >= 0 && status === 0) {
      const { tag, expected, actual } = this.#model.fault;
      const what = `${tag} ${actual}, expected ${expected}`;
      this.#fail(`it ended well, but interval ${bad} is bad: ${what}`, op);
    }
    if (status !== -Errno.EILSEQ) return;
    if (bad < 0) this.#fail('it ended with a mismatch, but all of it fits', op);
    this.mismatches++;
    const mayMiss = this.#hasErrors || op.isCancelled || op.isGone;
    if (op.way === 'transfer') this.#judgeReport(op, bad, report, mayMiss);
    else if (op.op === BioOp.READ) this.#judgeShort(op, bad, mayMiss);
  }

  /** A part that failed otherwise, or never went out, may have had the first one. */
  #judgeReport(op: TupleOp, bad: number, report: FaultReport | null, mayMiss: boolean): void {
    if (report === null) throw this.#error(`nobody named the bad interval ${bad}`, op);
    if (report.block !== bad && !(mayMiss && report.block > bad)) {
      this.#fail(`interval ${report.block} is named as the first bad one, not ${bad}`, op);
    }
    if (report.block !== bad) return;
    const { tag, expected, actual } = this.#model.fault;
    const isSame = report.tag === tag && report.expected === expected && report.actual === actual;
    if (isSame) return;
    const told = `${report.tag} ${report.actual}, expected ${report.expected}`;
    this.#fail(`of interval ${bad} it says: ${told}; it is ${tag} ${actual}, ${expected}`, op);
  }

  /** Nothing from the first bad interval on counts as good. */
  #judgeShort(op: TupleOp, bad: number, mayMiss: boolean): void {
    const at = bad * this.#model.format.intervalBytes;
    if (op.shortAt <= at || (mayMiss && op.shortAt < op.end)) return;
    this.#fail(`bytes up to ${op.shortAt} count as good, but interval ${bad} at ${at} is bad`, op);
  }

  /** `readable`: bytes that a read brought; -1: it failed, its memory is undefined. */
  #judgeMemory(op: TupleOp, readable: number): void {
    const { data, metadata } = op;
    const model = this.#model;
    if (data !== null && !data.isGone) {
      const expected = data.first.slice();
      if (readable > 0) expected.set(model.data.subarray(op.start, op.start + readable));
      const why = data.fault(readable < 0 ? null : expected, readable < 0);
      if (why !== null) this.#fail(`data: ${why}`, op);
    }
    if (metadata === null || metadata.memory.isGone) return;
    const [first, last] = model.intervalsOf(op.start, op.start + Math.max(readable, 0));
    const came = metadata.memory.first.slice();
    came.set(model.recordsFor(first, last - first, metadata.seed));
    const why = metadata.memory.fault(readable < 0 ? null : came, readable < 0);
    if (why !== null) this.#fail(`metadata: ${why}`, op);
  }

  /** Memory that is copied has nothing of an interval that is bad. */
  #judgeUntouched(op: TupleOp, bad: number, last: number): void {
    const { data } = op;
    if (data === null || data.isGone) return;
    const { intervalBytes } = this.#model.format;
    const expectation = this.#expectation(op);
    const now = data.gather();
    for (let interval = bad; interval < last; interval++) {
      if (!this.#model.isBad(interval, expectation)) continue;
      const from = Math.max(interval * intervalBytes - op.start, 0);
      const to = Math.min((interval + 1) * intervalBytes - op.start, op.bytes);
      for (let i = from; i < to; i++) {
        if (now[i] === data.first[i]) continue;
        this.#fail(`byte ${i} of the bad interval ${interval} reached the program`, op);
      }
    }
  }

  #judgeWrite(op: TupleOp, { status, done, report }: OpEnd): void {
    if (status === 0 && done !== op.bytes && !op.isGone) {
      this.#fail(`${done} of ${op.bytes} bytes went`, op);
    }
    const { data, metadata } = op;
    for (const [name, memory] of [
      ['data', data] as const,
      ['metadata', metadata?.memory] as const,
    ]) {
      // Whoever sends bios has the tuples of the device in its records from then on.
      const mayChange = name === 'metadata' && op.way === 'stacked';
      const why = memory?.fault(null, mayChange) ?? null;
      if (why !== null) this.#fail(`a write changed memory: ${name}: ${why}`, op);
    }
    const model = this.#model;
    if (op.start >= model.sizeBytes) return;
    const went = status === 0 ? done : op.bytes;
    const write = new WriteCheck(model, this.#engine, op, went);
    const bad = metadata === null ? this.#badPart(op, went) : write.firstBad(this.#scratch);
    if (bad >= 0 && metadata !== null) Object.assign(model.fault, this.#scratch);
    this.#judgeMismatch(op, status, bad, report);
    const why = write.fault(status === 0, metadata !== null && status === -Errno.EILSEQ);
    if (why !== null) this.#fail(why, op);
    this.tuplesCompared += write.compared;
    write.take();
  }

  /**
   * A write that covers a block in part reads it first: the first bad interval there, or -1.
   * `done`: a write that ended early never came to the blocks behind.
   */
  #badPart(op: TupleOp, done: number): number {
    if (op.op !== BioOp.WRITE || op.way !== 'transfer' || done === 0) return -1;
    const block = this.#limits.logical_block_size;
    const bad = op.start === op.blockStart ? -1 : this.#badBlock(op, op.blockStart);
    const end = op.start + done;
    return bad >= 0 || end % block === 0 ? bad : this.#badBlock(op, roundDown(end, block));
  }

  #badBlock(op: TupleOp, at: number): number {
    const [first, last] = this.#model.intervalsOf(at, at + this.#limits.logical_block_size);
    return this.#model.firstBad(first, last, this.#expectation(op));
  }

  #fail(what: string, op: TupleOp): never {
    throw this.#error(what, op);
  }

  #error(what: string, op: TupleOp): AssertionError {
    const { op: code, bytes, start, way, metadata } = op;
    const kind = `${BIO_OP_NAMES[code]} of ${bytes} bytes at ${start}`;
    const own = metadata === null ? '' : `, metadata of its own, check ${metadata.check}`;
    return new AssertionError(`sim: ${what} (${way}, ${kind}${own})`);
  }
}
