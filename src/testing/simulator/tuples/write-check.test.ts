import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BioOp } from '../../../bio/bio-op.ts';
import { validateLimits } from '../../../limits/validate.ts';
import { Arena } from '../../../memory/arena.ts';
import { SeededRandom } from '../seeded-random.ts';
import { SimClock } from '../sim-clock.ts';
import { SimEngine } from '../sim-engine.ts';
import { SimMemory } from '../sim-memory.ts';
import { type SimRecords, simProfile } from '../sim-records.ts';
import { AreaMemory } from './op-memory.ts';
import { TupleModel } from './tuple-model.ts';
import { TupleOp } from './tuple-op.ts';
import { WriteCheck } from './write-check.ts';

const SECTOR = 512;
const SECTORS = 8;
const OWN = { check: 1, appTag: 0 };

/** A disk of eight sectors whose tuples fit, but for that of sector 2. */
function diskWithBadSector(): { readonly engine: SimEngine; readonly model: TupleModel } {
  const engine = new SimEngine({
    seed: 1,
    clock: new SimClock(),
    limits: validateLimits({}),
    sizeBytes: SECTORS * SECTOR,
    depth: 1,
    integrity: simProfile(SECTOR),
  });
  for (let sector = 0; sector < SECTORS; sector++) putRecord(engine, sector);
  engine.medium.poke(2 * SECTOR + 77, Uint8Array.of(1));
  return { engine, model: new TupleModel(engine) };
}

/** The record that is right for what `sector` has now. */
function putRecord(engine: SimEngine, sector: number): void {
  const { format, medium } = engine.records as SimRecords;
  const record = new Uint8Array(format.metadataBytes);
  format.make(engine.medium.peek(sector * SECTOR, SECTOR), 0, record, 0, sector);
  medium.poke(sector * format.metadataBytes, record);
}

test('what lies behind a write that ended early is as bad as before', () => {
  using arena = new Arena({ label: 'write check', maxBytes: 2 ** 20, places: false });
  const memory = new SimMemory(arena, new SeededRandom(1));
  const { engine, model } = diskWithBadSector();
  const bytes = 4 * SECTOR;
  const area = { page: -1, bytes: new Uint8Array(bytes) };
  const data = new AreaMemory(memory, [{ area, at: 0, len: bytes }], 5);
  data.fill(null);
  const rest = { op: BioOp.WRITE, way: 'transfer', blockBytes: SECTOR } as const;
  const op = new TupleOp({ ...rest, start: 0, bytes, data });
  // Of four sectors one was written; then its program was gone.
  engine.medium.poke(0, data.first.subarray(0, SECTOR));
  putRecord(engine, 0);
  const write = new WriteCheck(model, engine, op, SECTOR);
  assert.equal(write.fault(true, false), null);
  write.take();
  model.verifyGuards();
  assert.equal(model.firstBad(0, SECTORS, OWN), 2);
  op.give();
  memory.dispose();
});

test('a guard that the model takes for right without reason is told', () => {
  const { model } = diskWithBadSector();
  assert.equal(model.firstBad(0, SECTORS, OWN), 2);
  model.guardFits(1);
  model.verifyGuards();
  model.guardFits(2);
  assert.throws(() => model.verifyGuards(), /takes a guard for right that is wrong/);
});
