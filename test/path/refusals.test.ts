import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Errno } from '../../src/base/errno.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import type { IoOptions } from '../../src/device/io-arguments.ts';
import { Outcome, PathRig, randomOf } from './path-rig.ts';

// What a caller gets who asks for the impossible: a code, an errno, a sentence; and nothing leaks.

describe("copy: 'never'", () => {
  const NEVER = { copy: 'never' } as const;
  const never = "and copy is 'never'";

  test('EINVAL names the limit and its value; no byte moves, no page stays pinned', async () => {
    const limits = { dma_alignment: 3, max_segments: 1, logical_block_size: 1024 };
    await using rig = new PathRig({ limits, random: randomOf(1) });
    using buffer = rig.arena.alloc(8192);
    const { bytes } = buffer;
    const before = rig.medium(0, 65536);
    const cases: readonly (readonly [Uint8Array[], number, string])[] = [
      [[new Uint8Array(1024)], 0, 'memory of a plain Buffer can be detached in flight'],
      [[bytes], 512, 'the position is no multiple of logical_block_size 1024'],
      [[bytes.subarray(0, 512)], 0, 'the length is no multiple of logical_block_size 1024'],
      [[bytes.subarray(2, 1026)], 0, 'no multiple of dma_alignment + 1 = 4'],
      [[bytes.subarray(0, 512), bytes.subarray(4096, 4608)], 0, 'as max_segments 1 allows'],
    ];
    for (const [views, position, text] of cases) {
      for (const call of [
        rig.disk.writev(views, position, NEVER),
        rig.disk.readv(views, position, NEVER),
      ]) {
        await assert.rejects(call as Promise<unknown>, (error: Error & { reason: string }) => {
          assert.deepEqual(
            { code: 'EINVAL', errno: -22, device: 'scripted:0', offset: position },
            pick(error, ['code', 'errno', 'device', 'offset']),
          );
          assert.ok(error.reason.includes(text) && error.reason.includes(never), error.reason);
          return true;
        });
        rig.disk.assertNothingOutstanding();
        assert.equal(rig.arena.stats().pinnedPages, 0);
      }
    }
    assert.equal(rig.engine.log.length, 0);
    assert.deepEqual(rig.medium(0, 65536), before);
    assert.equal((await rig.disk.write(bytes, { position: 0, ...NEVER })).bytesWritten, 8192);
    assert.equal(rig.disk.stats().bytesMapped, 8192);
  });

  test("a device's own EINVAL is not told as a refusal", async () => {
    const fate = (): object => ({ status: -Errno.EINVAL, bytes: 0 });
    await using rig = new PathRig({ fate, random: randomOf(1) });
    await assert.rejects(rig.disk.write('x', 5), {
      code: 'EINVAL',
      reason: /^no request under the limits/,
    });
  });
});

function pick(from: object, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(names.map((name) => [name, (from as Record<string, unknown>)[name]]));
}

describe('a failure in the middle of a transfer', () => {
  test('H12: a later bio fails to be made: the earlier ones end first, then the call', async () => {
    // Confirmed: when sendBios returns before DRAINING (upstream's early return) it never ends.
    await using rig = new PathRig({ limits: { logical_block_size: 4096, max_segments: 256 } });
    using good = rig.arena.alloc(256 * 4096);
    const gone = rig.arena.alloc(4096);
    gone.release();
    const views = Array.from({ length: 256 }, (_, i) =>
      good.bytes.subarray(i * 4096, i * 4096 + 16),
    );
    const outcome = new Outcome(rig.disk.readv([...views, gone.bytes], 0));
    await rig.settle();
    assert.deepEqual([outcome.isSettled, rig.engine.holds], [false, 1]);
    assert.equal(rig.arena.stats().pinnedPages, 256);
    await rig.finish();
    assert.equal((outcome.error as { code: string }).code, 'EFAULT');
  });
});

