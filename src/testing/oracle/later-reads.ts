import { SECTOR_BYTES } from '../../base/units.ts';
import { BioOp } from '../../bio/bio-op.ts';
import { BvecTable } from '../../bvec/bvec-table.ts';
import { AutoAction, automaticAction } from '../../integrity/automatic.ts';
import { generate } from '../../integrity/generate.ts';
import { type IntegrityProfile, intervalBytes } from '../../integrity/integrity-profile.ts';
import { PiWalk, type RowsAt } from '../../integrity/pi-walk.ts';
import { Arena } from '../../memory/arena.ts';
import { HoldKind } from '../../memory/holds.ts';
import { knownData } from './case-program.ts';
import type { CaseRecord, TransferCase } from './schema.ts';

/**
 * What a disk must have stored where no write of the file says so: the next transfer that touches
 * an interval is a read that found all of it good, and whose bytes are known. Then the tuples are
 * made here, of those bytes; the ones that the read got are not looked at, for they are the same
 * record as what they would be compared with.
 */
export class LaterReads {
  readonly #cases: readonly CaseRecord[];
  readonly #arena = new Arena({ label: 'oracle later reads', places: false });
  readonly #walk = new PiWalk();

  constructor(cases: readonly CaseRecord[]) {
    this.#cases = cases;
  }

  /** The record of `block` (in intervals) when case `one` looked at it, or null: nobody knows. */
  recordAt(one: CaseRecord, block: number, profile: IntegrityProfile): Uint8Array | null {
    const action = automaticAction(BioOp.WRITE, 1, profile);
    if ((action & AutoAction.CHECK) === 0) return null;
    const data = this.#dataAt(one, block * intervalBytes(profile), intervalBytes(profile));
    return data === null ? null : this.#generate(data, block, profile);
  }

  #dataAt(one: CaseRecord, start: number, bytes: number): Uint8Array | null {
    const next = this.#cases
      .slice(this.#cases.indexOf(one) + 1)
      .find((later) => later.device === one.device && touches(later, start, start + bytes));
    if (next?.op !== 'read') return null;
    const read = next as TransferCase;
    const { ret, dataOk } = read.result;
    const data = knownData(read);
    const from = start - read.fileOffset;
    const isGood = data !== null && ret === data.length && dataOk === true;
    return isGood && from >= 0 && from + bytes <= ret ? data.subarray(from, from + bytes) : null;
  }

  #generate(data: Uint8Array, block: number, profile: IntegrityProfile): Uint8Array {
    using pages = this.#arena.alloc(data.length);
    using records = this.#arena.alloc(profile.metadata_size);
    pages.bytes.set(data);
    records.bytes.fill(0);
    const rows = rowOf(pages.page, data.length);
    this.#walk.startSeparate(profile, rows, rowOf(records.page, profile.metadata_size));
    generate(this.#walk, profile, block);
    return Uint8Array.from(records.bytes.subarray(0, profile.metadata_size));
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
  }
}

/** Any case that may have changed or read bytes [start, end) of its disk. */
function touches({ requests }: CaseRecord, start: number, end: number): boolean {
  return (requests ?? []).some(({ sector, bytes }) => {
    const at = sector * SECTOR_BYTES;
    return at < end && at + bytes > start;
  });
}

function rowOf(page: number, bytes: number): RowsAt {
  const table = new BvecTable(1);
  table.set(0, page, 0, bytes, HoldKind.BORROWED);
  return { table, row: 0, done: 0, size: bytes };
}
