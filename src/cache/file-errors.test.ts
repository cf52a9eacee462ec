import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BlockError } from '../base/block-error.ts';
import { Errno } from '../base/errno.ts';
import { BioOp } from '../bio/bio-op.ts';
import { IovIter, IterDirection } from '../iter/iov-iter.ts';
import { Access } from '../memory/address-space.ts';
import { folioPages } from '../memory/holds.ts';
import { FaultFlag } from '../memory/user/area.ts';
import type { UserSpace } from '../memory/user/user-space.ts';
import type { FaultRule } from '../testing/simulator/fault-plan.ts';
import { BlockAllocator } from './block-allocator.ts';
import { at, CacheRig, PAGE, pattern } from './cache-rig.fuzz.ts';
import { ErrorCursor } from './error-sequence.ts';
import { ExtentFile } from './extent-file.ts';

const MAP = 0x4000_0000;

function fails(op: BioOp, ...nths: number[]): FaultRule[] {
  return nths.map((nth) => ({ nth, op, fault: { kind: 'error', errno: Errno.EIO } }));
}

describe('a device that is full', () => {
  test('a buffered write is short, then -ENOSPC; what was taken can be written back', () => {
    using rig = new CacheRig({ blocks: 4 });
    const file = rig.file();
    const bytes = pattern(6 * PAGE);
    assert.equal(rig.write(file, 0, bytes), 4 * PAGE);
    assert.equal(rig.write(file, 4 * PAGE, bytes.slice(4 * PAGE)), -Errno.ENOSPC);
    assert.equal(rig.blocks.reserved, 4);
    assert.equal(file.cache.pages, 4, 'no page is left of the failure');
    assert.equal(rig.fsync(file), 0, 'every dirty page had its block promised');
    assert.deepEqual(rig.onDevice(file), bytes.slice(0, 4 * PAGE));
    assert.equal(rig.write(file, 0, pattern(PAGE, 3)), PAGE, 'over old blocks there is room');
    assert.equal(rig.fsync(file), 0);
  });

  test('a direct write is short, then -ENOSPC; promised blocks are not taken', () => {
    using rig = new CacheRig({ blocks: 4 });
    const file = rig.file();
    const other = rig.file({ name: 'other' });
    assert.equal(rig.write(other, 0, pattern(PAGE)), PAGE);
    const bytes = pattern(6 * PAGE);
    assert.equal(rig.write(file, 0, bytes, { direct: true }), 3 * PAGE);
    assert.equal(rig.write(file, 3 * PAGE, bytes, { direct: true }), -Errno.ENOSPC);
    assert.equal(rig.fsync(other), 0);
    assert.deepEqual(rig.onDevice(other), pattern(PAGE));
    assert.deepEqual(rig.onDevice(file), bytes.slice(0, 3 * PAGE));
  });

  test('a store to a hole is refused before it happens; a load is not', () => {
    using rig = new CacheRig({ blocks: 2 });
    const file = rig.file();
    const other = rig.file({ name: 'other' });
    const space = rig.space();
    rig.truncate(file, 2 * PAGE);
    assert.equal(rig.write(other, 0, pattern(PAGE)), PAGE);
    rig.mapFile(space, file, MAP, 2);
    assert.equal(space.write(MAP, pattern(PAGE)), PAGE);
    assert.equal(space.write(MAP + PAGE, pattern(PAGE)), 0);
    assert.equal(space.copyError, -Errno.ENOSPC);
    const seen = new Uint8Array(PAGE).fill(1);
    assert.equal(space.read(MAP + PAGE, seen), PAGE);
    assert.deepEqual(seen, new Uint8Array(PAGE));
    assert.equal(rig.fsync(file), 0);
    assert.equal(rig.fsync(other), 0);
  });

  test('allocate is all or nothing, uses what was promised, and reads as zeros', () => {
    using rig = new CacheRig({ blocks: 4 });
    const file = rig.file();
    assert.equal(rig.write(file, PAGE, pattern(PAGE)), PAGE);
    assert.equal(rig.allocate(file, 0, 5 * PAGE), -Errno.ENOSPC);
    assert.equal(rig.shape(file, 5), 'HHHHH');
    assert.equal(rig.allocate(file, 0, 4 * PAGE, true), 0);
    assert.equal(file.size, 2 * PAGE);
    assert.equal(rig.shape(file, 4), 'UUUU');
    assert.equal(rig.blocks.reserved, 0);
    assert.equal(rig.fsync(file), 0);
    assert.equal(rig.shape(file, 4), 'UMUU');
    assert.deepEqual(rig.read(file, 0, PAGE, { direct: true }), new Uint8Array(PAGE));
    assert.equal(rig.truncate(file, 4 * PAGE), 0, 'prealloc ends with a truncate to more');
    assert.equal(rig.write(file, 2 * PAGE, pattern(2 * PAGE), { direct: true }), 2 * PAGE);
    assert.equal(rig.shape(file, 4), 'UMMM');
  });
});

