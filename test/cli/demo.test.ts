import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { endOf, makeFolder, run } from './command.ts';

function example(name: string): Promise<Awaited<ReturnType<typeof endOf>>> {
  const path = join(import.meta.dirname, '..', '..', 'examples', name);
  return endOf(spawn(process.execPath, [path], { stdio: 'pipe' }));
}

test('the demo copies, verifies, explains three requests, and leaves nothing', async (t) => {
  const folder = makeFolder(t);
  const { code, stdout, stderr } = await run(['demo'], { env: { TMPDIR: folder } });
  assert.equal(stderr, '');
  assert.equal(code, 0);
  assert.match(stdout, /verified 64 MiB .* identical/);
  assert.match(stdout, /pages held at the end +0 +0/);
  assert.match(stdout, /the device gets the pages of the program itself/);
  assert.match(stdout, /copied 8 KiB \(address\)/);
  assert.match(stdout, /bios 1, splits 1, merges 0, requests 2/);
  assert.equal(stdout.match(/held now: 0/g)?.length, 3);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith('biovec-')),
    [],
  );
});

test('examples/transfer-during-read: Node loses or dies, biovec tells', async () => {
  const { code, stdout } = await example('transfer-during-read.ts');
  assert.equal(code, 0);
  assert.match(stdout, /the buffer that was passed has 0|Node died of SIG/);
  assert.match(stdout, /ERR_BIOVEC_DETACHED: buffer 0 .* only ever saw pages of the arena/);
  assert.match(stdout, /memory of an arena does not go: DataCloneError/);
  assert.match(stdout, /65536 bytes read, all of them right/);
});

test('examples/fork-during-read: references lose a page, pins lose nothing', async () => {
  const { code, stdout } = await example('fork-during-read.ts');
  assert.equal(code, 0);
  const [referenced, pinned] = stdout.split('pins: ');
  assert.match(referenced ?? '', /parent sees the disk in pages: 1 2 3\n/);
  assert.match(referenced ?? '', /child sees the disk in pages: 0 1 2 3\n/);
  assert.match(pinned ?? '', /parent sees the disk in pages: 0 1 2 3\n/);
  assert.match(pinned ?? '', /child sees the disk in pages: none\n/);
});

test('examples/first-read', async () => {
  const { code, stdout } = await example('first-read.ts');
  assert.equal(code, 0);
  assert.match(stdout, /^(\d+) bytes of \1: \1 mapped, 0 copied\n/);
});

test('examples/damaged-block: an error by block and tag', async () => {
  const { code, stdout } = await example('damaged-block.ts');
  assert.equal(code, 0);
  assert.match(stdout, /^tuples: 2048 bytes made, 2048 checked\n/);
  assert.match(stdout, /EILSEQ block 100: guard tag is 0x(\w{16}), expected 0x(?!\1)\w{16}; the/);
  assert.match(
    stdout,
    /the 51200 bytes read before it are good\nbytes that reached the program: 0/,
  );
  assert.match(stdout, /EILSEQ block 4: ref tag is 0x000000000003, expected 0x000000000004\n/);
  assert.match(stdout, /read again: good\n/);
  assert.match(stdout, /record of block 1: \w{16}0000000000000001\n$/);
});
