import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { BLKGETSIZE64, BLKPBSZGET, BLKROTATIONAL, BLKSSZGET } from '../abi/linux-block.ts';
import { S_IFBLK, S_IFREG } from '../abi/linux-fs.ts';
import { BlockError } from '../base/block-error.ts';
import type { DirectAlignment, FileStat, FileSystem, Native } from '../base/env.ts';
import { openFileEngine } from '../engine/file/open-file-engine.ts';
import { blockError, envWith, pattern, TemporaryFile } from './file-fixture.test.ts';
import { nodeEnv } from './node-env.ts';

const env = nodeEnv();

test('what is no file and no block device is refused with a code and a sentence', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'biovec-test-'));
  const cases: [string, string, RegExp][] = [
    [folder, 'EISDIR', /it is a directory/],
    [path.join(folder, 'absent'), 'ENOENT', /no such file/],
    [path.join(folder, 'absent', 'deeper'), 'ENOENT', /no such file/],
    ['/dev/null', 'EINVAL', /character device/],
    ['/dev/zero', 'EINVAL', /character device/],
    ['', 'EINVAL', /path is empty/],
    ['a\0b', 'EINVAL', /zero byte/],
  ];
  for (const [target, code, reason] of cases) {
    await assert.rejects(openFileEngine(target, { env }), blockError(code, reason), target);
  }
  using file = new TemporaryFile(4096);
  const below = openFileEngine(path.join(file.path, 'x'), { env });
  await assert.rejects(below, blockError('ENOTDIR', /part of the path is no folder/));
  const nowhere = openFileEngine(path.join(folder, 'no', 'x'), { env, create: true });
  await assert.rejects(nowhere, blockError('ENOENT', /no such file or folder/));
  fs.rmSync(folder, { recursive: true });
});

test('bad options are EINVAL, each with its sentence', async () => {
  using file = new TemporaryFile(4096);
  const bad: [object, RegExp][] = [
    [{ depth: 0 }, /depth is 0/],
    [{ depth: 1.5 }, /depth is 1.5/],
    [{ depth: 2 ** 20 }, /depth is 1048576/],
    [{ truncateTo: -1 }, /truncateTo is -1/],
    [{ truncateTo: 0.5 }, /truncateTo is 0.5/],
    [{ readOnly: true, create: true }, /readOnly excludes/],
    [{ readOnly: true, truncateTo: 0 }, /readOnly excludes/],
  ];
  for (const [options, reason] of bad) {
    const opening = openFileEngine(file.path, { env, ...options });
    await assert.rejects(opening, blockError('EINVAL', reason));
  }
});

test('permission: the error names the way out, and nothing falls back in silence', async () => {
  using file = new TemporaryFile(4096);
  for (const code of ['EACCES', 'EPERM', 'EROFS']) {
    const open: FileSystem['open'] = (name, flags, mode, done) =>
      flags === fs.constants.O_RDONLY
        ? env.fs.open(name, flags, mode, done)
        : setImmediate(() => done({ code, message: code }, -1));
    const host = envWith({ open });
    await assert.rejects(openFileEngine(file.path, { env: host }), blockError(code, /readOnly/));
    const engine = await openFileEngine(file.path, { env: host, readOnly: true });
    assert.equal(engine.info.limits.read_only, true);
    await engine.close();
  }
});

test('what the host has no more of is told by its name and its limit, never as EIO', async () => {
  using file = new TemporaryFile(4096);
  const limits: readonly (readonly [string, number, RegExp])[] = [
    ['EMFILE', 24, /ulimit -n/],
    ['ENFILE', 23, /fs\.file-max/],
    ['EDQUOT', 122, /quota/],
    ['ENAMETOOLONG', 36, /longer than the file system takes/],
  ];
  for (const [code, errno, words] of limits) {
    const open: FileSystem['open'] = (_name, _flags, _mode, done) =>
      setImmediate(() => done({ code, message: code }, -1));
    const opening = openFileEngine(file.path, { env: envWith({ open }) });
    await assert.rejects(opening, (error) => {
      assert.ok(error instanceof BlockError);
      assert.deepEqual([error.code, error.errno], [code, -errno]);
      return words.test(error.reason);
    });
  }
});

test('create makes a file of the size that is asked for, and takes one that is there', async () => {
  using file = new TemporaryFile(0);
  fs.unlinkSync(file.path);
  const created = await openFileEngine(file.path, { env, create: true, truncateTo: 10_000 });
  assert.equal(created.sizeBytes(), 10_000);
  await created.close();
  fs.writeFileSync(file.path, 'content');
  const opened = await openFileEngine(file.path, { env, create: true });
  assert.equal(opened.sizeBytes(), 7);
  await opened.close();
  const kept = await openFileEngine(file.path, { env, truncateTo: 3 });
  assert.equal(fs.readFileSync(file.path, 'latin1'), 'con');
  await kept.close();
});

