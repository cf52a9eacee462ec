import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Errno } from '../base/errno.ts';
import { BioOp } from '../bio/bio-op.ts';
import { IovIter, IterDirection } from '../iter/iov-iter.ts';
import { FrameFlag } from '../memory/region.unsafe.ts';
import { at, CacheRig, PAGE, pattern, type RigOptions } from './cache-rig.fuzz.ts';
import type { ExtentFile } from './extent-file.ts';
import { hasFlag } from './folio-flags.ts';

const SLOW_NS = 50_000_000;

/** The `nth` request of its kind takes very long. */
function slow(op: BioOp, nth = 1): RigOptions {
  return { rules: [{ nth, op, fault: { kind: 'delay', delayNs: SLOW_NS } }] };
}

/** What a call answered; null while it runs. */
interface Answer {
  result: number | null;
}

function started(start: (end: (op: unknown, result: number) => void) => unknown): Answer {
  const answer: Answer = { result: null };
  start((_op, result) => {
    answer.result = result;
  });
  return answer;
}

/** Until the engine has something in flight. */
function untilInFlight(rig: CacheRig): void {
  while (rig.engine.inFlight === 0) assert.ok(rig.clock.step(), 'nothing goes to the device');
}

/** Runs everything but what is slow. */
function meanwhile(rig: CacheRig): void {
  const end = rig.clock.nowNs + SLOW_NS / 2;
  rig.clock.schedule(SLOW_NS / 2, () => {}, 0);
  while (rig.clock.nowNs < end) assert.ok(rig.clock.step());
}

function startRead(file: ExtentFile, bytes: Uint8Array, direct: boolean): Answer {
  const iter = new IovIter();
  iter.initView(IterDirection.DEST, bytes);
  return started((end) => file.startRead(0, iter, { direct }, end));
}

