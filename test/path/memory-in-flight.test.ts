import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { maybePinned } from '../../src/memory/holds.ts';
import { Outcome, PathRig } from './path-rig.ts';

// The program lets its memory go, changes its mind or closes while the device still works.

describe('memory that is released in flight', () => {
  for (const copy of ['auto', 'always'] as const) {
    for (const isWrite of [false, true]) {
      const name = `${isWrite ? 'write' : 'read'}, copy '${copy}'`;
      test(`${name}: the pages stay out of the pool until the last pin`, async () => {
        await using rig = new PathRig({ arenaBytes: 256 * 1024 });
        const buffer = rig.arena.alloc(8192);
        const { page } = buffer;
        const call = isWrite
          ? rig.disk.write(buffer.bytes, { position: 100, copy })
          : rig.disk.read(buffer.bytes, { position: 100, copy });
        const outcome = new Outcome<object>(call);
        await rig.settle();
        assert.ok(maybePinned(page), 'nothing holds the memory');
        buffer.release();
        const others: number[] = [];
        for (let other = rig.arena.getFolio(0); other >= 0; other = rig.arena.getFolio(0)) {
          others.push(other);
        }
        assert.ok(others.length > 0 && !others.includes(page) && !others.includes(page + 1));
        for (const other of others) rig.arena.putFolio(other);
        await rig.finish();
        assert.equal(outcome.error, undefined);
        assert.ok(!maybePinned(page));
        if (isWrite) assert.deepEqual(rig.medium(100, 8292), new Uint8Array(buffer.bytes));
        else assert.deepEqual(new Uint8Array(buffer.bytes), rig.medium(100, 8292));
      });
    }
  }

  test('released before the call: EFAULT for every policy and op', async () => {
    await using rig = new PathRig({ random: Math.random });
    const gone = rig.arena.alloc(8192);
    using good = rig.arena.alloc(8192);
    gone.release();
    const reason = 'the memory of a buffer was released before the call';
    for (const copy of ['auto', 'always', 'never'] as const) {
      for (const position of [0, 512]) {
        const views = [good.bytes.subarray(0, 512), gone.bytes];
        const fault = { code: 'EFAULT', reason };
        await assert.rejects(rig.disk.read(gone.bytes, { position, copy }), fault);
        await assert.rejects(rig.disk.write(gone.bytes, { position, copy }), fault);
        await assert.rejects(rig.disk.readv(views, position, { copy }), fault);
        await assert.rejects(rig.disk.writev(views, position, { copy }), fault);
        rig.disk.assertNothingOutstanding();
        assert.equal(rig.arena.stats().pinnedPages, 0);
      }
    }
  });

  test('H11: a set-up that fails copies nothing back', async () => {
    // Confirmed: fails without #isThere in #fillCopy.
    await using rig = new PathRig({ random: Math.random });
    const gone = rig.arena.alloc(512);
    using good = rig.arena.alloc(512);
    gone.release();
    good.bytes.fill(0xee);
    const read = rig.disk.readv([good.bytes, gone.bytes], 0, { copy: 'always' });
    await assert.rejects(read, { code: 'EFAULT' });
    assert.ok(good.bytes.every((byte) => byte === 0xee));
    assert.equal(rig.engine.log.length, 0);
  });

  test('H3: a pin that fails half-way lets go of each page once', async () => {
    // Confirmed: without the unpin in pinForCopy a pin stays; with it twice, `unpin` asserts.
    await using rig = new PathRig({ random: Math.random });
    const gone = rig.arena.alloc(4096);
    using good = rig.arena.alloc(4096);
    gone.release();
    const views = [good.bytes.subarray(0, 100), gone.bytes.subarray(0, 100)];
    await assert.rejects(rig.disk.writev(views, 30), { code: 'EFAULT' });
    assert.equal(rig.arena.stats().pinnedPages, 0);
  });
});