test('a refused O_DIRECT is EOPNOTSUPP, and the file that was made for it goes', async () => {
  using file = new TemporaryFile(0);
  fs.unlinkSync(file.path);
  const { O_DIRECT } = env.fs.flags;
  const open: FileSystem['open'] = (name, flags, mode, done) =>
    (flags & O_DIRECT) === 0
      ? env.fs.open(name, flags, mode, done)
      : setImmediate(() => done({ code: 'EINVAL', message: 'EINVAL' }, -1));
  const noFlag = envWith({ flags: { ...env.fs.flags, O_DIRECT: 0 } });
  for (const host of [envWith({ open }), noFlag]) {
    const opening = openFileEngine(file.path, { env: host, direct: true, create: true });
    await assert.rejects(opening, blockError('EOPNOTSUPP', /does not take O_DIRECT/));
    assert.equal(fs.existsSync(file.path), false);
  }
});

function nativeWith(calls: Partial<Native>): Native {
  return {
    kind: 'test',
    isAsync: false,
    directAlignment: () => null,
    fallocate: (_fd, _mode, _start, _bytes, done) => done(-95),
    ioctlRange: (_fd, _request, _start, _bytes, done) => done(-95),
    ioctlNumber: () => -25,
    lseek: () => -22,
    lockWhole: () => -22,
    isLocked: () => -22,
    ...calls,
  };
}

/** A host whose O_DIRECT asks for `needed`, as Linux before 6.18 checks it; no real O_DIRECT. */
function directHost(needed: DirectAlignment, told: DirectAlignment | null, lengthMask: number) {
  const isBad = (view: Uint8Array) =>
    view.byteOffset % needed.memory !== 0 || (view.length & lengthMask) !== 0;
  const refuse = (views: readonly Uint8Array[], position: number) =>
    views.some(isBad) ||
    position % needed.offset !== 0 ||
    views.reduce((sum, view) => sum + view.length, 0) % needed.offset !== 0;
  const plain = ~env.fs.flags.O_DIRECT;
  const einval = { code: 'EINVAL', message: 'EINVAL' };
  const calls: Partial<FileSystem> = {
    flags: { ...env.fs.flags, O_DIRECT: env.fs.flags.O_DIRECT || 0o40000 },
    open: (name, flags, mode, done) => env.fs.open(name, flags & plain, mode, done),
    read: (fd, view, position, done) =>
      refuse([view], position)
        ? setImmediate(() => done(einval, 0))
        : env.fs.read(fd, view, position, done),
    readv: (fd, views, position, done) =>
      refuse(views, position)
        ? setImmediate(() => done(einval, 0))
        : env.fs.readv(fd, views, position, done),
  };
  return envWith(calls, told === null ? null : nativeWith({ directAlignment: () => told }));
}

async function directLimits(
  host: ReturnType<typeof directHost>,
  bytes: number,
): Promise<[number, number, unknown]> {
  using file = new TemporaryFile(bytes);
  const engine = await openFileEngine(file.path, { env: host, direct: true });
  const { limits, facts } = engine.info;
  await engine.close();
  return [limits.logical_block_size, limits.dma_alignment, facts['limits']];
}

test('O_DIRECT limits: statx is believed, but short segments are tried', async () => {
  const nvme = { memory: 4, offset: 512 };
  const disk = { memory: 512, offset: 4096 };
  // From 6.18 on lengths follow the memory alignment; before, a length is whole blocks.
  assert.deepEqual(await directLimits(directHost(nvme, nvme, 3), 2 ** 16), [512, 3, 'statx']);
  assert.deepEqual(await directLimits(directHost(nvme, nvme, 511), 2 ** 16), [512, 511, 'statx']);
  assert.deepEqual(await directLimits(directHost(disk, disk, 511), 2 ** 16), [4096, 511, 'statx']);
  assert.deepEqual(await directLimits(directHost(nvme, nvme, 3), 0), [512, 511, 'statx']);
});

test('O_DIRECT limits without statx are tried; a file too short to tell gets pages', async () => {
  const nvme = { memory: 4, offset: 512 };
  const disk = { memory: 512, offset: 4096 };
  assert.deepEqual(await directLimits(directHost(nvme, null, 3), 2 ** 16), [512, 3, 'trial']);
  assert.deepEqual(await directLimits(directHost(disk, null, 511), 2 ** 16), [4096, 511, 'trial']);
  assert.deepEqual(await directLimits(directHost(nvme, null, 3), 100), [4096, 4095, 'assumed']);
});

test('O_DIRECT that asks for more than is possible, or does not exist, is refused', async () => {
  const none = { memory: 0, offset: 0 };
  const large = { memory: 4096, offset: 2 ** 20 };
  const sane = { memory: 512, offset: 512 };
  const refused = blockError('EOPNOTSUPP', /O_DIRECT/);
  await assert.rejects(directLimits(directHost(sane, none, 511), 8192), refused);
  await assert.rejects(directLimits(directHost(sane, large, 511), 8192), refused);
  await assert.rejects(directLimits(directHost(large, null, 511), 8192), refused);
});

