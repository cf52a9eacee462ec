import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { MIB } from '../../src/base/units.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { ringState } from '../../src/engine/uring/lane-facts.ts';
import { openUringEngine } from '../../src/engine/uring/open-uring-engine.ts';
import { FileBench, pattern } from '../../src/node/file-fixture.test.ts';
import { nodeEnv } from '../../src/node/node-env.ts';
import { engineSuite } from '../../src/testing/engine-suite.ts';

// The ring on real block devices: loop devices over images in a temporary folder. Needs root and
// losetup, and a kernel that allows io_uring.

const env = nodeEnv();
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'biovec-ring-loop-'));
const devices: string[] = [];
let images = 0;

function sh(command: string, ...args: string[]): string {
  return execFileSync(command, args, { encoding: 'utf8' }).trim();
}

function loopDevice(bytes: number): { device: string; image: string } {
  const image = path.join(folder, `disk${images++}.img`);
  fs.writeFileSync(image, '');
  fs.truncateSync(image, bytes);
  const device = sh('losetup', '--find', '--show', image);
  devices.push(device);
  return { device, image };
}

function detachAll(): void {
  for (const device of devices.splice(0)) sh('losetup', '--detach', device);
}

before(() => {
  assert.equal(process.getuid?.(), 0, 'this test makes loop devices: run it as root');
  assert.equal(ringState(env).isAvailable, true, ringState(env).reason);
});
after(() => {
  detachAll();
  fs.rmSync(folder, { recursive: true });
});

for (const direct of [false, true]) {
  engineSuite(`uring on a loop device${direct ? ', direct' : ''}`, async () => {
    const { device } = loopDevice(2 * MIB);
    const engine = await openUringEngine(device, { env, direct });
    return { engine, dispose: detachAll };
  });
}

test('the device is free as soon as close has resolved, and holds what was flushed', async () => {
  for (let round = 0; round < 5; round++) {
    const { device, image } = loopDevice(2 * MIB);
    {
      const engine = await openUringEngine(device, { env, direct: true });
      await using bench = new FileBench(engine);
      bench.buffer.bytes.set(pattern(MIB, round));
      assert.equal((await bench.once(BioOp.WRITE, 0, MIB)).bytesDone, MIB);
      assert.equal((await bench.once(BioOp.DISCARD, 0, 65536)).status, 0);
      assert.equal((await bench.once(BioOp.WRITE_ZEROES, 131072, 65536)).status, 0);
      assert.equal((await bench.once(BioOp.FLUSH, 0, 0)).status, 0);
    }
    // O_EXCL fails while anybody else has it open: the ring may not hold on to it.
    fs.closeSync(fs.openSync(device, fs.constants.O_RDWR | fs.constants.O_EXCL));
    const content = fs.readFileSync(image).subarray(0, MIB);
    const expected = pattern(MIB, round);
    expected.fill(0, 131072, 196608);
    assert.deepEqual(content.subarray(65536), Buffer.from(expected.subarray(65536)));
    detachAll();
  }
});
