import assert from 'node:assert/strict';
import {
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { endOf, makeFolder, pattern, run, shell, start } from './command.ts';

const MIB = 1024 * 1024;

async function fails(args: readonly string[], sentence: RegExp, code = 1): Promise<void> {
  const ended = await run(['copy', ...args]);
  assert.equal(ended.code, code, `${args.join(' ')}: ${ended.stderr}`);
  assert.match(ended.stderr, sentence);
  assert.match(ended.stderr, /^biovec: [^\n]+\n(?:\(biovec help [^\n]*\n)?$/, 'one sentence');
  assert.equal(ended.stdout, '');
}

test('bad usage ends with 2', async (t) => {
  const a = join(makeFolder(t), 'a');
  writeFileSync(a, 'x');
  await fails([a], /missing required argument 'destination'/, 2);
  await fails([a, `${a}2`, '--request-size', 'banana'], /'banana' is no size/, 2);
  await fails([a, `${a}2`, '--request-size', '5000'], /multiple of 4096/, 2);
  await fails([a, `${a}2`, '--requests', '0'], /whole number from 1 on/, 2);
  await fails([a, `${a}2`, '--requests', '9999'], /more than 1 GiB of buffers/, 2);
  await fails([a, `${a}2`, '--sparse', 'maybe'], /Allowed choices are auto, always, never/, 2);
  await fails([a, `${a}2`, '--nope'], /unknown option '--nope'/, 2);
  await fails([a, 'ram:0'], /at least one byte/, 2);
  await fails([a, 'ftp://x/y'], /no kind of target/, 2);
  await fails([a, '-', '--verify'], /cannot read standard output back/, 2);
  await fails([a, '-', '--flush'], /no medium/, 2);
  assert.equal(existsSync(`${a}2`), false, 'a command that is wrong does nothing');
  assert.equal((await run([])).code, 2);
  assert.equal((await run(['nope'])).code, 2);
  assert.equal((await run(['--help'])).code, 0);
});

test('what cannot be opened is a sentence', async (t) => {
  const folder = makeFolder(t);
  const a = join(folder, 'a');
  writeFileSync(a, pattern(2 * MIB));
  mkdirSync(join(folder, 'dir'));
  await fails([join(folder, 'none'), join(folder, 'b')], /ENOENT: there is no such file/);
  assert.equal(existsSync(join(folder, 'b')), false, 'no destination without a source');
  await fails([folder, join(folder, 'b')], /EISDIR: it is a directory/);
  await fails([a, join(folder, 'dir')], /EISDIR: it is a directory/);
  await fails([a, join(folder, 'none', 'b')], /ENOENT/);
  await fails([a, '/dev/null'], /character device/);
  await fails([a, 'ram:1M'], /ENOSPC: the source has 2 MiB .* the destination only 1 MiB/);
});

test('source and destination may not be one file, by any name', async (t) => {
  const folder = makeFolder(t);
  const a = join(folder, 'a');
  writeFileSync(a, pattern(5000));
  linkSync(a, join(folder, 'hard'));
  symlinkSync(a, join(folder, 'soft'));
  for (const name of ['a', 'hard', 'soft']) {
    await fails([a, join(folder, name)], /source and destination are the same file/);
  }
  const piped = await shell(`$BIOVEC copy - '${a}' < '${a}'`);
  assert.equal(piped.code, 1);
  assert.ok(readFileSync(a).equals(pattern(5000)), 'the file is as it was');
});

test('a full disk, device or pipe and a limit of file size are sentences', async (t) => {
  const folder = makeFolder(t);
  const [a, b] = [join(folder, 'a'), join(folder, 'b')];
  writeFileSync(a, pattern(2 * MIB));
  const full = await shell(`$BIOVEC copy '${a}' - > /dev/full`);
  assert.equal(full.code, 1);
  assert.match(full.stderr, /^biovec: ENOSPC: no space left on the device/);
  const known = await shell(`ulimit -f 1000; $BIOVEC copy '${a}' '${b}'`);
  assert.equal(known.code, 1);
  assert.match(known.stderr, /^biovec: EFBIG: /);
  const unknown = await shell(`ulimit -f 2048; cat '${a}' '${a}' | $BIOVEC copy - '${b}'`);
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /^biovec: EFBIG: .*; after [^,]+, so '.*' is incomplete$/m);
  assert.doesNotMatch(unknown.stdout, /copied/);
  const small = await shell(`cat '${a}' '${a}' | $BIOVEC copy - ram:3500K`);
  assert.equal(small.code, 1);
  assert.match(small.stderr, /^biovec: ENOSPC: the destination ends at byte 3584000/);
});

test('verification notices a destination that does not keep what it got', async (t) => {
  const a = join(makeFolder(t), 'a');
  writeFileSync(a, pattern(2 * MIB));
  const { code, stdout, stderr } = await run(['copy', a, 'null:2M', '--verify', '--json']);
  assert.equal(code, 1);
  assert.match(stderr, /ERR_BIOVEC_VERIFY: .* differs at byte 0/);
  const result = JSON.parse(stdout);
  assert.equal(result.ok, false);
  assert.equal(result.error.code, 'ERR_BIOVEC_VERIFY');
  assert.equal(result.error.offset, 0);
  const piped = await shell(`cat '${a}' | $BIOVEC copy - null:2M --verify`);
  assert.equal(piped.code, 1);
  assert.match(piped.stderr, /ERR_BIOVEC_VERIFY: .* differs between byte 0 and 1048576/);
});

test('Ctrl-C and SIGTERM say how far it came, and are never success', async (t) => {
  const to = join(makeFolder(t), 'b');
  for (const [signal, expected] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    const child = start(['copy', '-', to, '--progress=json']);
    const ended = endOf(child);
    child.stdin.write(pattern(2 * MIB + 5)); // And then nothing: it waits for more.
    let isStopped = false; // A second signal would end it at once.
    child.stderr.on('data', (text: string) => {
      if (isStopped || !text.includes(`"bytes":${2 * MIB},`)) return;
      isStopped = true;
      child.kill(signal);
    });
    const { code, stdout, stderr } = await ended;
    assert.equal(code, expected);
    assert.equal(stdout, '');
    assert.match(stderr, new RegExp(`\nstopped by ${signal} after 2 MiB\n'.*b' is incomplete\n$`));
    assert.ok(
      readFileSync(to)
        .subarray(0, 2 * MIB)
        .equals(pattern(2 * MIB)),
    );
  }
});

test('a stop while the reader of the pipe does not read', async () => {
  const child = start(['copy', 'null:1G', '-', '--progress=json']);
  child.stdin.end();
  child.stderr.setEncoding('utf8');
  child.stderr.once('data', () => child.kill('SIGINT'));
  await new Promise((resolve) => child.once('exit', resolve));
  assert.ok(child.exitCode === 130 || child.signalCode === 'SIGINT', `${child.exitCode}`);
  child.stdout.destroy();
});

test('a stopped copy of holes, and no half report', async (t) => {
  const to = join(makeFolder(t), 'b');
  const child = start(['copy', 'null:64G', to, '--sparse=never', '--progress=json', '--json']);
  child.stdin.end();
  const ended = endOf(child);
  child.stderr.once('data', () => child.kill('SIGINT'));
  const { code, stdout } = await ended;
  assert.equal(code, 130);
  const result = JSON.parse(stdout);
  assert.equal(result.ok, false);
  assert.equal(result.stoppedBy, 'SIGINT');
  assert.equal(result.isComplete, false);
  assert.ok(result.bytes < result.size);
  assert.equal(result.stats.destination.pagesHeld, 0);
  assert.equal(statSync(to).size, result.size);
});

test('a stop during the verification is no success', async () => {
  const pieces = ['--request-size', '4K', '--requests', '1', '--sparse', 'never'];
  const child = start(['copy', 'null:128M', 'null:128M', '--verify', '--progress=json', ...pieces]);
  child.stdin.end();
  const ended = endOf(child);
  let isStopped = false;
  child.stderr.on('data', (text: string) => {
    if (isStopped || !text.includes('"phase":"verify"')) return;
    isStopped = true;
    child.kill('SIGINT');
  });
  const { code, stderr } = await ended;
  assert.equal(code, 130);
  assert.match(stderr, /\nstopped by SIGINT before the end of the verification\n$/);
});
