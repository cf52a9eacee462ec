import assert from 'node:assert/strict';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { nativeDoor } from '../../src/node/native-door.ts';
import { open } from '../../src/targets/open.ts';
import { endOf, makeFolder, pattern, run, start } from './command.ts';

const BYTES = 256 * 1024;
const { door } = nativeDoor();
const isClosed = door === null ? 'there are no foreign functions here' : false;

function isLocked(path: string): boolean {
  const fd = openSync(path, 'r');
  const answer = door?.isLocked(fd);
  closeSync(fd);
  return answer === 1;
}

/** Until the lock of `path` is as wanted; the test's own timeout ends a wait that is in vain. */
async function untilLocked(path: string, isWanted: boolean): Promise<void> {
  while (isLocked(path) !== isWanted) await setTimeout(5);
}

interface Held {
  readonly from: string;
  readonly image: string;
  readonly store: string;
  /** Has the image open for writing until its input ends. */
  readonly writer: ChildProcessWithoutNullStreams;
}

interface Made {
  readonly image: Buffer;
  readonly store: Buffer;
}

/** A protected image and its store, from one copy for all tests. */
let made: Promise<Made> | null = null;

async function makeImage(from: string, image: string): Promise<Made> {
  const store = `${image}.pi`;
  assert.equal((await run(['copy', from, image, '--protect'])).code, 0);
  assert.equal(isLocked(store), false, 'a copy that ended keeps the lock');
  return { image: readFileSync(image), store: readFileSync(store) };
}

async function holdImage(t: TestContext): Promise<Held> {
  const folder = makeFolder(t);
  const [from, image] = [join(folder, 'a'), join(folder, 'b')] as const;
  const store = `${image}.pi`;
  writeFileSync(from, pattern(BYTES));
  made ??= makeImage(from, image);
  const bytes = await made;
  writeFileSync(image, bytes.image);
  writeFileSync(store, bytes.store);
  const writer = start(['copy', '-', `protect:${image}`, '--request-size', '4096']);
  t.after(() => writer.kill('SIGKILL'));
  await untilLocked(store, true);
  return { from, image, store, writer };
}

// Beside each other: whoever is refused has asked for a second.
suite('locks of protected files', { concurrency: true }, () => {
  test('a second writer is refused and changes nothing', { skip: isClosed }, async (t) => {
    const { from, image, writer } = await holdImage(t);
    const refused = /EBUSY: another process has it open for writing/;
    const before = readFileSync(image);
    const attempts = await Promise.all([
      run(['copy', from, `protect:${image}`]),
      run(['copy', from, image, '--protect']),
      run(['protect', image, '--again']),
    ]);
    for (const { code, stderr } of attempts) {
      assert.equal(code, 1);
      assert.match(stderr, refused);
    }
    assert.ok(readFileSync(image).equals(before), 'the image was emptied');
    writer.stdin.end(pattern(8192, 7));
    assert.equal((await endOf(writer)).code, 0);
    const { stdout } = await run(['verify', image]);
    assert.equal(stdout, '0 of 64 blocks are bad\n');
  });

  test('readers take no lock, and say who has it', { skip: isClosed }, async (t) => {
    const { image, writer } = await holdImage(t);
    const [seen, info, json] = await Promise.all([
      run(['verify', image]),
      run(['info', `protect:${image}`]),
      run(['verify', image, '--json']),
    ]);
    assert.match(seen.stdout, /^another process has it open for writing: /);
    assert.match(info.stdout, /^another writer +yes$/m);
    assert.equal((JSON.parse(json.stdout) as { hasWriter: boolean }).hasWriter, true);
    writer.stdin.end();
    assert.equal((await endOf(writer)).code, 0);
    const after = await run(['info', `protect:${image}`]);
    assert.match(after.stdout, /^another writer +no$/m);
    await using reader = await open(`protect:${image}`, { readOnly: true });
    await using own = await open(`protect:${image}`);
    assert.equal(own.size, reader.size);
    await assert.rejects(open(`protect:${image}`), { code: 'EBUSY' });
  });

  test('the death of a writer lets go of its lock', { skip: isClosed }, async (t) => {
    const { from, image, writer } = await holdImage(t);
    writer.stdin.write(pattern(8192, 7));
    writer.kill('SIGKILL');
    assert.equal((await endOf(writer)).signal, 'SIGKILL');
    const next = await run(['copy', from, `protect:${image}`, '--verify']);
    assert.equal(next.stderr, '');
    assert.equal(next.code, 0);
  });

  test('without foreign functions two are not kept apart, and readers cannot tell', async (t) => {
    const folder = makeFolder(t);
    const image = join(folder, 'b');
    writeFileSync(image, pattern(BYTES));
    const env = { BIOVEC_FFI: 'none', BIOVEC_ENGINE: 'file' };
    assert.equal((await run(['protect', image], { env })).code, 0);
    await using _own = await open(`protect:${image}`);
    const { stdout, code } = await run(['info', `protect:${image}`], { env });
    assert.equal(code, 0);
    assert.match(stdout, /^another writer +unknown$/m);
    assert.equal((await run(['protect', image, '--again'], { env })).code, 0);
  });
});
