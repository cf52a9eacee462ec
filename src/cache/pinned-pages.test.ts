import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Errno } from '../base/errno.ts';
import { IterDirection } from '../iter/iov-iter.ts';
import { copyIn, copyOut } from '../memory/copy.ts';
import { getPages, isDirty, maybePinned, putPages, refCount } from '../memory/holds.ts';
import { PinFlag, tryPinUserPages } from '../memory/user/pin-user-pages.ts';
import { unpinUserPages, unpinUserPagesDirty } from '../memory/user/unpin-user-pages.ts';
import type { UserSpace } from '../memory/user/user-space.ts';
import { CacheRig, PAGE, pattern, type RigOptions } from './cache-rig.fuzz.ts';
import type { ExtentFile } from './extent-file.ts';
import type { ExtentFileOptions } from './file-options.ts';

// Table 1.6 of the reference for pages of a file, row by row, and the races of 4.6.

const MAP = 0x4000_0000;

interface Scene {
  readonly rig: CacheRig;
  readonly file: ExtentFile;
  readonly space: UserSpace;
  readonly pages: Uint32Array;
  readonly old: Uint8Array;
}

/** A file of two pages on the device, mapped, its first page pinned for a device to write to. */
function pinned(options: Partial<ExtentFileOptions> = {}, rigOptions: RigOptions = {}): Scene {
  const rig = new CacheRig(rigOptions);
  const file = rig.file(options);
  const space = rig.space();
  const old = pattern(2 * PAGE);
  assert.equal(rig.write(file, 0, old), old.length);
  assert.equal(rig.fsync(file), 0);
  rig.mapFile(space, file, MAP, 2);
  const pages = new Uint32Array(1);
  assert.equal(tryPinUserPages(space, MAP, 1, PinFlag.WRITE, pages, 0), 1);
  assert.equal(pages[0], file.cache.pageAt(0));
  assert.ok(maybePinned(pages[0] as number));
  return { rig, file, space, pages, old };
}

/** What the device does: bytes arrive in the pinned page. */
function dma(scene: Scene): Uint8Array {
  const data = pattern(PAGE, 7);
  copyIn(scene.pages[0] as number, 0, data, 0, PAGE);
  return data;
}

function joined(first: Uint8Array, old: Uint8Array): Uint8Array {
  const all = new Uint8Array(old);
  all.set(first);
  return all;
}

describe('reclaim', () => {
  test('keeps a pinned page, mapped or not, and drops it after the last pin', () => {
    const scene = pinned();
    using rig = scene.rig;
    const { file, space, pages } = scene;
    assert.equal(rig.fsync(file), 0);
    assert.equal(rig.memory.reclaim(10), 1, 'the other page');
    assert.equal(file.cache.pageAt(0), pages[0]);
    space.munmap(MAP, 2 * PAGE);
    assert.equal(rig.memory.reclaim(10), 0);
    assert.equal(file.cache.pageAt(0), pages[0]);
    assert.ok(file.cache.counters.keptPinned >= 2);
    unpinUserPages(pages, 0, 1);
    assert.equal(rig.fsync(file), 0);
    assert.equal(rig.memory.reclaim(10), 1);
  });

  test('sees the pin of a page that looks clean: what the device writes is not lost', () => {
    const scene = pinned();
    using rig = scene.rig;
    const { file, space, pages, old } = scene;
    space.munmap(MAP, 2 * PAGE);
    // A page that was cleaned in between, as without the rule of writeback below.
    assert.equal(rig.fsync(file), 0);
    rig.memory.region.flags[(pages[0] as number) - rig.memory.region.firstPage] = 0;
    assert.equal(rig.memory.reclaim(10), 1, 'the other page');
    const data = dma(scene);
    unpinUserPagesDirty(pages, 0, 1);
    assert.deepEqual(rig.read(file, 0, 2 * PAGE), joined(data, old));
  });

  test('unmaps a clean page, writes a dirty one first, and leaves one that somebody holds', () => {
    using rig = new CacheRig();
    const file = rig.file();
    const space = rig.space();
    assert.equal(rig.write(file, 0, pattern(3 * PAGE)), 3 * PAGE);
    rig.mapFile(space, file, MAP, 3);
    const held = file.cache.pageAt(2);
    getPages(held, 1);
    assert.equal(space.read(MAP, new Uint8Array(3 * PAGE)), 3 * PAGE);
    assert.equal(rig.memory.reclaim(10), 0, 'all three are dirty');
    rig.settle();
    assert.deepEqual(rig.onDevice(file), pattern(3 * PAGE), 'reclaim had them written');
    assert.equal(rig.memory.reclaim(10), 2);
    assert.equal(file.cache.pageAt(2), held);
    assert.ok(file.cache.counters.keptHeld > 0);
    putPages(held, 1);
    assert.equal(rig.memory.reclaim(10), 1);
    assert.equal(file.cache.pages, 0);
    assert.equal(rig.memory.rmap.used, 0);
  });

  test('gives a page that was used a second chance', () => {
    using rig = new CacheRig();
    const file = rig.file();
    assert.equal(rig.write(file, 0, pattern(4 * PAGE)), 4 * PAGE);
    assert.equal(rig.fsync(file), 0);
    assert.equal(rig.memory.reclaim(1), 1); // All were used: the first of the second round goes.
    assert.equal(file.cache.pageAt(0), -1);
    rig.read(file, PAGE, 1);
    assert.equal(rig.memory.reclaim(1), 1);
    assert.notEqual(file.cache.pageAt(1), -1);
    assert.equal(file.cache.pageAt(2), -1);
  });
});

