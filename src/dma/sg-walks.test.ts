import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { isAtomic, leaveAtomic, mightSleep } from './atomic-section.ts';
import {
  bytesOf,
  type Entry,
  entriesArb,
  fillEntries,
  highArena,
  listOf,
  lowArena,
  pattern,
  sgPool,
  totalOf,
} from './dma-world.fuzz.ts';
import { dmaOwnership } from './ownership.ts';
import {
  sgBytes,
  sgCopyFromBuffer,
  sgCopyToBuffer,
  sgNents,
  sgNentsForLen,
  sgZero,
} from './sg-copy.ts';
import { MiterFlag, SgMiter } from './sg-miter.ts';

/** The address of every byte, entry by entry. */
function addressesOf(entries: readonly Entry[]): Float64Array {
  const out = new Float64Array(totalOf(entries));
  let at = 0;
  for (const { page, offset, len } of entries) {
    for (let i = 0; i < len; i++) out[at++] = page * PAGE_BYTES + offset + i;
  }
  return out;
}

const { FROM_SG, TO_SG, ATOMIC, LOCAL } = MiterFlag;

test('miter: a piece ends with its page, and `consumed` resumes inside it', () => {
  const list = listOf(sgPool, [
    { page: 5, offset: 3000, len: 6000 },
    { page: 9, offset: 4096 + 100, len: 50 },
  ]);
  const flushed: number[] = [];
  const miter = new SgMiter((page) => flushed.push(page));
  const seen: number[][] = [];
  miter.start(list, TO_SG);
  assert.ok(miter.next());
  seen.push([miter.page, miter.offset, miter.length]);
  miter.consumed = 96;
  while (miter.next()) seen.push([miter.page, miter.offset, miter.length]);
  assert.deepEqual(seen, [
    [5, 3000, 1096],
    [5, 3096, 1000],
    [6, 0, 4096],
    [7, 0, 808],
    [10, 100, 50],
  ]);
  assert.deepEqual(flushed, [5, 5, 6, 7, 10], 'written pages are flushed as they are let go');
  assert.ok(!miter.next() && !miter.isMapped);
  list.release();
});

test('miter: skip maps nothing, stop keeps the place', () => {
  const list = listOf(sgPool, [
    { page: 1, offset: 0, len: 5000 },
    { page: 4, offset: 10, len: 100 },
  ]);
  const miter = new SgMiter(() => assert.fail('a read flushes nothing'));
  miter.start(list, FROM_SG);
  assert.ok(miter.skip(4996));
  assert.ok(!miter.isMapped);
  assert.ok(miter.next());
  assert.deepEqual([miter.page, miter.offset, miter.length], [2, 900, 4]);
  miter.consumed = 1;
  miter.stop();
  miter.stop();
  assert.ok(miter.skip(2));
  assert.ok(miter.next());
  assert.deepEqual([miter.page, miter.offset, miter.length], [2, 903, 1]);
  assert.ok(miter.skip(100), 'exactly to the end');
  assert.ok(!miter.next());
  assert.ok(!miter.skip(1), 'nothing to skip');
  assert.ok(miter.skip(0));
  miter.start(list, FROM_SG);
  assert.ok(!miter.skip(5101));
  assert.ok(!miter.next(), 'and it stays at the end');
  miter.start(list, FROM_SG);
  miter.next();
  assert.throws(() => miter.start(list, FROM_SG), /while a page is mapped/);
  miter.consumed = miter.length + 1;
  assert.throws(() => miter.next(), /more consumed/);
  miter.consumed = 0;
  miter.stop();
  assert.throws(() => miter.start(list, ATOMIC), /neither/);
  list.release();
});

test('miter: what may sleep fails while a page is mapped atomically', () => {
  const list = listOf(sgPool, [{ page: 1, offset: 0, len: 8192 }]);
  for (const flag of [ATOMIC, LOCAL]) {
    const miter = new SgMiter();
    miter.start(list, FROM_SG | flag);
    mightSleep();
    for (let pages = 0; miter.next(); pages++) {
      assert.ok(isAtomic() && pages < 2);
      assert.throws(mightSleep, /may sleep/);
    }
    mightSleep();
    assert.ok(!isAtomic());
  }
  const miter = new SgMiter();
  miter.start(list, FROM_SG);
  miter.next();
  mightSleep();
  miter.stop();
  assert.throws(leaveAtomic, /more often/);
  list.release();
});

const actArb = fc.oneof(
  fc.record({ kind: fc.constant('consume' as const), share: fc.nat(1000) }),
  fc.record({ kind: fc.constant('all' as const), share: fc.constant(0) }),
  fc.record({ kind: fc.constant('stop' as const), share: fc.nat(1000) }),
  fc.record({ kind: fc.constant('skip' as const), share: fc.nat(9000) }),
);

