import { assert } from '../../../base/assert.ts';
import type { IntegrityProfile } from '../../../integrity/integrity-profile.ts';

// Tuples as a judge knows them, on flat arrays and from the definitions alone: with `integrity/` it
// shares the numbers of a profile and nothing else. Bits of `profile.flags` and of checks are
// written as numbers here, so that a change there is noticed.

const REF_TAG = 8;
const NOVERIFY = 1;
const NOGENERATE = 2;
/** What may be checked of a tuple; the numbers of IO_INTEGRITY_CHK_*. */
export const TupleCheck = { GUARD: 1, REF: 2, APP: 4 } as const;
const WIDE = 2 ** 32;

/** The first tag of a tuple that does not fit, and both values in hexadecimal. */
export class TupleFault {
  tag: 'guard tag' | 'ref tag' | 'app tag' = 'guard tag';
  expected = '';
  actual = '';
}

function crc16Table(): Uint16Array {
  return Uint16Array.from({ length: 256 }, (_, byte) => {
    let crc = byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) !== 0 ? (crc << 1) ^ 0x8bb7 : crc << 1;
    return crc;
  });
}

/** Two halves of the reflected table of 0xAD93D23594C93659. */
function crc64Tables(): readonly [low: Int32Array, high: Int32Array] {
  const tables = [new Int32Array(256), new Int32Array(256)] as const;
  for (let byte = 0; byte < 256; byte++) {
    let low = byte;
    let high = 0;
    for (let bit = 0; bit < 8; bit++) {
      const out = low & 1;
      low = (low >>> 1) | (high << 31);
      high >>>= 1;
      if (out === 0) continue;
      low ^= 0xac4bc9b5;
      high ^= 0x9a6c9329;
    }
    tables[0][byte] = low;
    tables[1][byte] = high;
  }
  return tables;
}

const CRC16 = crc16Table();
const [CRC64_LOW, CRC64_HIGH] = crc64Tables();

/** One format of tuples: makes them, judges them, maps their ref tags. */
export class TupleFormat {
  readonly csum: IntegrityProfile['csum'];
  readonly intervalBytes: number;
  readonly metadataBytes: number;
  readonly prefixBytes: number;
  readonly tupleBytes: number;
  readonly countsRef: boolean;
  /** The block layer checks reads by itself; makes tuples for writes by itself. */
  readonly verifies: boolean;
  readonly generates: boolean;
  /** Tags that are checked where nobody asks for anything. */
  readonly ownChecks: number;
  /** Where the tags start in a record, and how long they are. */
  readonly guardBytes: number;
  readonly appAt: number;
  readonly refAt: number;
  readonly refBytes: number;
  readonly #guard: Uint8Array;

  constructor(profile: IntegrityProfile) {
    const { csum, interval_exp, metadata_size, pi_offset, flags } = profile;
    this.csum = csum;
    this.intervalBytes = 2 ** interval_exp;
    this.metadataBytes = metadata_size;
    this.prefixBytes = pi_offset;
    this.tupleBytes = csum === 'none' ? 0 : csum === 'crc64' ? 16 : 8;
    this.countsRef = (flags & REF_TAG) !== 0;
    this.verifies = (flags & NOVERIFY) === 0;
    this.generates = (flags & NOGENERATE) === 0;
    this.guardBytes = csum === 'none' ? 0 : csum === 'crc64' ? 8 : 2;
    this.appAt = pi_offset + this.guardBytes;
    this.refAt = this.appAt + 2;
    this.refBytes = csum === 'crc64' ? 6 : 4;
    this.#guard = new Uint8Array(this.guardBytes);
    const ref = this.countsRef ? TupleCheck.REF : 0;
    this.ownChecks = csum === 'none' || !this.verifies ? 0 : TupleCheck.GUARD | ref;
  }

  /** A write without metadata goes out without any: the device makes the tuples. */
  get isDeviceMade(): boolean {
    return !this.generates && this.metadataBytes === this.tupleBytes;
  }