describe('migration', () => {
  test('is refused while a page is pinned, held or written; then bytes and maps follow', () => {
    const scene = pinned();
    using rig = scene.rig;
    const { file, space, pages, old } = scene;
    const { memory } = rig;
    const page = pages[0] as number;
    assert.equal(memory.migrate(page), -Errno.EAGAIN);
    const data = dma(scene);
    unpinUserPagesDirty(pages, 0, 1);
    getPages(page, 1);
    assert.equal(memory.migrate(page), -Errno.EAGAIN);
    putPages(page, 1);
    file.writeOut();
    assert.equal(memory.migrate(page), -Errno.EAGAIN, 'under writeback');
    rig.settle();
    file.cache.dirtied(page);
    assert.equal(memory.migrate(page), 0);
    const moved = file.cache.pageAt(0);
    assert.notEqual(moved, page);
    assert.ok(isDirty(moved), 'dirt moves with the bytes');
    file.verify();
    const seen = new Uint8Array(PAGE);
    assert.equal(space.read(MAP, seen), PAGE);
    assert.deepEqual(seen, data);
    assert.equal(rig.fsync(file), 0);
    assert.deepEqual(rig.onDevice(file), joined(data, old));
  });

  test('is refused while the cache reads the page', () => {
    using rig = new CacheRig();
    const file = rig.file({ existing: { block: 0, bytes: PAGE } });
    let got = -1;
    const iter = rig.user(IterDirection.DEST, rig.space(1), 0x10_0000, PAGE);
    file.startRead(0, iter, {}, (_op, result) => {
      got = result;
    });
    while (file.cache.pageAt(0) < 0) assert.ok(rig.clock.step());
    assert.equal(rig.memory.migrate(file.cache.pageAt(0)), -Errno.EAGAIN);
    rig.settle();
    assert.equal(got, PAGE);
    assert.equal(rig.memory.migrate(file.cache.pageAt(0)), 0);
    assert.deepEqual(rig.read(file, 0, PAGE), new Uint8Array(PAGE).fill(0xee));
  });
});

describe('writeback of a pinned page', () => {
  test('writes it and leaves it dirty: what the device brings later is written later', () => {
    const scene = pinned();
    using rig = scene.rig;
    const { file, pages, old } = scene;
    assert.equal(rig.fsync(file), 0);
    assert.ok(isDirty(pages[0] as number), 'it stays dirty');
    assert.deepEqual(rig.onDevice(file), old);
    const data = dma(scene);
    unpinUserPagesDirty(pages, 0, 1);
    assert.equal(rig.fsync(file), 0);
    assert.ok(!isDirty(pages[0] as number));
    assert.deepEqual(rig.onDevice(file), joined(data, old));
  });

  test('4.6: dirty before the transfer only is not lost, nor dirty after a cleaning', () => {
    for (const dirtiesAtEnd of [false, true]) {
      const scene = pinned();
      using rig = scene.rig;
      const { file, space, pages, old } = scene;
      file.cache.dirtied(pages[0] as number); // Marked before the transfer.
      assert.equal(rig.fsync(file), 0); // Cleaned while it runs.
      const data = dma(scene);
      space.exit();
      rig.spaces.length = 0;
      if (dirtiesAtEnd) unpinUserPagesDirty(pages, 0, 1);
      else unpinUserPages(pages, 0, 1);
      rig.memory.reclaim(10);
      rig.settle();
      rig.memory.reclaim(10);
      assert.deepEqual(rig.read(file, 0, 2 * PAGE), joined(data, old));
    }
  });

  test('goes from a copy when the device wants stable bytes, from the page when not', () => {
    for (const stableWrites of [false, true]) {
      const scene = pinned({ stableWrites });
      using rig = scene.rig;
      const { file, pages, old } = scene;
      file.writeOut(); // Submitted, nothing moved yet.
      const data = dma(scene);
      rig.settle();
      assert.equal(file.counters.pagesBounced, stableWrites ? 1 : 0);
      const expected = stableWrites ? old : joined(data, old);
      assert.deepEqual(rig.onDevice(file), expected);
      unpinUserPagesDirty(pages, 0, 1);
      assert.equal(rig.fsync(file), 0);
      assert.deepEqual(rig.onDevice(file), joined(data, old));
      assert.equal(file.counters.pagesBounced, stableWrites ? 1 : 0, 'no pin, no copy');
    }
  });
});