test('50: any `consumed` and any skip enumerates each byte exactly once', () => {
  fc.assert(
    fc.property(entriesArb, fc.array(actArb, { maxLength: 30 }), (entries, acts) => {
      const list = listOf(sgPool, entries);
      const miter = new SgMiter();
      const all = addressesOf(entries);
      let at = 0;
      miter.start(list, FROM_SG);
      for (const { kind, share } of [...acts, ...Array(100).fill({ kind: 'all', share: 0 })]) {
        if (kind === 'skip') {
          const fits = share <= all.length - at;
          assert.equal(miter.skip(share), fits);
          at = fits ? at + share : all.length;
          continue;
        }
        if (!miter.next()) break;
        const { page, offset, length } = miter;
        assert.ok(length > 0 && offset + length <= PAGE_BYTES);
        // The piece is the next bytes in order; its ends say so, for it lies in one page.
        assert.equal(page * PAGE_BYTES + offset, all[at]);
        assert.equal(page * PAGE_BYTES + offset + length - 1, all[at + length - 1]);
        if (kind !== 'all') miter.consumed = Math.floor((length * share) / 1000);
        at += miter.consumed;
        if (kind === 'stop') miter.stop();
      }
      assert.equal(at, all.length, 'every byte was seen');
      assert.ok(!miter.next());
      list.release();
      assert.equal(sgPool.busyCount, 0);
    }),
    RUNS,
  );
});

test('copies: min(buffer, total - skip) bytes, and no other byte changes', () => {
  fc.assert(
    fc.property(entriesArb, fc.nat(9000), fc.nat(9000), fc.nat(2), (entries, size, skip, how) => {
      const list = listOf(sgPool, entries);
      const total = totalOf(entries);
      const before = pattern(total, 1);
      fillEntries(entries, before);
      const expected = Math.max(0, Math.min(size, total - skip));
      const buffer = pattern(size, 5);
      const after = before.slice();
      if (how === 0) {
        assert.equal(sgCopyFromBuffer(list, buffer, skip), expected);
        after.set(buffer.subarray(0, expected), Math.min(skip, total));
      } else if (how === 1) {
        const given = buffer.slice();
        given.set(before.subarray(skip, skip + expected));
        assert.equal(sgCopyToBuffer(list, buffer, skip), expected);
        assert.deepEqual(buffer, given);
      } else {
        assert.equal(sgZero(list, size, skip), expected);
        after.fill(0, Math.min(skip, total), Math.min(skip, total) + expected);
      }
      assert.deepEqual(bytesOf(entries), after);
      list.release();
    }),
    RUNS,
  );
});

test('counts: nents, bytes, and the entries that a length needs', () => {
  const list = listOf(sgPool, [
    { page: 1, offset: 0, len: 100 },
    { page: 2, offset: 0, len: 50 },
    { page: 3, offset: 0, len: 1 },
  ]);
  assert.deepEqual([sgNents(list), sgBytes(list)], [3, 151]);
  const cases = [
    [0, 0],
    [1, 1],
    [100, 1],
    [101, 2],
    [150, 2],
    [151, 3],
    [152, -22],
  ] as const;
  for (const [bytes, entries] of cases) assert.equal(sgNentsForLen(list, bytes), entries);
  assert.throws(() => sgZero(list, 1, -1), /negative skip/);
  list.release();
});

test('checked mode: copies and page walks fail on memory that a device owns', () => {
  using low = lowArena.alloc(2 * PAGE_BYTES);
  using high = highArena.alloc(PAGE_BYTES);
  const entries = [
    { page: low.page, offset: 4000, len: 200 },
    { page: high.page, offset: 512, len: 512 },
  ];
  const list = listOf(sgPool, entries);
  const miter = new SgMiter();
  const touch = (): void => {
    miter.start(list, FROM_SG);
    while (miter.next());
  };
  dmaOwnership.isEnabled = true;
  try {
    dmaOwnership.give(high.page, 1000, 24);
    const calls = [touch, () => sgZero(list, 9000), () => sgCopyToBuffer(list, pattern(9000, 0))];
    for (const call of calls) assert.throws(call, /the CPU touched/);
    assert.equal(sgZero(list, 200), 200, 'the first entry is free');
    assert.equal(sgZero(list, 488, 200), 488, 'up to the byte before');
    dmaOwnership.take(high.page, 1000, 24);
    for (const call of calls) call();
    assert.throws(() => dmaOwnership.take(high.page, 1000, 24), /does not have it/);
    dmaOwnership.give(low.page, 4090, 10);
    dmaOwnership.give(low.page, 4090, 10);
    dmaOwnership.take(low.page, 4090, 10);
    assert.throws(touch, /the CPU touched/, 'mapped twice, unmapped once');
    dmaOwnership.take(low.page, 4090, 10);
    touch();
    assert.equal(dmaOwnership.pages, 0);
  } finally {
    dmaOwnership.isEnabled = false;
    list.release();
  }
});

test('checked mode: a device may touch what was given or shared, and nothing else', () => {
  dmaOwnership.isEnabled = true;
  try {
    dmaOwnership.give(100, 0, 100);
    dmaOwnership.give(100, 100, 5000);
    dmaOwnership.assertDeviceOwns(100, 50, 5050);
    assert.throws(() => dmaOwnership.assertDeviceOwns(100, 50, 5051), /that the CPU owns/);
    assert.throws(() => dmaOwnership.assertDeviceOwns(99, 4095, 2), /that the CPU owns/);
    dmaOwnership.share(99, 1);
    dmaOwnership.assertDeviceOwns(99, 4095, 2);
    dmaOwnership.assertCpuOwns(99, 0, 4096);
    dmaOwnership.unshare(99, 1);
    assert.throws(() => dmaOwnership.assertDeviceOwns(99, 4095, 2), /that the CPU owns/);
    dmaOwnership.take(100, 100, 5000);
    dmaOwnership.take(100, 0, 100);
    assert.equal(dmaOwnership.pages, 0);
  } finally {
    dmaOwnership.isEnabled = false;
  }
});