describe('a disk that fails', () => {
  test('a bad block fails its own page, not the read-ahead around it', () => {
    // The read of eight fails, then that of page 0 alone; page 1 comes.
    using rig = new CacheRig({ rules: fails(BioOp.READ, 1, 2) });
    const file = rig.file({ existing: { block: 0, bytes: 8 * PAGE } });
    const iter = new IovIter();
    const target = new Uint8Array(8 * PAGE);
    iter.initView(IterDirection.DEST, target);
    const failed = rig.wait((end) => file.startRead(0, iter, {}, end));
    assert.equal(failed, -Errno.EIO);
    assert.deepEqual(rig.read(file, PAGE, PAGE), new Uint8Array(PAGE).fill(0xee));
    assert.deepEqual(rig.read(file, 0, PAGE), new Uint8Array(PAGE).fill(0xee), 'asked again');
  });

  test('a larger folio that cannot be read is read page by page', () => {
    using rig = new CacheRig({ rules: fails(BioOp.READ, 1, 2) });
    const file = rig.file({ existing: { block: 0, bytes: 8 * PAGE }, folioOrder: 3 });
    const iter = new IovIter();
    iter.initView(IterDirection.DEST, new Uint8Array(8 * PAGE));
    assert.equal(
      rig.wait((end) => file.startRead(0, iter, {}, end)),
      -Errno.EIO,
    );
    assert.deepEqual(rig.read(file, PAGE, PAGE), new Uint8Array(PAGE).fill(0xee));
    assert.equal(folioPages(file.cache.pageAt(1)), 1);
  });

  test('what the device does not have yet is zeros: it may be a file that grows', () => {
    using rig = new CacheRig({ frames: 8 });
    const space = rig.space(6);
    assert.equal(space.write(at(0), pattern(6 * PAGE, 9)), 6 * PAGE);
    space.munmap(at(0), 6 * PAGE);
    const blocks = new BlockAllocator(200);
    const file = rig.file({ blocks, existing: { block: 94, bytes: 4 * PAGE } });
    const expected = new Uint8Array(4 * PAGE).fill(0xee, 0, 2 * PAGE);
    assert.deepEqual(rig.read(file, 0, 4 * PAGE), expected);
    assert.equal(file.counters.shortTransfers, 1);
  });

  test('an error behind read bytes makes the read short', () => {
    using rig = new CacheRig({ rules: fails(BioOp.READ, 2, 3) });
    const file = rig.file({ existing: { block: 0, bytes: 8 * PAGE } });
    // It starts in the middle, so nothing is read ahead.
    assert.equal(rig.read(file, PAGE, PAGE).length, PAGE);
    assert.equal(rig.read(file, PAGE, 7 * PAGE).length, PAGE);
  });

  test('a failed writeback is told to each opener once; the bytes stay dirty', () => {
    using rig = new CacheRig({ rules: fails(BioOp.WRITE, 1) });
    const file = rig.file();
    const cursors = [new ErrorCursor(), new ErrorCursor()];
    const sync = (cursor: ErrorCursor | undefined): number =>
      rig.wait((end) => file.startSync(end, cursor));
    for (const cursor of cursors) file.errors.open(cursor);
    rig.write(file, 0, pattern(2 * PAGE));
    file.writeOut();
    rig.settle();
    assert.equal(file.cache.countDirty(), 2);
    assert.equal(rig.shape(file), 'UU', 'nothing of it counts as written');
    assert.equal(sync(cursors[0]), -Errno.EIO);
    assert.equal(sync(cursors[0]), 0);
    assert.equal(sync(cursors[1]), -Errno.EIO);
    assert.equal(sync(cursors[1]), 0);
    assert.deepEqual(rig.onDevice(file), pattern(2 * PAGE));
  });

  test('a failed flush is the result of fsync', () => {
    using rig = new CacheRig({ rules: fails(BioOp.FLUSH, 1), limits: { write_cache: true } });
    const file = rig.file();
    rig.write(file, 0, pattern(PAGE));
    assert.equal(rig.fsync(file), -Errno.EIO);
    assert.equal(rig.fsync(file), 0);
  });

  test('an error of a direct write wins over bytes, and shows nothing of the new blocks', () => {
    using rig = new CacheRig({ rules: fails(BioOp.WRITE, 2) });
    const file = rig.file();
    assert.equal(rig.write(file, 0, pattern(PAGE), { direct: true }), PAGE);
    assert.equal(rig.write(file, 0, pattern(3 * PAGE, 2), { direct: true }), -Errno.EIO);
    assert.equal(file.size, PAGE);
    assert.equal(rig.truncate(file, 3 * PAGE), 0);
    assert.deepEqual(rig.read(file, PAGE, 2 * PAGE), new Uint8Array(2 * PAGE));
  });

  test('a direct read does not give old bytes when the dirty ones cannot be written', () => {
    using rig = new CacheRig({ rules: fails(BioOp.WRITE, 2) });
    const file = rig.file();
    rig.write(file, 0, pattern(PAGE));
    assert.equal(rig.fsync(file), 0);
    rig.write(file, 0, pattern(PAGE, 2));
    const iter = new IovIter();
    iter.initView(IterDirection.DEST, new Uint8Array(PAGE));
    const direct = { direct: true };
    assert.equal(
      rig.wait((end) => file.startRead(0, iter, direct, end)),
      -Errno.EIO,
    );
    assert.deepEqual(rig.read(file, 0, PAGE, direct), pattern(PAGE, 2));
  });
});

