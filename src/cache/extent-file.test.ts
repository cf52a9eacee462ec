import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Errno } from '../base/errno.ts';
import { BvecTable } from '../bvec/bvec-table.ts';
import { IovIter, IterDirection } from '../iter/iov-iter.ts';
import { EXTRACT_ALL, extract } from '../iter/iter-extract.ts';
import { folioPages, HoldKind, putPages, refCount } from '../memory/holds.ts';
import { CacheRig, PAGE, pattern } from './cache-rig.fuzz.ts';

/** What stands on the fresh disk. */
const fresh = (bytes: number): Uint8Array => new Uint8Array(bytes).fill(0xee);

describe('buffered', () => {
  test('bytes come back from the cache, and from the device after fsync', () => {
    using rig = new CacheRig();
    const file = rig.file();
    const bytes = pattern(3 * PAGE + 123);
    assert.equal(rig.write(file, 0, bytes), bytes.length);
    assert.deepEqual(rig.read(file, 0, 5 * PAGE), bytes);
    assert.equal(rig.shape(file), 'HHHH', 'blocks come with writeback');
    assert.equal(rig.blocks.reserved, 4);
    assert.equal(rig.fsync(file), 0);
    assert.equal(rig.shape(file), 'MMMM');
    assert.equal(file.extents.rows, 1, 'neighbours in the file are neighbours on the device');
    assert.deepEqual(rig.onDevice(file), bytes);
    assert.equal(rig.memory.reclaim(100), 4);
    assert.deepEqual(rig.read(file, 0, 5 * PAGE), bytes);
  });

  test('a hole before the bytes reads as zeros and has no blocks', () => {
    using rig = new CacheRig();
    const file = rig.file();
    assert.equal(rig.write(file, 5 * PAGE + 10, pattern(10)), 10);
    const expected = new Uint8Array(5 * PAGE + 20);
    expected.set(pattern(10), 5 * PAGE + 10);
    assert.deepEqual(rig.read(file, 0, 9 * PAGE), expected);
    assert.equal(rig.fsync(file), 0);
    assert.equal(rig.shape(file), 'HHHHHM');
    assert.equal(file.counters.pagesRead, 0);
    assert.equal(rig.read(file, 6 * PAGE, 10).length, 0);
  });

  test('a part of a block that is on the device is read first, a whole one is not', () => {
    using rig = new CacheRig();
    const file = rig.file({ existing: { block: 3, bytes: 4 * PAGE } });
    rig.write(file, PAGE, pattern(PAGE));
    assert.equal(file.counters.pagesRead, 0);
    rig.write(file, 2 * PAGE + 5, pattern(6));
    assert.equal(file.counters.pagesRead, 1);
    const expected = fresh(4 * PAGE);
    expected.set(pattern(PAGE), PAGE);
    expected.set(pattern(6), 2 * PAGE + 5);
    assert.deepEqual(rig.read(file, 0, 4 * PAGE), expected);
    assert.equal(rig.fsync(file), 0);
    assert.deepEqual(rig.engine.medium.peek(3 * PAGE, 4 * PAGE), expected);
  });

  test('a file that ends inside a block of old bytes shows zeros behind its end', () => {
    using rig = new CacheRig();
    const file = rig.file({ existing: { block: 0, bytes: 100 } });
    assert.equal(rig.truncate(file, PAGE), 0);
    const expected = new Uint8Array(PAGE);
    expected.fill(0xee, 0, 100);
    assert.deepEqual(rig.read(file, 0, PAGE), expected);
    assert.deepEqual(rig.read(file, 0, PAGE, { direct: true }), expected);
  });
});

describe('read-ahead', () => {
  test('a sequential reader is served by few transfers, a random one pays for what it asks', () => {
    using rig = new CacheRig();
    const file = rig.file({ existing: { block: 0, bytes: 64 * PAGE } });
    rig.read(file, 40 * PAGE, PAGE);
    assert.equal(file.counters.pagesRead, 1);
    for (let page = 0; page < 16; page++) rig.read(file, page * PAGE, PAGE);
    assert.ok(rig.device.counters.transfers <= 6, `${rig.device.counters.transfers} transfers`);
    assert.ok(file.counters.pagesRead <= 1 + 20);
  });

  test('larger folios where index, extent and memory allow them; smaller ones where not', () => {
    using rig = new CacheRig();
    const file = rig.file({ existing: { block: 0, bytes: 30 * PAGE }, folioOrder: 3 });
    rig.write(file, 9 * PAGE, pattern(PAGE)); // In the way of the second folio.
    assert.deepEqual(rig.read(file, 0, 8 * PAGE), fresh(8 * PAGE));
    rig.read(file, 8 * PAGE, 22 * PAGE);
    const orders = [0, 8, 9, 10, 12, 16, 24, 28].map((at) => folioPages(file.cache.pageAt(at)));
    assert.deepEqual(orders, [8, 1, 1, 2, 4, 8, 4, 2]);
    rig.write(file, 17 * PAGE + 1, pattern(1));
    assert.equal(file.cache.countDirty(), 9, 'a dirty folio is dirty as a whole');
    assert.equal(rig.punch(file, 18 * PAGE, 20 * PAGE), 0);
    assert.equal(rig.truncate(file, 22 * PAGE), 0);
    const expected = fresh(22 * PAGE);
    expected.set(pattern(PAGE), 9 * PAGE);
    expected.set(pattern(1), 17 * PAGE + 1);
    expected.fill(0, 18 * PAGE, 20 * PAGE);
    assert.deepEqual(rig.read(file, 0, 30 * PAGE), expected);
    assert.equal(rig.fsync(file), 0);
    assert.deepEqual(rig.onDevice(file), expected);
    rig.memory.reclaim(100);
    assert.deepEqual(rig.read(file, 0, 30 * PAGE), expected);
  });
});

