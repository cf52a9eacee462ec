import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';

// The launcher in a package of its own, whose command line tells what reached it.
const MAIN = `
const [what, value] = process.argv.slice(2);
process.on('SIGTERM', () => process.exit(44));
if (what === 'exit') process.exit(Number(value));
if (what === 'kill') process.kill(process.pid, value);
setTimeout(() => process.exit(1), 60_000);
process.stdout.write('ready\\n');
`;
const OLD = `Object.defineProperty(process, 'versions', { value: { node: '20.20.2' } });`;

function makePackage(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'biovec-launcher-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const path of ['bin', 'dist/cli']) mkdirSync(join(folder, path), { recursive: true });
  const launcher = join(import.meta.dirname, '..', 'bin', 'biovec.cjs');
  copyFileSync(launcher, join(folder, 'bin', 'biovec.cjs'));
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(folder, 'dist', 'cli', 'main.js'), MAIN);
  writeFileSync(join(folder, 'old.cjs'), OLD);
  return folder;
}

/** A checkout's own Node: another file than the running one, so that the launcher takes it. */
function addCheckoutNode(folder: string): void {
  const path = join(folder, 'node_modules', 'node', 'bin');
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, 'node'), `#!/bin/sh\nexec '${process.execPath}' "$@"\n`);
  chmodSync(join(path, 'node'), 0o755);
}

function launch(folder: string, isOld: boolean, ...args: string[]): ChildProcess {
  const old = isOld ? ['--require', join(folder, 'old.cjs')] : [];
  const command = [...old, join(folder, 'bin', 'biovec.cjs'), ...args];
  return spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'pipe'] });
}

async function endOf(child: ChildProcess): Promise<{ end: unknown; stderr: string }> {
  let stderr = '';
  child.stderr?.on('data', (chunk) => {
    stderr += chunk;
  });
  const [code, signal] = await once(child, 'close');
  return { end: code ?? signal, stderr };
}

test('a new Node runs the command line itself', async (t) => {
  const folder = makePackage(t);
  const { end } = await endOf(launch(folder, false, 'exit', '7'));
  assert.equal(end, 7);
});

test('an old Node alone says one line and ends with 2', async (t) => {
  const folder = makePackage(t);
  const { end, stderr } = await endOf(launch(folder, true, 'exit', '7'));
  assert.equal(end, 2);
  assert.match(stderr, /^biovec: Node 22\.18 or newer is needed; this is v[^\n]+\n$/);
});

test('an old Node in a checkout hands over, and ends as the child ends', async (t) => {
  const folder = makePackage(t);
  addCheckoutNode(folder);
  assert.equal((await endOf(launch(folder, true, 'exit', '7'))).end, 7);
  assert.equal((await endOf(launch(folder, true, 'exit', '0'))).end, 0);
  assert.equal((await endOf(launch(folder, true, 'kill', 'SIGKILL'))).end, 'SIGKILL');
});

test('a signal to the launcher reaches the child, whose exit code comes back', async (t) => {
  const folder = makePackage(t);
  addCheckoutNode(folder);
  const child = launch(folder, true, 'wait');
  const ended = endOf(child);
  await once(child.stdout as NodeJS.ReadableStream, 'data');
  child.kill('SIGTERM');
  assert.equal((await ended).end, 44);
});
