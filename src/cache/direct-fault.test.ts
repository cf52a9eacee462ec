import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Errno } from '../base/errno.ts';
import { at, CacheRig, PAGE, pattern } from './cache-rig.fuzz.ts';

// Reference 9.1, and the question of 2017: what becomes of blocks that were mapped for a direct
// write whose memory cannot be had? Each case has eight pages, the last `pending` of them missing.

const PAGES = 8;

function prepared(mode: 'unwritten' | 'zero-fill', pending: number) {
  const rig = new CacheRig();
  const file = rig.file({ directIoFault: mode });
  const space = rig.space(PAGES);
  const data = pattern(PAGES * PAGE);
  assert.equal(space.write(at(0), data), data.length);
  space.munmap(at(PAGES - pending), pending * PAGE);
  return { rig, file, space, data };
}

/** Blocks of the device that the file has and that are zeros from end to end. */
function zeroBlocks(rig: CacheRig): number {
  let count = 0;
  for (let block = 0; block < rig.blocks.blocks; block++) {
    if (rig.engine.medium.peek(block * PAGE, PAGE).every((byte) => byte === 0)) count++;
  }
  return count;
}

for (const pending of [1, 2, 5]) {
  const good = PAGES - pending;

  describe(`a fault with ${pending} pages of new blocks pending`, () => {
    test('gives the short count, then the error; no zero-filled block reaches the disk', () => {
      const made = prepared('unwritten', pending);
      using rig = made.rig;
      const { file, space, data } = made;
      const direct = { direct: true };
      const bytes = PAGES * PAGE;
      assert.equal(rig.writeUser(file, 0, space, at(0), bytes, direct), good * PAGE);
      assert.equal(file.size, good * PAGE);
      const rest = rig.writeUser(file, good * PAGE, space, at(good), pending * PAGE, direct);
      assert.equal(rest, -Errno.EFAULT);
      assert.equal(file.size, good * PAGE);
      // What was allocated behind the new end is given back, as ext4 has it.
      assert.equal(rig.shape(file, PAGES), 'M'.repeat(good) + 'H'.repeat(pending));
      assert.equal(rig.blocks.free, rig.blocks.blocks - good);
      assert.equal(zeroBlocks(rig), 0);
      assert.deepEqual(rig.onDevice(file), data.slice(0, good * PAGE));
      assert.equal(rig.truncate(file, bytes), 0);
      const tail = new Uint8Array(pending * PAGE);
      assert.deepEqual(rig.read(file, good * PAGE, bytes), tail);
      assert.deepEqual(rig.read(file, good * PAGE, bytes, direct), tail);
    });

    test('as Linux does it: zeros in every mapped block, and the error', () => {
      const made = prepared('zero-fill', pending);
      using rig = made.rig;
      const { file, space, data } = made;
      const bytes = PAGES * PAGE;
      // The size is there already, the blocks are not: else they would be given back.
      assert.equal(rig.truncate(file, bytes), 0);
      const result = rig.writeUser(file, 0, space, at(0), bytes, { direct: true });
      assert.equal(result, -Errno.EFAULT);
      assert.equal(rig.shape(file, PAGES), 'M'.repeat(PAGES));
      assert.equal(zeroBlocks(rig), pending);
      assert.equal(file.counters.blocksZeroFilled, pending);
      const expected = new Uint8Array(bytes);
      expected.set(data.subarray(0, good * PAGE));
      assert.deepEqual(rig.onDevice(file, bytes), expected);
    });

    test('as Linux does it, behind the end: the file stays as long as it was', () => {
      const made = prepared('zero-fill', pending);
      using rig = made.rig;
      const { file, space } = made;
      const result = rig.writeUser(file, 0, space, at(0), PAGES * PAGE, { direct: true });
      assert.equal(result, -Errno.EFAULT);
      assert.equal(file.size, 0);
      assert.equal(rig.shape(file, PAGES), 'H'.repeat(PAGES));
    });
  });

  test(`over ${pending} pages of old bytes: they stay, or Linux makes them zeros`, () => {
    for (const mode of ['unwritten', 'zero-fill'] as const) {
      const made = prepared(mode, pending);
      using rig = made.rig;
      const { file, space, data } = made;
      const old = pattern(PAGES * PAGE, 9);
      assert.equal(rig.write(file, 0, old, { direct: true }), old.length);
      const isOurs = mode === 'unwritten';
      const result = rig.writeUser(file, 0, space, at(0), old.length, { direct: true });
      assert.equal(result, isOurs ? good * PAGE : -Errno.EFAULT);
      const expected = isOurs ? old : new Uint8Array(old.length);
      expected.set(data.subarray(0, good * PAGE));
      assert.deepEqual(rig.onDevice(file), expected);
      assert.equal(file.size, old.length);
    }
  });
}

