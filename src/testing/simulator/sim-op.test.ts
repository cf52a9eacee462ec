import assert from 'node:assert/strict';
import { test } from 'node:test';
import { differenceWithin, fillPattern, firstDifference } from './sim-op.ts';

test('the first difference is found wherever it is, and however long and aligned the range', () => {
  for (const bytes of [1, 7, 511, 512, 4099]) {
    for (const [from, to] of [
      [0, 0],
      [4, 8],
      [1, 6],
    ] as const) {
      const a = new Uint8Array(from + bytes + 1);
      const b = new Uint8Array(to + bytes + 1);
      fillPattern(a, 9);
      b.set(a.subarray(from, from + bytes), to);
      b[to + bytes] = a[from + bytes] ^ 1; // Beside the range.
      assert.equal(differenceWithin(a, from, b, to, bytes), -1);
      for (const at of [bytes - 1, bytes >> 1, 0]) {
        b[to + at] = a[from + at] ^ 4;
        assert.equal(differenceWithin(a, from, b, to, bytes), at);
      }
    }
  }
  assert.equal(firstDifference(new Uint8Array(3), new Uint8Array(5)), 3);
  assert.throws(() => differenceWithin(new Uint8Array(600), 100, new Uint8Array(900), 0, 512));
});

/** Word by word: a congruence, whose upper half is laid over the lower one. */
function patternOf(bytes: number, salt: number): number[] {
  let state = Math.imul(salt, 0x9e3779b1) + 12345;
  return Array.from({ length: bytes }, (_, i) => {
    if (i % 4 === 0) state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return ((state ^ (state >>> 16)) >>> (8 * (i % 4))) & 0xff;
  });
}

test('the pattern of a salt is the same at any place, and ends anywhere', () => {
  for (const bytes of [0, 1, 3, 4, 15, 16, 17, 33, 64, 67]) {
    for (const offset of [0, 1, 4]) {
      for (const salt of [0, 5, 2 ** 32 - 1]) {
        const out = new Uint8Array(80).subarray(offset, offset + bytes);
        fillPattern(out, salt);
        assert.deepEqual([...out], patternOf(bytes, salt));
      }
    }
  }
});
