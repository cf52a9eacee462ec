import assert from 'node:assert/strict';
import { PAGE_BYTES } from '../../base/units.ts';
import { BioFlag, BioOp } from '../../bio/bio-op.ts';
import { shapeBytes } from '../segment-shapes.ts';
import { SeededRandom } from '../simulator/seeded-random.ts';
import { assertSameBytes, CANARY, type EngineBench } from './engine-bench.ts';

/** Bytes before and after every range that a test touches; they must stay. */
const MARGIN = 2 * 65536;
const SHAPES_LEAST = 3;

/** What the engine does with bytes. A name and a body each; the suite registers them. */
export const DATA_TESTS: Readonly<Record<string, (bench: EngineBench) => Promise<void>>> = {
  'a write of every shape reaches the medium, and nothing beside it': writesEveryShape,
  'a read of every shape brings what is there, and touches no other memory': readsEveryShape,
  'many requests in flight leave what a model says': matchesModel,
  'FUA and FLUSH complete, with the bytes on the medium': flushesAndFua,
  'WRITE_ZEROES zeroes its range alone, or is refused': writesZeroes,
  'DISCARD changes its range alone, or is refused': discards,
  'discards of scattered ranges in one request': discardsRanges,
  'an engine of any byte takes any byte': takesAnyByte,
  'extents cover the range in order, and call no data a hole': extentsAreTrue,
};

async function writesEveryShape(bench: EngineBench): Promise<void> {
  const shapes = bench.shapes(BioOp.WRITE, MARGIN);
  assert(shapes.length >= SHAPES_LEAST, 'the limits allow too few shapes to tell anything');
  for (const shape of shapes) {
    const bytes = shapeBytes(shape);
    const around = bench.randomBytes(MARGIN + roundUnit(bench, bytes) + MARGIN);
    await bench.put(0, around);
    bench.memory.bytes.set(bench.randomBytes(bench.memory.length));
    const written = bench.gather(shape);
    const result = await bench.transfer(BioOp.WRITE, MARGIN, shape);
    assert.deepEqual(result, { status: 0, bytesDone: bytes }, shape.name);
    assertSameBytes(bench.gather(shape), written, `${shape.name}: memory of a write`);
    around.set(written, MARGIN);
    const actual = await bench.medium(0, around.length);
    assertSameBytes(actual, bench.expected(around), shape.name);
  }
}

async function readsEveryShape(bench: EngineBench): Promise<void> {
  const shapes = bench.shapes(BioOp.READ, MARGIN);
  assert(shapes.length >= SHAPES_LEAST, 'the limits allow too few shapes to tell anything');
  for (const shape of shapes) {
    const bytes = shapeBytes(shape);
    const there = bench.randomBytes(roundUnit(bench, bytes));
    await bench.put(MARGIN, there);
    bench.memory.bytes.fill(CANARY);
    const result = await bench.transfer(BioOp.READ, MARGIN, shape);
    assert.deepEqual(result, { status: 0, bytesDone: bytes }, shape.name);
    assertSameBytes(bench.gather(shape), bench.expected(there.subarray(0, bytes)), shape.name);
    bench.assertOutsideUntouched(shape);
  }
}

/** Rounds of disjoint units, reads and writes mixed, all of a round in flight together. */
async function matchesModel(bench: EngineBench): Promise<void> {
  const unit = bench.unitBytes;
  const random = new SeededRandom(11);
  const units = Math.floor(2 ** 20 / unit);
  const slots = Math.min(Math.floor(bench.memory.length / unit), units, 64);
  const model = bench.randomBytes(units * unit);
  await bench.put(0, model);
  for (let round = 0; round < 12; round++) {
    const first = random.below(units);
    const count = random.between(1, slots);
    const isWrite = Array.from({ length: count }, () => random.chance(0.5));
    bench.memory.bytes.set(bench.randomBytes(bench.memory.length));
    const starts = isWrite.map((_, i) => ((first + i * 7) % units) * unit);
    assert.equal(new Set(starts).size, count, 'units of a round must be disjoint');
    const tags = starts.map((start, i) =>
      bench.buildUnit(isWrite[i] === true ? BioOp.WRITE : BioOp.READ, start, i),
    );
    const before = bench.expected(model.slice());
    const results = await bench.driver.run(tags);
    for (const [i, { status, bytesDone }] of results.entries()) {
      const start = starts[i] as number;
      const memory = bench.memory.bytes.slice(i * unit, i * unit + bytesDone);
      assert.equal(status, 0);
      if (isWrite[i] === true) model.set(memory, start);
      else assertSameBytes(memory, before.subarray(start, start + bytesDone), 'read of the model');
    }
    for (const tag of tags) bench.driver.release(tag);
  }
  await bench.assertMedium(0, bench.expected(model));
}

async function flushesAndFua(bench: EngineBench): Promise<void> {
  const unit = bench.unitBytes;
  const bytes = bench.randomBytes(unit);
  bench.memory.bytes.set(bytes);
  const fua = bench.buildUnit(BioOp.WRITE, MARGIN, 0, BioFlag.FUA);
  assert.deepEqual(await bench.driver.transfer(fua), { status: 0, bytesDone: unit });
  await bench.assertMedium(MARGIN, bench.expected(bytes));
  const flushed = await bench.command(BioOp.FLUSH, 0, 0);
  assert.deepEqual(flushed, { status: 0, bytesDone: 0 });
  await bench.assertMedium(MARGIN, bench.expected(bytes));
}

