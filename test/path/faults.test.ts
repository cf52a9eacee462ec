import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Errno } from '../../src/base/errno.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { Outcome, PathRig } from './path-rig.ts';

const ALWAYS = { position: 0, copy: 'always' } as const;

/** A fate for request `nth` only. */
function onlyAt(nth: number, fate: object): (request: unknown, at: number) => object {
  return (_request, at) => (at === nth ? fate : {});
}

describe('errors of the device', () => {
  test('-EIO on the n-th of several requests: the call fails, nothing else does', async () => {
    for (let nth = 1; nth <= 4; nth++) {
      const fate = onlyAt(nth, { status: -Errno.EIO, bytes: 0 });
      await using rig = new PathRig({ limits: { max_hw_sectors: 8 }, fate, random: Math.random });
      using buffer = rig.arena.alloc(16384);
      await assert.rejects(rig.disk.read(buffer.bytes, { position: 4096 }), {
        code: 'EIO',
        errno: -5,
        syscall: 'read',
        device: 'scripted:0',
        offset: 4096,
        length: 16384,
        reason: 'the device reported an I/O error, or made no progress',
      });
      const { bytesRead } = await rig.disk.read(buffer.bytes, { position: 4096 });
      assert.equal(bytesRead, 16384);
      assert.deepEqual(new Uint8Array(buffer.bytes), rig.medium(4096, 20480));
    }
  });

  test('H11: after an error nothing is copied back; a short read copies what came', async () => {
    // Confirmed: with `userBytes` computed without `bio.status === 0` the first half fails.
    let fate = {};
    await using rig = new PathRig({ fate: () => fate, random: Math.random });
    const memory = new Uint8Array(8192).fill(0xee);
    fate = { status: -Errno.EIO, bytes: 4096 };
    await assert.rejects(rig.disk.read(memory, ALWAYS), { code: 'EIO' });
    assert.ok(
      memory.every((byte) => byte === 0xee),
      'bytes of a failed read reached the program',
    );
    fate = { bytes: 0 };
    await assert.rejects(rig.disk.write(memory, ALWAYS), { code: 'EIO' });
    fate = {};
    const { bytesRead } = await readWhileShrinking(rig, memory, 4608);
    assert.equal(bytesRead, 4608);
    assert.deepEqual(memory.slice(0, 4608), rig.medium(0, 4608));
    assert.ok(
      memory.subarray(4608).every((byte) => byte === 0xee),
      'more than was transferred',
    );
  });

  test('a short transfer in the middle is continued from the last whole block', async () => {
    for (const copy of ['auto', 'always'] as const) {
      const fate = onlyAt(1, { bytes: 1000 });
      await using rig = new PathRig({ fate, random: Math.random });
      using buffer = rig.arena.alloc(8192);
      const { bytesRead } = await rig.disk.read(buffer.bytes, { position: 0, copy });
      assert.equal(bytesRead, 8192);
      assert.deepEqual(new Uint8Array(buffer.bytes), rig.medium(0, 8192));
      assert.deepEqual(rig.engine.log, [
        { op: BioOp.READ, at: 0, bytes: 8192 },
        { op: BioOp.READ, at: 512, bytes: 7680 },
      ]);
      assert.equal(rig.disk.stats().requeues, 1);
    }
  });

  test('the rest of a short transfer starts on dma_alignment where that is coarser', async () => {
    const fate = onlyAt(1, { bytes: 4608 });
    await using rig = new PathRig({ limits: { dma_alignment: 4095 }, fate, random: Math.random });
    using buffer = rig.arena.alloc(8192);
    await rig.disk.write(buffer.bytes, { position: 0 });
    assert.equal(rig.engine.log[1].at, 4096);
  });

  test('no progress is -EIO, in the middle and after some', async () => {
    for (const bytes of [0, 511]) {
      await using rig = new PathRig({ fate: onlyAt(2, { bytes }), random: Math.random });
      using buffer = rig.arena.alloc(8192);
      await rig.disk.write(buffer.bytes, 0, 8192, 0);
      await assert.rejects(rig.disk.write(buffer.bytes, 0, 8192, 0), { code: 'EIO' });
    }
  });

  test('a read ends short at the end, a write is cut there, behind it is ENOSPC', async () => {
    await using rig = new PathRig({ random: Math.random });
    const memory = new Uint8Array(4096);
    assert.equal((await rig.disk.read(memory, { position: 65536 - 700 })).bytesRead, 700);
    assert.equal((await rig.disk.read(memory, { position: 65536 })).bytesRead, 0);
    assert.equal((await rig.disk.read(memory, { position: 2 ** 53 - 4097 })).bytesRead, 0);
    assert.equal((await rig.disk.write(memory, { position: 65536 - 700 })).bytesWritten, 700);
    await assert.rejects(rig.disk.write(memory, { position: 65536 }), {
      code: 'ENOSPC',
      reason: 'position 65536 is at or behind the end, 65536 bytes',
    });
  });

  test('a device that refuses: the error of submit, for the refused ones only', async () => {
    for (const errno of [Errno.EAGAIN, Errno.EIO]) {
      const fate = onlyAt(3, { refuse: -errno });
      await using rig = new PathRig({ limits: { max_hw_sectors: 8 }, fate, random: Math.random });
      using buffer = rig.arena.alloc(4 * 4096);
      const code = errno === Errno.EIO ? 'EIO' : 'EAGAIN';
      await assert.rejects(rig.disk.write(buffer.bytes, { position: 0 }), { code });
      assert.equal(rig.engine.log.length, 3);
      await rig.disk.write(buffer.bytes, { position: 0 });
    }
  });

  test('a refused call is told at once, not after a slow request of another', async () => {
    await using rig = new PathRig({ fate: onlyAt(2, { refuse: -Errno.EIO }) });
    using buffer = rig.arena.alloc(8192);
    const slow = new Outcome(rig.disk.read(buffer.bytes.subarray(0, 4096), { position: 0 }));
    await rig.settle();
    const refused = new Outcome(rig.disk.read(buffer.bytes.subarray(4096), { position: 8192 }));
    await rig.settle();
    assert.deepEqual([slow.isSettled, refused.isSettled], [false, true]);
    await rig.finish();
    assert.equal(slow.isSettled, true);
  });

  test('what failed before does not stick to a pooled transfer', async () => {
    await using rig = new PathRig({
      fate: onlyAt(1, { status: -Errno.EIO, bytes: 0 }),
      random: Math.random,
    });
    using buffer = rig.arena.alloc(4096);
    await assert.rejects(rig.disk.write(buffer.bytes, { position: 0 }), { code: 'EIO' });
    await rig.disk.flush();
    await rig.disk.sync();
    assert.deepEqual(
      rig.engine.log.slice(1).map(({ op }) => op),
      [BioOp.FLUSH, BioOp.FLUSH],
    );
  });

  test('an error in the read of a read-modify-write writes nothing', async () => {
    const fate = onlyAt(1, { status: -Errno.EIO, bytes: 0 });
    await using rig = new PathRig({ fate, random: Math.random });
    const before = rig.medium(0, 4096);
    await assert.rejects(rig.disk.write('part', 100), { code: 'EIO' });
    assert.deepEqual(rig.medium(0, 4096), before);
    assert.deepEqual(
      rig.engine.log.map(({ op }) => op),
      [BioOp.READ],
    );
  });
});

