import { roundUp } from '../../../base/units.ts';
import { BioOp } from '../../../bio/bio-op.ts';
import type { SimEngine } from '../sim-engine.ts';
import { differenceWithin } from '../sim-op.ts';
import type { SimRecords } from '../sim-records.ts';
import { TupleFault } from './tuple-format.ts';
import type { TupleModel } from './tuple-model.ts';
import type { TupleOp } from './tuple-op.ts';

/** What a write must have left, beside what is there. */
export class WriteCheck {
  compared = 0;
  readonly #model: TupleModel;
  readonly #op: TupleOp;
  readonly #first: number;
  readonly #end: number;
  /** Byte of the device: the blocks from here on are as they were. */
  readonly #writtenEnd: number;
  /** From the first interval on; cut at the end of the device. */
  readonly #data: Uint8Array;
  readonly #records: Uint8Array;
  /** What is on the medium now. */
  readonly #storedData: Uint8Array;
  readonly #storedRecords: Uint8Array;

  /** `done`: bytes that must be there; fewer than all when the memory of the program is gone. */
  constructor(model: TupleModel, engine: SimEngine, op: TupleOp, done: number) {
    const { format } = model;
    this.#model = model;
    this.#op = op;
    const unit = op.blockBytes;
    this.#writtenEnd = done === op.bytes ? op.blockEnd : roundUp(op.start + done, unit);
    [this.#first, this.#end] = model.intervalsOf(op.blockStart, op.blockEnd);
    const dataAt = this.#first * format.intervalBytes;
    const dataEnd = Math.min(op.blockEnd, model.sizeBytes);
    this.#data = model.data.slice(dataAt, dataEnd);
    const at = op.start - dataAt;
    const room = Math.max(Math.min(done, dataEnd - op.start), 0);
    if (op.data === null) this.#data.fill(0, at, at + room);
    else this.#data.set(op.data.first.subarray(0, room), at);
    this.#records = this.#expectedRecords(engine.records as SimRecords);
    this.#storedData = engine.medium.peek(dataAt, dataEnd - dataAt);
    const { medium } = engine.records as SimRecords;
    this.#storedRecords = medium.peek(model.recordAt(this.#first), this.#records.length);
  }

  get #count(): number {
    return this.#end - this.#first;
  }