describe('memory of the caller', () => {
  test('a fault in the middle of a buffered write: the bytes before it, then -EFAULT', () => {
    for (const isCached of [false, true]) {
      using rig = new CacheRig();
      const file = rig.file();
      if (isCached) rig.write(file, 0, pattern(4 * PAGE, 9));
      const space = rig.space(3);
      assert.equal(space.write(at(0), pattern(3 * PAGE)), 3 * PAGE);
      space.munmap(at(1), PAGE);
      // 100 bytes into the page: the fault comes in the middle of a page of the file.
      assert.equal(rig.writeUser(file, 0, space, at(0) + 100, 2 * PAGE), PAGE - 100);
      const rest = rig.writeUser(file, PAGE - 100, space, at(1), PAGE);
      assert.equal(rest, -Errno.EFAULT);
      const expected = isCached ? pattern(4 * PAGE, 9) : new Uint8Array(PAGE - 100);
      expected.set(pattern(3 * PAGE).subarray(100, PAGE));
      assert.deepEqual(rig.read(file, 0, 4 * PAGE), expected);
    }
  });

  test('a fault in the middle of a read: the bytes before it, then -EFAULT', () => {
    for (const direct of [false, true]) {
      using rig = new CacheRig();
      const file = rig.file();
      rig.write(file, 0, pattern(3 * PAGE));
      const space = rig.space(3);
      space.munmap(at(1), PAGE);
      assert.equal(rig.readUser(file, 0, space, at(0), 3 * PAGE, { direct }), PAGE);
      assert.equal(rig.readUser(file, PAGE, space, at(1), PAGE, { direct }), -Errno.EFAULT);
    }
  });

  test('a write from a mapping of the very page that it writes does not wait for itself', () => {
    for (const direct of [false, true]) {
      // One of everything: the fault needs the very device that waits for it.
      using rig = new CacheRig({ bios: 1, depth: 1 });
      const file = rig.file({ existing: { block: 0, bytes: 4 * PAGE } });
      const space = rig.space();
      rig.mapFile(space, file, MAP, 4);
      // Uncached: the copy needs the page that it is about to fill.
      assert.equal(rig.writeUser(file, 0, space, MAP, 2 * PAGE, { direct }), 2 * PAGE);
      assert.deepEqual(rig.read(file, 0, 2 * PAGE), new Uint8Array(2 * PAGE).fill(0xee));
      assert.equal(rig.readUser(file, 2 * PAGE, space, MAP, 2 * PAGE, { direct }), 2 * PAGE);
    }
  });

  test('a fault of the copy cannot take the very page that is copied', () => {
    using rig = new CacheRig({ frames: 8 });
    const file = rig.file({ existing: { block: 0, bytes: PAGE } });
    const space = rig.space(8);
    // The zero page, six of the process, and one of the cache: no frame is left.
    assert.equal(space.write(at(0), pattern(6 * PAGE)), 6 * PAGE);
    assert.equal(rig.readUser(file, 0, space, at(0), PAGE), PAGE);
    assert.equal(rig.memory.usedPages, 8);
    assert.equal(rig.readUser(file, 0, space, at(6), PAGE), -Errno.ENOMEM);
    space.munmap(at(0), PAGE);
    assert.equal(rig.readUser(file, 0, space, at(6), PAGE), PAGE);
    const seen = new Uint8Array(PAGE);
    assert.equal(space.read(at(6), seen), PAGE);
    assert.deepEqual(seen, new Uint8Array(PAGE).fill(0xee));
  });

  test('nothing is left when there is no frame for a page', () => {
    using rig = new CacheRig({ frames: 16 });
    const file = rig.file({ existing: { block: 0, bytes: 32 * PAGE } });
    const space = rig.space(13);
    assert.equal(space.write(at(0), pattern(13 * PAGE)), 13 * PAGE);
    rig.memory.allocationsLeft = 0;
    assert.equal(rig.writeUser(file, 0, space, at(0), PAGE), -Errno.ENOMEM);
    assert.equal(rig.readUser(file, 0, space, at(0), PAGE), -Errno.ENOMEM);
    rig.memory.allocationsLeft = Number.POSITIVE_INFINITY;
    // Two frames are left for a file of 32 pages: reads and writes go on through them.
    assert.equal(rig.writeUser(file, 0, space, at(0), 13 * PAGE), 13 * PAGE);
    assert.equal(rig.fsync(file), 0);
    assert.deepEqual(rig.onDevice(file).slice(0, 13 * PAGE), pattern(13 * PAGE));
  });
});

