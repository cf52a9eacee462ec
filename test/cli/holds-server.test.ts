import assert from 'node:assert/strict';
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { pathToFileURL } from 'node:url';
import { endOf, makeFolder, run } from './command.ts';

// Who may be asked, by the environment variable, as programs meet it.

const SOURCES = join(import.meta.dirname, '..', '..', 'src');

function source(path: string): string {
  return JSON.stringify(pathToFileURL(join(SOURCES, path)).href);
}

const HEAD = `import { open } from ${source('index.ts')};
  import { holdsSocketOf } from ${source('node/holds-server.ts')};
  import { existsSync } from 'node:fs';
  import { spawnSync } from 'node:child_process';
  const until = async (path) => {
    for (let i = 0; i < 500 && !existsSync(path); i++) await new Promise((r) => setTimeout(r, 10));
  };
  const stdinEnds = () => new Promise((resolve) => process.stdin.on('end', resolve).resume());`;

/** A program that runs until its standard input ends, if it waits for that. */
function program(code: string, env: Record<string, string>): ChildProcessWithoutNullStreams {
  const args = ['--input-type=module', '-e', `${HEAD}\n${code}`];
  return spawn(process.execPath, args, { env: { ...process.env, ...env } });
}

async function printed(child: ChildProcessWithoutNullStreams): Promise<void> {
  await new Promise((resolve) => child.stdout.once('data', resolve));
}

const SERVES = `const disk = await open('ram:1M');
  await until(process.env.BIOVEC_HOLDS);
  console.log('serves');
  await stdinEnds();`;

test('a worker opens disks as well, and the main thread answers for the process', async (t) => {
  const socket = join(makeFolder(t), 'worker.socket');
  const child = program(
    `import { Worker } from 'node:worker_threads';
    const code = 'import(' + JSON.stringify(${source('index.ts')}) + ')' +
      '.then(({ open }) => open("ram:1M")).then((disk) => disk.close());';
    const worker = new Worker(code, { eval: true });
    const status = await new Promise((yes, no) => worker.on("exit", yes).on("error", no));
    if (status !== 0 || existsSync(process.env.BIOVEC_HOLDS)) throw new Error('a worker served');
    ${SERVES}`,
    { BIOVEC_HOLDS: socket },
  );
  const ended = endOf(child);
  await Promise.race([printed(child), ended]);
  const asked = await run(['holds', socket]);
  child.stdin.end();
  const { code, stderr } = await ended;
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  assert.equal(asked.code, 0, asked.stderr);
  assert.match(asked.stdout, new RegExp(`^process ${child.pid}: `));
});

test('a second process on the same path neither fails nor takes the socket away', async (t) => {
  const socket = join(makeFolder(t), 'taken.socket');
  const first = program(SERVES, { BIOVEC_HOLDS: socket });
  const firstEnded = endOf(first);
  await Promise.race([printed(first), firstEnded]);
  assert.equal(statSync(socket).mode & 0o777, 0o600);
  const code = `const disk = await open('ram:1M');
    await new Promise((resolve) => setTimeout(resolve, 100));
    await disk.close();`;
  const second = await endOf(program(code, { BIOVEC_HOLDS: socket }));
  assert.deepEqual([second.code, second.stderr], [0, '']);
  const asked = await run(['holds', socket]);
  first.stdin.end();
  assert.equal((await firstEnded).code, 0);
  assert.match(asked.stdout, new RegExp(`^process ${first.pid}: `), asked.stderr);
  assert.equal(existsSync(socket), false, 'the exit removes it');
});

test('the socket that a killed process left is replaced, at the default path too', async (t) => {
  const folder = makeFolder(t);
  const code = `const path = holdsSocketOf(process.pid);
    const dies = 'require("net").createServer().listen(' + JSON.stringify(path) + ', ' +
      '() => process.kill(process.pid, "SIGKILL"))';
    spawnSync(process.execPath, ['-e', dies]);
    if (!existsSync(path)) throw new Error('nothing was left');
    const disk = await open('ram:1M');
    console.log('serves');
    await stdinEnds();`;
  const child = program(code, { BIOVEC_HOLDS: '1', XDG_RUNTIME_DIR: folder });
  const ended = endOf(child);
  await Promise.race([printed(child), ended]);
  const socket = join(folder, `biovec-${child.pid}.holds`);
  let asked = await run(['holds', socket]);
  for (let i = 0; i < 5 && asked.code !== 0; i++) asked = await run(['holds', socket]);
  child.stdin.end();
  const { code: status, stderr } = await ended;
  assert.deepEqual([status, stderr], [0, '']);
  assert.match(asked.stdout, new RegExp(`^process ${child.pid}: `), asked.stderr);
  assert.equal(existsSync(socket), false);
});

test('a file of another kind at that path stays as it is', async (t) => {
  const path = join(makeFolder(t), 'notes.txt');
  writeFileSync(path, 'mine');
  const code = `const disk = await open('ram:1M');
    await new Promise((resolve) => setTimeout(resolve, 100));
    await disk.close();`;
  const { code: status, stderr } = await endOf(program(code, { BIOVEC_HOLDS: path }));
  assert.deepEqual([status, stderr], [0, '']);
  assert.equal(readFileSync(path, 'utf8'), 'mine');
});
