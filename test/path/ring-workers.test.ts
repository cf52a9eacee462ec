import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RingPrograms, source } from './ring-process.ts';

// A worker that is stopped in the middle of its transfers, by its starter or with the process.

const MIB = 2 ** 20;
const HEAD = `
  import { readdirSync, readFileSync } from 'node:fs';
  import { once } from 'node:events';
  import { Worker, isMainThread, parentPort } from 'node:worker_threads';
  import { Arena, open } from ${source('index.ts')};
  const readForEver = async () => {
    const disk = await open(FILE);
    const arena = new Arena({ maxBytes: ${8 * MIB} });
    for (let i = 0; i < 8; i++) {
      const { bytes } = arena.alloc(${MIB / 2});
      const again = () => disk.read(bytes, { position: 0 }).then(again);
      again();
    }
    parentPort.postMessage('busy');
  };
  const startBusy = async () => {
    const worker = new Worker(new URL(import.meta.url));
    await once(worker, 'message');
    return worker;
  };`;

test('the process ends as it was told while a worker has transfers in flight', async (t) => {
  const programs = new RingPrograms(t, MIB);
  const { code, signal, stderr } = await programs.run(`${HEAD}
    if (!isMainThread) await readForEver();
    else {
      await startBusy();
      process.exit(7);
    }
  `);
  assert.deepEqual({ code, signal, stderr }, { code: 7, signal: null, stderr: '' });
});

test('a terminated worker leaves no descriptor, mapping or pinned page', async (t) => {
  const programs = new RingPrograms(t, MIB);
  const { code, stdout, stderr } = await programs.run(`${HEAD}
    const counts = () => [
      readdirSync('/proc/self/fd').length,
      readFileSync('/proc/self/maps', 'latin1').split('io_uring').length,
    ];
    const pinned = () => Number(/^VmPin:\\s*(\\d+)/m.exec(readFileSync('/proc/self/status'))[1]);
    if (!isMainThread) await readForEver();
    else {
      await (await startBusy()).terminate(); // Node keeps a descriptor of the first one.
      const before = counts();
      for (let i = 0; i < 4; i++) await (await startBusy()).terminate();
      console.log(JSON.stringify([before, counts()]));
      // The kernel takes a ring apart behind our back.
      for (let i = 0; i < 100 && pinned() > 0; i++) await new Promise((r) => setTimeout(r, 20));
      console.log(pinned());
    }
  `);
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' });
  const [line, pinned] = stdout.split('\n');
  const [before, after] = JSON.parse(line ?? '');
  assert.deepEqual(after, before);
  assert.equal(pinned, '0');
});