describe('truncate', () => {
  test('waits for writeback in flight, so that its blocks are nobody else’s before', () => {
    using rig = new CacheRig(slow(BioOp.WRITE));
    const file = rig.file();
    const other = rig.file({ name: 'other' });
    rig.write(file, 0, pattern(4 * PAGE));
    file.writeOut();
    untilInFlight(rig);
    const free = rig.blocks.free;
    const truncated = started((end) => file.startTruncate(PAGE, end));
    meanwhile(rig);
    assert.equal(truncated.result, null);
    assert.equal(file.size, PAGE, 'nobody sees the bytes any more');
    assert.equal(rig.read(file, 0, 4 * PAGE).length, PAGE);
    assert.equal(rig.blocks.free, free);
    rig.settle();
    assert.equal(truncated.result, 0);
    assert.equal(rig.blocks.free, free + 3);
    const bytes = pattern(8 * PAGE, 3);
    rig.write(other, 0, bytes);
    assert.equal(rig.fsync(other), 0);
    assert.deepEqual(rig.onDevice(other), bytes);
    assert.deepEqual(rig.onDevice(file), pattern(PAGE));
  });

  test('of a file that direct writes wait for: each makes it longer alone', () => {
    // The read holds the file, so truncate and writes stand behind it; the first write then fails.
    const eio = { kind: 'error', errno: Errno.EIO } as const;
    using rig = new CacheRig({
      rules: [
        { nth: 1, op: BioOp.READ, fault: { kind: 'delay', delayNs: SLOW_NS } },
        { nth: 1, op: BioOp.WRITE, fault: eio },
      ],
    });
    const file = rig.file({ existing: { block: 0, bytes: 8 * PAGE } });
    startRead(file, new Uint8Array(PAGE), true);
    untilInFlight(rig);
    const truncated = started((end) => file.startTruncate(PAGE, end));
    const write = (index: number, data: Uint8Array): Answer => {
      const iter = new IovIter();
      iter.initView(IterDirection.SOURCE, data);
      return started((end) => file.startWrite(index * PAGE, iter, { direct: true }, end));
    };
    const failing = write(2, pattern(4 * PAGE, 5));
    const data = pattern(2 * PAGE, 6);
    const good = write(3, data);
    rig.settle();
    assert.deepEqual([truncated.result, failing.result, good.result], [0, -5, 2 * PAGE]);
    assert.equal(file.size, 5 * PAGE);
    assert.deepEqual(rig.read(file, 3 * PAGE, 2 * PAGE, { direct: true }), data);
    assert.equal(rig.shape(file, 8), 'MHHMMHHH');
  });

  test('waits for a buffered read in flight, which ends at the new end', () => {
    using rig = new CacheRig(slow(BioOp.READ));
    const file = rig.file({ existing: { block: 0, bytes: 4 * PAGE } });
    const reading = startRead(file, new Uint8Array(4 * PAGE), false);
    untilInFlight(rig);
    const truncated = started((end) => file.startTruncate(PAGE, end));
    meanwhile(rig);
    assert.equal(truncated.result, null);
    rig.settle();
    assert.equal(truncated.result, 0);
    assert.equal(reading.result, PAGE);
    assert.equal(rig.truncate(file, 2 * PAGE), 0);
    const expected = new Uint8Array(2 * PAGE).fill(0xee, 0, PAGE);
    assert.deepEqual(rig.read(file, 0, 2 * PAGE), expected);
  });

  test('waits for direct reads and writes in flight', () => {
    for (const op of [BioOp.READ, BioOp.WRITE]) {
      using rig = new CacheRig(slow(op, op === BioOp.READ ? 1 : 2));
      const file = rig.file();
      const data = pattern(4 * PAGE);
      assert.equal(rig.write(file, 0, data, { direct: true }), data.length);
      const bytes = pattern(4 * PAGE, 2);
      const iter = new IovIter();
      const isRead = op === BioOp.READ;
      iter.initView(isRead ? IterDirection.DEST : IterDirection.SOURCE, bytes);
      const moving = started((end) =>
        isRead
          ? file.startRead(0, iter, { direct: true }, end)
          : file.startWrite(0, iter, { direct: true }, end),
      );
      untilInFlight(rig);
      const truncated = started((end) => file.startTruncate(0, end));
      meanwhile(rig);
      assert.equal(truncated.result, null);
      assert.equal(file.size, 4 * PAGE);
      rig.settle();
      assert.equal(moving.result, 4 * PAGE);
      assert.equal(truncated.result, 0);
      assert.equal(file.extents.blocks, 0);
      if (isRead) assert.deepEqual(bytes, data);
    }
  });

  test('to a part of a page: the rest is zeros, in memory and on the device, also later', () => {
    using rig = new CacheRig();
    const file = rig.file();
    rig.write(file, 0, pattern(2 * PAGE));
    assert.equal(rig.fsync(file), 0);
    rig.memory.reclaim(10);
    assert.equal(rig.truncate(file, 1000), 0);
    assert.equal(rig.truncate(file, 2 * PAGE), 0);
    const expected = new Uint8Array(2 * PAGE);
    expected.set(pattern(1000));
    assert.deepEqual(rig.read(file, 0, 2 * PAGE), expected);
    assert.equal(rig.fsync(file), 0);
    assert.deepEqual(rig.onDevice(file), expected);
    assert.equal(rig.shape(file), 'MH');
  });
});

test('behind the end of the file a mapping sees zeros, not what the frame had before', () => {
  using rig = new CacheRig({ frames: 4 });
  const space = rig.space(3);
  assert.equal(space.write(at(0), pattern(3 * PAGE, 9)), 3 * PAGE);
  space.munmap(at(0), 3 * PAGE);
  const file = rig.file();
  rig.write(file, 0, pattern(10));
  rig.mapFile(space, file, 0x4000_0000, 1);
  const seen = new Uint8Array(PAGE).fill(1);
  assert.equal(space.read(0x4000_0000, seen), PAGE);
  const expected = new Uint8Array(PAGE);
  expected.set(pattern(10));
  assert.deepEqual(seen, expected);
});

test('nor what the device has there', () => {
  using rig = new CacheRig();
  const file = rig.file({ existing: { block: 0, bytes: 10 } });
  const space = rig.space();
  rig.read(file, 0, 10);
  rig.mapFile(space, file, 0x4000_0000, 1);
  const seen = new Uint8Array(PAGE).fill(1);
  assert.equal(space.read(0x4000_0000, seen), PAGE);
  assert.deepEqual(seen, new Uint8Array(PAGE).fill(0xee, 0, 10));
});