describe('bad input', () => {
  test('every bad argument is a BlockError with a sentence, and reaches no engine', async () => {
    await using rig = new PathRig({ random: randomOf(1) });
    const { disk } = rig;
    const memory = new Uint8Array(100);
    const bad = (value: unknown): never => value as never;
    const calls: readonly (readonly [RegExp, () => Promise<unknown>])[] = [
      [/^offset -1 and length 101 leave the buffer of 100 bytes$/, () => disk.read(memory, -1)],
      [/^offset 101 and length -1 leave/, () => disk.read(memory, 101)],
      [/^offset 1.5 and/, () => disk.read(memory, 1.5)],
      [/^offset NaN and/, () => disk.read(memory, Number.NaN)],
      [/^offset 0 and length 101 leave/, () => disk.read(memory, 0, 101)],
      [/^offset 50 and length 51 leave/, () => disk.write(memory, 50, 51)],
      [/^offset 0 and length -1 leave/, () => disk.write(memory, { length: -1 })],
      [/length Infinity leave/, () => disk.write(memory, 0, Number.POSITIVE_INFINITY)],
      [/^offset Symbol\(s\) and/, () => disk.read(memory, bad(Symbol('s')), 1)],
      [/^position -2 is no whole number from 0 to 2\^53 - 1$/, () => disk.read(memory, 0, 1, -2)],
      [/^position 1.5 is/, () => disk.read(memory, { position: 1.5 })],
      [/^position NaN is/, () => disk.write(memory, 0, 1, Number.NaN)],
      [/^position 9007199254740992 is/, () => disk.readv([memory], 2 ** 53)],
      [/^position 9007199254740993 is/, () => disk.read(memory, { position: 2n ** 53n + 1n })],
      [/^position 1 is no whole number/, () => disk.write(memory, 0, 1, bad('1'))],
      [/no range within 2\^53 - 1 bytes$/, () => disk.read(memory, { position: 2 ** 53 - 50 })],
      [/^1025 buffers in one call; at most 1024$/, () => disk.readv(Array(1025).fill(memory), 0)],
      [/^1025 buffers/, () => disk.writev(Array(1025).fill(memory), 0)],
      [/^the buffers must be an array of buffers$/, () => disk.readv(bad(memory), 0)],
      [/^a buffer must be a TypedArray or a DataView$/, () => disk.writev(bad(['text']), 0)],
      [/^a buffer must be/, () => disk.writev(new Array(3), 0)], // Holes.
      [/^a buffer must be/, () => disk.write(bad(5))],
      [/^a buffer must be/, () => disk.write(bad(new ArrayBuffer(8)))],
      [/^a buffer must be/, () => disk.write(bad(null))],
      [/^read takes a buffer or options$/, () => disk.read(bad(5))],
      [/^a buffer must be/, () => disk.read({ buffer: bad('text') })],
      [/^encoding rot13 is not known here/, () => disk.write('x', 0, 'rot13')],
      [/^a string is written whole$/, () => disk.write('x', { length: 1 })],
      [/^copy is 'maybe', but must be/, () => disk.read(memory, { copy: bad('maybe') })],
      [/^copy is 'no', but must be/, () => disk.writev([memory], 0, { copy: bad('no') })],
      [/^signal must be an AbortSignal$/, () => disk.read(memory, { signal: bad({}) })],
      [/^signal must be/, () => disk.write(memory, { signal: bad(5) })],
      [/^signal must be/, () => disk.readv([memory], 0, { signal: bad({ aborted: false }) })],
      [/^signal must be/, () => disk.write('x', { signal: bad(new EventTarget()) })],
      [/^position -1 and length 512 are no range/, () => disk.discard(-1, 512)],
      [/^position 0 and length -512 are no range/, () => disk.writeZeroes(0, -512)],
      [/must be multiples of 512 bytes$/, () => disk.discard(0, 100)],
      [/must be multiples of 512 bytes$/, () => disk.writeZeroes(1, 512)],
      [/no range/, () => disk.discard(0, Number.NaN)],
      [/no range/, () => disk.truncate(Number.NaN)],
      [/has a fixed size$/, () => disk.truncate(512)],
    ];
    for (const [sentence, call] of calls) {
      await assert.rejects(call, (error: Error & Record<string, unknown>) => {
        assert.equal(error.name, 'BlockError', String(error));
        assert.match(String(error['reason']), sentence);
        assert.deepEqual([error['code'], error['errno']], ['EINVAL', -22]);
        assert.equal(error['device'], 'scripted:0');
        assert.equal(typeof error['syscall'], 'string');
        return true;
      });
    }
    assert.equal(rig.engine.log.length, 0);
  });

  test('a signal of null is none, one of another realm is as good as ours', async () => {
    await using rig = new PathRig({ random: randomOf(1) });
    const memory = new Uint8Array(100);
    assert.equal((await rig.disk.read(memory, { position: 0, signal: null })).bytesRead, 100);
    const { signal } = new AbortController();
    const other = {
      aborted: false,
      addEventListener: signal.addEventListener.bind(signal),
      removeEventListener: signal.removeEventListener.bind(signal),
    };
    const options = { position: 0, signal: other as unknown as AbortSignal };
    assert.equal((await rig.disk.read(memory, options)).bytesRead, 100);
  });

  test('what the device cannot take', async () => {
    await using rig = new PathRig({ random: randomOf(1) });
    const { disk } = rig;
    await assert.rejects(disk.discard(0, 512), {
      code: 'EOPNOTSUPP',
      reason: 'the device does not support this operation',
    });
    await assert.rejects(disk.writeZeroes(0, 512), { code: 'EOPNOTSUPP' });
    await assert.rejects(disk.writeZeroes(65024, 1024), {
      code: 'ENOSPC',
      reason: 'the range ends at 66048, the device at 65536',
    });
    await disk.discard(0, 0);
    await using readOnly = new PathRig({ limits: { read_only: true }, random: randomOf(1) });
    for (const call of [
      () => readOnly.disk.write('x', 0),
      () => readOnly.disk.writev([new Uint8Array(0)], 0),
      () => readOnly.disk.discard(0, 512),
    ]) {
      await assert.rejects(call, { code: 'EROFS', reason: 'the target was opened read-only' });
    }
    assert.equal((await readOnly.disk.read(new Uint8Array(5), { position: 0 })).bytesRead, 5);
  });

  test('limits under which no block can be sent: EINVAL with a sentence, not a hang', async () => {
    const limits = { logical_block_size: 65536, max_segments: 1, max_segment_size: 4096 };
    await using rig = new PathRig({ limits, sizeBytes: 131072, random: randomOf(1) });
    using buffer = rig.arena.alloc(65536);
    for (const copy of ['auto', 'always', 'never'] as const) {
      const options: IoOptions = { position: 0, copy };
      await assert.rejects(rig.disk.read(buffer.bytes, options), { code: 'EINVAL' });
      await assert.rejects(rig.disk.write(new Uint8Array(70000), options), { code: 'EINVAL' });
    }
    assert.equal(rig.engine.log.length, 0);
  });

  test('a buffer that was detached before the call is empty', async () => {
    await using rig = new PathRig({ random: randomOf(1) });
    const memory = new Uint8Array(100);
    structuredClone(memory.buffer, { transfer: [memory.buffer] });
    assert.equal((await rig.disk.read(memory, { position: 0 })).bytesRead, 0);
    assert.equal((await rig.disk.write(memory, { position: 0 })).bytesWritten, 0);
  });

  test('1024 buffers, also when most are empty', async () => {
    await using rig = new PathRig({ random: randomOf(1) });
    using buffer = rig.arena.alloc(1024);
    const views = Array.from({ length: 1024 }, (_, i) => buffer.bytes.subarray(i, i + 1));
    assert.equal((await rig.disk.readv(views, 3)).bytesRead, 1024);
    assert.deepEqual(new Uint8Array(buffer.bytes), rig.medium(3, 1027));
    const sparse = views.map((view, i) => (i % 100 === 0 ? view : view.subarray(0, 0)));
    assert.equal((await rig.disk.writev(sparse, 0)).bytesWritten, 11);
    assert.equal((await rig.disk.readv([], 0)).bytesRead, 0);
  });

  test('fua and flush reach the engine', async () => {
    const flags: number[] = [];
    const limits = { write_cache: true, fua: true };
    const fate = (request: { readonly op: BioOp; readonly flags: number }): object => {
      flags.push(request.op === BioOp.WRITE ? request.flags : -1);
      return {};
    };
    await using rig = new PathRig({ limits, fate, random: randomOf(1) });
    await rig.disk.write(new Uint8Array(512), { position: 0, fua: true });
    await rig.disk.write('part', { position: 7, fua: true });
    await rig.disk.write(new Uint8Array(512), { position: 0 });
    await rig.disk.datasync();
    assert.deepEqual(flags, [8, -1, 8, 0, -1]);
  });
});
