import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockError } from '../base/block-error.ts';
import { parseTarget, type Target } from './target.ts';

const GOOD: readonly [string, Omit<Target, 'text'> & Record<string, unknown>][] = [
  ['disk.img', { kind: 'file', path: 'disk.img' }],
  ['/dev/vdb', { kind: 'file', path: '/dev/vdb' }],
  ['./ram:1G', { kind: 'file', path: './ram:1G' }],
  ['./-', { kind: 'file', path: './-' }],
  ['C:\\disk.img', { kind: 'file', path: 'C:\\disk.img' }],
  ['a:b', { kind: 'file', path: 'a:b' }],
  ['-', { kind: 'stdio' }],
  ['ram:1G', { kind: 'ram', sizeBytes: 2 ** 30 }],
  ['RAM:512', { kind: 'ram', sizeBytes: 512 }],
  ['null:1.5M', { kind: 'null', sizeBytes: 1572864 }],
  ['nbd://host/export', { kind: 'nbd', uri: 'nbd://host/export' }],
  ['nbd+unix:///x?socket=/s', { kind: 'nbd', uri: 'nbd+unix:///x?socket=/s' }],
];

test('names of targets', () => {
  for (const [text, expected] of GOOD) {
    assert.deepEqual(parseTarget(text), { ...expected, text });
  }
});

test('bad names are EINVAL with a sentence', () => {
  const bad: [string, RegExp][] = [
    ['', /empty/],
    ['a\0', /zero byte/],
    ['ram:', /is no size/],
    ['ram:lots', /'lots' is no size/],
    ['ram:0', /at least one byte/],
    ['null:-1', /is no size/],
    ['ram:9000P', /2\^53/],
    ['http://host/disk', /'http' is no kind of target/],
  ];
  for (const [text, reason] of bad) {
    assert.throws(
      () => parseTarget(text),
      (error) =>
        error instanceof BlockError && error.code === 'EINVAL' && reason.test(error.reason),
      text,
    );
  }
});
