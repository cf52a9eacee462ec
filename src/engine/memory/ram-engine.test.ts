import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { BlockError } from '../../base/block-error.ts';
import { GIB, PAGE_BYTES } from '../../base/units.ts';
import { BioOp } from '../../bio/bio-op.ts';
import { presetLimits } from '../../limits/presets.ts';
import { Arena } from '../../memory/arena.ts';
import { EngineDriver } from '../../testing/engine-driver.ts';
import type { Extent } from '../contract.ts';
import { openNullEngine } from './null-engine.ts';
import { openRamEngine } from './ram-engine.ts';
import { CHUNK_BYTES, RamStore } from './ram-store.ts';

const defer = (callback: () => void): void => void setImmediate(callback);

async function listOf(extents: AsyncIterable<Extent>): Promise<Extent[]> {
  const list: Extent[] = [];
  for await (const extent of extents) list.push(extent);
  return list;
}

function isError(code: string, text: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof BlockError && error.code === code && text.test(error.reason);
}

test('a size that is no whole blocks is EINVAL', () => {
  for (const sizeBytes of [0, -512, 1, 513, 1.5, Number.NaN, 2 ** 60]) {
    const open = (): void => void openRamEngine({ sizeBytes, defer });
    assert.throws(open, isError('EINVAL', /must be a multiple of the 512-byte block/));
    const openNull = (): void => void openNullEngine({ sizeBytes, defer });
    assert.throws(openNull, isError('EINVAL', /must be a multiple/));
  }
  const limits = presetLimits('4kn');
  const open = (): void => void openRamEngine({ sizeBytes: 4096 + 512, limits, defer });
  assert.throws(open, isError('EINVAL', /4096-byte block/));
});

test('a disk larger than frame numbers reach is ENOMEM, with the target and the size', () => {
  const open = (): void => void openRamEngine({ sizeBytes: 2 ** 50, target: 'ram:1P', defer });
  assert.throws(open, isError('ENOMEM', /at most 8 TiB, not 1 PiB/));
  assert.throws(open, (error: unknown) => error instanceof BlockError && error.device === 'ram:1P');
});

test('what the host refuses is ENOMEM, and leaves nothing behind', () => {
  if (process.platform !== 'linux') return;
  const module = JSON.stringify(join(import.meta.dirname, 'ram-engine.ts'));
  const program = `
    import { openRamEngine } from ${module};
    const open = (sizeBytes) => openRamEngine({ sizeBytes, target: 'ram:x', defer: setImmediate });
    try { open(2 ** 36); } catch (error) { console.log(error.code, error.reason); }
    open(2 ** 20); // There is room for this one again.
    console.log('opened');
  `;
  // 38 GiB of address space: room for a few regions, not for the sixteen of 64 GiB.
  const command = 'ulimit -v 40000000 && exec "$0" --input-type=module -e "$1"';
  const child = spawnSync('sh', ['-c', command, process.execPath, program], { encoding: 'utf8' });
  assert.match(child.stdout, /^ENOMEM no memory for a RAM disk of 64 GiB: the host refused/);
  assert.match(child.stdout, /opened\n$/, child.stderr);
});

test('limits and names are those that were given', async () => {
  const limits = presetLimits('nvme');
  const engine = openRamEngine({ sizeBytes: 4096, limits, depth: 9, target: 'ram:x', defer });
  assert.deepEqual(engine.info.limits, limits);
  assert.equal(engine.info.depth, 9);
  assert.equal(engine.info.target, 'ram:x');
  await engine.close();
  const other = openRamEngine({ sizeBytes: 4096, limits: { max_segments: 3 }, defer });
  assert.equal(other.info.limits.max_segments, 3);
  assert.equal(other.info.limits.max_hw_sectors, presetLimits('unlimited').max_hw_sectors);
  await other.close();
});

