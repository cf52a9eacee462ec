import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { BlockDevice } from '../../src/device/block-device.ts';
import { Disk } from '../../src/device/disk.ts';
import { ringState } from '../../src/engine/uring/lane-facts.ts';
import { Arena, BlockError, open } from '../../src/index.ts';
import { presetLimits } from '../../src/limits/presets.ts';
import { validateLimits } from '../../src/limits/validate.ts';
import { nodeEnv } from '../../src/node/node-env.ts';
import { CheckedEngine } from '../../src/testing/simulator/checked-engine.ts';
import { SimClock } from '../../src/testing/simulator/sim-clock.ts';
import { SimEngine } from '../../src/testing/simulator/sim-engine.ts';

// A device of 5 blocks of 4 KiB and 512 bytes: what lies in the last, incomplete block can be read
// and not written. A file may end anywhere.

const BLOCK = 4096;
const SIZE = 5 * BLOCK + 512;
const CUT = {
  code: 'EINVAL',
  reason: 'the device ends inside a block of 4096 bytes: its last 512 cannot be written',
};

function isCut(error: unknown): boolean {
  assert(error instanceof BlockError);
  assert.deepEqual({ code: error.code, reason: error.reason }, CUT);
  return true;
}

/** What holds for every device of fixed size. */
async function endsInsideBlock(disk: Disk, old: number): Promise<void> {
  const arena = new Arena({ maxBytes: 2 ** 20, places: false });
  const two = arena.alloc(2 * BLOCK);
  two.bytes.fill(0x77);
  for (const [position, bytes] of [
    [5 * BLOCK, 512],
    [5 * BLOCK + 100, 10],
    [5 * BLOCK - 1, 2],
    [4 * BLOCK, BLOCK + 512],
    [4 * BLOCK, 2 * BLOCK],
  ] as const) {
    const write = disk.write(two.bytes.subarray(0, bytes), { position });
    await assert.rejects(write, isCut, `${bytes} bytes at ${position}`);
  }
  assert.equal((await disk.read(two.bytes, { position: 4 * BLOCK })).bytesRead, BLOCK + 512);
  assert(
    two.bytes.subarray(0, BLOCK + 512).every((byte) => byte === old),
    'nothing was written',
  );
  two.bytes.fill(0x66);
  const last = two.bytes.subarray(0, 100);
  assert.equal((await disk.write(last, { position: 5 * BLOCK - 100 })).bytesWritten, 100);
  const whole = two.bytes.subarray(0, BLOCK);
  assert.equal((await disk.write(whole, { position: 3 * BLOCK })).bytesWritten, BLOCK);
  two.release();
  arena.assertNothingOutstanding();
  arena[Symbol.dispose]();
  disk.assertNothingOutstanding();
}

describe('a device of fixed size that ends inside a block', () => {
  const limits = { logical_block_size: BLOCK };

  for (const [target, old] of [
    [`ram:${SIZE}`, 0],
    [`null:${SIZE}`, 0],
  ] as const) {
    test(`${target}, with a block of 4 KiB wished for`, async () => {
      await using disk = await open(target, { limits });
      await endsInsideBlock(disk, old);
    });
  }

  test('a disk of the simulator, whose requests are judged', async () => {
    const clock = new SimClock();
    const arena = new Arena({ maxBytes: 2 ** 21, places: false });
    const engine = new SimEngine({
      seed: 1,
      clock,
      limits: validateLimits({ ...presetLimits('unlimited'), ...limits }),
      sizeBytes: SIZE,
      depth: 4,
    });
    const defer = (run: () => void): void => void setImmediate(run);
    const device = new BlockDevice({ engine: new CheckedEngine(engine), arena, defer });
    const turns = setInterval(() => void clock.step(), 0);
    const disk = new Disk(device);
    await endsInsideBlock(disk, 0);
    assert(engine.medium.peek(5 * BLOCK, 512).every((byte) => byte === 0));
    await disk.close();
    clearInterval(turns);
    arena.assertNothingOutstanding();
    arena[Symbol.dispose]();
  });
});

for (const engine of ['file', 'uring'] as const) {
  const skip = engine === 'uring' && !ringState(nodeEnv()).isAvailable;
  if (skip) continue; // No ring here: `open` takes the file engine, which is tested beside it.
  test(`a file may end inside a block, by the engine '${engine}'`, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'biovec-end-'));
    const path = join(folder, 'disk.img');
    writeFileSync(path, new Uint8Array(SIZE).fill(0x11));
    const expected = Buffer.alloc(SIZE + 88, 0x11);
    {
      await using disk = await open(path, { engine, limits: { logical_block_size: BLOCK } });
      const bytes = new Uint8Array(600).fill(0x77);
      assert.equal((await disk.write(bytes, { position: 5 * BLOCK })).bytesWritten, 600);
      expected.fill(0x77, 5 * BLOCK, 5 * BLOCK + 600);
    }
    assert.deepEqual(readFileSync(path), expected);
    rmSync(folder, { recursive: true });
  });
}
