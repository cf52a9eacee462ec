import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Errno } from '../base/errno.ts';
import { BioOp } from '../bio/bio-op.ts';
import { openUringEngine, type UringEngineOptions } from '../engine/uring/open-uring-engine.ts';
import { FileBench, pattern, TemporaryFile } from './file-fixture.test.ts';
import { ModelRing, type ModelRingOptions } from './model-ring.fuzz.ts';
import { envOf } from './uring-fixture.test.ts';

const READ = 22;
/** What READ becomes when the memory was used eight times. */
const READ_FIXED = 4;
const WRITE = 23;
const FALLOCATE = 17;

class Rig implements AsyncDisposable {
  readonly file: TemporaryFile;
  readonly ring: ModelRing;
  readonly bench: FileBench;

  private constructor(file: TemporaryFile, ring: ModelRing, bench: FileBench) {
    this.file = file;
    this.ring = ring;
    this.bench = bench;
  }

  static async open(
    model: ModelRingOptions,
    options: Partial<UringEngineOptions> = {},
  ): Promise<Rig> {
    const file = new TemporaryFile(pattern(65536));
    const ring = new ModelRing(model);
    const env = envOf(ring);
    const engine = await openUringEngine(file.path, { ...options, env });
    return new Rig(file, ring, new FileBench(engine));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.bench[Symbol.asyncDispose]();
    this.ring.assertNothingLeft();
    this.file[Symbol.dispose]();
  }
}

/** EINTR and EAGAIN pass; sixteen times in a row they are tried again. */
for (const errno of [Errno.EINTR, Errno.EAGAIN]) {
  test(`errno ${errno} is tried again, 16 times and no more`, async () => {
    for (const [times, status] of [
      [1, 0],
      [16, 0],
      [17, -errno],
    ] as const) {
      let left = times;
      const isRead = (op: number): boolean => op === READ || op === READ_FIXED;
      const fault = ({ op }: { op: number }) => (isRead(op) && left-- > 0 ? -errno : undefined);
      await using rig = await Rig.open({ fault });
      const bytesDone = status === 0 ? 4096 : 0;
      assert.deepEqual(await rig.bench.once(BioOp.READ, 4096, 4096), { status, bytesDone });
      const tries = rig.ring.entries.filter(({ op }) => isRead(op)).length;
      assert.equal(tries, Math.min(times, 16) + 1);
      if (status !== 0) continue;
      const got = rig.bench.buffer.bytes.slice(0, 4096);
      assert.deepEqual(got, pattern(65536).subarray(4096, 8192));
    }
  });
}

test('errors, short transfers and writes without progress are reported as they are', async () => {
  for (const [op, result, status, bytesDone] of [
    [READ, -Errno.EIO, -Errno.EIO, 0],
    [READ, 1024, 0, 1024],
    [WRITE, -Errno.ENOSPC, -Errno.ENOSPC, 0],
    [WRITE, 512, 0, 512],
    [WRITE, 0, -Errno.EIO, 0],
  ] as const) {
    await using rig = await Rig.open({
      fault: (entry) => (entry.op === op ? result : undefined),
    });
    const bio = op === READ ? BioOp.READ : BioOp.WRITE;
    assert.deepEqual(await rig.bench.once(bio, 0, 4096), { status, bytesDone });
  }
});

test('a file system without ZERO_RANGE gets zeros, and is not asked again', async () => {
  for (const errno of [Errno.EOPNOTSUPP, Errno.EINVAL]) {
    await using rig = await Rig.open({
      fault: ({ op }) => (op === FALLOCATE ? -errno : undefined),
    });
    for (const start of [4096, 16384]) {
      const done = await rig.bench.once(BioOp.WRITE_ZEROES, start, 8192);
      assert.deepEqual(done, { status: 0, bytesDone: 8192 });
      assert.deepEqual(rig.file.read(start, 8192), new Uint8Array(8192));
    }
    assert.equal(rig.ring.entries.filter(({ op }) => op === FALLOCATE).length, 1);
  }
});

test('a cancelled request says so; one that timed out says that', async () => {
  await using rig = await Rig.open({ isSlow: true }, { timeoutMs: 5000 });
  const { driver, engine } = rig.bench;
  const tag = rig.bench.build(BioOp.READ, 0, 4096);
  assert.equal(driver.offer([tag]), 1);
  assert.equal(engine.cancel(tag), 0);
  await driver.pause();
  rig.ring.finish();
  assert.equal((await driver.wait(tag)).status, -Errno.ECANCELED);
  driver.release(tag);
  const [read, timeout] = rig.ring.entries;
  assert.equal(read.flags & 4, 4, 'IOSQE_IO_LINK');
  assert.deepEqual([timeout.op, timeout.len], [15, 1], 'IORING_OP_LINK_TIMEOUT');
});

test('ECANCELED of the kernel without a cancel of ours is the timeout', async () => {
  await using rig = await Rig.open(
    { fault: ({ op }) => (op === READ ? -Errno.ECANCELED : undefined) },
    { timeoutMs: 1 },
  );
  const { status } = await rig.bench.once(BioOp.READ, 0, 4096);
  assert.equal(status, -Errno.ETIMEDOUT);
});

test('a slow device wakes the loop; nothing is polled meanwhile', async () => {
  await using rig = await Rig.open({ isSlow: true });
  const { driver } = rig.bench;
  const tags = [0, 4096, 8192].map((start) => rig.bench.build(BioOp.READ, start, 4096));
  assert.equal(driver.offer(tags), 3);
  await new Promise((resolve) => setTimeout(resolve, 20));
  const { enters } = rig.ring;
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(rig.ring.enters, enters, 'it entered while it should sleep');
  for (const tag of tags) {
    rig.ring.finish(1);
    assert.equal((await driver.wait(tag)).status, 0);
    driver.release(tag);
  }
});

test('FUA is one write with RWF_DSYNC, FLUSH one fdatasync', async () => {
  await using rig = await Rig.open({});
  const FUA = 8;
  assert.equal((await rig.bench.once(BioOp.WRITE, 0, 4096, FUA)).status, 0);
  assert.equal((await rig.bench.once(BioOp.WRITE, 0, 4096)).status, 0);
  assert.equal((await rig.bench.once(BioOp.FLUSH, 0, 0)).status, 0);
  const calls = rig.ring.entries.map(({ op, opFlags }) => [op, opFlags]);
  assert.deepEqual(calls, [
    [WRITE, 2],
    [WRITE, 0],
    [3, 1],
  ]);
});

test('without tables for files and buffers it goes by descriptor and address', async () => {
  const refused = new Map([
    [13, -Errno.EINVAL],
    [15, -Errno.ENOMEM],
  ]);
  await using rig = await Rig.open({ refused });
  for (let i = 0; i < 20; i++) {
    assert.equal((await rig.bench.once(BioOp.READ, 0, 4096)).status, 0);
  }
  assert(rig.ring.entries.every(({ op, flags }) => op === READ && (flags & 1) === 0));
});
