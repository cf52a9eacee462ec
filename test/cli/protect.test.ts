import assert from 'node:assert/strict';
import {
  closeSync,
  existsSync,
  ftruncateSync,
  openSync,
  readFileSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { endOf, makeFolder, pattern, run, start } from './command.ts';

const MIB = 1024 * 1024;
const BLOCK = 4096;
/** A copy that is still at work when its first progress comes. */
const SLOW = ['--requests', '1', '--request-size', '8K'] as const;

function damage(path: string, position: number): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, Uint8Array.of(0), 0, 1, position);
  closeSync(fd);
}

test('an image is protected where it lies; damage is named by block and tag', async (t) => {
  const image = join(makeFolder(t), 'disk.img');
  writeFileSync(image, pattern(2 * MIB));
  const made = await run(['protect', image]);
  assert.equal(made.stderr, '');
  assert.equal(made.code, 0);
  assert.match(
    made.stdout,
    /^512 blocks protected \(crc64, 4096 \+ 16 bytes\)\ntuples in '.*\.pi'/,
  );
  assert.deepEqual(readFileSync(image), Buffer.from(pattern(2 * MIB)));
  const good = await run(['verify', image]);
  assert.equal(good.code, 0);
  assert.equal(good.stdout, '0 of 512 blocks are bad\n');
  damage(image, 7 * BLOCK + 1);
  damage(image, 400 * BLOCK);
  const bad = await run(['verify', `protect:${image}`, '--list', '1']);
  assert.equal(bad.code, 1);
  assert.match(
    bad.stdout,
    /^block 7: guard tag is 0x[0-9a-f]{16}, expected 0x[0-9a-f]{16}\n2 of 512/,
  );
  const json = await run(['verify', image, '--json', '--progress', 'json']);
  assert.equal(json.code, 1);
  const report = JSON.parse(json.stdout) as { bad: number; faults: { block: number }[] };
  assert.equal(report.bad, 2);
  assert.deepEqual(
    report.faults.map(({ block }) => block),
    [7, 400],
  );
  assert.match(json.stderr, /"type":"progress","phase":"verify","bytes":2097152,"total":2097152/);
  const copied = await run(['copy', `protect:${image}`, `${image}.copy`]);
  assert.equal(copied.code, 1);
  assert.match(copied.stderr, /EILSEQ: block 7: guard tag is/);
});

test('tuples are made again only when asked for, and never over another file', async (t) => {
  const image = join(makeFolder(t), 'disk.img');
  writeFileSync(image, pattern(64 * 1024));
  assert.equal((await run(['protect', image, '--guard', 'crc16', '--interval', '512'])).code, 0);
  const again = await run(['protect', image]);
  assert.equal(again.code, 1);
  assert.match(again.stderr, /EEXIST: it holds tuples already; --again/);
  damage(image, 5);
  assert.equal((await run(['verify', image])).code, 1);
  assert.equal((await run(['protect', image, '--again'])).code, 0);
  assert.equal((await run(['verify', image])).code, 0);
  writeFileSync(`${image}.pi`, 'something else, and long enough to be looked at'.repeat(1000));
  const other = await run(['protect', image, '--again']);
  assert.equal(other.code, 1);
  assert.match(other.stderr, /another file of that name, which is no store of tuples/);
});

