import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, linkSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeFolder, pattern, run, shell, start } from './command.ts';

const IMAGE = pattern(256 * 1024);

async function refuses(args: readonly string[], sentence: RegExp): Promise<void> {
  const { code, stdout, stderr } = await run(['copy', ...args]);
  assert.equal(code, 1, `${args.join(' ')}: ${stderr}`);
  assert.match(stderr, sentence);
  assert.equal(stdout, '');
}

test('a trace is never written over what is copied, by any name', async (t) => {
  const folder = makeFolder(t);
  const [a, b] = [join(folder, 'a'), join(folder, 'b')];
  writeFileSync(a, IMAGE);
  linkSync(a, join(folder, 'hard'));
  symlinkSync(folder, join(folder, 'here'));
  for (const trace of ['a', 'hard', 'here/a']) {
    await refuses([a, b, '--trace', join(folder, trace)], /source and the trace are the same/);
  }
  assert.ok(readFileSync(a).equals(IMAGE), 'the source is as it was');
  for (const trace of ['b', 'here/b']) {
    await refuses([a, b, '--trace', join(folder, trace)], /destination and the trace are the same/);
  }
  await refuses([a, b, '--protect', '--trace', `${b}.pi`], /tuples of the destination and the tr/);
  assert.equal(existsSync(b), false, 'a copy that is refused makes nothing');
  const told = await run(['copy', a, b, '--trace', a, '--json']);
  assert.match(JSON.parse(told.stdout).error.reason, /the same file/);
});

test('tuples are neither source nor destination of their own image', async (t) => {
  const folder = makeFolder(t);
  const [a, b, store] = [join(folder, 'a'), join(folder, 'b'), join(folder, 'a.pi')];
  writeFileSync(a, IMAGE);
  assert.equal((await run(['protect', a])).code, 0);
  await refuses([`protect:${a}`, store], /the tuples of the source and destination are the same/);
  await refuses([store, b, '--protect', '--store', store], /source and the tuples of the dest/);
  await refuses([`protect:${a}`, b, '--protect', '--store', store], /tuples of the source and the/);
  await refuses([a, b, '--protect', '--store', b], /destination and the tuples of the destination/);
  assert.equal(existsSync(b), false);
  assert.equal((await run(['verify', a])).code, 0, 'the tuples are as they were');
});

test('the destination is emptied only when its tuples have a place', async (t) => {
  const folder = makeFolder(t);
  const [a, b] = [join(folder, 'a'), join(folder, 'b')];
  writeFileSync(a, IMAGE);
  writeFileSync(b, 'precious');
  writeFileSync(`${b}.pi`, 'a file of somebody else'.repeat(1000));
  await refuses([a, b, '--protect'], /EEXIST: .* no store of tuples/);
  await refuses([a, b, '--protect', '--store', folder], /EISDIR/);
  assert.equal(readFileSync(b, 'utf8'), 'precious');
});

test('names that protect: would take apart are refused, not bent', async (t) => {
  const folder = makeFolder(t);
  const odd = join(folder, 'disk,store=b');
  writeFileSync(odd, IMAGE);
  writeFileSync(join(folder, 'a'), IMAGE);
  for (const args of [
    ['protect', odd],
    ['verify', odd],
    ['protect', join(folder, 'a'), '--store', join(folder, 'x,ordered')],
    ['copy', join(folder, 'a'), join(folder, 'new,ordered'), '--protect'],
  ]) {
    const { code, stderr } = await run(args);
    assert.equal(code, 1, args.join(' '));
    assert.match(stderr, /EINVAL: '.*' would name another file; take a name without comma/);
  }
  assert.equal(existsSync(join(folder, 'new')), false);
  assert.equal(existsSync(join(folder, 'new,ordered')), false);
  const comma = join(folder, 'a,b');
  assert.equal((await run(['copy', join(folder, 'a'), comma, '--protect'])).code, 0);
  assert.equal((await run(['verify', comma])).code, 0, 'a comma alone is no option');
  for (const option of ['--store', '--trace']) {
    const { code, stderr } = await run(['copy', odd, comma, '--protect', option, '']);
    assert.equal(code, 2);
    assert.match(stderr, /name of a file, and not empty/);
  }
});

test('a trace that cannot be written fails the command, and says so', async (t) => {
  const folder = makeFolder(t);
  const [a, b, pipe] = [join(folder, 'a'), join(folder, 'b'), join(folder, 'pipe')];
  writeFileSync(a, IMAGE);
  await refuses(
    [a, b, '--trace', '/dev/full'],
    /^biovec: ENOSPC: the trace cannot be written[^\n]*\n$/,
  );
  assert.ok(readFileSync(b).equals(IMAGE), 'the copy itself was whole by then');
  const alone = await shell(
    `mkfifo '${pipe}' && timeout 20 $BIOVEC copy '${a}' '${b}' --trace '${pipe}'`,
  );
  assert.equal(alone.code, 1);
  assert.match(alone.stderr, /ENXIO: nobody reads the pipe/);
  const read = await shell(
    `cat '${pipe}' | wc -l & $BIOVEC copy '${a}' '${b}' --trace '${pipe}'; wait`,
  );
  assert.match(read.stdout, /^[1-9]\d*$/m, `${read.stderr}: a pipe with a reader takes a trace`);
});

test('an output that takes nothing is a sentence; a lost progress is nothing', async (t) => {
  const folder = makeFolder(t);
  const [a, b] = [join(folder, 'a'), join(folder, 'b')];
  writeFileSync(a, IMAGE);
  for (const words of [`info '${a}'`, `copy '${a}' '${b}' --json`, '--help', 'pi --help']) {
    const { code, stderr } = await shell(`$BIOVEC ${words} > /dev/full`);
    assert.equal(code, 1, words);
    assert.equal(stderr, 'biovec: standard output: ENOSPC: no space left on device, write\n');
  }
  const slow = ['--request-size', '4K', '--requests', '1', '--progress=json'];
  const full = await shell(`$BIOVEC copy '${a}' '${b}' ${slow.join(' ')} 2> /dev/full`);
  assert.equal(full.code, 0);
  const child = start(['copy', a, b, ...slow]);
  child.stderr.destroy();
  const [code] = await once(child, 'exit');
  assert.equal(code, 0, 'a copy ends although nobody reads its progress');
  assert.ok(readFileSync(b).equals(IMAGE));
});
