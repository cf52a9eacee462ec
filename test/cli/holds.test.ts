import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test from 'node:test';
import {
  addHoldSource,
  type HoldEntry,
  holdsReport,
  removeHoldSource,
} from '../../src/memory/hold-source.ts';
import { pinPages, unpinPages } from '../../src/memory/holds.ts';
import { serveHolds, stopServingHolds } from '../../src/node/holds-server.ts';
import { PathRig } from '../path/path-rig.ts';
import { makeFolder, run } from './command.ts';

test('a recorded copy shows every hold with its call and its end', async (t) => {
  const folder = makeFolder(t);
  const [source, destination, trace] = ['a.img', 'b.img', 'run.ndjson'].map((name) =>
    join(folder, name),
  ) as [string, string, string];
  writeFileSync(source, randomBytes(2 * 2 ** 20 + 512));
  const pieces = ['--request-size', '1M'];
  const copied = await run(['copy', source, destination, '--trace', trace, ...pieces]);
  assert.equal(copied.code, 0, copied.stderr);

  const { code, stdout } = await run(['holds', trace]);
  assert.equal(code, 0);
  const rows = stdout.split('\n').filter((line) => line.includes('pinned'));
  // 2 MiB + 512 bytes in requests of 1 MiB: three reads and three writes.
  assert.equal(rows.filter((row) => row.includes(`read 1 MiB at 0 of ${source}`)).length, 1);
  assert.equal(rows.filter((row) => row.includes(`write 512 B at 2097152`)).length, 1);
  assert.equal(rows.length, 6);
  assert.match(stdout, /\n6 holds of 1026 pages, 0 never released\n/);

  const all = JSON.parse((await run(['holds', trace, '--json'])).stdout) as { line: number }[];
  const [first] = all;
  assert.ok(first !== undefined);
  const then = await run(['holds', trace, '--at', `${first.line}`, '--json']);
  assert.deepEqual(JSON.parse(then.stdout), [first], 'only the first hold was taken by then');
});

test('a record that ends early names what was never released', async (t) => {
  const folder = makeFolder(t);
  const trace = join(folder, 'run.ndjson');
  const source = join(folder, 'a.img');
  writeFileSync(source, randomBytes(4096));
  await run(['copy', source, join(folder, 'b.img'), '--trace', trace]);
  const lines = readFileSync(trace, 'utf8').split('\n');
  const cut = lines.findIndex((line) => line.includes('"type":"release"'));
  assert.ok(cut > 0);
  writeFileSync(trace, lines.slice(0, cut).join('\n'));
  const { code, stdout } = await run(['holds', trace]);
  assert.equal(code, 1);
  assert.match(stdout, /1 holds of 1 pages, 1 never released/);
  assert.match(stdout, /never released: \d+, pinned by read 4 KiB at 0 of .*a\.img/);
});

test('what is no record, and a process that does not answer, are said in a sentence', async (t) => {
  const folder = makeFolder(t);
  const path = join(folder, 'notes.txt');
  writeFileSync(path, 'hello\n');
  const wrong = await run(['holds', path]);
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /line 1 is no event of a recorded run/);
  const absent = await run(['holds', join(folder, 'no.socket')]);
  assert.equal(absent.code, 1);
  assert.match(absent.stderr, /started with BIOVEC_HOLDS=1/);
  const usage = await run(['holds', join(folder, 'no.socket'), '--at', '3']);
  assert.equal(usage.code, 2);
});

test('a subject that is neither, and an answer of somebody else, are sentences too', async (t) => {
  const folder = makeFolder(t);
  const [loop, socket] = [join(folder, 'loop'), join(folder, 'socket')];
  symlinkSync(loop, loop);
  const failures: readonly (readonly [string, RegExp])[] = [
    [folder, /^biovec: EINVAL: it is neither a recorded run nor the socket of a program/],
    [loop, /^biovec: ELOOP: [^\n]*\n$/],
    [socket, /^biovec: EINVAL: what answers at .* is no program with biovec\n$/],
  ];
  for (const answer of ['garbage{', '{}', 'null']) {
    const server = createServer((client) => client.end(answer)).listen(socket);
    await once(server, 'listening');
    for (const [subject, sentence] of failures) {
      const { code, stderr } = await run(['holds', subject]);
      assert.equal(code, 1, subject);
      assert.match(stderr, sentence);
    }
    server.close();
    await once(server, 'close');
  }
  assert.equal((await run(['holds', ''])).code, 2);
});

test('a running process is asked who holds what, and pins without an owner are told', async (t) => {
  const path = join(makeFolder(t), 'holds.socket');
  serveHolds(path);
  t.after(stopServingHolds);
  assert.equal(statSync(path).mode & 0o777, 0o600, 'other users cannot ask');
  await using rig = new PathRig();
  addHoldSource(rig.device);
  t.after(() => removeHoldSource(rig.device));
  using buffer = rig.arena.alloc(8192);
  const reading = rig.disk.read(buffer.bytes, 0, 8192, 4096);
  await rig.settle(); // The engine holds the request until it is told to finish.

  const held = await run(['holds', path]);
  assert.equal(held.code, 0, held.stderr);
  assert.match(held.stdout, new RegExp(`^process ${process.pid}: 2 pages are pinned`));
  assert.match(held.stdout, /pinned +\? +read 8 KiB at 4096/);

  assert.equal(pinPages(buffer.page, 1), 1);
  const leak = await run(['holds', path, '--json']);
  assert.equal(leak.code, 1);
  const report = JSON.parse(leak.stdout) as ReturnType<typeof holdsReport>;
  assert.equal(report.unexplainedPages, 1);
  const entries = report.sources.flatMap(({ holds }) => holds) as HoldEntry[];
  assert.deepEqual(
    entries.map(({ page, pages, kind }) => ({ page, pages, kind })),
    [{ page: buffer.page, pages: 2, kind: 'pinned' }],
  );
  unpinPages(buffer.page, 1);
  await rig.finish();
  await reading;
  assert.deepEqual(holdsReport(), { sources: [], pinnedPages: 0, unexplainedPages: 0 });
});