test('copy --protect makes both files, keeps holes, and the copy can be used', async (t) => {
  const folder = makeFolder(t);
  const [from, to, back] = ['a', 'b', 'c'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const fd = openSync(from, 'w');
  ftruncateSync(fd, 64 * MIB);
  writeSync(fd, pattern(3 * BLOCK), 0, 3 * BLOCK, 20 * MIB);
  closeSync(fd);
  for (const flags of [[], ['--flush', '--verify']]) {
    const { code, stderr } = await run(['copy', from, to, '--protect', ...flags]);
    assert.equal(stderr, '');
    assert.equal(code, 0);
  }
  assert.ok(readFileSync(to).equals(readFileSync(from)), 'the copy differs');
  assert.ok(statSync(to).blocks * 512 < 4 * MIB, 'the holes were filled');
  assert.equal((await run(['verify', to])).code, 0);
  assert.equal((await run(['copy', `protect:${to}`, back, '--verify'])).code, 0);
  assert.ok(statSync(back).blocks * 512 < 4 * MIB, 'the holes of a protected source were lost');
  // Data that was punched out behind our back is no hole, but lost.
  writeFileSync(`${to}.part`, readFileSync(to).fill(0, 20 * MIB, 21 * MIB));
  const { code, stdout } = await run(['verify', `${to}.part`, '--store', `${to}.pi`]);
  assert.equal(code, 1);
  assert.match(stdout, /^3 of 16384 blocks are bad$/m);
  const lost = await run(['copy', `protect:${to}.part,store=${to}.pi`, back]);
  assert.match(lost.stderr, /EILSEQ: block 5120/);
});

test('what cannot be protected says why', async (t) => {
  const folder = makeFolder(t);
  const image = join(folder, 'disk.img');
  writeFileSync(image, pattern(1000));
  const odd = await run(['protect', image]);
  assert.equal(odd.code, 1);
  assert.match(odd.stderr, /EINVAL: 1000 bytes are no whole blocks of 512/);
  assert.equal(existsSync(`${image}.pi`), false);
  const plain = await run(['verify', image]);
  assert.equal(plain.code, 1);
  assert.match(plain.stderr, /ENOENT: it is not protected.*biovec protect/);
  assert.equal((await run(['protect', 'ram:1M'])).code, 2);
  assert.equal((await run(['copy', image, 'ram:1M', '--protect'])).code, 2);
  const stream = await run(['copy', '-', `${image}.new`, '--protect'], { input: pattern(4096) });
  assert.equal(stream.code, 1);
  assert.match(stream.stderr, /needs to know the size first/);
});

test('info tells what a protected device is; ram: can be one', async () => {
  const { code, stdout } = await run(['info', 'protect:ram:4M,guard=crc16,interval=512', '--json']);
  assert.equal(code, 0);
  const info = JSON.parse(stdout) as {
    kind: string;
    sizeBytes: number;
    facts: Record<string, unknown>;
    limits: { logical_block_size: number };
  };
  assert.equal(info.kind, 'protect');
  assert.equal(info.sizeBytes, 4 * MIB);
  assert.equal(info.limits.logical_block_size, 512);
  assert.equal(info.facts['guard'], 'crc16');
  assert.equal(info.facts['recovery'], 'not needed');
});

test('the store may be another file, for the copy and for what comes after it', async (t) => {
  const folder = makeFolder(t);
  const [from, to, store] = ['a', 'b', 'tuples'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(from, pattern(256 * 1024));
  assert.equal((await run(['copy', from, to, '--store', store])).code, 2);
  assert.equal((await run(['copy', from, to, '--protect', '--store', store])).code, 0);
  assert.equal(existsSync(`${to}.pi`), false);
  assert.equal((await run(['verify', to, '--store', store])).code, 0);
  assert.equal((await run(['copy', from, `protect:${to},store=${store}`, '--verify'])).code, 0);
});

test('killed in the middle: no block is bad, and the next opening mends the image', async (t) => {
  const folder = makeFolder(t);
  const [from, to] = [join(folder, 'a'), join(folder, 'b')] as const;
  writeFileSync(from, pattern(96 * MIB));
  const child = start(['copy', from, to, '--protect', '--progress', 'json', ...SLOW]);
  child.stdin.end();
  let told = '';
  for await (const text of child.stderr.setEncoding('utf8')) {
    told += text as string;
    if (/"bytes":[1-9]/.test(told)) break;
  }
  child.kill('SIGKILL');
  assert.equal((await endOf(child)).signal, 'SIGKILL');
  const looked = await run(['verify', to]);
  assert.equal(looked.stderr, '');
  assert.equal(looked.code, 0, looked.stdout);
  assert.match(looked.stdout, /^it was not closed: \d+ blocks were looked at/);
  assert.match(looked.stdout, /^0 of 24576 blocks are bad$/m);
  assert.equal((await run(['copy', from, `protect:${to}`, '--verify'])).code, 0);
  assert.equal((await run(['verify', to])).stdout, '0 of 24576 blocks are bad\n');
});
