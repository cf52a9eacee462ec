import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AssertionError, assert as check, maybe, unreachable } from './assert.ts';
import { BlockError } from './block-error.ts';
import { Errno, errnoName, errnoNumber } from './errno.ts';

test('every errno has one name, and the numbers are those of Linux', () => {
  const names = Object.keys(Errno);
  assert.equal(new Set(Object.values(Errno)).size, names.length);
  for (const name of names) assert.equal(errnoName(-errnoNumber(name)), name);
  assert.equal(Errno.EINVAL, 22);
  assert.equal(Errno.EIO, 5);
  assert.equal(Errno.EOPNOTSUPP, 95);
  assert.equal(Errno.EILSEQ, 84);
});

test('an unknown errno is still a failure', () => {
  assert.equal(errnoName(-9999), 'EIO');
  assert.equal(errnoNumber('EWHATEVER'), Errno.EIO);
  assert.equal(errnoNumber('toString'), Errno.EIO);
});

test('an error carries code, errno, reason and place', () => {
  const cause = new Error('below');
  const error = BlockError.fromErrno(-28, {
    reason: 'the disk is full',
    syscall: 'write',
    device: './disk.img',
    offset: 4096,
    length: 512,
    cause,
  });
  assert.equal(error.code, 'ENOSPC');
  assert.equal(error.errno, -28);
  assert.equal(error.message, "ENOSPC: the disk is full, write './disk.img'");
  assert.equal(error.offset, 4096);
  assert.equal(error.length, 512);
  assert.equal(error.cause, cause);
  assert.ok(error instanceof Error);
});

test('codes of this library have errno 0', () => {
  const error = new BlockError('ERR_BIOVEC_LEAK', { reason: 'two pins' });
  assert.equal(error.errno, 0);
  assert.equal(error.message, 'ERR_BIOVEC_LEAK: two pins');
});

test('assertions are errors of their own class', () => {
  check(true, 'fine');
  assert.throws(() => check(false, 'pool: broken'), AssertionError);
  assert.throws(() => check(false, 'pool: broken'), /^AssertionError: biovec: pool: broken$/);
  assert.throws(() => unreachable(7 as never), /unreachable value 7/);
  maybe(true, 'either is legal');
  maybe(false, 'either is legal');
});
