import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockError } from '../base/block-error.ts';
import { IntegrityFlag } from '../integrity/integrity-profile.ts';
import { parseTarget, type Target } from './target.ts';

const PLAIN = { blockBytes: 512, integrity: null } as const;

const GOOD: readonly [string, Omit<Target, 'text'> & Record<string, unknown>][] = [
  ['disk.img', { kind: 'file', path: 'disk.img' }],
  ['/dev/vdb', { kind: 'file', path: '/dev/vdb' }],
  ['./ram:1G', { kind: 'file', path: './ram:1G' }],
  ['./-', { kind: 'file', path: './-' }],
  ['C:\\disk.img', { kind: 'file', path: 'C:\\disk.img' }],
  ['a:b', { kind: 'file', path: 'a:b' }],
  ['-', { kind: 'stdio' }],
  ['ram:1G', { kind: 'ram', sizeBytes: 2 ** 30, ...PLAIN }],
  ['RAM:512', { kind: 'ram', sizeBytes: 512, ...PLAIN }],
  ['ram:1M,block=4K', { kind: 'ram', sizeBytes: 2 ** 20, blockBytes: 4096, integrity: null }],
  ['null:1.5M', { kind: 'null', sizeBytes: 1572864 }],
  [
    'protect:a,b.img,store=/x/y.pi,ordered',
    {
      kind: 'protect',
      data: { kind: 'file', text: 'a,b.img', path: 'a,b.img' },
      store: '/x/y.pi',
      ordered: true,
      guard: null,
      intervalBytes: null,
    },
  ],
  [
    'protect:ram:1M,interval=512,guard=crc16',
    {
      kind: 'protect',
      data: parseTarget('ram:1M'),
      store: null,
      ordered: false,
      guard: 'crc16',
      intervalBytes: 512,
    },
  ],
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
    ['protect:', /needs the name of an image/],
    ['protect:null:1G', /cannot be protected/],
    ['protect:-', /cannot be protected/],
    ['protect:protect:x', /cannot be protected/],
    ['protect:ram:1M,pi=crc16', /keeps tuples by itself/],
    ['protect:x,guard=ip', /may be crc64, crc16/],
    ['protect:x,store=', /store has no value/],
    ['protect:x,ordered,ordered', /given twice/],
    ['protect:x,interval=much', /is no size/],
    ['ram:', /is no size/],
    ['ram:lots', /'lots' is no size/],
    ['ram:0', /at least one byte/],
    ['null:-1', /is no size/],
    ['ram:9000P', /2\^53/],
    ['null:1M,pi=crc16', /keeps nothing/],
    ['ram:1M,colour=red', /'colour' is none of block, pi, type/],
    ['ram:1M,pi=crc16,pi=crc64', /pi is given twice/],
    ['ram:1M,pi', /pi has no value: pi=/],
    ['ram:1M,pi=crc16,capable=1', /capable has no value/],
    ['ram:1M,pi=none', /pi is 'none'; it may be ip, crc16, crc64/],
    ['ram:1M,pi=crc16,type=4', /type is '4'/],
    ['ram:1M,type=1', /type says how tuples look, and pi is not given/],
    ['ram:1M,interval=4096', /interval says how/],
    ['ram:1M,pi=crc16,block=512,interval=4096', /interval_exp is 12/],
    ['ram:1M,pi=crc64,metadata-size=8', /pi_offset/],
    ['ram:1M,pi=crc16,offset=x', /'x' is no size/],
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

test('options of a RAM disk say how its tuples look', () => {
  const target = parseTarget('ram:1M,pi=crc64,type=2,interval=4096,metadata-size=64,offset=16');
  assert(target.kind === 'ram');
  assert.equal(target.blockBytes, 4096);
  const { REF_TAG, SPLIT_INTERVAL_OK, DEVICE_CAPABLE } = IntegrityFlag;
  assert.deepEqual(target.integrity, {
    csum: 'crc64',
    interval_exp: 12,
    metadata_size: 64,
    tuple_size: 16,
    pi_offset: 16,
    tag_size: 2,
    flags: REF_TAG | SPLIT_INTERVAL_OK,
  });
  const small = parseTarget('ram:1M,pi=crc16,type=3,block=4096,interval=512,capable');
  assert(small.kind === 'ram');
  assert.equal(small.blockBytes, 4096);
  assert.equal(small.integrity?.interval_exp, 9);
  assert.equal(small.integrity?.metadata_size, 8);
  assert.equal(small.integrity?.flags, SPLIT_INTERVAL_OK | DEVICE_CAPABLE);
});
