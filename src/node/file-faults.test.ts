import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FileSystem, FsBytes, Native } from '../base/env.ts';
import { Errno } from '../base/errno.ts';
import { BioFlag, BioOp } from '../bio/bio-op.ts';
import { RETRIES_MAX } from '../engine/file/file-slot.ts';
import { envWith, FileBench, pattern, TemporaryFile } from './file-fixture.test.ts';
import { nodeEnv } from './node-env.ts';

const { fs } = nodeEnv();
const SIZE = 65536;

function fault(code: string): { code: string; message: string } {
  return { code, message: `${code}: injected` };
}

/** Fails the first `times` calls, then lets them through. */
function failing(code: string, times: number): { fails: () => boolean; calls: () => number } {
  let calls = 0;
  return { fails: () => calls++ < times && code !== '', calls: () => calls };
}

async function run(
  calls: Partial<FileSystem>,
  op: BioOp,
  bytes: number,
  flags = 0,
): Promise<{ status: number; bytesDone: number }> {
  using file = new TemporaryFile(pattern(SIZE));
  await using bench = await FileBench.open(file.path, { env: envWith(calls) });
  return await bench.once(op, 0, bytes, flags);
}

const NAMED = ['ENOSPC', 'EIO', 'EROFS', 'EPERM', 'EFBIG', 'EINVAL'] as const;

test('an error of the system is the status of the request', async () => {
  for (const code of NAMED) {
    const failed = { status: -Errno[code], bytesDone: 0 };
    const write: FileSystem['write'] = (_f, _v, _b, _p, done) => defer(done, code);
    assert.deepEqual(await run({ write }, BioOp.WRITE, 4096), failed);
    const read: FileSystem['read'] = (_f, _v, _p, done) => defer(done, code);
    assert.deepEqual(await run({ read }, BioOp.READ, 4096), failed);
  }
  const unknown: FileSystem['read'] = (_f, _v, _p, done) => defer(done, 'EWEIRD');
  assert.deepEqual(await run({ read: unknown }, BioOp.READ, 512), { status: -5, bytesDone: 0 });
});

function defer(done: FsBytes, code: string): void {
  setImmediate(() => done(fault(code), 0));
}

test('EINTR and EAGAIN are tried again, but not for ever', async () => {
  for (const code of ['EINTR', 'EAGAIN'] as const) {
    const some = failing(code, 5);
    const read: FileSystem['read'] = (fd, view, position, done) =>
      some.fails() ? defer(done, code) : fs.read(fd, view, position, done);
    assert.deepEqual(await run({ read }, BioOp.READ, 4096), { status: 0, bytesDone: 4096 });
    assert.equal(some.calls(), 6);
    const all = failing(code, Number.POSITIVE_INFINITY);
    const write: FileSystem['write'] = (_f, _v, _b, _p, done) => {
      all.fails();
      defer(done, code);
    };
    assert.deepEqual(await run({ write }, BioOp.WRITE, 512), {
      status: -Errno[code],
      bytesDone: 0,
    });
    assert.equal(all.calls(), RETRIES_MAX + 1);
  }
});

test('a short transfer is reported as it is, and what it says was moved', async () => {
  const write: FileSystem['write'] = (fd, view, bytes, position, done) =>
    fs.write(fd, view, Math.min(bytes, 1000), position, done);
  const read: FileSystem['read'] = (fd, view, position, done) =>
    fs.read(fd, view.subarray(0, 1000), position, done);
  using file = new TemporaryFile(pattern(SIZE));
  await using bench = await FileBench.open(file.path, { env: envWith({ write, read }) });
  assert.deepEqual(await bench.once(BioOp.READ, 0, 4096), { status: 0, bytesDone: 1000 });
  assert.deepEqual(bench.buffer.bytes.slice(0, 1000), shared(pattern(SIZE), 0, 1000));
  bench.buffer.bytes.fill(9);
  assert.deepEqual(await bench.once(BioOp.WRITE, 8192, 4096), { status: 0, bytesDone: 1000 });
  assert.deepEqual(file.read(8192, 1000), new Uint8Array(1000).fill(9));
  assert.deepEqual(file.read(9192, 100), pattern(SIZE).slice(9192, 9292));
  assert.equal(bench.engine.sizeBytes(), SIZE, 'a short read inside the file is no shrink');
});

function shared(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const out = new Uint8Array(new SharedArrayBuffer(end - start));
  out.set(bytes.subarray(start, end));
  return out;
}

test('a write without progress is EIO, never a loop', async () => {
  const write: FileSystem['write'] = (_f, _v, _b, _p, done) => setImmediate(() => done(null, 0));
  assert.deepEqual(await run({ write }, BioOp.WRITE, 512), { status: -5, bytesDone: 0 });
});