describe('memory of the outside that changes in flight', () => {
  const reasonOf = (index: number): string =>
    `buffer ${index} of the call was detached or resized while it was in flight; ` +
    'the device only ever saw pages of the arena';

  test('detached during a read: ERR_BIOVEC_DETACHED names the buffer', async () => {
    await using rig = new PathRig();
    using safe = rig.arena.alloc(512);
    const gone = new Uint8Array(512);
    const read = rig.disk.readv([safe.bytes, new Uint8Array(0), gone], 0);
    const rejected = assert.rejects(read, {
      code: 'ERR_BIOVEC_DETACHED',
      errno: 0,
      syscall: 'readv',
      reason: reasonOf(2),
    });
    await rig.settle();
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    await rig.finish();
    await rejected;
    assert.equal(rig.disk.stats().detached, 1);
    assert.deepEqual(
      new Uint8Array(safe.bytes),
      rig.medium(0, 512),
      'the good buffer has its bytes',
    );
  });

  test('shrunk during a read, and a length-tracking view', async () => {
    await using rig = new PathRig();
    const memory = new ArrayBuffer(4096, { maxByteLength: 8192 });
    const read = rig.disk.read(new Uint8Array(memory), { position: 0 });
    const rejected = assert.rejects(read, { code: 'ERR_BIOVEC_DETACHED', reason: reasonOf(0) });
    await rig.settle();
    memory.resize(1024);
    await rig.finish();
    await rejected;
    assert.deepEqual(new Uint8Array(memory), rig.medium(0, 1024), 'what is left has its bytes');
  });

  test('grown during a read: the bytes that were asked for', async () => {
    await using rig = new PathRig();
    const memory = new ArrayBuffer(1000, { maxByteLength: 8192 });
    const outcome = new Outcome(rig.disk.read(new Uint8Array(memory), { position: 0 }));
    await rig.settle();
    memory.resize(8192);
    await rig.finish();
    assert.equal(outcome.value?.bytesRead, 1000);
    assert.deepEqual(new Uint8Array(memory, 0, 1000), rig.medium(0, 1000));
    assert.ok(new Uint8Array(memory, 1000).every((byte) => byte === 0));
  });

  test('a whole write was copied at the call: a detach is no error', async () => {
    await using rig = new PathRig();
    const memory = new Uint8Array(4096).fill(7);
    const outcome = new Outcome(rig.disk.write(memory, { position: 0 }));
    await rig.settle();
    structuredClone(memory.buffer, { transfer: [memory.buffer] });
    await rig.finish();
    assert.equal(outcome.value?.bytesWritten, 4096);
    assert.ok(rig.medium(0, 4096).every((byte) => byte === 7));
  });

  test('a part of a block goes in after its read: detached then, nothing is written', async () => {
    await using rig = new PathRig();
    const before = rig.medium(0, 512);
    const memory = new Uint8Array(100).fill(7);
    const write = rig.disk.write(memory, { position: 10 });
    const rejected = assert.rejects(write, { code: 'ERR_BIOVEC_DETACHED', reason: reasonOf(0) });
    await rig.settle();
    structuredClone(memory.buffer, { transfer: [memory.buffer] });
    await rig.finish();
    await rejected;
    assert.deepEqual(rig.medium(0, 512), before);
  });

  test('detached while the transfer waits for room: named as well', async () => {
    for (const isWrite of [false, true]) {
      await using rig = new PathRig({ bios: 0, limits: { max_hw_sectors: 8 } });
      using busy = rig.arena.alloc(8192);
      const first = new Outcome(rig.disk.read(busy.bytes.subarray(0, 4096), { position: 0 }));
      const second = new Outcome(rig.disk.read(busy.bytes.subarray(4096), { position: 0 }));
      const memory = new Uint8Array(512);
      const call = isWrite
        ? rig.disk.write(memory, { position: 0 })
        : rig.disk.read(memory, { position: 0 });
      const rejected = assert.rejects(call as Promise<unknown>, {
        code: 'ERR_BIOVEC_DETACHED',
      });
      await rig.settle();
      structuredClone(memory.buffer, { transfer: [memory.buffer] });
      await rig.finish();
      await rejected;
      assert.deepEqual([first.error, second.error], [undefined, undefined]);
    }
  });
});

