// A real file system image goes file → loop device → file, file → file with O_DIRECT, and through
// a pipe; it comes out identical, clean by e2fsck, and as sparse as it went in. Needs root.

import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const IMAGE_BYTES = 1024 * 1024 * 1024;
const launcher = fileURLToPath(new URL('../../bin/biovec.cjs', import.meta.url));
let folder = '';
let image = '';
const loops: string[] = [];
const mounts: string[] = [];

function run(command: string, ...args: string[]): SpawnSyncReturns<string> {
  return spawnSync(command, args, { encoding: 'utf8', maxBuffer: 2 ** 26 });
}

function must(command: string, ...args: string[]): string {
  const child = run(command, ...args);
  const said = `${child.stdout}${child.stderr}${child.error?.message ?? ''}`;
  assert.equal(child.status, 0, `${command} ${args.join(' ')}: ${said}`);
  return child.stdout;
}

function copy(...args: string[]): string {
  return must(process.execPath, launcher, 'copy', ...args, '--progress=none');
}

function allocatedBytes(path: string): number {
  return statSync(path).blocks * 512;
}

/** Within 2 %: the file system under us keeps its own metadata. */
function assertAsSparse(path: string): void {
  const had = allocatedBytes(image);
  const has = allocatedBytes(path);
  assert.ok(has <= had * 1.02 + 65536, `${path} takes ${has} bytes, the image ${had}`);
}

function assertIntact(path: string): void {
  must('cmp', image, path);
  must('e2fsck', '-fn', path);
}

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'biovec-image-'));
  image = join(folder, 'image.ext4');
  const files = join(folder, 'files');
  mkdirSync(files);
  for (let i = 0; i < 40; i++) {
    const bytes = new Uint8Array(1024 * 1024 * (1 + (i % 5))).map(
      (_, at) => (at * 31 + i * 7) & 255,
    );
    writeFileSync(join(files, `file-${i}.bin`), bytes);
  }
  must('truncate', '-s', String(IMAGE_BYTES), image);
  must('mkfs.ext4', '-q', '-F', '-d', files, image);
  assert.ok(allocatedBytes(image) < IMAGE_BYTES / 2, 'the image must be sparse to be of use');
});

after(() => {
  for (const mount of mounts) run('umount', mount);
  for (const loop of loops) run('losetup', '-d', loop);
  rmSync(folder, { recursive: true, force: true });
});

function loopDevice(bytes: number): string {
  const backing = join(folder, `backing-${loops.length}.img`);
  must('truncate', '-s', String(bytes), backing);
  const loop = must('losetup', '--find', '--show', backing).trim();
  loops.push(loop);
  return loop;
}

test('file → loop device → file', () => {
  const loop = loopDevice(IMAGE_BYTES);
  const back = join(folder, 'back.ext4');
  copy(image, loop, '--flush', '--verify');
  must('cmp', image, loop);
  must('e2fsck', '-fn', loop);
  copy(loop, back, '--sparse=always');
  assertIntact(back);
  assertAsSparse(back);
});

test('file → file with O_DIRECT', () => {
  const to = join(folder, 'direct.ext4');
  copy(image, to, '--direct', '--verify');
  assertIntact(to);
  assertAsSparse(to);
});

test('file → file through the page cache', () => {
  const to = join(folder, 'cached.ext4');
  copy(image, to);
  assertIntact(to);
  assertAsSparse(to);
});

test('through standard output and input', () => {
  const to = join(folder, 'piped.ext4');
  const node = process.execPath;
  const line = '"$1" "$2" copy "$3" - --progress=none | "$1" "$2" copy - "$4" --progress=none';
  must('sh', '-c', line, 'sh', node, launcher, image, to);
  assertIntact(to);
});

test('a full file system: exit 1 and a sentence', () => {
  const loop = loopDevice(64 * 1024 * 1024);
  const mount = join(folder, 'small');
  mkdirSync(mount);
  must('mkfs.ext4', '-q', '-F', loop);
  must('mount', loop, mount);
  mounts.push(mount);
  const child = run(process.execPath, launcher, 'copy', image, join(mount, 'x'), '--progress=none');
  assert.equal(child.status, 1);
  assert.match(child.stderr, /ENOSPC.*no space left/i);
});

test('an interrupted copy never reports success', async () => {
  const to = join(folder, 'interrupted.ext4');
  const source = join(folder, 'big.bin');
  const stream = createWriteStream(source);
  for (let i = 0; i < 512; i++) stream.write(new Uint8Array(1024 * 1024).fill(i & 255));
  stream.end();
  await once(stream, 'finish');
  const args = [
    launcher,
    'copy',
    source,
    to,
    '--requests',
    '1',
    '--request-size',
    '64K',
    '--direct',
  ];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (text) => {
    said += text;
  });
  while (!existsSync(to)) await sleep(5);
  await sleep(100);
  child.kill('SIGINT');
  const [code] = await once(child, 'close');
  assert.equal(code, 130);
  assert.match(said, /of 512 MiB/);
});