describe('mappings', () => {
  /** A fault as the page fault handler of a machine asks for it. */
  const fault = (space: UserSpace, index: number, flags: number): number =>
    space.fault(MAP + index * PAGE, Access.READ, flags);

  test('a page that is not there is waited for; holes and the end are answered at once', () => {
    using rig = new CacheRig();
    const file = rig.file({ existing: { block: 0, bytes: PAGE } });
    const space = rig.space();
    rig.truncate(file, PAGE + 10);
    rig.mapFile(space, file, MAP, 4);
    assert.equal(fault(space, 0, FaultFlag.ALLOW_RETRY), -Errno.EAGAIN);
    let isAwake = false;
    space.whenReady(() => {
      isAwake = true;
    });
    assert.equal(isAwake, false);
    rig.settle();
    assert.equal(isAwake, true);
    assert.equal(fault(space, 0, FaultFlag.ALLOW_RETRY), 0);
    assert.equal(fault(space, 1, FaultFlag.ALLOW_RETRY), 0, 'a hole');
    assert.equal(fault(space, 2, FaultFlag.ALLOW_RETRY), -Errno.EFAULT, 'behind the end');
    assert.equal(space.handlerError, null);
    space.exit();
    rig.spaces.length = 0;
    assert.equal(file.areas, 0);
  });

  test('NOWAIT keeps the lock; without leave to retry there is no page', () => {
    using rig = new CacheRig();
    const file = rig.file({ existing: { block: 0, bytes: 32 * PAGE } });
    const space = rig.space();
    rig.mapFile(space, file, MAP, 32);
    const nowait = FaultFlag.ALLOW_RETRY | FaultFlag.RETRY_NOWAIT;
    assert.equal(fault(space, 0, nowait), -Errno.EAGAIN);
    assert.equal(fault(space, 20, 0), -Errno.EFAULT);
    assert.equal(space.handlerError, null, 'both are legal answers');
  });

  test('a page that cannot be read is -EFAULT, not a retry for ever', () => {
    using rig = new CacheRig({ rules: fails(BioOp.READ, 1, 2, 3) });
    const file = rig.file({ existing: { block: 0, bytes: 4 * PAGE } });
    const space = rig.space();
    rig.mapFile(space, file, MAP, 4);
    let result: number = -Errno.EAGAIN;
    let rounds = 0;
    for (; result === -Errno.EAGAIN; rounds++) {
      assert.ok(rounds < 5);
      result = fault(space, 0, FaultFlag.ALLOW_RETRY);
      if (result === -Errno.EAGAIN) space.whenReady(() => {});
      rig.settle();
    }
    assert.equal(result, -Errno.EFAULT);
    assert.equal(rounds, 3, 'with its neighbours, then alone, then no more');
  });
});

