import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { BlockError } from '../../base/block-error.ts';
import { MIB } from '../../base/units.ts';
import { Arena } from '../../memory/arena.ts';
import type { ArenaBuffer } from '../../memory/arena-buffer.ts';
import { open } from '../../targets/open.ts';
import { allData, type Chunk, planCopy, planStream } from './copy-plan.ts';
import { DiskSink } from './disk-sink.ts';
import { DiskSource } from './disk-source.ts';
import type { CopySink, CopySource } from './endpoint.ts';
import { Pump, type PumpResult } from './pump.ts';
import { StreamSource } from './stream-source.ts';
import { Verifier } from './verify.ts';

const REQUEST = 64 * 1024;
const SIZE = 2 * MIB;

function fill(bytes: Uint8Array, position: number): void {
  for (let i = 0; i < bytes.length; i++) bytes[i] = 1 + (((position + i) * 31) % 251);
}

/** A source that answers late and out of order, and can be made to end early. */
class SlowSource implements CopySource {
  readonly name = 'slow';
  readonly disk = {} as unknown as CopySource['disk']; // Any: not a stream.
  readonly size = SIZE;
  readonly end: number;

  constructor(end = SIZE) {
    this.end = end;
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    await new Promise((resolve) => setTimeout(resolve, (position / REQUEST) % 3));
    const bytes = Math.max(Math.min(into.length, this.end - position), 0);
    fill(into.subarray(0, bytes), position);
    return bytes;
  }

  abandon(): void {}
  async close(): Promise<void> {}
}

/** A stream that keeps what it got, and checks that it got it in order. */
class OrderedSink implements CopySink {
  readonly name = 'ordered';
  readonly disk = null;
  readonly size = null;
  readonly failAt: number;
  at = 0;

  constructor(failAt = Number.POSITIVE_INFINITY) {
    this.failAt = failAt;
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    assert.equal(position, this.at, 'out of order');
    if (position >= this.failAt) throw new BlockError('EPIPE', { reason: 'no reader' });
    const expected = new Uint8Array(bytes.length);
    fill(expected, position);
    await new Promise((resolve) => setImmediate(resolve));
    assert.ok(Buffer.from(bytes).equals(Buffer.from(expected)));
    this.at += bytes.length;
  }

  async zero(): Promise<void> {}
  async finish(): Promise<void> {}
  async flush(): Promise<void> {}
  abandon(): void {}
  async close(): Promise<void> {}
}

function buffersOf(t: TestContext, count: number): ArenaBuffer[] {
  const arena = new Arena({ maxBytes: 32 * MIB });
  t.after(() => arena[Symbol.dispose]());
  return Array.from({ length: count }, () => arena.alloc(REQUEST));
}

function dataPlan(size = SIZE): AsyncGenerator<Chunk> {
  return planCopy(allData(size), { size, requestBytes: REQUEST, alignBytes: 4096 });
}

function pump(
  source: CopySource,
  sink: CopySink,
  buffers: readonly ArenaBuffer[],
  more: { plan?: AsyncGenerator<Chunk>; signal?: AbortSignal; onProgress?: () => void } = {},
): Promise<PumpResult> {
  const { plan = dataPlan(), signal = new AbortController().signal } = more;
  const onProgress = more.onProgress ?? (() => {});
  const pumped = new Pump({
    source,
    sink,
    plan,
    buffers,
    zeroBytes: 0,
    signal,
    onProgress,
    digests: null,
  });
  return pumped.run();
}

test('a stream gets its bytes in order, however reads come back', async (t) => {
  const sink = new OrderedSink();
  const result = await pump(new SlowSource(), sink, buffersOf(t, 7));
  assert.equal(sink.at, SIZE);
  assert.deepEqual(result, { bytes: SIZE, dataBytes: SIZE, holeBytes: 0, isComplete: true });
});

test('a source that became shorter is a failure, not zeros', async (t) => {
  const source = new SlowSource(SIZE - 5000);
  await assert.rejects(pump(source, new OrderedSink(), buffersOf(t, 4)), (error: BlockError) => {
    assert.equal(error.code, 'ENODATA');
    assert.match(error.reason, /ends at byte 2092152, but had 2097152 bytes .* became shorter/);
    return true;
  });
});