test('FUA and FLUSH end with fdatasync, and with its error', async () => {
  let syncs = 0;
  const fdatasync: FileSystem['fdatasync'] = (fd, done) => {
    syncs++;
    fs.fdatasync(fd, done);
  };
  const fua = await run({ fdatasync }, BioOp.WRITE, 4096, BioFlag.FUA);
  assert.deepEqual(fua, { status: 0, bytesDone: 4096 });
  assert.equal(syncs, 1);
  assert.deepEqual(await run({ fdatasync }, BioOp.WRITE, 4096), { status: 0, bytesDone: 4096 });
  assert.equal(syncs, 1, 'a plain write needs none');
  assert.deepEqual(await run({ fdatasync }, BioOp.FLUSH, 0), { status: 0, bytesDone: 0 });
  assert.equal(syncs, 2);
  const bad: FileSystem['fdatasync'] = (_fd, done) => setImmediate(() => done(fault('EIO')));
  const eio = { status: -5, bytesDone: 0 };
  assert.deepEqual(await run({ fdatasync: bad }, BioOp.WRITE, 4096, BioFlag.FUA), eio);
  assert.deepEqual(await run({ fdatasync: bad }, BioOp.FLUSH, 0), eio);
});

/** A door whose range calls answer as told, then with 0. */
function nativeAnswering(answers: number[]): { native: Native; calls: number[][] } {
  const calls: number[][] = [];
  const native: Native = {
    kind: 'test',
    isAsync: true,
    directAlignment: () => null,
    fallocate: (_fd, mode, start, bytes, done) => {
      calls.push([mode, start, bytes]);
      setImmediate(() => done(answers.shift() ?? 0));
    },
    ioctlRange: (_fd, _request, _start, _bytes, done) => setImmediate(() => done(-Errno.EIO)),
    ioctlNumber: () => -Errno.EIO,
    lseek: () => -Errno.EINVAL,
    lockWhole: () => -Errno.EINVAL,
    isLocked: () => -Errno.EINVAL,
  };
  return { native, calls };
}

test('a file system without ZERO_RANGE gets zeros, and is not asked again', async () => {
  using file = new TemporaryFile(pattern(SIZE));
  const { native, calls } = nativeAnswering([-Errno.EOPNOTSUPP]);
  await using bench = await FileBench.open(file.path, { env: envWith({}, native) });
  const done = { status: 0, bytesDone: 8192 };
  assert.deepEqual(await bench.once(BioOp.WRITE_ZEROES, 4096, 8192), done);
  assert.deepEqual(await bench.once(BioOp.WRITE_ZEROES, 20480, 8192), done);
  assert.deepEqual(calls, [[0x10, 4096, 8192]]);
  const model = pattern(SIZE).fill(0, 4096, 12288).fill(0, 20480, 28672);
  assert.deepEqual(file.read(0, SIZE), model);
});

test('errors of range calls: EINTR again, the others are the status', async () => {
  using file = new TemporaryFile(pattern(SIZE));
  const { native, calls } = nativeAnswering([-Errno.EINTR, 0, -Errno.ENOSPC, -Errno.EOPNOTSUPP]);
  await using bench = await FileBench.open(file.path, { env: envWith({}, native) });
  const done = { status: 0, bytesDone: 4096 };
  assert.deepEqual(await bench.once(BioOp.DISCARD, 0, 4096), done);
  assert.equal(calls.length, 2);
  const full = { status: -Errno.ENOSPC, bytesDone: 0 };
  assert.deepEqual(await bench.once(BioOp.WRITE_ZEROES, 0, 4096), full);
  const none = { status: -Errno.EOPNOTSUPP, bytesDone: 0 };
  assert.deepEqual(await bench.once(BioOp.DISCARD, 0, 4096), none);
});

test('zeros are written a buffer at a time; ENOSPC ends them, cancel ends them', async () => {
  let left = 3;
  const write: FileSystem['write'] = (fd, view, bytes, position, done) =>
    left-- > 0 ? fs.write(fd, view, bytes, position, done) : defer(done, 'ENOSPC');
  using file = new TemporaryFile(0);
  await using bench = await FileBench.open(file.path, { env: envWith({ write }) });
  const full = { status: -Errno.ENOSPC, bytesDone: 0 };
  assert.deepEqual(await bench.once(BioOp.WRITE_ZEROES, 0, 2 ** 23), full);
  assert.equal(bench.engine.sizeBytes(), 3 * 2 ** 20);
  left = Number.POSITIVE_INFINITY;
  const tag = bench.build(BioOp.WRITE_ZEROES, 0, 2 ** 21);
  bench.driver.offer([tag]);
  assert.equal(bench.engine.cancel(tag), 0);
  const cancelled = await bench.driver.wait(tag);
  assert.equal(cancelled.status, -Errno.ECANCELED);
  bench.driver.release(tag);
});

test('a read-only engine refuses every write with EROFS, and still reads and flushes', async () => {
  using file = new TemporaryFile(pattern(SIZE));
  await using bench = await FileBench.open(file.path, { env: nodeEnv(), readOnly: true });
  const refused = { status: -Errno.EROFS, bytesDone: 0 };
  for (const op of [BioOp.WRITE, BioOp.DISCARD, BioOp.WRITE_ZEROES]) {
    assert.deepEqual(await bench.once(op, 0, 4096), refused);
  }
  assert.deepEqual(await bench.once(BioOp.READ, 0, 4096), { status: 0, bytesDone: 4096 });
  assert.deepEqual(await bench.once(BioOp.FLUSH, 0, 0), { status: 0, bytesDone: 0 });
  assert.equal(bench.engine.info.limits.read_only, true);
  assert.equal(bench.engine.info.limits.max_discard_sectors, 0);
});
