import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../base/errno.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { Arena } from '../memory/arena.ts';
import { ADDRESS_END, IOVEC_ROWS_MAX, Iovec, MAX_RW_COUNT, OUTSIDE } from './iovec.ts';
import { RUNS } from './iter-cases.fuzz.ts';

const arena = new Arena({ maxBytes: 16 * 2 ** 20, label: 'iovec' });

test('no rows are a legal, empty import', () => {
  const iovec = new Iovec();
  assert.equal(iovec.importRanges([], [], 0), 0);
  assert.equal(iovec.importViews([]), 0);
  assert.equal(iovec.rows, 0);
});

test('1024 rows are taken, 1025 are EINVAL', () => {
  const iovec = new Iovec();
  const zeros = new Array<number>(IOVEC_ROWS_MAX + 1).fill(0);
  assert.equal(iovec.importRanges(zeros, zeros, IOVEC_ROWS_MAX), 0);
  assert.equal(iovec.rows, IOVEC_ROWS_MAX);
  assert.equal(iovec.importRanges(zeros, zeros, IOVEC_ROWS_MAX + 1), -Errno.EINVAL);
  const views = zeros.map(() => new Uint8Array(1));
  assert.equal(iovec.importViews(views), -Errno.EINVAL);
  assert.equal(iovec.importViews(views.slice(1)), IOVEC_ROWS_MAX);
});

test('a negative length is EINVAL, and wins over a bad address before it', () => {
  const iovec = new Iovec();
  assert.equal(iovec.importRanges([0, 0], [1, -1], 2), -Errno.EINVAL);
  assert.equal(iovec.importRanges([-5, 0], [1, -1], 2), -Errno.EINVAL);
  assert.equal(iovec.importRange(0, -1), -Errno.EINVAL);
});

test('a range outside the address space is EFAULT', () => {
  const iovec = new Iovec();
  assert.equal(iovec.importRanges([0, -4096], [1, 1], 2), -Errno.EFAULT);
  assert.equal(iovec.importRanges([0, ADDRESS_END], [1, 1], 2), -Errno.EFAULT);
  assert.equal(iovec.rows, 0);
  assert.equal(iovec.importRange(ADDRESS_END - 1, 1), 1);
  // Many ranges are checked as they were given, one is clipped first.
  const start = ADDRESS_END - MAX_RW_COUNT;
  assert.equal(iovec.importRanges([0, start], [1, MAX_RW_COUNT + 1], 2), -Errno.EFAULT);
  assert.equal(iovec.importRange(start, MAX_RW_COUNT + 1), MAX_RW_COUNT);
  // A list of one is a range, as Linux takes it: clipped first.
  assert.equal(iovec.importRanges([start], [MAX_RW_COUNT + 1], 1), MAX_RW_COUNT);
  assert.equal(iovec.importRanges([-4096], [8192], 1), -Errno.EFAULT);
});

test('a space may end earlier: every range is checked against its own end', () => {
  const end = 2 ** 47 - PAGE_BYTES;
  const iovec = new Iovec();
  assert.equal(iovec.importRanges([0, end - 8], [1, 8], 2, end), 9);
  assert.equal(iovec.importRanges([0, end - 8], [1, 9], 2, end), -Errno.EFAULT);
  assert.equal(iovec.importRanges([end - 8], [9], 1, end), -Errno.EFAULT);
  assert.equal(iovec.importRange(end, 0, end), 0);
  assert.equal(iovec.importRange(end + 1, 0, end), -Errno.EFAULT);
});

test('the total is clipped to MAX_RW_COUNT, later rows become empty', () => {
  const iovec = new Iovec();
  const lens = [MAX_RW_COUNT - 10, 100, 7];
  assert.equal(iovec.importRanges([0, 0, 0], lens, 3), MAX_RW_COUNT);
  assert.deepEqual([...iovec.len.subarray(0, 3)], [MAX_RW_COUNT - 10, 10, 0]);
  fc.assert(
    fc.property(fc.array(fc.nat(2 ** 31), { maxLength: 6 }), (wanted) => {
      const total = iovec.importRanges(wanted, wanted, wanted.length);
      const sum = wanted.reduce((a, b) => a + b, 0);
      assert.equal(total, Math.min(sum, MAX_RW_COUNT));
      assert.equal(
        [...iovec.len.subarray(0, wanted.length)].reduce((a, b) => a + b, 0),
        total,
      );
    }),
    RUNS,
  );
});

test('arena memory has its physical address, a plain array none', () => {
  using buffer = arena.alloc(2 * PAGE_BYTES);
  const iovec = new Iovec(1);
  const view = buffer.bytes.subarray(5000, 5010);
  assert.equal(iovec.importViews([new Uint8Array(3), view, buffer.bytes.subarray(7, 7)]), 13);
  assert.equal(iovec.base[0], OUTSIDE);
  assert.equal(iovec.base[1], buffer.page * PAGE_BYTES + 5000);
  assert.equal(iovec.base[2], buffer.page * PAGE_BYTES + 7);
  assert.equal(iovec.outsideRows, 1);
  assert.equal(iovec.importViews([view, new Uint8Array(0), new Uint8Array(1)]), 11);
  assert.equal(iovec.outsideRows, 1, 'an empty array hides nothing');
  iovec.reset();
  assert.deepEqual([...iovec.views], [null, null, null], 'the arrays are let go');
  assert.equal(iovec.outsideRows, 0);
});

test('nothing is outstanding', () => arena.assertNothingOutstanding());
