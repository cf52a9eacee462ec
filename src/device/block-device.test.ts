import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Errno } from '../base/errno.ts';
import { type Probe, ProbePoint } from '../base/probe.ts';
import type { Bio } from '../bio/bio.ts';
import { addSegment } from '../bio/bio-add.ts';
import { BioOp } from '../bio/bio-op.ts';
import { BvecTable } from '../bvec/bvec-table.ts';
import { openRamEngine, type RamEngine } from '../engine/memory/ram-engine.ts';
import { IovIter, IterDirection } from '../iter/iov-iter.ts';
import type { LimitsInput } from '../limits/limits.ts';
import { Arena } from '../memory/arena.ts';
import { HoldKind } from '../memory/holds.ts';
import { BlockDevice } from './block-device.ts';
import type { Transfer } from './transfer.ts';

const SIZE = 256 * 1024;

class Rig implements AsyncDisposable {
  readonly arena = new Arena({ maxBytes: 4 * 2 ** 20, label: 'device' });
  readonly engine: RamEngine;
  readonly device: BlockDevice;

  constructor(limits: LimitsInput = {}) {
    const defer = (run: () => void): void => queueMicrotask(run);
    this.engine = openRamEngine({ sizeBytes: SIZE, limits, defer });
    this.device = new BlockDevice({ engine: this.engine, arena: this.arena });
  }