test('the first failure ends all slots; nothing behind it is written', async (t) => {
  const sink = new OrderedSink(5 * REQUEST);
  await assert.rejects(pump(new SlowSource(), sink, buffersOf(t, 4)), { code: 'EPIPE' });
  assert.equal(sink.at, 5 * REQUEST);
});

test('an abort lets what is in flight end, and says how far that is', async (t) => {
  const controller = new AbortController();
  const sink = new OrderedSink();
  const options = { signal: controller.signal, onProgress: () => controller.abort() };
  const result = await pump(new SlowSource(), sink, buffersOf(t, 4), options);
  assert.equal(result.isComplete, false);
  assert.equal(result.bytes, sink.at, 'from the start without a gap');
  assert.ok(result.bytes >= REQUEST && result.bytes <= 5 * REQUEST);
});

test('a stream of odd chunks arrives whole, and an abort ends the wait for more', async (t) => {
  const all = new Uint8Array(SIZE - 777);
  fill(all, 0);
  async function* chunks(isEndless: boolean): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < all.length; at += 10_007) yield all.subarray(at, at + 10_007);
    if (isEndless) await new Promise(() => setTimeout(() => {}, 60_000).unref());
  }
  const whole = new OrderedSink();
  const source = new StreamSource(Readable.from(chunks(false)), 'stream');
  const result = await pump(source, whole, buffersOf(t, 3), { plan: planStream(REQUEST) });
  assert.deepEqual([result.bytes, result.isComplete, whole.at], [all.length, true, all.length]);

  const controller = new AbortController();
  const endless = new StreamSource(Readable.from(chunks(true)), 'stream');
  let arrived = 0;
  const stopped = await pump(endless, new OrderedSink(), buffersOf(t, 3), {
    plan: planStream(REQUEST),
    signal: controller.signal,
    onProgress: () => {
      if (++arrived === Math.floor(all.length / REQUEST)) controller.abort();
    },
  });
  assert.deepEqual([stopped.bytes, stopped.isComplete], [arrived * REQUEST, false]);
});

test('verifying names the lowest byte that differs, also inside a hole', async (t) => {
  const buffers = buffersOf(t, 4);
  const arena = new Arena({ maxBytes: 8 * MIB });
  const from = await open(`ram:${SIZE}`, { arena });
  const to = await open(`ram:${SIZE}`, { arena });
  const data = new Uint8Array(MIB);
  fill(data, 0);
  await from.write(data, { position: 0 });
  const source = new DiskSource(from);
  const sink = new DiskSink({ disk: to, arena, discards: false });
  const plan = (): AsyncGenerator<Chunk> =>
    planCopy(from.extents(), { size: SIZE, requestBytes: REQUEST, alignBytes: 4096 });
  const copied = await pump(source, sink, buffers, { plan: plan() });
  assert.deepEqual([copied.dataBytes, copied.holeBytes], [MIB, MIB]);
  const { signal } = new AbortController();
  const verify = (): Promise<boolean> =>
    new Verifier({
      source,
      destination: to,
      plan: plan(),
      buffers,
      digests: null,
      signal,
      onProgress: () => {},
    }).run();
  assert.equal(await verify(), true);
  for (const at of [MIB + 70_000, 500_001]) {
    await to.write(new Uint8Array([255]), { position: at });
    await assert.rejects(verify(), { code: 'ERR_BIOVEC_VERIFY', offset: at });
  }
  await source.close();
  await sink.close();
  arena.assertNothingOutstanding();
  arena[Symbol.dispose]();
});

test('a destination that was cut inside a hole is not identical', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'biovec-pump-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'copy');
  writeFileSync(path, '');
  truncateSync(path, SIZE);
  const buffers = buffersOf(t, 2);
  await using from = await open(`ram:${SIZE}`);
  await using destination = await open(path);
  const plan = (): AsyncGenerator<Chunk> =>
    planCopy(from.extents(), { size: SIZE, requestBytes: REQUEST, alignBytes: 4096 });
  const { signal } = new AbortController();
  const parts = { source: new DiskSource(from), destination, buffers, digests: null, signal };
  const verify = (): Promise<boolean> =>
    new Verifier({ ...parts, plan: plan(), onProgress: () => {} }).run();
  assert.equal(await verify(), true);
  truncateSync(path, SIZE - 5000);
  await assert.rejects(verify(), { code: 'ERR_BIOVEC_VERIFY' });
});
