// A buffer that changes hands while the system reads into it.
//
// `buffer.transfer()` gives the memory of an ArrayBuffer to a new owner; `postMessage` with a
// transfer list does the same. Nothing stops a program from that while `fs.read` is under way. The
// data is then lost without an error, or written into memory that is free, of which Node dies. So
// it runs in child processes here: they read from a pipe, which gets its data after the transfer.
//
// With biovec the device only ever sees pages of an arena. A plain buffer that was detached
// meanwhile is an error that names it, and memory of the arena cannot be detached at all.
//
// Run: node examples/transfer-during-read.ts

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Arena, BlockError, open } from '../src/index.ts';

const BYTES = 64 * 1024;
const FILL = 0xa5;

/** The child: reads standard input with node:fs, and transfers its buffer meanwhile. */
function readWithNode(newLength: number): void {
  const buffer = new Uint8Array(BYTES);
  fs.read(0, buffer, 0, BYTES, null, (error, bytesRead) => {
    const claim = error ? error.message : `no error, ${bytesRead} bytes read`;
    fs.writeSync(1, `fs.read says: ${claim}; the buffer that was passed has ${buffer.length},`);
    fs.writeSync(1, ` the one that took it over ${moved.byteLength}\n`);
    for (let i = 0; i < 1000; i++) new Uint8Array(100 + i * 7); // What any program goes on to do.
  });
  const moved = buffer.buffer.transfer(newLength);
  fs.writeSync(1, 'transferred\n');
}

async function watchNode(newLength: number): Promise<void> {
  console.log(`node:fs, buffer.transfer(${newLength}) during the read:`);
  const script = fileURLToPath(import.meta.url);
  const args = [script, 'child', `${newLength}`];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'ignore'] });
  child.stdin.on('error', () => {}); // It may die before it has read all.
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (said === '') child.stdin.end(new Uint8Array(BYTES).fill(FILL));
    said += text;
  });
  const [code, signal] = await once(child, 'close');
  for (const line of said.trim().split('\n').slice(1)) console.log(`  ${line}`);
  console.log(signal === null ? `  Node ended with ${code}` : `  Node died of ${signal}`);
}

async function readWithBiovec(path: string): Promise<void> {
  console.log('biovec, the same during disk.read:');
  await using disk = await open(path, { readOnly: true });
  const plain = new Uint8Array(BYTES);
  const reading = disk.read(plain, { position: 0 });
  plain.buffer.transfer(16);
  const error: unknown = await reading.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof BlockError)) throw new Error('the read should have failed');
  console.log(`  ${error.code}: ${error.reason}`);

  using arena = new Arena({ maxBytes: 1024 * 1024 });
  using buffer = arena.alloc(BYTES);
  const safe = disk.read(buffer.bytes, { position: 0 });
  try {
    structuredClone(null, { transfer: [buffer.bytes.buffer as unknown as ArrayBuffer] });
  } catch (refusal) {
    console.log(`  memory of an arena does not go: ${(refusal as Error).name}`);
  }
  const { bytesRead } = await safe;
  if (!buffer.bytes.every((byte) => byte === FILL)) throw new Error('wrong bytes');
  console.log(`  ${bytesRead} bytes read, all of them right`);
  disk.assertNothingOutstanding();
}

async function main(): Promise<void> {
  await watchNode(BYTES);
  await watchNode(16);
  const folder = fs.mkdtempSync(join(tmpdir(), 'biovec-example-'));
  try {
    const path = join(folder, 'data');
    fs.writeFileSync(path, new Uint8Array(BYTES).fill(FILL));
    await readWithBiovec(path);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

if (process.argv[2] === 'child') readWithNode(Number(process.argv[3]));
else await main();