async function writesZeroes(bench: EngineBench): Promise<void> {
  const { limits } = bench.engine.info;
  const around = bench.randomBytes(2 * MARGIN);
  await bench.put(0, around);
  const most = limits.max_write_zeroes_sectors * 512;
  const range = rangeOf(bench, most);
  const { status, bytesDone } = await bench.command(BioOp.WRITE_ZEROES, range.start, range.bytes);
  if (most === 0) {
    assert.equal(status, -95, 'without a limit it is EOPNOTSUPP');
  } else {
    assert.deepEqual({ status, bytesDone }, { status: 0, bytesDone: range.bytes });
    around.fill(0, range.start, range.start + range.bytes);
  }
  assertSameBytes(await bench.medium(0, around.length), bench.expected(around), 'write zeroes');
}

async function discards(bench: EngineBench): Promise<void> {
  const { limits } = bench.engine.info;
  const around = bench.randomBytes(2 * MARGIN);
  await bench.put(0, around);
  const most = limits.max_discard_sectors * 512;
  const range = rangeOf(bench, most);
  const { status } = await bench.command(BioOp.DISCARD, range.start, range.bytes);
  assert.equal(status, most === 0 ? -95 : 0);
  if (most > 0) await applyDiscard(bench, around, range.start, range.bytes);
  assertSameBytes(await bench.medium(0, around.length), bench.expected(around), 'discard');
}

async function discardsRanges(bench: EngineBench): Promise<void> {
  const { limits } = bench.engine.info;
  if (limits.max_discard_segments < 2 || limits.max_discard_sectors === 0) return;
  const unit = Math.max(bench.unitBytes, limits.discard_granularity);
  if (limits.max_discard_sectors * 512 < 2 * unit || 6 * unit > 2 * MARGIN) return;
  const around = bench.randomBytes(2 * MARGIN);
  await bench.put(0, around);
  const tag = bench.driver.build(BioOp.DISCARD, 4 * unit, [[], []], { bytes: unit });
  const second = bench.driver.table.get(tag).bioTail;
  assert(second !== null);
  second.sector = unit / 512; // In front of the first: the ranges stand in any order.
  const { status } = await bench.driver.transfer(tag);
  assert.equal(status, 0);
  await applyDiscard(bench, around, 4 * unit, unit);
  await applyDiscard(bench, around, unit, unit);
  assertSameBytes(await bench.medium(0, around.length), bench.expected(around), 'ranges');
}

/** Brings the model up to date: zeros where the engine promises them, else what is there. */
async function applyDiscard(
  bench: EngineBench,
  model: Uint8Array,
  start: number,
  bytes: number,
): Promise<void> {
  if (bench.traits.discardsToZero === true) {
    model.fill(0, start, start + bytes);
    return;
  }
  const actual = await bench.medium(start, bytes);
  for (let i = 0; i < bytes; i++) {
    const isLegal = actual[i] === 0 || actual[i] === model[start + i];
    assert(isLegal, `byte ${start + i} is neither zero nor what it was`);
    model[start + i] = actual[i] as number;
  }
}

async function takesAnyByte(bench: EngineBench): Promise<void> {
  if (!bench.engine.info.byteGranular) return;
  const around = bench.randomBytes(4 * PAGE_BYTES);
  await bench.put(0, around);
  bench.memory.bytes.set(bench.randomBytes(bench.memory.length));
  const segments = [{ page: bench.memory.page, offset: 3, len: 1001 }];
  const write = bench.driver.build(BioOp.WRITE, 4097, [segments]);
  assert.deepEqual(await bench.driver.transfer(write), { status: 0, bytesDone: 1001 });
  around.set(bench.memory.bytes.subarray(3, 1004), 4097);
  assertSameBytes(await bench.medium(0, around.length), bench.expected(around), 'any byte');
  const read = bench.driver.build(BioOp.READ, 4095, [
    [{ ...segments[0], page: bench.memory.page, offset: 8191, len: 7 }],
  ]);
  assert.deepEqual(await bench.driver.transfer(read), { status: 0, bytesDone: 7 });
  const got = bench.memory.bytes.slice(8191, 8198);
  assertSameBytes(got, bench.expected(around).slice(4095, 4102), 'any byte');
}

async function extentsAreTrue(bench: EngineBench): Promise<void> {
  const { engine } = bench;
  if (engine.extents === undefined) return;
  const end = 2 ** 20;
  await bench.put(MARGIN, bench.randomBytes(bench.unitBytes));
  let at = 0;
  let hasData = false;
  for await (const extent of engine.extents(0, end)) {
    assert.equal(extent.start, at, 'extents leave a gap or overlap');
    assert(extent.end > extent.start && extent.end <= end, 'an extent outside the question');
    const touches = extent.start <= MARGIN && MARGIN < extent.end;
    if (touches && extent.kind === 'data') hasData = true;
    if (extent.kind !== 'data') {
      const bytes = await bench.medium(extent.start, extent.end - extent.start);
      assertSameBytes(bytes, new Uint8Array(bytes.length), `a ${extent.kind}`);
    }
    at = extent.end;
  }
  assert.equal(at, end, 'extents end early');
  assert.equal(hasData, bench.traits.keepsData !== false);
}

function roundUnit(bench: EngineBench, bytes: number): number {
  return Math.ceil(bytes / bench.unitBytes) * bench.unitBytes;
}

/** An aligned range inside the area, as long as `mostBytes` allows. */
function rangeOf(bench: EngineBench, mostBytes: number): { start: number; bytes: number } {
  const granularity = bench.engine.info.limits.discard_granularity;
  const unit = Math.max(bench.unitBytes, granularity);
  const start = Math.ceil(20480 / unit) * unit;
  const bytes = Math.min(roundUnit(bench, 100_000), mostBytes === 0 ? unit : mostBytes);
  return { start, bytes: Math.max(bytes - (bytes % unit), unit) };
}
