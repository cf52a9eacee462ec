import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { BLKGETSIZE64 } from '../abi/linux-block.ts';
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  SEEK_DATA,
  SEEK_HOLE,
} from '../abi/linux-fs.ts';
import type { Native } from '../base/env.ts';
import { Errno } from '../base/errno.ts';
import { FFI_CHOICES, nativeDoor } from './native-door.ts';

const MIB = 2 ** 20;

/** Every door that opens on this host; what does not open must say why. */
const doors = (['koffi', 'node'] as const).map((choice) => ({ choice, ...nativeDoor(choice) }));

test('each way opens, or gives a reason', () => {
  for (const { choice, reason, door } of doors) {
    if (door === null) assert.match(reason, new RegExp(`${choice}: |foreign functions`));
    else assert.match(reason, /opened it$/);
  }
  assert.deepEqual(nativeDoor('none'), {
    door: null,
    reason: 'switched off by BIOVEC_FFI=none',
  });
  if (process.platform === 'linux') {
    assert.match(nativeDoor('perl').reason, /BIOVEC_FFI is 'perl'; it may be koffi, node, none/);
  }
});

test('with an optional dependency at hand the first way is koffi', () => {
  const { door } = nativeDoor('');
  const first = doors.find((candidate) => candidate.door !== null);
  assert.equal(door?.kind, first?.door?.kind);
});

function range(call: (done: (status: number) => void) => void): Promise<number> {
  let isInside = true;
  const result = new Promise<number>((resolve) => {
    call((status) => {
      assert.equal(isInside, false, 'the callback ran inside the call');
      resolve(status);
    });
  });
  isInside = false;
  return result;
}

async function punchesAndSeeks(door: Native, fd: number): Promise<void> {
  const punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  fs.writeSync(fd, new Uint8Array(4 * MIB).fill(7));
  fs.fsyncSync(fd);
  const before = fs.fstatSync(fd).blocks;
  assert.equal(await range((done) => door.fallocate(fd, punch, MIB, 2 * MIB, done)), 0);
  assert(fs.fstatSync(fd).blocks <= before - (2 * MIB) / 512, 'nothing was punched');
  assert.equal(door.lseek(fd, 0, SEEK_HOLE), MIB);
  assert.equal(door.lseek(fd, MIB, SEEK_DATA), 3 * MIB);
  assert.equal(door.lseek(fd, 4 * MIB, SEEK_DATA), -Errno.ENXIO);
  assert.equal(door.lseek(fd, 2 ** 40, SEEK_HOLE), -Errno.ENXIO, 'a 64-bit position');
  const zero = FALLOC_FL_ZERO_RANGE;
  assert.equal(await range((done) => door.fallocate(fd, zero, 2 ** 33, MIB, done)), 0);
  assert.equal(fs.fstatSync(fd).size, 2 ** 33 + MIB, 'a 64-bit range');
}

async function reportsErrors(door: Native, fd: number): Promise<void> {
  const badMode = range((done) => door.fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, MIB, done));
  assert.equal(await badMode, -Errno.EOPNOTSUPP);
  assert.equal(await range((done) => door.fallocate(-1, 0, 0, MIB, done)), -Errno.EBADF);
  assert.equal(await range((done) => door.fallocate(fd, 0, -1, MIB, done)), -Errno.EINVAL);
  const ENOTTY = 25;
  assert.equal(door.ioctlNumber(fd, BLKGETSIZE64, 8), -ENOTTY);
  assert.equal(await range((done) => door.ioctlRange(fd, 0x1277, 0, 512, done)), -ENOTTY);
}

for (const { choice, door } of doors) {
  if (door === null) continue;
  test(`${choice}: punches, zeroes, finds data and holes`, async () => {
    const name = path.join(os.tmpdir(), `biovec-door-${process.pid}-${choice}`);
    const fd = fs.openSync(name, 'w+');
    try {
      await punchesAndSeeks(door, fd);
      await reportsErrors(door, fd);
      const alignment = door.directAlignment(fd);
      if (alignment !== null) assert.equal(alignment.offset % 512, 0);
    } finally {
      fs.closeSync(fd);
      fs.rmSync(name);
    }
  });

  test(`${choice}: a lock belongs to one open file, and goes with it`, () => {
    const name = path.join(os.tmpdir(), `biovec-door-lock-${process.pid}-${choice}`);
    const open = (): number => fs.openSync(name, 'a+');
    const [first, second] = [open(), open()];
    assert.equal(door.isLocked(first), 0);
    assert.equal(door.lockWhole(first), 0);
    assert.equal(door.lockWhole(first), 0, 'its own lock is in its own way');
    assert.equal(door.isLocked(first), 0);
    assert.equal(door.isLocked(second), 1);
    assert.equal(door.lockWhole(second), -Errno.EAGAIN);
    const reader = fs.openSync(name, 'r');
    assert.equal(door.lockWhole(reader), -Errno.EBADF);
    fs.closeSync(reader);
    assert.equal(door.isLocked(second), 1, 'closing another file of it lets go of the lock');
    fs.closeSync(first);
    assert.equal(door.isLocked(second), 0);
    assert.equal(door.lockWhole(second), 0);
    fs.closeSync(second);
    assert.equal(door.lockWhole(second), -Errno.EBADF);
    fs.rmSync(name);
  });

  test(`${choice}: many range calls at once all end`, async () => {
    const name = path.join(os.tmpdir(), `biovec-door-many-${process.pid}-${choice}`);
    const fd = fs.openSync(name, 'w+');
    const calls = Array.from({ length: 500 }, (_, i) =>
      range((done) => door.fallocate(fd, FALLOC_FL_ZERO_RANGE, i * 4096, 4096, done)),
    );
    assert((await Promise.all(calls)).every((status) => status === 0));
    assert.equal(fs.fstatSync(fd).size, 500 * 4096);
    fs.closeSync(fd);
    fs.rmSync(name);
  });
}

test('BIOVEC_FFI chooses for a whole process, and no way prints a warning', () => {
  const env = JSON.stringify(pathToFileURL(path.join(import.meta.dirname, 'node-env.ts')).href);
  const script = `const { nodeEnv } = await import(${env});
    const { native, nativeReason } = nodeEnv();
    console.log(JSON.stringify([native === null ? null : native.kind, nativeReason]));`;
  for (const choice of FFI_CHOICES) {
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      env: { ...process.env, BIOVEC_FFI: choice, NODE_OPTIONS: '' },
      encoding: 'utf8',
    });
    assert.equal(stderr, '');
    const [kind, reason] = JSON.parse(stdout) as [string | null, string];
    const here = nativeDoor(choice);
    assert.equal(kind, here.door?.kind ?? null);
    assert.equal(reason, here.reason);
  }
});