test('a fault where no block is mapped yet is a plain one in both', () => {
  for (const mode of ['unwritten', 'zero-fill'] as const) {
    const made = prepared(mode, 4);
    using rig = made.rig;
    const { file, space } = made;
    // Four old blocks, then a hole: the fault comes with the first page of a new mapping.
    assert.equal(rig.write(file, 0, pattern(4 * PAGE, 9), { direct: true }), 4 * PAGE);
    const result = rig.writeUser(file, 0, space, at(0), PAGES * PAGE, { direct: true });
    assert.equal(result, 4 * PAGE, mode);
    assert.equal(zeroBlocks(rig), 0);
  }
});

test('a fault inside a block: the rest of that block is zeros, the next is untouched', () => {
  const made = prepared('unwritten', 4);
  using rig = made.rig;
  const { file, space, data } = made;
  // Memory starts 512 bytes into its page, so it ends 3584 bytes into a block of the file.
  const bytes = PAGES * PAGE - 512;
  const result = rig.writeUser(file, 0, space, at(0) + 512, bytes, { direct: true });
  assert.equal(result, 4 * PAGE - 512);
  assert.equal(rig.shape(file, PAGES), 'MMMMHHHH');
  assert.deepEqual(rig.onDevice(file), data.slice(512, 4 * PAGE));
  assert.equal(rig.truncate(file, 5 * PAGE), 0);
  const tail = rig.read(file, 4 * PAGE - 512, PAGE, { direct: true });
  assert.deepEqual(tail, new Uint8Array(PAGE));
});

test('a fault at the first byte is the error, and nothing changes', () => {
  const made = prepared('unwritten', PAGES);
  using rig = made.rig;
  const { file, space } = made;
  const result = rig.writeUser(file, 0, space, at(0), PAGES * PAGE, { direct: true });
  assert.equal(result, -Errno.EFAULT);
  assert.equal(file.size, 0);
  assert.equal(zeroBlocks(rig), 0);
});

test('a write behind the end that moves no byte leaves the size as it was', () => {
  for (const mode of ['unwritten', 'zero-fill'] as const) {
    for (const size of [0, 100, PAGE, PAGE + 512]) {
      const made = prepared(mode, PAGES);
      using rig = made.rig;
      const { file, space } = made;
      const old = pattern(size, 9);
      assert.equal(rig.write(file, 0, old), size);
      for (const start of [2 * PAGE, 2 * PAGE + 512]) {
        const result = rig.writeUser(file, start, space, at(0), PAGE, { direct: true });
        assert.equal(result, -Errno.EFAULT);
        assert.equal(file.size, size, `${mode}: ${size}, then ${start}`);
        assert.deepEqual(rig.read(file, 0, 4 * PAGE), old);
      }
      // Nor does what was allocated show anything but zeros when the file grows over it.
      assert.equal(rig.truncate(file, 4 * PAGE), 0);
      const grown = new Uint8Array(4 * PAGE);
      grown.set(old);
      assert.deepEqual(rig.read(file, 0, 4 * PAGE), grown);
      assert.deepEqual(rig.read(file, 0, 4 * PAGE, { direct: true }), grown);
    }
  }
});

test('a write behind the end of which a part moves ends the file there', () => {
  const made = prepared('unwritten', PAGES - 1);
  using rig = made.rig;
  const { file, space, data } = made;
  assert.equal(rig.write(file, 0, pattern(100, 9)), 100);
  const direct = { direct: true };
  assert.equal(rig.writeUser(file, 2 * PAGE, space, at(0), 2 * PAGE, direct), PAGE);
  assert.equal(file.size, 3 * PAGE);
  const expected = new Uint8Array(3 * PAGE);
  expected.set(pattern(100, 9));
  expected.set(data.subarray(0, PAGE), 2 * PAGE);
  assert.deepEqual(rig.read(file, 0, 4 * PAGE), expected);
});

test('a write behind the end of a full device leaves the size as it was', () => {
  using rig = new CacheRig({ blocks: 1 });
  const file = rig.file();
  const old = pattern(100, 9);
  assert.equal(rig.write(file, 0, old), 100);
  const result = rig.write(file, 2 * PAGE, pattern(PAGE), { direct: true });
  assert.equal(result, -Errno.ENOSPC);
  assert.equal(file.size, 100);
  assert.deepEqual(rig.read(file, 0, 4 * PAGE), old);
});

test('inside the file a fault leaves blocks that read as zeros, where there was a hole', () => {
  const made = prepared('unwritten', 3);
  using rig = made.rig;
  const { file, space, data } = made;
  assert.equal(rig.truncate(file, PAGES * PAGE), 0);
  const direct = { direct: true };
  assert.equal(rig.writeUser(file, 0, space, at(0), PAGES * PAGE, direct), 5 * PAGE);
  assert.equal(file.size, PAGES * PAGE);
  assert.equal(rig.shape(file, PAGES), 'MMMMMUUU');
  const expected = new Uint8Array(PAGES * PAGE);
  expected.set(data.subarray(0, 5 * PAGE));
  assert.deepEqual(rig.read(file, 0, PAGES * PAGE, direct), expected);
});
