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
import { TupleJudge } from './tuple-judge.ts';
import { TupleModel } from './tuple-model.ts';
import { TupleOp } from './tuple-op.ts';
import { WriteCheck } from './write-check.ts';

const SECTOR = 512;
const SECTORS = 8;
const OWN = { check: 1, appTag: 0 };

/** A disk of eight sectors whose tuples fit, but for that of sector 2. */
function diskWithBadSector(blockBytes: number): {
  readonly engine: SimEngine;
  readonly model: TupleModel;
} {
  const engine = new SimEngine({
    seed: 1,
    clock: new SimClock(),
    limits: validateLimits({ logical_block_size: blockBytes }),
    sizeBytes: SECTORS * SECTOR,
    depth: 1,
    integrity: simProfile(blockBytes),
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

/** A program that is gone has nothing to look at. */
class GoneMemory extends AreaMemory {
  override get isGone(): boolean {
    return true;
  }
}

/** Calls `use` with a write of `bytes` from the start of the disk on. */
function withWrite(bytes: number, blockBytes: number, use: (op: TupleOp) => void): void {
  using arena = new Arena({ label: 'short write', maxBytes: 2 ** 20, places: false });
  const memory = new SimMemory(arena, new SeededRandom(1));
  const area = { page: -1, bytes: new Uint8Array(bytes) };
  const data = new GoneMemory(memory, [{ area, at: 0, len: bytes }], 5);
  data.fill(null);
  const rest = { op: BioOp.WRITE, way: 'transfer', blockBytes } as const;
  const op = new TupleOp({ ...rest, start: 0, bytes, data });
  use(op);
  op.give();
  memory.dispose();
}

/** The disk has the first `bytes` of what is written, with records that fit. */
function putFront(engine: SimEngine, op: TupleOp, bytes: number): void {
  engine.medium.poke(0, op.data?.first.subarray(0, bytes) ?? new Uint8Array(0));
  for (let sector = 0; sector * SECTOR < bytes; sector++) putRecord(engine, sector);
}

test('what lies behind a write that ended early is as bad as before', () => {
  const { engine, model } = diskWithBadSector(SECTOR);
  withWrite(4 * SECTOR, SECTOR, (op) => {
    putFront(engine, op, SECTOR);
    const write = new WriteCheck(model, engine, op, SECTOR);
    assert.equal(write.fault(true, false), null);
    write.take();
  });
  model.verifyGuards();
  assert.equal(model.firstBad(0, SECTORS, OWN), 2);
});

/** Blocks of two sectors, the second one bad: a write of all but its last bytes, up to `done`. */
function judgeWrite(done: number): void {
  const block = 2 * SECTOR;
  const { engine, model } = diskWithBadSector(block);
  const { limits } = engine.info;
  const judge = new TupleJudge({ model, engine, limits, hasErrors: false });
  withWrite(2 * block - 100, block, (op) => {
    putFront(engine, op, done);
    judge.judge(op, { status: 0, done, report: null });
  });
}

test('a block written in part must have been good, unless the write never came to it', () => {
  judgeWrite(2 * SECTOR);
  assert.throws(() => judgeWrite(4 * SECTOR - 100), /ended well, but interval 2 is bad/);
  assert.throws(() => judgeWrite(2 * SECTOR + 7), /ended well, but interval 2 is bad/);
});

test('a guard that the model takes for right without reason is told', () => {
  const { model } = diskWithBadSector(SECTOR);
  assert.equal(model.firstBad(0, SECTORS, OWN), 2);
  model.guardFits(1);
  model.verifyGuards();
  model.guardFits(2);
  assert.throws(() => model.verifyGuards(), /takes a guard for right that is wrong/);
});
