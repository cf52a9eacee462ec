import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { BlockError } from '../../src/base/block-error.ts';
import { MIB } from '../../src/base/units.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import type { Engine } from '../../src/engine/contract.ts';
import { openFileEngine } from '../../src/engine/file/open-file-engine.ts';
import { blockError, FileBench, pattern } from '../../src/node/file-fixture.test.ts';
import { nodeEnv } from '../../src/node/node-env.ts';
import { engineSuite } from '../../src/testing/engine-suite.ts';

// The file engine on real block devices: loop devices over images in a temporary folder. Needs
// root, losetup, addpart, mkfs.ext4 and mount.

const env = nodeEnv();
const withoutFfi = { ...env, native: null, nativeReason: 'none in this test' };
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'biovec-loop-'));
const undo: (() => void)[] = [];
let images = 0;

function sh(command: string, ...args: string[]): string {
  return execFileSync(command, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  }).trim();
}

/** A loop device over a new image; `undo` detaches it. */
function loopDevice(bytes: number, ...options: string[]): { device: string; image: string } {
  const image = path.join(folder, `disk${images++}.img`);
  fs.writeFileSync(image, '');
  fs.truncateSync(image, bytes);
  const device = sh('losetup', '--find', '--show', ...options, image);
  undo.push(() => sh('losetup', '--detach', device));
  return { device, image };
}

/** Every step is tried, so that a failed one leaves as little as possible behind. */
function cleanUp(): void {
  const faults: unknown[] = [];
  for (const step of undo.splice(0).reverse()) {
    try {
      step();
    } catch (error) {
      faults.push(error);
    }
  }
  if (faults.length > 0) throw new AggregateError(faults, 'cleaning up failed');
}

before(() => assert.equal(process.getuid?.(), 0, 'this test makes loop devices: run it as root'));
after(() => {
  cleanUp();
  fs.rmSync(folder, { recursive: true });
});

for (const direct of [false, true]) {
  for (const host of [env, withoutFfi]) {
    const name = `loop device${direct ? ', direct' : ''}${host === env ? '' : ', without FFI'}`;
    engineSuite(name, async () => {
      const { device } = loopDevice(2 * MIB);
      const engine = await openFileEngine(device, { env: host, direct });
      return { engine, dispose: cleanUp };
    });
  }
}

function limitsOfQueue(device: string): (file: string) => number {
  const folderOfQueue = `/sys/block/${path.basename(device)}/queue`;
  return (file) => Number(fs.readFileSync(path.join(folderOfQueue, file), 'latin1'));
}

test('limits are those of the queue, for 512 and for 4096 byte blocks', async () => {
  for (const block of [512, 4096]) {
    const { device } = loopDevice(8 * MIB, '--sector-size', String(block));
    const queue = limitsOfQueue(device);
    for (const direct of [false, true]) {
      const engine = await openFileEngine(device, { env, direct });
      const { limits, facts } = engine.info;
      assert.equal(engine.sizeBytes(), 8 * MIB);
      assert.equal(limits.logical_block_size, block);
      assert.equal(limits.physical_block_size, queue('physical_block_size'));
      assert.equal(limits.io_min, Math.max(queue('minimum_io_size'), block));
      if (direct) assert(limits.dma_alignment >= queue('dma_alignment'));
      else assert.equal(limits.dma_alignment, 0);
      assert.equal(limits.max_discard_sectors > 0, queue('discard_max_bytes') > 0);
      assert.equal(facts['limits'], 'sysfs');
      assert.equal(facts['queue_max_segments'], queue('max_segments'));
      await engine.close();
    }
  }
  cleanUp();
});

test('DISCARD and WRITE_ZEROES reach the image behind the device', async () => {
  const { device, image } = loopDevice(16 * MIB);
  {
    await using bench = await FileBench.open(device, { env });
    const allocated = (): number => {
      sh('sync', image);
      return fs.statSync(image).blocks * 512;
    };
    const read = async (start: number): Promise<Uint8Array> => {
      assert.equal((await bench.once(BioOp.READ, start, MIB)).bytesDone, MIB);
      return bench.buffer.bytes.slice(0, MIB);
    };
    bench.buffer.bytes.set(pattern(MIB));
    for (let i = 0; i < 8; i++) await bench.once(BioOp.WRITE, i * MIB, MIB);
    assert.equal((await bench.once(BioOp.FLUSH, 0, 0)).status, 0);
    const full = allocated();
    assert(full >= 8 * MIB);
    const discarded = await bench.once(BioOp.DISCARD, MIB, 4 * MIB);
    assert.deepEqual(discarded, { status: 0, bytesDone: 4 * MIB });
    assert(allocated() <= full - 4 * MIB, 'the image kept its blocks');
    assert((await read(4 * MIB)).every((byte) => byte === 0));
    const zeroed = await bench.once(BioOp.WRITE_ZEROES, 6 * MIB, MIB);
    assert.deepEqual(zeroed, { status: 0, bytesDone: MIB });
    assert((await read(6 * MIB)).every((byte) => byte === 0));
    assert.equal(Buffer.compare(await read(5 * MIB), pattern(MIB)), 0);
  }
  cleanUp();
});