describe('truncate and hole', () => {
  test('take the page out at once; its memory lives until the last pin, the bytes are lost', () => {
    for (const isHole of [false, true]) {
      const scene = pinned();
      using rig = scene.rig;
      const { file, space, pages, old } = scene;
      const page = pages[0] as number;
      if (isHole) assert.equal(rig.punch(file, 0, PAGE), 0);
      else assert.equal(rig.truncate(file, 0), 0);
      assert.equal(file.cache.pageAt(0), -1);
      assert.equal(refCount(page), 0, 'only the pin is left');
      dma(scene);
      assert.equal(rig.truncate(file, 2 * PAGE), 0);
      const seen = new Uint8Array(PAGE).fill(1);
      assert.equal(space.read(MAP, seen), PAGE, 'a new page is mapped');
      assert.deepEqual(seen, new Uint8Array(PAGE));
      const before = rig.memory.usedPages;
      unpinUserPagesDirty(pages, 0, 1);
      assert.equal(rig.memory.usedPages, before - 1, 'the frame is free now');
      const rest = isHole ? old.slice(PAGE) : new Uint8Array(PAGE);
      assert.deepEqual(rig.read(file, PAGE, PAGE), rest);
    }
  });
});

describe('munmap and exit', () => {
  test('drop the mapping only: what the device brings later is the file', () => {
    for (const isExit of [false, true]) {
      const scene = pinned();
      using rig = scene.rig;
      const { file, space, pages, old } = scene;
      if (isExit) {
        space.exit();
        rig.spaces.length = 0;
      } else space.munmap(MAP, 2 * PAGE);
      const data = dma(scene);
      unpinUserPagesDirty(pages, 0, 1);
      assert.equal(rig.fsync(file), 0);
      assert.deepEqual(rig.onDevice(file), joined(data, old));
    }
  });

  test('fork shares a pinned page of a file: parent and child see the device', () => {
    const scene = pinned();
    using _rig = scene.rig;
    const { space, pages } = scene;
    const child = space.fork('child');
    const data = dma(scene);
    for (const who of [space, child]) {
      const seen = new Uint8Array(PAGE);
      assert.equal(who.read(MAP, seen), PAGE);
      assert.deepEqual(seen, data);
    }
    child.exit();
    unpinUserPagesDirty(pages, 0, 1);
  });
});

test('a direct write over a pinned page goes through the cache, and both see it', () => {
  const scene = pinned();
  using rig = scene.rig;
  const { file, pages, old } = scene;
  const fresh = pattern(PAGE, 5);
  assert.equal(rig.write(file, 0, fresh, { direct: true }), PAGE);
  assert.equal(file.counters.directThroughCache, 1);
  assert.equal(file.cache.pageAt(0), pages[0]);
  assert.deepEqual(rig.onDevice(file), joined(fresh, old), 'and it is on the device');
  const data = dma(scene);
  unpinUserPagesDirty(pages, 0, 1);
  assert.deepEqual(rig.read(file, 0, 2 * PAGE, { direct: true }), joined(data, old));
});

test('also when the page is clean: who has it pinned goes on seeing the file', () => {
  using rig = new CacheRig();
  const file = rig.file({ existing: { block: 0, bytes: PAGE } });
  const space = rig.space();
  rig.mapFile(space, file, MAP, 1);
  rig.read(file, 0, PAGE);
  const pages = new Uint32Array(1);
  assert.equal(tryPinUserPages(space, MAP, 1, 0, pages, 0), 1);
  assert.ok(!isDirty(pages[0] as number));
  assert.equal(rig.write(file, 0, pattern(PAGE), { direct: true }), PAGE);
  assert.equal(file.cache.pageAt(0), pages[0]);
  const seen = new Uint8Array(PAGE);
  copyOut(seen, 0, pages[0] as number, 0, PAGE);
  assert.deepEqual(seen, pattern(PAGE));
  unpinUserPages(pages, 0, 1);
});

test('a long-term pin for writing of a mapping that tracks dirt is refused', () => {
  const scene = pinned();
  using _rig = scene.rig;
  const { space, pages } = scene;
  const out = new Uint32Array(1);
  const flags = PinFlag.WRITE | PinFlag.LONGTERM;
  assert.equal(tryPinUserPages(space, MAP, 1, flags, out, 0), -Errno.EFAULT);
  unpinUserPages(pages, 0, 1);
});
