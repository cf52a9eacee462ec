import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { Errno } from '../base/errno.ts';
import { MIB } from '../base/units.ts';
import { BioOp } from '../bio/bio-op.ts';
import type { Extent } from '../engine/contract.ts';
import { blockError, envWith, FileBench, pattern, TemporaryFile } from './file-fixture.test.ts';
import { nodeEnv } from './node-env.ts';

const env = nodeEnv();
/** Without foreign functions nothing punches; then what is tested is that it says so. */
const canPunch = env.native !== null;

async function extentsOf(bench: FileBench, start: number, end: number): Promise<Extent[]> {
  return await Array.fromAsync(bench.engine.extents(start, end));
}

test('DISCARD gives the blocks back and leaves size and neighbours alone', async () => {
  using file = new TemporaryFile(pattern(4 * MIB));
  await using bench = await FileBench.open(file.path, { env });
  const before = file.allocatedBytes();
  const result = await bench.once(BioOp.DISCARD, MIB, 2 * MIB);
  if (!canPunch) {
    assert.deepEqual(result, { status: -Errno.EOPNOTSUPP, bytesDone: 0 });
    assert.equal(bench.engine.info.limits.max_discard_sectors, 0);
    return;
  }
  assert.deepEqual(result, { status: 0, bytesDone: 2 * MIB });
  assert(file.allocatedBytes() <= before - 2 * MIB, 'no block was given back');
  const model = pattern(4 * MIB).fill(0, MIB, 3 * MIB);
  assert.deepEqual(file.read(0, 4 * MIB), model);
  assert.deepEqual(await extentsOf(bench, 0, 4 * MIB), [
    { start: 0, end: MIB, kind: 'data' },
    { start: MIB, end: 3 * MIB, kind: 'hole' },
    { start: 3 * MIB, end: 4 * MIB, kind: 'data' },
  ]);
});

test('DISCARD and WRITE_ZEROES take any bytes of a buffered file', async () => {
  using file = new TemporaryFile(pattern(MIB));
  await using bench = await FileBench.open(file.path, { env });
  const model = pattern(MIB);
  if (canPunch) {
    const punched = await bench.once(BioOp.DISCARD, 100_001, 70_003);
    assert.deepEqual(punched, { status: 0, bytesDone: 70_003 });
    model.fill(0, 100_001, 170_004);
  }
  const zeroed = await bench.once(BioOp.WRITE_ZEROES, 300_007, 90_001);
  assert.deepEqual(zeroed, { status: 0, bytesDone: 90_001 });
  assert.deepEqual(file.read(0, MIB), model.fill(0, 300_007, 390_008));
});

test('WRITE_ZEROES keeps its blocks and makes the file longer, with and without FFI', async () => {
  for (const host of [env, envWith({})]) {
    using file = new TemporaryFile(pattern(MIB));
    await using bench = await FileBench.open(file.path, { env: host });
    const done = { status: 0, bytesDone: MIB };
    assert.deepEqual(await bench.once(BioOp.WRITE_ZEROES, MIB / 2, MIB), done);
    assert.equal(bench.engine.sizeBytes(), 1.5 * MIB);
    assert.equal(fs.statSync(file.path).size, 1.5 * MIB);
    assert(file.allocatedBytes() >= 1.5 * MIB, 'zeros that were written take space');
    const expected = new Uint8Array(1.5 * MIB);
    expected.set(pattern(MIB).subarray(0, MIB / 2));
    assert.deepEqual(file.read(0, 2 * MIB), expected);
  }
});

test('extents of a sparse file: holes at both ends, cut to the question and the size', async () => {
  using file = new TemporaryFile(8 * MIB);
  await using bench = await FileBench.open(file.path, { env });
  bench.buffer.bytes.fill(1);
  await bench.once(BioOp.WRITE, 4 * MIB, MIB);
  const all = await extentsOf(bench, 0, 100 * MIB);
  if (canPunch) {
    assert.deepEqual(all, [
      { start: 0, end: 4 * MIB, kind: 'hole' },
      { start: 4 * MIB, end: 5 * MIB, kind: 'data' },
      { start: 5 * MIB, end: 8 * MIB, kind: 'hole' },
    ]);
    assert.equal(bench.engine.info.facts['extents'], 'seek');
  } else {
    assert.deepEqual(all, [{ start: 0, end: 8 * MIB, kind: 'data' }]);
  }
  const part = await extentsOf(bench, 4 * MIB + 4096, 4 * MIB + 8192);
  assert.deepEqual(part, [{ start: 4 * MIB + 4096, end: 4 * MIB + 8192, kind: 'data' }]);
  assert.deepEqual(await extentsOf(bench, 9 * MIB, 10 * MIB), []);
  await assert.rejects(extentsOf(bench, 5, 4), blockError('EINVAL', /no range/));
});