test('what a mapping writes behind the end never becomes part of the file', () => {
  const grow: ((rig: CacheRig, file: ExtentFile) => number)[] = [
    (rig, file) => rig.truncate(file, 2 * PAGE),
    (rig, file) => rig.allocate(file, 0, 2 * PAGE),
    (rig, file) => rig.write(file, 2 * PAGE - 1, new Uint8Array(1)) - 1,
    (rig, file) => rig.write(file, 2 * PAGE - 512, new Uint8Array(512), { direct: true }) - 512,
  ];
  for (const how of grow) {
    using rig = new CacheRig();
    const file = rig.file();
    const space = rig.space();
    rig.write(file, 0, pattern(1000));
    rig.mapFile(space, file, 0x4000_0000, 2);
    assert.equal(space.write(0x4000_0000 + 900, pattern(200, 3)), 200);
    assert.equal(how(rig, file), 0);
    assert.equal(file.size, 2 * PAGE);
    const expected = new Uint8Array(2 * PAGE);
    expected.set(pattern(1000).subarray(0, 900));
    expected.set(pattern(200, 3).subarray(0, 100), 900);
    assert.deepEqual(rig.read(file, 0, 2 * PAGE), expected);
    assert.equal(rig.fsync(file), 0);
    assert.deepEqual(rig.onDevice(file), expected);
  }
});

describe('stable pages', () => {
  for (const stablePages of [true, false]) {
    test(`a write to a page under writeback ${stablePages ? 'waits' : 'does not wait'}`, () => {
      using rig = new CacheRig(slow(BioOp.WRITE));
      const file = rig.file({ stablePages });
      const [old, fresh] = [pattern(PAGE), pattern(PAGE, 2)];
      rig.write(file, 0, old);
      file.writeOut();
      untilInFlight(rig);
      const iter = new IovIter();
      iter.initView(IterDirection.SOURCE, fresh);
      const writing = started((end) => file.startWrite(0, iter, {}, end));
      meanwhile(rig);
      assert.equal(writing.result, stablePages ? null : PAGE);
      while (rig.engine.inFlight > 0) assert.ok(rig.clock.step());
      assert.deepEqual(rig.onDevice(file), stablePages ? old : fresh);
      rig.settle();
      assert.equal(rig.fsync(file), 0);
      assert.deepEqual(rig.onDevice(file), fresh);
    });

    test(`a store to such a page ${stablePages ? 'waits' : 'does not wait'}`, () => {
      using rig = new CacheRig(slow(BioOp.WRITE));
      const file = rig.file({ stablePages });
      const space = rig.space();
      rig.write(file, 0, pattern(PAGE));
      rig.mapFile(space, file, 0x4000_0000, 1);
      assert.equal(space.write(0x4000_0000, pattern(8, 2)), 8);
      file.writeOut(); // Write-protects the mapping.
      untilInFlight(rig);
      assert.equal(space.write(0x4000_0000, pattern(8, 3)), stablePages ? 0 : 8);
      if (!stablePages) return;
      assert.equal(space.copyError, -Errno.EAGAIN);
      let isAwake = false;
      space.whenReady(() => {
        isAwake = true;
      });
      meanwhile(rig);
      assert.equal(isAwake, false);
      rig.settle();
      assert.equal(isAwake, true);
      assert.equal(space.write(0x4000_0000, pattern(8, 3)), 8);
      assert.equal(rig.fsync(file), 0);
      assert.deepEqual(rig.onDevice(file).slice(0, 8), pattern(8, 3));
    });
  }
});

test('fsync waits for what others write back, and writes what was dirtied meanwhile', () => {
  using rig = new CacheRig(slow(BioOp.WRITE));
  const file = rig.file({ stablePages: false });
  rig.write(file, 0, pattern(PAGE));
  file.writeOut();
  untilInFlight(rig);
  rig.write(file, 0, pattern(PAGE, 2));
  const synced = started((end) => file.startSync(end));
  meanwhile(rig);
  assert.equal(synced.result, null);
  rig.settle();
  assert.equal(synced.result, 0);
  assert.deepEqual(rig.onDevice(file), pattern(PAGE, 2));
});

test('a sync of some pages writes those and no others', () => {
  using rig = new CacheRig();
  const file = rig.file();
  rig.write(file, 0, pattern(4 * PAGE));
  assert.equal(
    rig.wait((end) => file.startSync(end, null, 1, 3)),
    0,
  );
  assert.equal(rig.shape(file), 'HMMH');
  assert.equal(file.cache.countDirty(), 2);
});

test('a direct read sees what was written through the cache just before', () => {
  using rig = new CacheRig();
  const file = rig.file();
  const bytes = pattern(3 * PAGE + 77);
  rig.write(file, 0, bytes);
  assert.deepEqual(rig.read(file, 0, 5 * PAGE, { direct: true }), bytes);
});