test('a writer that is faster than the device waits for it', () => {
  using rig = new CacheRig();
  const file = rig.file({ dirtyPagesMax: 8 });
  assert.equal(rig.write(file, 0, pattern(64 * PAGE)), 64 * PAGE);
  assert.ok(file.counters.pagesWritten >= 40, 'most of it went out before the call ended');
});

test('reserved blocks come back when a dirty page goes before it is written', () => {
  using rig = new CacheRig();
  const file = rig.file();
  rig.write(file, 0, pattern(4 * PAGE));
  assert.equal(rig.blocks.reserved, 4);
  assert.equal(rig.punch(file, PAGE, 2 * PAGE), 0);
  assert.equal(rig.blocks.reserved, 3);
  assert.equal(rig.truncate(file, 0), 0);
  assert.equal(rig.blocks.reserved, 0);
  assert.equal(rig.blocks.free, rig.blocks.blocks);
});

test('a hole in a dirty folio keeps a block promised: the folio is written as a whole', () => {
  using rig = new CacheRig({ blocks: 8 });
  const file = rig.file({ existing: { block: 0, bytes: 8 * PAGE }, folioOrder: 3 });
  const other = rig.file({ name: 'other' });
  rig.read(file, 0, 8 * PAGE);
  rig.write(file, 0, pattern(1));
  assert.equal(rig.punch(file, 2 * PAGE, 3 * PAGE), 0);
  assert.equal(rig.shape(file), 'MMHMMMMM');
  assert.equal(rig.write(other, 0, pattern(PAGE)), -Errno.ENOSPC);
  assert.equal(rig.fsync(file), 0);
  assert.equal(rig.shape(file), 'MMMMMMMM');
  assert.deepEqual(rig.onDevice(file).slice(2 * PAGE, 3 * PAGE), new Uint8Array(PAGE));
});

test('a cut through a folio takes mappings and promises behind it away', () => {
  using rig = new CacheRig();
  const file = rig.file({ folioOrder: 3 });
  const space = rig.space();
  rig.truncate(file, 8 * PAGE);
  rig.read(file, 0, 8 * PAGE);
  assert.equal(folioPages(file.cache.pageAt(0)), 8);
  rig.mapFile(space, file, 0x4000_0000, 8);
  assert.equal(space.write(0x4000_0000 + 5 * PAGE, pattern(PAGE)), PAGE);
  assert.equal(rig.blocks.reserved, 8);
  assert.equal(rig.truncate(file, 4 * PAGE), 0);
  assert.equal(rig.blocks.reserved, 4);
  assert.equal(space.read(0x4000_0000 + 5 * PAGE, new Uint8Array(1)), 0, 'behind the end');
  assert.equal(rig.truncate(file, 8 * PAGE), 0);
  const seen = new Uint8Array(PAGE).fill(1);
  assert.equal(space.read(0x4000_0000 + 5 * PAGE, seen), PAGE);
  assert.deepEqual(seen, new Uint8Array(PAGE));
});

test('the pages of a file as a source for others, with a reference each', () => {
  using rig = new CacheRig();
  const file = rig.file();
  rig.write(file, 0, pattern(2 * PAGE));
  const table = new BvecTable(4);
  const iter = new IovIter();
  iter.initPages(IterDirection.SOURCE, file.cache, 100, 2 * PAGE - 100);
  const options = { ...EXTRACT_ALL, hold: HoldKind.REFERENCED };
  assert.equal(extract(iter, table, 0, 4, 2 * PAGE, options), 2 * PAGE - 100);
  const page = file.cache.pageAt(1);
  assert.equal(refCount(page), 2);
  assert.equal(rig.truncate(file, 0), 0);
  assert.equal(refCount(page), 1, 'the memory of a page that left the file lives on');
  for (let row = 0; row < iter.rowsOut; row++) {
    putPages(table.page[row], Math.ceil((table.offset[row] + table.len[row]) / PAGE));
  }
});
