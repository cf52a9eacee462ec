import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../base/errno.ts';
import { RUNS } from '../base/runs.fuzz.ts';
import { HOLE } from '../iter/page-source.ts';
import { CacheIndex, CacheTag } from './cache-index.ts';
import { ErrorCursor, ErrorSequence } from './error-sequence.ts';
import { FileLock, type LockHolder } from './file-lock.ts';

const indices = fc.oneof(fc.nat(300), fc.integer({ min: 2 ** 33, max: 2 ** 33 + 200 }));

test('a cache index does what a map does, in order', () => {
  const steps = fc.array(fc.tuple(indices, fc.integer({ min: 1, max: 2 ** 32 - 1 })), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(steps, fc.array(indices), (list, probes) => {
      const index = new CacheIndex();
      const model = new Map<number, number>();
      for (const [at, page] of list) {
        if (model.has(at)) {
          index.remove(at);
          model.delete(at);
        } else {
          index.insert(at, page, CacheTag.PRESENT);
          model.set(at, page);
        }
      }
      const keys = [...model.keys()].sort((a, b) => a - b);
      assert.equal(index.count, keys.length);
      for (const at of [...keys, ...probes, 0]) {
        assert.equal(index.pageAt(at), model.get(at) ?? HOLE);
        assert.equal(index.next(at), keys.find((key) => key >= at) ?? -1);
      }
    }),
    RUNS,
  );
});

test('tags stay with their page, and cannot take it away', () => {
  const index = new CacheIndex();
  index.insert(70, 5, CacheTag.PRESENT);
  index.setTags(70, CacheTag.PRESENT | CacheTag.RESERVED);
  index.replace(70, 9);
  assert.equal(index.pageAt(70), 9);
  assert.equal(index.tagsAt(70), CacheTag.PRESENT | CacheTag.RESERVED);
  assert.equal(index.tagsAt(71), 0);
  assert.throws(() => index.setTags(70, CacheTag.RESERVED), /without its tag/);
  assert.throws(() => index.insert(70, 1, CacheTag.PRESENT), /there already/);
  assert.throws(() => index.remove(71), /removed twice/);
});

test('an error of writeback is told to each opener once, to a new one if nobody heard', () => {
  const errors = new ErrorSequence();
  const [a, b, late, later] = [0, 1, 2, 3].map(() => new ErrorCursor()) as [
    ErrorCursor,
    ErrorCursor,
    ErrorCursor,
    ErrorCursor,
  ];
  errors.open(a);
  errors.open(b);
  assert.equal(errors.check(a), 0);
  errors.record(-Errno.EIO);
  errors.open(late); // Nobody has heard: it is told too.
  assert.equal(errors.check(a), -Errno.EIO);
  assert.equal(errors.check(a), 0);
  errors.open(later); // Somebody has heard: it is not.
  assert.equal(errors.check(late), -Errno.EIO);
  assert.equal(errors.check(later), 0);
  errors.record(-Errno.ENOSPC);
  assert.equal(errors.check(b), -Errno.ENOSPC); // Two have come: the last is told.
  assert.equal(errors.check(b), 0);
  assert.equal(errors.check(later), -Errno.ENOSPC);
});

test('the lock of a file: many readers or one writer, in order', () => {
  const lock = new FileLock();
  const order: string[] = [];
  const holder = (name: string, isExclusive: boolean): LockHolder => ({
    isExclusive,
    wake: () => order.push(name),
  });
  const [r1, r2, w1, r3, r4, w2] = [
    holder('r1', false),
    holder('r2', false),
    holder('w1', true),
    holder('r3', false),
    holder('r4', false),
    holder('w2', true),
  ] as const;
  assert.ok(lock.acquire(r1));
  assert.ok(lock.acquire(r2));
  assert.ok(!lock.acquire(w1));
  assert.ok(!lock.acquire(r3), 'a reader does not overtake a waiting writer');
  assert.ok(!lock.acquire(r4));
  assert.ok(!lock.acquire(w2));
  lock.release(r1);
  assert.deepEqual(order, []);
  lock.release(r2);
  assert.deepEqual(order, ['w1']);
  lock.release(w1);
  assert.deepEqual(order, ['w1', 'r3', 'r4']);
  lock.release(r3);
  lock.release(r4);
  assert.deepEqual(order, ['w1', 'r3', 'r4', 'w2']);
  assert.throws(() => lock.release(r1), /released twice/);
  lock.release(w2);
  assert.ok(lock.isIdle);
});