describe('abort', () => {
  test('settles only after the engine let go of the memory', async () => {
    for (const isWrite of [false, true]) {
      await using rig = new PathRig();
      using buffer = rig.arena.alloc(4096);
      const controller = new AbortController();
      const options = { position: 0, signal: controller.signal };
      const call = isWrite
        ? rig.disk.write(buffer.bytes, options)
        : rig.disk.read(buffer.bytes, options);
      const outcome = new Outcome<object>(call);
      await rig.settle();
      controller.abort(new Error('enough'));
      await rig.settle();
      assert.equal(outcome.isSettled, false);
      assert.ok(maybePinned(buffer.page));
      await rig.finish();
      const { code, cause, reason } = outcome.error as Error & Record<string, unknown>;
      assert.deepEqual([code, (cause as Error).message], ['ECANCELED', 'enough']);
      assert.equal(reason, 'the signal was aborted; the device has let go of the memory');
      assert.ok(!maybePinned(buffer.page));
    }
  });

  test('before the call: nothing reaches the engine', async () => {
    await using rig = new PathRig();
    const signal = AbortSignal.abort();
    await assert.rejects(rig.disk.read(new Uint8Array(512), { position: 0, signal }), {
      code: 'ECANCELED',
    });
    assert.equal(rig.engine.log.length, 0);
  });

  test('of one that waits for room, or for its range: at once, the others go on', async () => {
    await using rig = new PathRig({ bios: 0 });
    using buffer = rig.arena.alloc(8192);
    const busy = [0, 100].map((at) => new Outcome(rig.disk.write(new Uint8Array(50), 0, 50, at)));
    const controller = new AbortController();
    const { signal } = controller;
    const inRange = new Outcome(rig.disk.write(new Uint8Array(9), { position: 200, signal }));
    const behind = new Outcome(rig.disk.write(new Uint8Array(9), { position: 300 }));
    const reads = [0, 1].map(() => new Outcome(rig.disk.read(buffer.bytes, { position: 0 })));
    const noRoom = new Outcome(rig.disk.read(new Uint8Array(9), { position: 0, signal }));
    await rig.settle();
    controller.abort();
    await rig.settle();
    assert.deepEqual([inRange.isSettled, noRoom.isSettled], [true, true]);
    assert.deepEqual(
      [...busy, behind, ...reads].map(({ isSettled }) => isSettled),
      [false, false, false, false, false],
    );
    await rig.finish();
    for (const outcome of [...busy, behind, ...reads]) assert.equal(outcome.error, undefined);
  });

  test('of a large transfer: no further request goes out', async () => {
    await using rig = new PathRig({ limits: { max_hw_sectors: 8 }, bios: 0, splits: 0 });
    const controller = new AbortController();
    const options = { position: 0, signal: controller.signal, copy: 'always' } as const;
    using buffer = rig.arena.alloc(65536);
    const outcome = new Outcome(rig.disk.read(buffer.bytes, options));
    await rig.settle();
    rig.engine.finish();
    await rig.settle();
    controller.abort();
    await rig.finish();
    assert.equal((outcome.error as { code: string }).code, 'ECANCELED');
  });
});

describe('close', () => {
  test('waits for what is in flight and what waits; later calls are refused', async () => {
    await using rig = new PathRig({ bios: 0 });
    using buffer = rig.arena.alloc(4096);
    const calls = [0, 1, 2, 3].map((i) => {
      return new Outcome(
        rig.disk.read(buffer.bytes.subarray(i * 1024, (i + 1) * 1024), { position: 0 }),
      );
    });
    const closed = new Outcome(rig.disk.close());
    await rig.settle();
    assert.deepEqual([closed.isSettled, rig.engine.closed], [false, 0]);
    const refused = { code: 'ERR_BIOVEC_CLOSED', reason: 'the disk was closed' };
    const { disk } = rig;
    await assert.rejects(disk.read(buffer.bytes), refused);
    await assert.rejects(disk.writev([buffer.bytes], 0), refused);
    for (const call of [disk.flush(), disk.sync(), disk.stat(), disk.truncate(0)]) {
      await assert.rejects(call as Promise<unknown>, refused);
    }
    await assert.rejects(disk.discard(0, 512), refused);
    await assert.rejects(async () => {
      for await (const extent of disk.extents(0, 512)) assert.fail(String(extent));
    }, refused);
    await rig.finish();
    assert.ok(calls.every(({ value }) => value?.bytesRead === 1024));
    assert.deepEqual([closed.isSettled, rig.engine.closed], [true, 1]);
    await disk.close();
    assert.equal(rig.engine.closed, 1);
  });
});