  intervals(bytes: number): number {
    return Math.floor(bytes / this.intervalBytes);
  }

  /**
   * What the block layer (or the device) writes beside the interval at `data[at…]`: zeros, and a
   * tuple with app tag 0, unless nobody makes any.
   */
  make(data: Uint8Array, at: number, records: Uint8Array, recordAt: number, block: number): void {
    records.fill(0, recordAt, recordAt + this.metadataBytes);
    if (this.csum === 'none' || (!this.generates && !this.isDeviceMade)) return;
    this.#makeGuard(data, at, records, recordAt);
    records.set(this.#guard, recordAt + this.prefixBytes);
    if (this.countsRef) this.#putRef(records, recordAt, block);
  }

  /** Whether the guard fits the data. */
  isGuardRight(data: Uint8Array, at: number, records: Uint8Array, recordAt: number): boolean {
    this.#makeGuard(data, at, records, recordAt);
    const start = recordAt + this.prefixBytes;
    for (let i = 0; i < this.guardBytes; i++) {
      if (records[start + i] !== this.#guard[i]) return false;
    }
    return true;
  }

  /** The tuple says that nothing is to be checked. */
  isEscape(records: Uint8Array, recordAt: number): boolean {
    const app = recordAt + this.appAt;
    if (records[app] !== 0xff || records[app + 1] !== 0xff) return false;
    if (this.countsRef) return true;
    for (let i = 0; i < this.refBytes; i++) {
      if (records[recordAt + this.refAt + i] !== 0xff) return false;
    }
    return true;
  }

  appTag(records: Uint8Array, recordAt: number): number {
    const at = recordAt + this.appAt;
    return records[at] * 256 + records[at + 1];
  }

  refTag(records: Uint8Array, recordAt: number): number {
    let value = 0;
    for (let i = 0; i < this.refBytes; i++)
      value = value * 256 + records[recordAt + this.refAt + i];
    return value;
  }

  /** What a ref tag can say of a number up to 2^53. */
  refOf(block: number): number {
    return block % (this.csum === 'crc64' ? 2 ** 48 : WIDE);
  }

  putApp(records: Uint8Array, recordAt: number, value: number): void {
    records[recordAt + this.appAt] = value >>> 8;
    records[recordAt + this.appAt + 1] = value & 0xff;
  }

  #putRef(records: Uint8Array, recordAt: number, block: number): void {
    let value = this.refOf(block);
    for (let i = this.refBytes - 1; i >= 0; i--) {
      records[recordAt + this.refAt + i] = value % 256;
      value = Math.floor(value / 256);
    }
  }

  /** Ref tags that count from `from`, in `count` records, count from `to` then; others stay. */
  remap(records: Uint8Array, recordAt: number, count: number, from: number, to: number): void {
    if (!this.countsRef || from === to) return;
    for (let i = 0; i < count; i++) {
      const at = recordAt + i * this.metadataBytes;
      if (this.refTag(records, at) === this.refOf(from + i)) this.#putRef(records, at, to + i);
    }
  }

  /** Makes the tuple of a program: any app tag, any ref tag, a guard that fits. */
  makeWith(
    data: Uint8Array,
    at: number,
    records: Uint8Array,
    recordAt: number,
    tags: { readonly app: number; readonly ref: number },
  ): void {
    if (this.csum === 'none') return;
    this.#makeGuard(data, at, records, recordAt);
    records.set(this.#guard, recordAt + this.prefixBytes);
    this.putApp(records, recordAt, tags.app);
    this.#putRef(records, recordAt, tags.ref);
  }

  /** Ref tag, then app tag, then guard: the first that is wrong, in `fault`. False: it fits. */
  findFault(
    data: Uint8Array,
    at: number,
    records: Uint8Array,
    recordAt: number,
    want: { readonly check: number; readonly appTag: number; readonly block: number },
    fault: TupleFault,
  ): boolean {
    const { check, appTag, block } = want;
    if (this.csum === 'none' || check === 0 || this.isEscape(records, recordAt)) return false;
    const ref = this.refTag(records, recordAt);
    if ((check & TupleCheck.REF) !== 0 && this.countsRef && ref !== this.refOf(block)) {
      return tell(fault, 'ref tag', hex(this.refOf(block), this.refBytes), hex(ref, this.refBytes));
    }
    const app = this.appTag(records, recordAt);
    if ((check & TupleCheck.APP) !== 0 && app !== appTag) {
      return tell(fault, 'app tag', hex(appTag, 2), hex(app, 2));
    }
    if ((check & TupleCheck.GUARD) === 0 || this.isGuardRight(data, at, records, recordAt)) {
      return false;
    }
    const start = recordAt + this.prefixBytes;
    const actual = records.subarray(start, start + this.guardBytes);
    return tell(fault, 'guard tag', hexBytes(this.#guard), hexBytes(actual));
  }

  /** Over the interval, then the bytes of the record before the tuple. */
  #makeGuard(data: Uint8Array, at: number, records: Uint8Array, recordAt: number): void {
    const { csum, intervalBytes, prefixBytes } = this;
    const end = at + intervalBytes;
    assert(end <= data.length, 'tuple format: part of an interval');
    if (csum === 'crc64') this.#crc64(data, at, end, records, recordAt);
    else if (csum === 'ip') this.#ip(data, at, end, records, recordAt);
    else {
      let crc = 0;
      for (let i = at; i < end; i++) crc = ((crc << 8) ^ CRC16[(crc >> 8) ^ data[i]]) & 0xffff;
      for (let i = recordAt; i < recordAt + prefixBytes; i++) {
        crc = ((crc << 8) ^ CRC16[(crc >> 8) ^ records[i]]) & 0xffff;
      }
      this.#guard[0] = crc >> 8;
      this.#guard[1] = crc;
    }
  }

  #crc64(data: Uint8Array, at: number, end: number, records: Uint8Array, recordAt: number): void {
    let low = -1;
    let high = -1;
    for (let i = at; i < end; i++) {
      const index = (low ^ data[i]) & 0xff;
      low = ((low >>> 8) | (high << 24)) ^ CRC64_LOW[index];
      high = (high >>> 8) ^ CRC64_HIGH[index];
    }
    for (let i = recordAt; i < recordAt + this.prefixBytes; i++) {
      const index = (low ^ records[i]) & 0xff;
      low = ((low >>> 8) | (high << 24)) ^ CRC64_LOW[index];
      high = (high >>> 8) ^ CRC64_HIGH[index];
    }
    for (let i = 0; i < 4; i++) {
      this.#guard[i] = ~high >>> (24 - 8 * i);
      this.#guard[4 + i] = ~low >>> (24 - 8 * i);
    }
  }

  #ip(data: Uint8Array, at: number, end: number, records: Uint8Array, recordAt: number): void {
    let sum = 0;
    for (let i = at; i < end; i += 2) sum += data[i] * 256 + data[i + 1];
    // An odd prefix is filled up with a zero.
    for (let i = 0; i < this.prefixBytes; i++) {
      sum += records[recordAt + i] * (i % 2 === 0 ? 256 : 1);
    }
    while (sum > 0xffff) sum = (sum % 65536) + Math.floor(sum / 65536);
    this.#guard[0] = (0xffff - sum) >> 8;
    this.#guard[1] = 0xffff - sum;
  }
}

function tell(fault: TupleFault, tag: TupleFault['tag'], expected: string, actual: string): true {
  fault.tag = tag;
  fault.expected = expected;
  fault.actual = actual;
  return true;
}

function hex(value: number, bytes: number): string {
  return value.toString(16).padStart(2 * bytes, '0');
}

function hexBytes(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => hex(byte, 1)).join('');
}