/** The size is looked up before the transfer, so the device shrinks behind that. */
function readWhileShrinking(
  rig: PathRig,
  memory: Uint8Array,
  sizeBytes: number,
): Promise<{ readonly bytesRead: number }> {
  const read = rig.disk.read(memory, ALWAYS);
  rig.engine.disk = rig.medium(0, sizeBytes);
  return read;
}

describe('a file that grows', () => {
  const GROWING = { fixedSize: false, sizeBytes: 1000, random: Math.random };

  test('a part of its last block is written no further than asked', async () => {
    await using rig = new PathRig(GROWING);
    assert.equal((await rig.disk.write('0123456789', 1000)).bytesWritten, 10);
    assert.equal(rig.disk.size, 1010);
    await rig.disk.write('x', 5);
    assert.equal(rig.disk.size, 1010);
    await rig.disk.write('end', 1500);
    assert.equal(rig.disk.size, 1503);
    const expected = new Uint8Array(1503);
    for (let i = 0; i < 1000; i++) expected[i] = (i % 251) + 1;
    expected.set(Buffer.from('0123456789'), 1000);
    expected.set(Buffer.from('x'), 5);
    expected.set(Buffer.from('end'), 1500);
    assert.deepEqual(rig.medium(0, 1503), expected);
  });

  test('reads stop at its end, wherever that is', async () => {
    await using rig = new PathRig(GROWING);
    const memory = new Uint8Array(4096);
    assert.equal((await rig.disk.read(memory, { position: 0 })).bytesRead, 1000);
    assert.equal((await rig.disk.read(memory, { position: 990 })).bytesRead, 10);
    assert.equal((await rig.disk.read(memory, { position: 1000 })).bytesRead, 0);
    assert.equal((await rig.disk.read(memory, { position: 5000 })).bytesRead, 0);
  });
});
