import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import { MIB, PAGE_BYTES } from '../base/units.ts';
import { Arena } from './arena.ts';
import type { ArenaBuffer } from './arena-buffer.ts';
import {
  copyIn,
  copyOut,
  copyPages,
  moveBytes,
  pagesAreEqual,
  pagesAreZero,
  zeroPages,
} from './copy.ts';

const BYTES = 3 * PAGE_BYTES;
const at = fc.nat(2 * PAGE_BYTES);
const length = fc.oneof(fc.nat(70), fc.nat(PAGE_BYTES));

/** Three memories: two arenas, and one of the program that was adopted. */
function memories(): { buffers: ArenaBuffer[]; [Symbol.dispose](): void } {
  const arenas = [new Arena({ maxBytes: MIB }), new Arena({ maxBytes: MIB })];
  const buffers = arenas.map((arena) => arena.alloc(BYTES));
  buffers.push((arenas[0] as Arena).adopt(new SharedArrayBuffer(BYTES)));
  return {
    buffers,
    [Symbol.dispose]() {
      for (const buffer of buffers) buffer.release();
      for (const arena of arenas) {
        arena.assertNothingOutstanding();
        arena[Symbol.dispose]();
      }
    },
  };
}

function scribble(buffer: ArenaBuffer, seed: number): void {
  const { bytes } = buffer;
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 31 + seed * 17 + (i >> 8)) & 255;
}

const which = fc.nat(2);

test('copies between and within memories are those of a byte loop, overlaps included', () => {
  using world = memories();
  fc.assert(
    fc.property(
      which,
      which,
      at,
      at,
      length,
      fc.nat(255),
      (to, from, dstAt, srcAt, bytes, seed) => {
        const dst = world.buffers[to] as ArenaBuffer;
        const src = world.buffers[from] as ArenaBuffer;
        scribble(dst, seed);
        if (src !== dst) scribble(src, seed + 1);
        const expected = dst.copy();
        const source = src.copy();
        for (let i = 0; i < bytes; i++) expected[dstAt + i] = source[srcAt + i] as number;
        copyPages(dst.page, dstAt, src.page, srcAt, bytes);
        assert.equal(Buffer.compare(dst.copy(), expected), 0);
      },
    ),
    RUNS,
  );
});

test('copies in and out of plain memory are those of a byte loop', () => {
  using world = memories();
  const plain = new Uint8Array(BYTES);
  fc.assert(
    fc.property(which, at, at, length, fc.nat(255), (index, pageAt, plainAt, bytes, seed) => {
      const buffer = world.buffers[index] as ArenaBuffer;
      scribble(buffer, seed);
      for (let i = 0; i < BYTES; i++) plain[i] = (i * 7 + seed) & 255;
      const expected = buffer.copy();
      for (let i = 0; i < bytes; i++) expected[pageAt + i] = plain[plainAt + i] as number;
      copyIn(buffer.page, pageAt, plain, plainAt, bytes);
      assert.equal(Buffer.compare(buffer.copy(), expected), 0);
      const out = plain.slice();
      const from = Math.min(pageAt ^ 1, BYTES - bytes);
      for (let i = 0; i < bytes; i++) out[plainAt + i] = expected[from + i] as number;
      copyOut(plain, plainAt, buffer.page, from, bytes);
      assert.equal(Buffer.compare(plain, out), 0);
    }),
    RUNS,
  );
});

test('zeroing touches its range alone', () => {
  using world = memories();
  fc.assert(
    fc.property(which, at, length, (index, start, bytes) => {
      const buffer = world.buffers[index] as ArenaBuffer;
      buffer.bytes.fill(0xa5);
      zeroPages(buffer.page, start, bytes);
      const expected = new Uint8Array(BYTES).fill(0xa5);
      for (let i = start; i < start + bytes; i++) expected[i] = 0;
      assert.equal(Buffer.compare(buffer.copy(), expected), 0);
    }),
    RUNS,
  );
});

test('one byte that is not zero is found wherever it lies, and none outside the range', () => {
  using world = memories();
  for (const buffer of world.buffers) {
    buffer.bytes.fill(0);
    for (let start = 0; start < 40; start++) {
      for (let bytes = 0; bytes < 80; bytes++) {
        assert.ok(pagesAreZero(buffer.page, start, bytes));
        if (start > 0) buffer.bytes[start - 1] = 1;
        buffer.bytes[start + bytes] = 1;
        assert.ok(pagesAreZero(buffer.page, start, bytes), `${start}+${bytes}`);
        if (start > 0) buffer.bytes[start - 1] = 0;
        buffer.bytes[start + bytes] = 0;
        for (const spot of [0, bytes >> 1, bytes - 1]) {
          if (spot < 0 || spot >= bytes) continue;
          buffer.bytes[start + spot] = 0x80;
          assert.ok(!pagesAreZero(buffer.page, start, bytes), `${start}+${spot} of ${bytes}`);
          buffer.bytes[start + spot] = 0;
        }
      }
    }
  }
});

test('equality is that of a byte loop, at every pair of alignments', () => {
  using world = memories();
  fc.assert(
    fc.property(
      which,
      which,
      at,
      at,
      length,
      fc.option(fc.nat(PAGE_BYTES)),
      (i, j, a, b, n, flip) => {
        const left = world.buffers[i] as ArenaBuffer;
        const right = world.buffers[j] as ArenaBuffer;
        scribble(left, 1);
        scribble(right, 1);
        copyPages(right.page, b, left.page, a, n);
        if (flip !== null) right.bytes[flip] = (right.bytes[flip] as number) ^ 0x40;
        let equal = true;
        for (let k = 0; k < n; k++) if (left.bytes[a + k] !== right.bytes[b + k]) equal = false;
        assert.equal(pagesAreEqual(left.page, a, right.page, b, n), equal);
      },
    ),
    RUNS,
  );
});

test('moveBytes is a loop, and memmove within one array', () => {
  fc.assert(
    fc.property(fc.nat(100), fc.nat(100), fc.nat(90), fc.boolean(), (to, from, bytes, same) => {
      const src = Uint8Array.from({ length: 200 }, (_, i) => i);
      const dst = same ? src : new Uint8Array(200);
      const expected = dst.slice();
      const source = src.slice();
      for (let i = 0; i < bytes; i++) expected[to + i] = source[from + i] as number;
      moveBytes(dst, to, src, from, bytes);
      assert.deepEqual(dst, expected);
    }),
    RUNS,
  );
});

test('a range outside its memory is a bug, in every function', () => {
  using world = memories();
  const plain = new Uint8Array(64);
  for (const buffer of world.buffers) {
    const end = buffer === world.buffers[2] ? BYTES : MIB * 5;
    assert.throws(() => copyPages(buffer.page, end, buffer.page, 0, 1), /outside/);
    assert.throws(() => copyPages(buffer.page, 0, buffer.page, end, 1), /outside/);
    assert.throws(() => copyIn(buffer.page, end - 1, plain, 0, 2), /outside/);
    assert.throws(() => copyIn(buffer.page, 0, plain, 63, 2), /outside/);
    assert.throws(() => copyOut(plain, 0, buffer.page, end - 1, 2), /outside/);
    assert.throws(() => copyOut(plain, 63, buffer.page, 0, 2), /outside/);
    assert.throws(() => zeroPages(buffer.page, end - 1, 2), /outside/);
    assert.throws(() => pagesAreZero(buffer.page, end - 1, 2), /outside/);
    assert.throws(() => pagesAreEqual(buffer.page, end - 1, buffer.page, 0, 2), /outside/);
  }
});
