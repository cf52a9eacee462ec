import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Errno } from '../base/errno.ts';
import { at, CacheRig, PAGE, pattern } from './cache-rig.fuzz.ts';
import { MEMORY_WAITS_MAX } from './file-op.ts';

// A copy needs the caller's page and the page of the file at once. Where one frame is all that is
// left, bringing in the one drives out the other: each is there whenever it is asked for, and gone
// when the bytes are to be copied. Such a call must end. That it does is what is tested here: one
// that goes on for ever stands still in this file.

/** The zero page, and the only one that anybody can have. */
const ONE_FRAME = 2;
const TWO_FRAMES = 3;
const SWAP_PAGES = 4;

describe('memory for one page', () => {
  test('a write through the cache ends with -ENOMEM, and nothing of it is left', () => {
    using rig = new CacheRig({ frames: ONE_FRAME, swapPages: SWAP_PAGES });
    const file = rig.file();
    const space = rig.space(1);
    const data = pattern(PAGE);
    assert.equal(space.write(at(0), data), PAGE);
    assert.equal(rig.writeUser(file, 0, space, at(0), PAGE), -Errno.ENOMEM);
    const { swappedOut } = rig.memory.counters;
    assert.ok(swappedOut > 1, 'the page of the program was driven out again and again');
    assert.ok(swappedOut <= 2 * MEMORY_WAITS_MAX, 'but not without end');
    assert.equal(file.size, 0);
    assert.equal(file.cache.pages, 0);
    assert.equal(rig.blocks.reserved, 0);
    const back = new Uint8Array(PAGE);
    assert.equal(space.read(at(0), back), PAGE);
    assert.deepEqual(back, data, 'the program has its bytes');
  });

  test('a read through the cache ends with -ENOMEM', () => {
    using rig = new CacheRig({ frames: ONE_FRAME, swapPages: SWAP_PAGES });
    const file = rig.file();
    const space = rig.space(1);
    assert.equal(rig.write(file, 0, pattern(PAGE), { direct: true }), PAGE);
    assert.equal(space.write(at(0), pattern(PAGE, 2)), PAGE);
    assert.equal(rig.readUser(file, 0, space, at(0), PAGE), -Errno.ENOMEM);
    const back = new Uint8Array(PAGE);
    assert.equal(space.read(at(0), back), PAGE);
    assert.deepEqual(back, pattern(PAGE, 2), 'no byte was read');
  });

  test('past the cache both work: nothing but the page of the program is needed', () => {
    using rig = new CacheRig({ frames: ONE_FRAME, swapPages: SWAP_PAGES });
    const file = rig.file();
    const space = rig.space(1);
    const direct = { direct: true };
    assert.equal(space.write(at(0), pattern(PAGE)), PAGE);
    assert.equal(rig.writeUser(file, 0, space, at(0), PAGE, direct), PAGE);
    assert.equal(space.write(at(0), pattern(PAGE, 2)), PAGE);
    assert.equal(rig.readUser(file, 0, space, at(0), PAGE, direct), PAGE);
    const back = new Uint8Array(PAGE);
    assert.equal(space.read(at(0), back), PAGE);
    assert.deepEqual(back, pattern(PAGE));
  });
});

test('memory for two pages is enough for a write and a read through the cache', () => {
  using rig = new CacheRig({ frames: TWO_FRAMES, swapPages: SWAP_PAGES });
  const file = rig.file();
  const space = rig.space(1);
  const data = pattern(PAGE);
  assert.equal(space.write(at(0), data), PAGE);
  assert.equal(rig.writeUser(file, 0, space, at(0), PAGE), PAGE);
  assert.equal(file.size, PAGE);
  assert.equal(rig.fsync(file), 0);
  assert.deepEqual(rig.onDevice(file), data);
  assert.equal(space.write(at(0), pattern(PAGE, 2)), PAGE);
  assert.equal(rig.readUser(file, 0, space, at(0), PAGE), PAGE);
  const back = new Uint8Array(PAGE);
  assert.equal(space.read(at(0), back), PAGE);
  assert.deepEqual(back, data);
});