test('blocks of a device that are larger than a page, files that are too long', () => {
  using rig = new CacheRig({ limits: { logical_block_size: 4096 } });
  const file = rig.file();
  assert.equal(rig.truncate(file, 2 ** 52), 0);
  assert.equal(rig.truncate(file, 2 ** 52 + 1), -Errno.EFBIG);
  assert.equal(rig.write(file, 2 ** 52 - 1, new Uint8Array(2)), -Errno.EFBIG);
  assert.equal(rig.write(file, 2 ** 52 - 1, pattern(1)), 1);
  assert.equal(rig.fsync(file), 0);
  assert.equal(file.extents.blocks, 1);
  const taken = { device: rig.device, memory: rig.memory, blocks: rig.blocks };
  const existing = { block: 0, bytes: 97 * PAGE };
  assert.throws(() => new ExtentFile({ ...taken, existing }), BlockError);
});

test('promises: the same calls, and a close that gives everything back', async () => {
  using rig = new CacheRig();
  const { device, memory } = rig;
  const file = new ExtentFile({ device, memory, name: 'promised' });
  const pump = setInterval(() => rig.settle(), 0);
  try {
    const bytes = pattern(2 * PAGE);
    const iter = new IovIter();
    iter.initView(IterDirection.SOURCE, bytes);
    assert.equal(await file.write(0, iter), 2 * PAGE);
    const back = new Uint8Array(3 * PAGE);
    iter.initView(IterDirection.DEST, back);
    assert.equal(await file.read(0, iter, { direct: true }), 2 * PAGE);
    assert.deepEqual(back.slice(0, 2 * PAGE), bytes);
    assert.equal(await file.punchHole(0, PAGE), 0);
    assert.equal(await file.allocate(0, 4 * PAGE, { keepSize: true }), 0);
    assert.equal(await file.truncate(PAGE + 1), 0);
    assert.equal(file.size, PAGE + 1);
    assert.equal(await file.fsync(), 0);
    assert.equal(await file.datasync(), 0);
    await file.close();
    assert.equal(file.cache.pages, 0);
  } finally {
    clearInterval(pump);
  }
});