test('copy: never takes what the device can take as it lies, and refuses the rest', () => {
  using rig = new CacheRig();
  const file = rig.file();
  const space = rig.space(4);
  const bytes = pattern(2 * PAGE + 100);
  rig.write(file, 0, bytes);
  const never = { direct: true, copy: 'never' } as const;
  assert.equal(rig.readUser(file, 512, space, at(0), 1024, never), 1024);
  // The last block comes whole, the count ends with the file.
  assert.equal(rig.readUser(file, PAGE, space, at(0), 3 * PAGE, never), PAGE + 100);
  assert.equal(rig.readUser(file, 100, space, at(0), 1024, never), -Errno.EINVAL);
  assert.equal(rig.writeUser(file, 512, space, at(0) + 1, 512, never), -Errno.EINVAL);
  assert.equal(rig.writeUser(file, 512, space, at(0), 512, never), 512);
  assert.equal(
    rig.device.counters.bytesCopied.reduce((sum, count) => sum + count, 0),
    0,
  );
  assert.equal(rig.readUser(file, 100, space, at(0), 1024, { direct: true }), 1024);
});

test('a cached page does not outlive a direct write, also when it came during it', () => {
  using rig = new CacheRig(slow(BioOp.WRITE, 2));
  const file = rig.file();
  rig.write(file, 0, pattern(2 * PAGE));
  assert.equal(rig.fsync(file), 0);
  const fresh = pattern(2 * PAGE, 4);
  const iter = new IovIter();
  iter.initView(IterDirection.SOURCE, fresh);
  const writing = started((end) => file.startWrite(0, iter, { direct: true }, end));
  untilInFlight(rig);
  assert.equal(file.cache.pages, 0);
  assert.deepEqual(rig.read(file, 0, PAGE), pattern(PAGE), 'the old bytes are cached again');
  assert.equal(writing.result, null);
  rig.settle();
  assert.equal(writing.result, 2 * PAGE);
  assert.deepEqual(rig.read(file, 0, 2 * PAGE), fresh);
});

test('a store to a hole that a direct write is about to fill: no promise is left over', () => {
  using rig = new CacheRig(slow(BioOp.WRITE, 2));
  const file = rig.file();
  const space = rig.space();
  rig.write(file, 0, pattern(PAGE), { direct: true });
  rig.truncate(file, 2 * PAGE);
  rig.mapFile(space, file, 0x4000_0000, 2);
  const iter = new IovIter();
  iter.initView(IterDirection.SOURCE, pattern(2 * PAGE, 2));
  const writing = started((end) => file.startWrite(0, iter, { direct: true }, end));
  untilInFlight(rig);
  assert.equal(space.write(0x4000_0000 + PAGE, pattern(PAGE, 3)), PAGE);
  assert.equal(rig.blocks.reserved, 1);
  rig.settle();
  assert.equal(writing.result, 2 * PAGE);
  assert.equal(file.counters.staleAfterDirect, 1, 'as Linux: both wrote, and one is last');
  assert.equal(rig.fsync(file), 0);
  assert.equal(rig.blocks.reserved, 0);
  assert.deepEqual(rig.onDevice(file).slice(PAGE), pattern(PAGE, 3));
});

test('pages are borrowed in flight: no reference but the cache’s, no pin', () => {
  using rig = new CacheRig(slow(BioOp.WRITE));
  const file = rig.file();
  rig.write(file, 0, pattern(3 * PAGE));
  file.writeOut();
  untilInFlight(rig);
  const page = file.cache.pageAt(0);
  const { region } = rig.memory;
  assert.ok(hasFlag(page, FrameFlag.WRITEBACK));
  assert.ok(!hasFlag(page, FrameFlag.LOCKED | FrameFlag.DIRTY));
  assert.equal(region.refs[page - region.firstPage], 1);
  assert.equal(region.pins[page - region.firstPage], 0);
  assert.equal(file.cache.replaced(page, page), false, 'its place is on the way to the device');
  rig.settle();
  const { bytesMapped, bytesCopied } = rig.device.counters;
  assert.equal(bytesMapped, 3 * PAGE, 'the pages themselves went, in one transfer');
  assert.equal(
    bytesCopied.reduce((sum, bytes) => sum + bytes, 0),
    0,
  );
  assert.equal(rig.engine.plan.injected, 0);
});