/** A regular file that pretends to be block device 259:300, with a sysfs of its own. */
function blockHost(sysfs: Readonly<Record<string, string>>, native: Native | null) {
  const disguise = (stat: FileStat): FileStat => ({
    size: 0,
    mode: stat.mode - S_IFREG + S_IFBLK,
    dev: 1,
    // 259:300: minor 300 = 0x12c, of which 0x2c stands low and 0x1 above bit 20.
    rdev: 0x100000 + 259 * 256 + 0x2c,
    blksize: 4096,
    blocks: 0,
  });
  const calls: Partial<FileSystem> = {
    stat: (name, done) => env.fs.stat(name, (error, stat) => done(error, disguise(stat))),
    fstat: (fd, done) => env.fs.fstat(fd, (error, stat) => done(error, disguise(stat))),
    readText: (name, done) => {
      const text = sysfs[name.replace('/sys/dev/block/259:300/', '')];
      setImmediate(() =>
        text === undefined
          ? done({ code: 'ENOENT', message: 'ENOENT' }, '')
          : done(null, `${text}\n`),
      );
    },
  };
  return envWith(calls, native);
}

const QUEUE: Readonly<Record<string, string>> = {
  logical_block_size: '512',
  physical_block_size: '4096',
  minimum_io_size: '4096',
  optimal_io_size: '131072',
  dma_alignment: '3',
  max_sectors_kb: '128',
  max_segments: '33',
  discard_granularity: '4096',
  discard_max_bytes: '2147450880',
  rotational: '1',
  write_cache: 'write back',
};

function sysfsOf(folder: string, extra: Readonly<Record<string, string>>) {
  const queue = Object.entries(QUEUE).map(([name, value]) => [`${folder}/${name}`, value]);
  return { size: '128', ro: '0', ...Object.fromEntries(queue), ...extra };
}

test('block device limits come from sysfs; a partition asks the queue of its disk', async () => {
  using file = new TemporaryFile(pattern(65536));
  for (const [folder, extra] of [
    ['queue', {}],
    ['../queue', { partition: '2' }],
  ] as const) {
    const host = blockHost(sysfsOf(folder, extra), nativeWith({}));
    const engine = await openFileEngine(file.path, { env: host });
    const { limits, facts, fixedSize, byteGranular } = engine.info;
    assert.equal(engine.sizeBytes(), 65536);
    assert.equal(fixedSize && !byteGranular, true);
    assert.equal(limits.physical_block_size, 4096);
    assert.equal(limits.io_opt, 131072);
    assert.equal(limits.rotational, true);
    assert.equal(limits.dma_alignment, 0, 'the page cache takes any address');
    assert.equal(limits.max_segments, 1024, 'the kernel cuts to the queue by itself');
    assert.equal(limits.discard_granularity, 4096);
    assert(limits.max_discard_sectors > 0);
    assert.equal(facts['limits'], 'sysfs');
    assert.equal(facts['partition'], folder === '../queue');
    assert.equal(facts['queue_max_bytes'], 131072);
    await engine.close();
  }
});

test('a block device that is read-only, cannot discard, or is too small says so', async () => {
  using file = new TemporaryFile(pattern(65536));
  const host = blockHost(
    sysfsOf('queue', { ro: '1', 'queue/discard_max_bytes': '0' }),
    nativeWith({}),
  );
  const engine = await openFileEngine(file.path, { env: host });
  assert.equal(engine.info.limits.read_only, true);
  assert.equal(engine.info.limits.max_discard_sectors, 0);
  await assert.rejects(engine.truncate(1), blockError('EINVAL', /keeps its size/));
  await engine.close();
  const larger = openFileEngine(file.path, { env: host, truncateTo: 65537 });
  await assert.rejects(larger, blockError('ENOSPC', /has 65536 bytes, 65537 are needed/));
});

test('without sysfs the ioctls tell; without both there is an error', async () => {
  using file = new TemporaryFile(pattern(65536));
  const answers = new Map([
    [BLKGETSIZE64, 65536],
    [BLKSSZGET, 512],
    [BLKPBSZGET, 4096],
    [BLKROTATIONAL, 0],
  ]);
  const native = nativeWith({ ioctlNumber: (_fd, request) => answers.get(request) ?? -25 });
  const engine = await openFileEngine(file.path, { env: blockHost({}, native) });
  assert.equal(engine.sizeBytes(), 65536);
  assert.equal(engine.info.limits.physical_block_size, 4096);
  assert.equal(engine.info.facts['limits'], 'ioctl');
  await engine.close();
  for (const host of [blockHost({}, null), blockHost({}, nativeWith({}))]) {
    const opening = openFileEngine(file.path, { env: host });
    await assert.rejects(opening, blockError('ENODEV', /neither sysfs nor an ioctl/));
  }
});
