import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { MIB } from '../../base/units.ts';
import { Arena } from '../../memory/arena.ts';
import { open } from '../../targets/open.ts';
import { targetOf } from '../arguments.ts';
import { Interrupt } from '../interrupt.ts';
import { readExactly } from '../pi/pi-image.ts';
import { ChunkDigests } from './chunk-digests.ts';
import { CopyJob, type CopyWatcher } from './copy-job.ts';
import { allData, planCopy } from './copy-plan.ts';
import { DiskSink } from './disk-sink.ts';
import { DiskSource } from './disk-source.ts';
import { Verifier } from './verify.ts';

const OPTIONS = {
  requestBytes: MIB,
  requests: 2,
  direct: false,
  sparse: 'auto',
  flush: false,
  verify: false,
  protect: false,
  store: null,
  trace: null,
} as const;

function fileOf(t: TestContext, name: string, bytes: number): string {
  const folder = mkdtempSync(join(tmpdir(), 'biovec-job-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, name);
  writeFileSync(path, '');
  truncateSync(path, bytes);
  return path;
}

test('a source that is cut inside a hole fails the copy', async (t) => {
  const path = fileOf(t, 'holes', 8 * MIB);
  const watcher: CopyWatcher = { start: () => truncateSync(path, 1000), advance: () => {} };
  const job = new CopyJob(OPTIONS, new AbortController().signal, watcher);
  const copying = job.run(targetOf(path), targetOf(`${path}.copy`));
  await assert.rejects(copying, { code: 'ENODATA' });
});

test('a device that keeps what it was told to discard gets zeros', async () => {
  const arena = new Arena({ maxBytes: 8 * MIB });
  const disk = await open('ram:1M', { arena });
  await disk.write(new Uint8Array(MIB).fill(9), { position: 0 });
  let discarded = 0;
  disk.discard = async (_position, length) => {
    discarded += length;
  };
  const sink = new DiskSink({ disk, arena, discards: true });
  await sink.zero(4096, 8192);
  await sink.zero(65536, 4096);
  assert.equal(discarded, 8192, 'it is not asked a second time');
  const { buffer } = await disk.read(new Uint8Array(MIB), { position: 0 });
  const expected = new Uint8Array(MIB).fill(9).fill(0, 4096, 12288).fill(0, 65536, 69632);
  assert.ok(Buffer.from(buffer).equals(expected));
  await sink.close();
  arena.assertNothingOutstanding();
});

test('of two differences the lower one is told, whichever is found first', async () => {
  const arena = new Arena({ maxBytes: 8 * MIB });
  const source = new DiskSource(await open('ram:1M', { arena }));
  const destination = await open('ram:1M', { arena });
  for (const at of [5000, 900_000]) await destination.write(Uint8Array.of(1), { position: at });
  const read = source.read.bind(source);
  source.read = async (into, position) => {
    if (position === 0) await new Promise((resolve) => setTimeout(resolve, 100));
    return await read(into, position);
  };
  const buffers = Array.from({ length: 4 }, () => arena.alloc(MIB / 2));
  const plan = planCopy(allData(MIB), { size: MIB, requestBytes: MIB / 2, alignBytes: 4096 });
  const { signal } = new AbortController();
  const parts = { source, destination, plan, buffers, digests: null, signal };
  const verifying = new Verifier({ ...parts, onProgress: () => {} }).run();
  await assert.rejects(verifying, { code: 'ERR_BIOVEC_VERIFY', offset: 5000 });
  await destination.close();
  await source.close();
});

test('checksums of a long stream are all kept', () => {
  const digests = new ChunkDigests();
  const chunk = (index: number): Uint8Array => Uint8Array.of(index & 255, index >> 8);
  for (let index = 0; index < 5000; index++) digests.set(index, chunk(index));
  for (let index = 0; index < 5000; index++) assert.ok(digests.matches(index, chunk(index)));
  assert.equal(digests.matches(7, chunk(8)), false);
  assert.equal(digests.matches(5000, chunk(5000)), false);
});

test('the first signal asks, the second one ends the process as if nobody had caught it', (t) => {
  const before = process.listenerCount('SIGTERM');
  const kill = t.mock.method(process, 'kill', () => true);
  using interrupt = new Interrupt();
  process.emit('SIGTERM');
  assert.deepEqual(
    [interrupt.by, interrupt.signal.aborted, interrupt.exitCode],
    ['SIGTERM', true, 143],
  );
  assert.equal(kill.mock.callCount(), 0);
  process.emit('SIGTERM');
  assert.deepEqual(kill.mock.calls[0]?.arguments, [process.pid, 'SIGTERM']);
  assert.equal(process.listenerCount('SIGTERM'), before, 'nobody is left to catch it');
});

test('a read that must be whole fails when it ends early', async () => {
  await using disk = await open('ram:1M');
  const into = new Uint8Array(1024);
  await readExactly(disk, into, MIB - 1024, 1024);
  await assert.rejects(readExactly(disk, into, MIB - 512, 1024), { code: 'EIO' });
});

test('zeros at the end of a stream are a hole that the file has', async (t) => {
  const path = fileOf(t, 'copy', 0);
  const disk = await open(path);
  const sink = new DiskSink({ disk, arena: Arena.shared(), discards: false });
  await sink.write(new Uint8Array(4096).fill(1), 0);
  await sink.zero(4096, 8192);
  await sink.finish(12_288);
  await sink.close();
  assert.equal(readFileSync(path).length, 12_288);
});