test('beyond 4 GiB a second region goes on, also inside a segment', async () => {
  const engine = openRamEngine({ sizeBytes: 4 * GIB + 2 ** 20, defer });
  const driver = new EngineDriver({ engine });
  const arena = new Arena({ maxBytes: 2 ** 20 });
  const buffer = arena.alloc(4 * PAGE_BYTES);
  for (let i = 0; i < buffer.length; i++) buffer.bytes[i] = i % 251;
  const segment = { page: buffer.page, offset: 0, len: buffer.length };
  const start = 4 * GIB - 2 * PAGE_BYTES;
  const write = driver.build(BioOp.WRITE, start, [[segment]]);
  assert.deepEqual(await driver.transfer(write), { status: 0, bytesDone: buffer.length });
  const written = buffer.copy();
  buffer.bytes.fill(0);
  const read = driver.build(BioOp.READ, start, [[segment]]);
  assert.deepEqual(await driver.transfer(read), { status: 0, bytesDone: buffer.length });
  assert.deepEqual(buffer.copy(), written);
  const extents = await listOf(engine.extents(0, engine.sizeBytes()));
  assert.deepEqual(
    extents.map(({ start: from, end, kind }) => [from - 4 * GIB, end - 4 * GIB, kind]),
    [
      [-4 * GIB, -CHUNK_BYTES, 'hole'],
      [-CHUNK_BYTES, CHUNK_BYTES, 'data'],
      [CHUNK_BYTES, 2 ** 20, 'hole'],
    ],
  );
  const zero = driver.build(BioOp.WRITE_ZEROES, start, [[]], { bytes: buffer.length });
  assert.equal((await driver.transfer(zero)).status, 0);
  const again = driver.build(BioOp.READ, start, [[segment]]);
  await driver.transfer(again);
  assert(buffer.bytes.every((byte) => byte === 0));
  driver.assertNothingOutstanding();
  await engine.close();
  buffer.release();
  arena.assertNothingOutstanding();
});

test('whole chunks that are discarded become holes again', async () => {
  const store = new RamStore(4 * CHUNK_BYTES + 512, 'ram');
  const arena = new Arena({ maxBytes: 2 ** 20 });
  const buffer = arena.alloc(PAGE_BYTES);
  buffer.bytes.fill(9);
  for (const at of [0, CHUNK_BYTES, 4 * CHUNK_BYTES]) store.write(at, buffer.page, 0, 512);
  const written = (): boolean[] => [0, 1, 2, 3, 4].map((i) => store.isWritten(i * CHUNK_BYTES));
  assert.deepEqual(written(), [true, true, false, false, true]);
  store.zero(512, 2 * CHUNK_BYTES);
  assert.deepEqual(written(), [true, false, false, false, true]);
  store.zero(4 * CHUNK_BYTES, 4 * CHUNK_BYTES + 512); // The last one is short, but whole.
  assert.deepEqual(written(), [true, false, false, false, false]);
  store.read(0, buffer.page, 0, 1024);
  assert.deepEqual([...buffer.bytes.slice(510, 514)], [9, 9, 0, 0]);
  store[Symbol.dispose]();
  buffer.release();
  arena.assertNothingOutstanding();
});

test('without zero, a null read leaves memory alone', async () => {
  const engine = openNullEngine({ sizeBytes: 2 ** 20, zero: false, defer });
  const driver = new EngineDriver({ engine });
  const arena = new Arena({ maxBytes: 2 ** 20 });
  const buffer = arena.alloc(PAGE_BYTES);
  buffer.bytes.fill(9);
  const segment = { page: buffer.page, offset: 0, len: PAGE_BYTES };
  const tag = driver.build(BioOp.READ, 0, [[segment]]);
  assert.deepEqual(await driver.transfer(tag), { status: 0, bytesDone: PAGE_BYTES });
  assert(buffer.bytes.every((byte) => byte === 9));
  await engine.close();
  buffer.release();
  arena.assertNothingOutstanding();
});

test('a read-only disk takes no change', async () => {
  const engine = openRamEngine({ sizeBytes: 2 ** 20, limits: { read_only: true }, defer });
  const driver = new EngineDriver({ engine });
  for (const op of [BioOp.DISCARD, BioOp.WRITE_ZEROES, BioOp.SECURE_ERASE] as const) {
    const tag = driver.build(op, 0, [[]], { bytes: 4096 });
    assert.deepEqual(await driver.transfer(tag), { status: -30, bytesDone: 0 });
  }
  driver.assertNothingOutstanding();
  await engine.close();
});
