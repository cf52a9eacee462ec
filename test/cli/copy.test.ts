import assert from 'node:assert/strict';
import {
  closeSync,
  ftruncateSync,
  openSync,
  readFileSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeFolder, pattern, run, shell } from './command.ts';

const MIB = 1024 * 1024;
/** Neither whole requests, nor whole pages. */
const ODD_BYTES = 3 * MIB + 777;

/** 8 MiB with a page of data at the start, three pages at 3 MiB and the last 10 bytes. */
function makeSparse(path: string): void {
  const fd = openSync(path, 'w');
  ftruncateSync(fd, 8 * MIB);
  writeSync(fd, pattern(4096), 0, 4096, 0);
  writeSync(fd, pattern(3 * 4096), 0, 3 * 4096, 3 * MIB);
  writeSync(fd, pattern(10), 0, 10, 8 * MIB - 10);
  closeSync(fd);
}

function sameBytes(a: string, b: string): void {
  assert.ok(readFileSync(a).equals(readFileSync(b)), 'the copy differs');
}

test('file to file: the same bytes, mapped, and nothing held at the end', async (t) => {
  const folder = makeFolder(t);
  const [from, to] = [join(folder, 'a'), join(folder, 'b')];
  writeFileSync(from, pattern(ODD_BYTES));
  const { code, stdout, stderr } = await run(['copy', from, to, '--stats', '--flush', '--verify']);
  assert.equal(stderr, '');
  assert.equal(code, 0);
  sameBytes(from, to);
  assert.match(stdout, /^copied 3\.0 MiB in .* s, .*\/s, flushed to the medium/);
  assert.match(stdout, /^verified 3\.0 MiB in .* s: identical$/m);
  assert.match(stdout, /^ {2}copied +0 B +0 B$/m);
  assert.match(stdout, /^ {2}pages held at the end +0 +0$/m);
});

test('requests of a page, one at a time, and an empty file', async (t) => {
  const folder = makeFolder(t);
  const [from, to, empty] = ['a', 'b', 'empty'].map((name) => join(folder, name));
  writeFileSync(from, pattern(300_001));
  writeFileSync(empty, '');
  const small = ['--request-size', '4K', '--requests', '1', '--verify'];
  assert.equal((await run(['copy', from, to, ...small])).code, 0);
  sameBytes(from, to);
  assert.equal((await run(['copy', empty, to, '--verify'])).code, 0);
  assert.equal(statSync(to).size, 0);
});

test('a longer destination is emptied first', async (t) => {
  const folder = makeFolder(t);
  const [from, to] = [join(folder, 'a'), join(folder, 'b')];
  makeSparse(from);
  writeFileSync(to, pattern(9 * MIB, 7));
  assert.equal((await run(['copy', from, to])).code, 0);
  sameBytes(from, to);
});

test('through standard output and standard input', async (t) => {
  const folder = makeFolder(t);
  const [from, to] = [join(folder, 'a'), join(folder, 'b')];
  writeFileSync(from, pattern(ODD_BYTES));
  const piped = await shell(
    `$BIOVEC copy '${from}' - | $BIOVEC copy - - --requests 3 | $BIOVEC copy - '${to}' --verify`,
  );
  assert.equal(piped.code, 0);
  sameBytes(from, to);
  assert.match(piped.stderr, /^copied 3\.0 MiB/, 'the report leaves standard output alone');
  const redirected = await shell(`$BIOVEC copy - '${to}' < '${from}'`);
  assert.equal(redirected.code, 0);
  sameBytes(from, to);
});

test('memory at either end, and counts as JSON', async (t) => {
  const folder = makeFolder(t);
  const [from, to] = [join(folder, 'a'), join(folder, 'b')];
  writeFileSync(from, pattern(ODD_BYTES));
  const { code, stdout } = await run(['copy', from, 'ram:4M', '--json', '--verify']);
  assert.equal(code, 0);
  const result = JSON.parse(stdout);
  assert.equal(result.ok, true);
  assert.equal(result.bytes, ODD_BYTES);
  assert.equal(result.verifiedBytes, ODD_BYTES);
  assert.equal(result.stats.source.pagesHeld, 0);
  assert.equal(result.stats.destination.pagesHeld, 0);
  assert.equal(result.stats.destination.bouncePages, 0);
  assert.deepEqual(Object.keys(result.stats.destination.copiedByReason), ['length']);
  assert.equal((await run(['copy', 'null:1M', to])).code, 0);
  assert.ok(readFileSync(to).equals(Buffer.alloc(MIB)));
});

test('progress as lines of JSON', async (t) => {
  const to = join(makeFolder(t), 'b');
  const { code, stderr } = await run(['copy', 'ram:64M', to, '--progress=json', '--sparse=never']);
  assert.equal(code, 0);
  const lines = stderr
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const last = lines.at(-1);
  assert.equal(last.type, 'progress');
  assert.equal(last.phase, 'copy');
  assert.equal(last.bytes, 64 * MIB);
  assert.equal(last.total, 64 * MIB);
});

test('holes stay holes, found by extents or, without FFI, by their zeros', async (t) => {
  const folder = makeFolder(t);
  const [from, to] = [join(folder, 'a'), join(folder, 'b')];
  makeSparse(from);
  const before = statSync(from).blocks;
  const kept = await run(['copy', from, to, '--verify']);
  assert.equal(kept.code, 0);
  sameBytes(from, to);
  assert.ok(statSync(to).blocks <= before, 'more blocks than before');

  const found = await run(['copy', from, to, '--verify'], { env: { BIOVEC_FFI: 'none' } });
  assert.equal(found.code, 0);
  assert.match(found.stdout, /without foreign functions .*: blocks of zeros were made holes/);
  sameBytes(from, to);
  assert.ok(statSync(to).blocks <= before, 'more blocks than before');

  const dense = await run(['copy', from, to, '--sparse', 'never']);
  assert.equal(dense.code, 0);
  sameBytes(from, to);
  assert.ok(statSync(to).blocks * 512 >= 8 * MIB, 'never has no holes');
});

test('--sparse always finds zeros that are data in the source', async (t) => {
  const folder = makeFolder(t);
  const [from, to] = [join(folder, 'a'), join(folder, 'b')];
  writeFileSync(from, Buffer.concat([Buffer.alloc(2 * MIB), pattern(8192)]));
  const { code, stdout } = await run(['copy', from, to, '--sparse', 'always', '--verify']);
  assert.equal(code, 0);
  sameBytes(from, to);
  assert.match(stdout, /8 KiB of data, 2 MiB of holes/);
  assert.ok(statSync(to).blocks * 512 < MIB);
});

test('O_DIRECT, with a tail that is no block, where the file system takes it', async (t) => {
  const folder = makeFolder(t);
  const [from, to] = [join(folder, 'a'), join(folder, 'b')];
  writeFileSync(from, pattern(ODD_BYTES));
  const { code, stderr } = await run(['copy', from, to, '--direct', '--verify', '--stats']);
  if (code !== 0) {
    assert.match(stderr, /does not take O_DIRECT/);
    return;
  }
  sameBytes(from, to);
});