test('without FFI extents are one run of data, and the facts say unknown', async () => {
  using file = new TemporaryFile(MIB);
  await using bench = await FileBench.open(file.path, { env: envWith({}) });
  assert.deepEqual(await extentsOf(bench, 0, MIB), [{ start: 0, end: MIB, kind: 'data' }]);
  assert.equal(bench.engine.info.facts['extents'], 'unknown');
});

test('the size follows own writes, truncate, and a shrink by somebody else', async () => {
  using file = new TemporaryFile(pattern(MIB));
  await using bench = await FileBench.open(file.path, { env });
  const { engine } = bench;
  assert.equal(engine.sizeBytes(), MIB);
  assert.equal((await bench.once(BioOp.WRITE, MIB - 100, 1000)).bytesDone, 1000);
  assert.equal(engine.sizeBytes(), MIB + 900);
  fs.truncateSync(file.path, 5000);
  assert.deepEqual(await bench.once(BioOp.READ, 4096, 4096), { status: 0, bytesDone: 904 });
  assert.equal(engine.sizeBytes(), 5000);
  assert.deepEqual(await bench.once(BioOp.READ, MIB, 4096), { status: 0, bytesDone: 0 });
  await engine.truncate(70_000);
  assert.equal(engine.sizeBytes(), 70_000);
  assert.equal(fs.statSync(file.path).size, 70_000);
  await assert.rejects(engine.truncate(-1), blockError('EINVAL', /from 0 to 2\^53/));
  fs.appendFileSync(file.path, new Uint8Array(1000));
  assert.deepEqual(await bench.once(BioOp.READ, 69_632, 4096), { status: 0, bytesDone: 1368 });
  assert.equal(engine.sizeBytes(), 71_000, 'a read that finds more says so');
});

test('positions beyond 2^32 bytes, and fractions of a sector, are exact', async () => {
  using file = new TemporaryFile(0);
  await using bench = await FileBench.open(file.path, { env });
  for (const start of [2 ** 32 + 1, 2 ** 40 - 3]) {
    bench.buffer.bytes.set([11, 22, 33, 44, 55, 66, 77]);
    assert.deepEqual(await bench.once(BioOp.WRITE, start, 7), { status: 0, bytesDone: 7 });
    assert.equal(bench.engine.sizeBytes(), start + 7);
    assert.deepEqual([...file.read(start - 1, 9)], [0, 11, 22, 33, 44, 55, 66, 77]);
    bench.buffer.bytes.fill(0, 0, 7);
    assert.deepEqual(await bench.once(BioOp.READ, start + 2, 5), { status: 0, bytesDone: 5 });
    assert.deepEqual([...bench.buffer.bytes.subarray(0, 5)], [33, 44, 55, 66, 77]);
  }
});

test('a file that became longer behind a direct read is read to its new end', async (t) => {
  using file = new TemporaryFile(pattern(8192));
  const opening = FileBench.open(file.path, { env, direct: true });
  const bench = await opening.catch((error: unknown) => {
    blockError('EOPNOTSUPP', /does not take O_DIRECT/)(error);
    t.diagnostic('this file system has no O_DIRECT; its refusal was checked instead');
    return null;
  });
  if (bench === null) return;
  await using open = bench;
  fs.appendFileSync(file.path, pattern(3000, 9));
  const result = await open.once(BioOp.READ, 4096, 16384);
  assert.deepEqual(result, { status: 0, bytesDone: 7096 });
  assert.deepEqual([...open.buffer.bytes.subarray(4096, 7096)], [...pattern(3000, 9)]);
});
