import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeFolder, pattern, run } from './command.ts';

test('info of a file: kind, size, limits and how they were found', async (t) => {
  const file = join(makeFolder(t), 'a');
  writeFileSync(file, pattern(10_000));
  const { code, stdout } = await run(['info', file, '--engines']);
  assert.equal(code, 0);
  assert.match(stdout, /^kind +(uring|file) \(regular file\)$/m);
  assert.match(stdout, /^size +9\.8 KiB \(10000 bytes\)/m);
  assert.match(stdout, /^limits +those of the system call interface/m);
  assert.match(stdout, /^ {2}logical_block_size +512$/m);
  assert.match(stdout, /^ {2}ffi +(yes|no): /m);
});

test('info without foreign functions says so, and why', async (t) => {
  const file = join(makeFolder(t), 'a');
  writeFileSync(file, pattern(10_000));
  const env = { BIOVEC_FFI: 'none' };
  const { stdout } = await run(['info', file, '--engines'], { env });
  assert.match(stdout, /^extents +unknown: all of it counts as data$/m);
  assert.match(stdout, /^ {2}ffi +no: switched off by BIOVEC_FFI=none$/m);
});

test('info as JSON, of memory too', async () => {
  const { code, stdout } = await run(['info', 'ram:1M', '--json', '--engines']);
  assert.equal(code, 0);
  const info = JSON.parse(stdout);
  assert.equal(info.kind, 'ram');
  assert.equal(info.sizeBytes, 1024 * 1024);
  assert.equal(info.limits.logical_block_size, 512);
  assert.deepEqual(info.extents, { data: 0, dataBytes: 0, holes: 1, holeBytes: 1024 * 1024 });
  assert.ok(info.engines.some(({ name }: { name: string }) => name === 'file'));
});

test('info of nothing, of a folder, of a stream', async (t) => {
  const folder = makeFolder(t);
  assert.equal((await run(['info', join(folder, 'none')])).code, 1);
  const dir = await run(['info', folder]);
  assert.equal(dir.code, 1);
  assert.match(dir.stderr, /EISDIR: it is a directory/);
  assert.equal((await run(['info', '-'])).code, 2);
  assert.equal((await run(['info', 'ram:many'])).code, 2);
});

test('info of a RAM disk with tuples says how they look', async () => {
  const target = 'ram:1M,pi=crc64,interval=4096,metadata-size=64,offset=8,capable';
  const { stdout } = await run(['info', target]);
  const text = 'crc64: 64 bytes for each 4096, tuple at byte 8, ref tags count, the device checks';
  assert.match(stdout, new RegExp(`^metadata +${text}$`, 'm'));
  const { stdout: json } = await run(['info', 'ram:1M', '--json']);
  assert.equal(JSON.parse(json).integrity, null);
});
