import { assert } from '../base/assert.ts';
import { byteAt, regionOf } from '../memory/region.unsafe.ts';
import { type IntegrityProfile, intervalBytes } from './integrity-profile.ts';
import type { RowsAt } from './pi-walk.ts';
import { appTagStart, refTagStart } from './tuple.ts';

/** Contents of a block and of its record at one moment. */
export interface BlockCopy {
  readonly data: Uint8Array<ArrayBuffer>;
  readonly record: Uint8Array<ArrayBuffer>;
}

/** Which part of a block: 'prefix' and 'rest' are the metadata before and after the tuple. */
export type PiPart = 'data' | 'prefix' | 'guard' | 'app' | 'ref' | 'rest';
export const PI_PARTS: readonly PiPart[] = ['data', 'prefix', 'guard', 'app', 'ref', 'rest'];

/**
 * Damages protected blocks as disks do, in place, in any rows: for tests and tools. Blocks are
 * counted in intervals from the start of the rows. Control plane: it allocates.
 */
export class PiInjector {
  readonly #profile: IntegrityProfile;
  readonly #data: RowsAt;
  readonly #metadata: RowsAt;

  /** Separate layout: as many records in `metadata` as intervals in `data`. */
  constructor(profile: IntegrityProfile, data: RowsAt, metadata: RowsAt) {
    this.#profile = profile;
    this.#data = data;
    this.#metadata = metadata;
  }

  /** Bytes of a part of a record; 0: the format has none of it. */
  partBytes(part: PiPart): number {
    const { csum, pi_offset, tuple_size, metadata_size } = this.#profile;
    switch (part) {
      case 'data':
        return intervalBytes(this.#profile);
      case 'prefix':
        return pi_offset;
      case 'guard':
        return tuple_size === 0 ? 0 : appTagStart(csum);
      case 'app':
        return tuple_size === 0 ? 0 : 2;
      case 'ref':
        return tuple_size === 0 ? 0 : tuple_size - refTagStart(csum);
      case 'rest':
        return metadata_size - pi_offset - tuple_size;
    }
  }

  /** Turns bit `bit` of a part over, counted from its first byte, lowest bit first. */
  flip(block: number, part: PiPart, bit: number): void {
    assert(bit >= 0 && bit < this.partBytes(part) * 8, 'injector: no such bit');
    this.xor(block, part, Math.floor(bit / 8), Uint8Array.of(1 << (bit % 8)));
  }

  /** A burst: XORs `mask` over the bytes of a part from `byte` on. */
  xor(block: number, part: PiPart, byte: number, mask: Uint8Array): void {
    assert(byte + mask.length <= this.partBytes(part), 'injector: outside the part');
    const start = this.#start(block, part) + byte;
    const rows = part === 'data' ? this.#data : this.#metadata;
    forEachPiece(rows, start, mask.length, (memory, done) => {
      for (let i = 0; i < memory.length; i++) memory[i] ^= mask[done + i] as number;
    });
  }

  #start(block: number, part: PiPart): number {
    if (part === 'data') return block * this.partBytes('data');
    const { csum, metadata_size, pi_offset, tuple_size } = this.#profile;
    const record = block * metadata_size;
    switch (part) {
      case 'prefix':
        return record;
      case 'guard':
        return record + pi_offset;
      case 'app':
        return record + pi_offset + appTagStart(csum);
      case 'ref':
        return record + pi_offset + refTagStart(csum);
      case 'rest':
        return record + pi_offset + tuple_size;
    }
  }

  copyOf(block: number): BlockCopy {
    const data = new Uint8Array(intervalBytes(this.#profile));
    const record = new Uint8Array(this.#profile.metadata_size);
    moveRows(this.#data, block * data.length, data, false);
    moveRows(this.#metadata, block * record.length, record, false);
    return { data, record };
  }

  /** Writes a copy to a block: 'data' or 'record' alone is a torn write. */
  put(block: number, copy: BlockCopy, what: 'both' | 'data' | 'record' = 'both'): void {
    const { data, record } = copy;
    if (what !== 'record') moveRows(this.#data, block * data.length, data, true);
    if (what !== 'data') moveRows(this.#metadata, block * record.length, record, true);
  }

  /** What was written to `from` arrived at `to`, with its record: a misdirected write. */
  misdirect(from: number, to: number): void {
    this.put(to, this.copyOf(from));
  }

  swap(a: number, b: number): void {
    const kept = this.copyOf(a);
    this.misdirect(b, a);
    this.put(b, kept);
  }

  /** The first `bytes` of the record are those of `copy`: a tuple that was written in part. */
  tearRecord(block: number, copy: BlockCopy, bytes: number): void {
    const { metadata_size } = this.#profile;
    moveRows(this.#metadata, block * metadata_size, copy.record.slice(0, bytes), true);
  }
}

function moveRows(rows: RowsAt, start: number, bytes: Uint8Array, isWrite: boolean): void {
  forEachPiece(rows, start, bytes.length, (memory, done) => {
    if (isWrite) memory.set(bytes.subarray(done, done + memory.length));
    else bytes.set(memory, done);
  });
}

/** Views of `bytes` bytes of the rows from `start` on, one for each row that they touch. */
function forEachPiece(
  rows: RowsAt,
  start: number,
  bytes: number,
  visit: (memory: Uint8Array, done: number) => void,
): void {
  assert(start >= 0 && start + bytes <= rows.size, 'injector: outside the rows');
  const { page, offset, len } = rows.table;
  let { row } = rows;
  let skip = rows.done + start;
  let done = 0;
  while (done < bytes) {
    const length = len[row] as number;
    if (skip < length) {
      const piece = Math.min(length - skip, bytes - done);
      const at = byteAt(page[row] as number, (offset[row] as number) + skip);
      visit(regionOf(page[row] as number).u8.subarray(at, at + piece), done);
      done += piece;
    }
    skip = Math.max(skip - length, 0);
    row++;
  }
}