  #expectedRecords(disk: SimRecords): Uint8Array {
    const { format } = this.#model;
    const { op, metadata } = this.#op;
    const records = new Uint8Array(this.#count * format.metadataBytes);
    if (op === BioOp.DISCARD) return records.fill(0xff);
    if (op === BioOp.WRITE_ZEROES) disk.ofZeros(records, this.#first);
    else if (metadata !== null) {
      records.set(metadata.memory.first.subarray(0, records.length));
      format.remap(records, 0, this.#count, metadata.seed, this.#first);
      for (let i = 0; i < this.#count; i++) if (this.#isBehind(i)) this.#setOld(records, i);
    } else {
      for (let i = 0; i < this.#count; i++) {
        const at = i * format.metadataBytes;
        if (this.#isBehind(i)) this.#setOld(records, i);
        else format.make(this.#data, i * format.intervalBytes, records, at, this.#first + i);
      }
    }
    return records;
  }

  #isBehind(i: number): boolean {
    return (this.#first + i) * this.#model.format.intervalBytes >= this.#writtenEnd;
  }

  #setOld(records: Uint8Array, i: number): void {
    const { format, records: old } = this.#model;
    const from = this.#model.recordAt(this.#first + i);
    records.set(old.subarray(from, from + format.metadataBytes), i * format.metadataBytes);
  }

  /** The first interval of a program's own data that its own tuples do not fit, or -1. */
  firstBad(fault: TupleFault): number {
    for (let i = 0; i < this.#count; i++) if (this.#isOwnBad(i, fault)) return this.#first + i;
    return -1;
  }

  #isOwnBad(i: number, fault: TupleFault): boolean {
    if (this.#isBehind(i)) return false;
    const { format } = this.#model;
    const { check, appTag } = this.#op.metadata as { check: number; appTag: number };
    const want = { check, appTag, block: this.#first + i };
    const at = i * format.intervalBytes;
    return format.findFault(this.#data, at, this.#records, i * format.metadataBytes, want, fault);
  }

  /**
   * What is wrong on the medium, or null. `isWhole`: it ended well, so all of it is new; else each
   * byte is new or old. `isChecked`: what does not fit never got there.
   */
  fault(isWhole: boolean, isChecked: boolean): string | null {
    const { intervalBytes, metadataBytes } = this.#model.format;
    const scratch = new TupleFault();
    for (let i = 0; i < this.#count; i++) {
      const start = (this.#first + i) * intervalBytes;
      const isSpoiled = this.#op.isSpoiled(start, start + intervalBytes);
      const mustBeNew = isWhole && !isSpoiled;
      const mustBeOld = isChecked && this.#isOwnBad(i, scratch);
      const at = i * intervalBytes;
      const dataFault = this.#dataFault(at, at + intervalBytes, mustBeNew, mustBeOld);
      if (dataFault >= 0) return `byte ${start - at + dataFault} of the medium is wrong`;
      if (metadataBytes === 0 || this.#isRecordRight(i, mustBeNew, mustBeOld)) continue;
      return this.#recordText(i, mustBeNew);
    }
    const wrong = this.#dataFault(
      this.#count * intervalBytes,
      this.#data.length,
      isWhole && !this.#op.isSpoiled(this.#end * intervalBytes, Number.POSITIVE_INFINITY),
      false,
    );
    return wrong < 0 ? null : `byte ${wrong} behind the last interval is wrong`;
  }

  #recordText(i: number, mustBeNew: boolean): string {
    const { metadataBytes } = this.#model.format;
    const [from, to] = [i * metadataBytes, (i + 1) * metadataBytes];
    const texts = [this.#storedRecords, this.#records].map((records) =>
      Array.from(records.subarray(from, to), (byte) => byte.toString(16).padStart(2, '0')).join(''),
    );
    const old = mustBeNew ? '' : ' or what was there';
    const what = `the stored record of interval ${this.#first + i} is wrong`;
    return `${what}: ${texts[0]}, expected ${texts[1]}${old}`;
  }

  #dataFault(from: number, end: number, mustBeNew: boolean, mustBeOld: boolean): number {
    const to = Math.min(end, this.#data.length);
    if (to <= from) return -1;
    if (!mustBeOld && differenceWithin(this.#storedData, from, this.#data, from, to - from) < 0) {
      return -1;
    }
    const old = this.#model.data;
    const oldAt = this.#first * this.#model.format.intervalBytes;
    for (let i = from; i < to; i++) {
      const byte = this.#storedData[i];
      if (byte === this.#data[i] && !mustBeOld) continue;
      if (byte === old[oldAt + i] && !mustBeNew) continue;
      if (!mustBeOld && this.#wasEver(i, byte)) continue;
      return i;
    }
    return -1;
  }

  /** The program changed its memory meanwhile: any of its versions. */
  #wasEver(i: number, byte: number): boolean {
    const { data, start } = this.#op;
    if (data?.isRaced !== true) return false;
    const at = this.#first * this.#model.format.intervalBytes + i - start;
    return data.versions.some((version) => version[at] === byte);
  }

  #isRecordRight(i: number, mustBeNew: boolean, mustBeOld: boolean): boolean {
    const { metadataBytes } = this.#model.format;
    const at = i * metadataBytes;
    const old = this.#model.recordAt(this.#first + i);
    const isNew = this.#sameRecord(at, this.#records, at, 0, metadataBytes);
    this.compared++;
    if (isNew && !mustBeOld) return true;
    if (!mustBeNew && this.#sameRecord(at, this.#model.records, old, 0, metadataBytes)) return true;
    if (mustBeOld) return false;
    // It makes them of what is there, which may be in part new.
    if (!mustBeNew && this.#model.format.isDeviceMade) return true;
    return this.#op.data?.isRaced === true && this.#isRacedRight(i, mustBeNew);
  }

  #sameRecord(at: number, other: Uint8Array, otherAt: number, from: number, to: number): boolean {
    for (let i = from; i < to; i++) {
      if (this.#storedRecords[at + i] !== other[otherAt + i]) return false;
    }
    return true;
  }

  /**
   * Memory that changed while it was mapped: its guard may be of anything. If it was copied first,
   * the guard is that of the copy, and so of what is stored, unless that was not all of it.
   */
  #isRacedRight(i: number, isWhole: boolean): boolean {
    const { format } = this.#model;
    const at = i * format.metadataBytes;
    const { prefixBytes, guardBytes, metadataBytes } = format;
    if (!this.#sameRecord(at, this.#records, at, 0, prefixBytes)) return false;
    const behind = prefixBytes + guardBytes;
    if (!this.#sameRecord(at, this.#records, at, behind, metadataBytes)) return false;
    if (!isWhole || !this.#op.isCopied || guardBytes === 0) return true;
    return format.isGuardRight(this.#storedData, i * format.intervalBytes, this.#storedRecords, at);
  }

  /** From now on the model has what is stored. */
  take(): void {
    const { intervalBytes, metadataBytes } = this.#model.format;
    const dataAt = this.#first * intervalBytes;
    this.#model.resync(dataAt, dataAt + this.#data.length);
    // The guards that the model made itself need not be made again.
    const isMade = this.#op.metadata === null && this.#op.op === BioOp.WRITE;
    const { format } = this.#model;
    if (!isMade || format.guardBytes === 0 || !(format.generates || format.isDeviceMade)) return;
    for (let i = 0; i < this.#count; i++) {
      if (this.#isBehind(i)) break; // Old ones, which may have been bad all the time.
      const at = i * metadataBytes;
      const isSame = this.#sameRecord(at, this.#records, at, 0, metadataBytes);
      if (isSame && this.#isDataNew(i)) this.#model.guardFits(this.#first + i);
    }
  }

  #isDataNew(i: number): boolean {
    const { intervalBytes } = this.#model.format;
    const at = i * intervalBytes;
    return differenceWithin(this.#storedData, at, this.#data, at, intervalBytes) < 0;
  }
}