  run(op: BioOp, position: number, iter: IovIter | null, bytes: number): Promise<number> {
    return new Promise((resolve) => {
      const end = (_transfer: Transfer, result: number): void => resolve(result);
      this.device.transfer(op, position, iter, bytes, {}, end);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.device.assertNothingOutstanding();
    await this.device.close();
    this.arena.assertNothingOutstanding();
    this.arena[Symbol.dispose]();
  }
}

describe('transfers', () => {
  test('a segment list goes to the device and back, whole or copied', async () => {
    for (const limits of [{}, { max_segments: 1, logical_block_size: 4096 }]) {
      await using rig = new Rig(limits);
      using from = rig.arena.alloc(8192);
      using to = rig.arena.alloc(16384);
      for (let i = 0; i < 8192; i++) from.bytes[i] = i % 253;
      const table = new BvecTable(4);
      table.set(0, from.page, 0, 2048, HoldKind.BORROWED);
      table.set(1, from.page, 2048, 6144, HoldKind.BORROWED);
      table.set(2, to.page + 2, 0, 2048, HoldKind.BORROWED);
      table.set(3, to.page, 0, 6144, HoldKind.BORROWED);
      const iter = new IovIter();
      iter.initBvec(IterDirection.SOURCE, table, 0, 2, 0, 8192);
      assert.equal(await rig.run(BioOp.WRITE, 4096, iter, 8192), 8192);
      iter.initBvec(IterDirection.DEST, table, 2, 2, 0, 8192);
      assert.equal(await rig.run(BioOp.READ, 4096, iter, 8192), 8192);
      assert.deepEqual(to.bytes.slice(8192, 10240), from.bytes.slice(0, 2048));
      assert.deepEqual(to.bytes.slice(0, 6144), from.bytes.slice(2048, 8192));
      const { bytesMapped } = rig.device.counters;
      assert.equal(bytesMapped, limits.max_segments === undefined ? 16384 : 0);
    }
  });

  test('nothing at all is 0, later and not from inside the call', async () => {
    await using rig = new Rig();
    const iter = new IovIter();
    iter.initView(IterDirection.DEST, new Uint8Array(0));
    let isDone = false;
    rig.device.transfer(BioOp.READ, 0, iter, 0, {}, () => {
      isDone = true;
    });
    assert.equal(isDone, false);
    await nextTurn();
    assert.equal(isDone, true);
  });

  test('a write with nowait that would have to be split is -EAGAIN', async () => {
    await using rig = new Rig({ max_hw_sectors: 8 });
    using buffer = rig.arena.alloc(8192);
    const iter = new IovIter();
    iter.initView(IterDirection.SOURCE, buffer.bytes);
    const result = await new Promise<number>((resolve) => {
      const end = (_transfer: Transfer, bytes: number): void => resolve(bytes);
      rig.device.transfer(BioOp.WRITE, 0, iter, 8192, { noWait: true }, end);
    });
    assert.equal(result, -Errno.EAGAIN);
  });
});

describe('low level', () => {
  test('bios of the pool: submit, poll, endIo', async () => {
    await using rig = new Rig();
    using buffer = rig.arena.alloc(4096);
    const { device } = rig;
    buffer.bytes.fill(5);
    const ended: number[] = [];
    for (const op of [BioOp.WRITE, BioOp.READ]) {
      const bio = device.bios.acquire(op, 8, 1);
      assert.ok(bio !== null);
      assert.equal(addSegment(bio, buffer.page, 0, 4096, HoldKind.BORROWED), 4096);
      bio.endIo = (done: Bio) => {
        ended.push(done.status);
        assert.equal(device.poll(), 0, 'no turn inside a turn');
        device.bios.release(done);
      };
      device.submitBio(bio);
      assert.equal(ended.length, op === BioOp.WRITE ? 0 : 1);
      while (device.poll() === 0);
    }
    assert.deepEqual(ended, [0, 0]);
    assert.deepEqual(buffer.bytes.slice(0), new Uint8Array(4096).fill(5));
  });

  test('an endIo that throws takes nobody with it', async () => {
    // Confirmed: when the loop forgets what it has reaped, the others never end.
    await using rig = new Rig();
    const { device } = rig;
    const ended: number[] = [];
    for (let i = 0; i < 4; i++) {
      const bio = device.bios.acquire(BioOp.FLUSH, 0, 0);
      assert.ok(bio !== null);
      bio.endIo = (done: Bio) => {
        ended.push(i);
        device.bios.release(done);
        if (i % 2 === 0) throw new Error(`of the program ${i}`);
      };
      device.submitBio(bio);
    }
    const thrown: string[] = [];
    for (let turns = 0; ended.length < 4 && turns < 100; turns++) {
      try {
        device.poll();
      } catch (error) {
        thrown.push((error as Error).message);
      }
    }
    assert.deepEqual(ended, [0, 1, 2, 3]);
    assert.deepEqual(thrown, ['of the program 0', 'of the program 2']);
  });

  test('a write that starts where the device ends fails alone, in whatever order', async () => {
    for (const starts of [
      [SIZE - 4096, SIZE],
      [SIZE, SIZE - 4096],
    ]) {
      await using rig = new Rig();
      using buffer = rig.arena.alloc(4096);
      const { device } = rig;
      buffer.bytes.fill(7);
      const statuses = new Map<number, number>();
      device.queue.startPlug();
      for (const start of starts) {
        const bio = device.bios.acquire(BioOp.WRITE, start / 512, 1);
        assert.ok(bio !== null);
        assert.equal(addSegment(bio, buffer.page, 0, 4096, HoldKind.BORROWED), 4096);
        bio.endIo = (done: Bio) => {
          statuses.set(start, done.status);
          device.bios.release(done);
        };
        device.submitBio(bio);
      }
      device.queue.finishPlug();
      while (statuses.size < 2) device.poll();
      assert.equal(statuses.get(SIZE - 4096), 0);
      assert.equal(statuses.get(SIZE), -Errno.ENOSPC);
      const iter = new IovIter();
      const back = new Uint8Array(4096);
      iter.initView(IterDirection.DEST, back);
      assert.equal(await rig.run(BioOp.READ, SIZE - 4096, iter, 4096), 4096);
      assert.deepEqual(back, new Uint8Array(4096).fill(7));
    }
  });

  test('what is outstanding is named', async () => {
    await using rig = new Rig();
    using buffer = rig.arena.alloc(4096);
    const iter = new IovIter();
    iter.initView(IterDirection.DEST, buffer.bytes);
    const call = rig.run(BioOp.READ, 0, iter, 4096);
    assert.throws(() => rig.device.assertNothingOutstanding(), {
      code: 'ERR_BIOVEC_LEAK',
      reason:
        'the device still has 1 transfers, 1 requests, 1 bios, 4 segment rows, 1 pinned pages',
    });
    assert.equal(await call, 4096);
  });
});

test('probes: the trace id of the transfer is on every step', async () => {
  await using rig = new Rig({ max_hw_sectors: 8, max_segments: 1 });
  using buffer = rig.arena.alloc(8192);
  const points: number[] = [];
  const traces = new Set<number>();
  const probe: Probe = {
    hit(point, traceId) {
      points.push(point);
      traces.add(traceId);
    },
  };
  rig.device.probe = probe;
  const iter = new IovIter();
  iter.initView(IterDirection.SOURCE, buffer.bytes.subarray(0, 5000));
  const result = await new Promise<number>((resolve) => {
    const end = (_transfer: Transfer, bytes: number): void => resolve(bytes);
    rig.device.transfer(BioOp.WRITE, 0, iter, 5000, { traceId: 77 }, end);
  });
  rig.device.probe = null;
  assert.equal(result, 5000);
  assert.deepEqual([...traces], [77]);
  const count = (point: ProbePoint): number => points.filter((other) => other === point).length;
  const { HOLD, UNHOLD, MAP, COPY, ISSUE, COMPLETE, BIO_END } = ProbePoint;
  assert.deepEqual([MAP, COPY, HOLD, UNHOLD, BIO_END].map(count), [1, 1, 2, 2, 3]);
  assert.deepEqual([count(ISSUE), count(COMPLETE)], [4, 4]); // Two of a split, read, write back.
});