test('what a direct engine writes is what the device gives, and the other way round', async () => {
  const { device, image } = loopDevice(4 * MIB);
  {
    await using bench = await FileBench.open(device, { env, direct: true });
    bench.buffer.bytes.set(pattern(MIB));
    assert.equal((await bench.once(BioOp.WRITE, MIB, MIB)).bytesDone, MIB);
    assert.equal((await bench.once(BioOp.FLUSH, 0, 0)).status, 0);
    const fromImage = fs.readFileSync(image).subarray(MIB, 2 * MIB);
    assert.equal(Buffer.compare(fromImage, pattern(MIB)), 0);
    sh('dd', 'if=/dev/zero', `of=${device}`, 'bs=1M', 'count=1', 'seek=1', 'conv=notrunc,fsync');
    assert.equal((await bench.once(BioOp.READ, MIB, MIB)).bytesDone, MIB);
    assert(bench.buffer.bytes.subarray(0, MIB).every((byte) => byte === 0));
  }
  cleanUp();
});

test('a partition has its own size and the queue of its disk', async () => {
  const { device } = loopDevice(32 * MIB, '--partscan');
  // Not by a partition table: a kernel may be built without any format of them.
  sh('addpart', device, '1', '2048', '8192');
  const engine = await openFileEngine(`${device}p1`, { env });
  assert.equal(engine.sizeBytes(), 8192 * 512);
  assert.equal(engine.info.facts['partition'], true);
  assert.equal(engine.info.facts['queue_max_segments'], limitsOfQueue(device)('max_segments'));
  await engine.close();
  cleanUp();
});

function mounted(bytes: number): { device: string; point: string } {
  const { device } = loopDevice(bytes);
  const point = path.join(folder, `mount${images}`);
  sh('mkfs.ext4', '-q', device);
  fs.mkdirSync(point);
  sh('mount', device, point);
  undo.push(() => sh('umount', point));
  return { device, point };
}

test('a mounted device is busy for writers, and open to readers', async () => {
  const { device } = mounted(16 * MIB);
  await assert.rejects(
    openFileEngine(device, { env }),
    blockError('EBUSY', /in use, as a mounted/),
  );
  const engine = await openFileEngine(device, { env, readOnly: true });
  assert.equal(engine.info.limits.read_only, true);
  await engine.close();
  cleanUp();
});

test('a read-only device opens only for reading', async () => {
  const { device } = loopDevice(MIB, '--read-only');
  let engine: Engine | null = null;
  try {
    engine = await openFileEngine(device, { env });
    assert.equal(engine.info.limits.read_only, true, 'opened, but known to be read-only');
  } catch (error) {
    assert(error instanceof BlockError && /readOnly/.test(error.reason), String(error));
  }
  await engine?.close();
  const reader = await openFileEngine(device, { env, readOnly: true });
  await reader.close();
  cleanUp();
});

test('a full file system is ENOSPC, after what fitted', async () => {
  const { point } = mounted(16 * MIB);
  const file = path.join(point, 'large');
  {
    await using bench = await FileBench.open(file, { env, create: true });
    bench.buffer.bytes.fill(1);
    let status = 0;
    for (let start = 0; status === 0 && start < 32 * MIB; ) {
      const result = await bench.once(BioOp.WRITE, start, MIB);
      status = result.status;
      start += result.bytesDone;
      assert.equal(bench.engine.sizeBytes(), start);
    }
    assert.equal(status, -28);
    const zeroed = await bench.once(BioOp.WRITE_ZEROES, 0, 64 * MIB);
    assert.equal(zeroed.status, -28, 'zeros need blocks too');
  }
  cleanUp();
});
