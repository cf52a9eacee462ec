import { assert } from '../../../base/assert.ts';
import { PAGE_BYTES } from '../../../base/units.ts';
import { BvecTable } from '../../../bvec/bvec-table.ts';
import type { IntegrityProfile } from '../../../integrity/integrity-profile.ts';
import { PiWalk, type RowsAt } from '../../../integrity/pi-walk.ts';
import { PiCheck, PiFault, verify } from '../../../integrity/verify.ts';
import { HoldKind } from '../../../memory/holds.ts';
import type { SeededRandom } from '../seeded-random.ts';
import { type AreaPiece, piecesBytes } from '../sim-memory.ts';
import type { TupleModel } from './tuple-model.ts';
import type { TupleWorld } from './tuple-world.ts';

const INTERVALS_MAX = 16;
const walk = new PiWalk();
const check = new PiCheck();
const fault = new PiFault();

/**
 * A stretch of the disk as an image in scattered memory, data and records apart or interleaved: the
 * library names the same first bad interval as the model.
 */
export function checkImage(world: TupleWorld, model: TupleModel, random: SeededRandom): void {
  const { format, intervals } = model;
  const profile = world.engine.info.integrity as IntegrityProfile;
  if (intervals === 0 || format.csum === 'none') return;
  const count = random.between(1, Math.min(INTERVALS_MAX, intervals));
  const first = random.below(intervals - count + 1);
  const { intervalBytes } = format;
  const data = model.data.subarray(first * intervalBytes, (first + count) * intervalBytes);
  const records = model.records.subarray(model.recordAt(first), model.recordAt(first + count));
  const unit = random.pick([1, 4, 512]);
  const taken: AreaPiece[] = [];
  if (random.chance(0.5)) {
    const both = place(world, taken, interleave(data, records, count), unit);
    if (both !== null) walk.startInterleaved(profile, both);
  } else {
    const dataRows = place(world, taken, data, unit);
    const recordRows = dataRows === null ? null : place(world, taken, records, 1);
    if (dataRows !== null && recordRows !== null) {
      walk.startSeparate(profile, dataRows, recordRows);
    }
  }
  if (walk.left === count) {
    check.flags = random.between(1, 7);
    check.seed = first;
    check.appTag = random.pick([0, 0x1234]);
    const result = verify(walk, profile, check, fault);
    const expectation = { check: check.flags, appTag: check.appTag };
    const bad = model.firstBad(first, first + count, expectation);
    assert((result === 0) === bad < 0, 'sim: an image is good here, and bad there');
    assert(bad < 0 || fault.interval === bad - first, 'sim: another interval is the first bad one');
  }
  walk.left = 0;
  for (const area of new Set(taken.map((piece) => piece.area))) world.memory.give(area);
}

function interleave(data: Uint8Array, records: Uint8Array, count: number): Uint8Array {
  const [dataBytes, recordBytes] = [data.length / count, records.length / count];
  const out = new Uint8Array(data.length + records.length);
  for (let i = 0; i < count; i++) {
    const at = i * (dataBytes + recordBytes);
    out.set(data.subarray(i * dataBytes, (i + 1) * dataBytes), at);
    out.set(records.subarray(i * recordBytes, (i + 1) * recordBytes), at + dataBytes);
  }
  return out;
}

/** Rows over memory that holds `bytes`; null: there is too little. */
function place(
  world: TupleWorld,
  taken: AreaPiece[],
  bytes: Uint8Array,
  unit: number,
): RowsAt | null {
  const pages = Math.ceil(bytes.length / PAGE_BYTES) + 1;
  const wish = { unit, totalUnit: 1, pieces: 12, pages, plain: false };
  const pieces = world.memory.take(wish);
  taken.push(...pieces);
  if (piecesBytes(pieces) < bytes.length) return null;
  const table = new BvecTable(pieces.length);
  let done = 0;
  for (let row = 0; done < bytes.length; row++) {
    const { area, at, len } = pieces[row] as AreaPiece;
    const some = Math.min(len, bytes.length - done);
    area.bytes.set(bytes.subarray(done, done + some), at);
    table.set(row, area.page, at, some, HoldKind.BORROWED);
    done += some;
  }
  return { table, row: 0, done: 0, size: bytes.length };
}
