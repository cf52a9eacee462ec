import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockError } from '../base/block-error.ts';
import {
  hasRefTag,
  IntegrityFlag,
  type IntegrityInput,
  integrityOfType,
  intervalsOf,
  metadataBytesOf,
  NO_INTEGRITY,
  PiType,
  validateIntegrity,
} from './integrity-profile.ts';

const CRC16: IntegrityInput = { csum: 'crc16', interval_exp: 9, metadata_size: 8, tuple_size: 8 };

/** Reference 7.1: each rule, an input that breaks it alone, and words of its sentence. */
const BROKEN: readonly (readonly [IntegrityInput, number, RegExp])[] = [
  [{ csum: 'none', tuple_size: 8, metadata_size: 8 }, 512, /tuple_size is 8.*0 with csum none/],
  [{ csum: 'none', metadata_size: 8, flags: IntegrityFlag.REF_TAG }, 512, /REF_TAG.*csum is none/],
  [{ ...CRC16, tuple_size: 16, metadata_size: 16 }, 512, /tuple_size is 16.*8 with csum crc16/],
  [{ csum: 'ip', tuple_size: 16, metadata_size: 16 }, 512, /tuple_size is 16.*8 with csum ip/],
  [{ csum: 'crc64', tuple_size: 8, metadata_size: 16 }, 512, /tuple_size is 8.*16 with csum crc64/],
  [{ ...CRC16, pi_offset: 1 }, 512, /pi_offset is 1.*at most 0/],
  [{ ...CRC16, metadata_size: 64, pi_offset: 57 }, 512, /pi_offset is 57.*at most 56/],
  [{ ...CRC16, interval_exp: 8 }, 512, /interval_exp is 8.*9 \(512 bytes\) to 9/],
  [{ ...CRC16, interval_exp: 10 }, 512, /interval_exp is 10.*the logical block of 512 bytes/],
  [{ ...CRC16, interval_exp: 13 }, 4096, /interval_exp is 13.*to 12/],
  [{ ...CRC16, metadata_size: 65536 }, 512, /metadata_size is 65536.*at most 65535/],
  [{ ...CRC16, metadata_size: 32768 }, 65536, /metadata_size is 32768.*fits 2 MiB/],
  [{ ...CRC16, tag_size: 9 }, 512, /tag_size is 9.*at most 8/],
  [{ ...CRC16, flags: 64 }, 512, /flags is 64.*known flags/],
  [{ ...CRC16, csum: 'crc32' as 'crc16' }, 512, /csum is crc32.*one of none, ip, crc16, crc64/],
  [{ ...CRC16, pi_offset: -1 }, 512, /pi_offset is -1.*whole number/],
  [{ ...CRC16, metadata_size: 8.5 }, 512, /metadata_size is 8.5.*whole number/],
  [CRC16, 520, /logical block of 520 bytes/],
  [CRC16, 131072, /logical block of 131072 bytes/],
];

for (const [input, block, words] of BROKEN) {
  test(`refused: ${words.source}`, () => {
    const isRule = (error: unknown): boolean =>
      error instanceof BlockError && error.code === 'EINVAL' && words.test(error.reason);
    assert.throws(() => validateIntegrity(input, block), isRule);
  });
}

test('what is at the edge of a rule is taken', () => {
  const edges: readonly (readonly [IntegrityInput, number])[] = [
    [CRC16, 512],
    [{ ...CRC16, metadata_size: 64, pi_offset: 56 }, 512],
    [{ ...CRC16, interval_exp: 9 }, 4096],
    [{ ...CRC16, interval_exp: 12 }, 4096],
    [{ csum: 'ip', metadata_size: 8 }, 512],
    [{ csum: 'crc64', metadata_size: 65535, pi_offset: 65519 }, 512],
    [{ csum: 'none', metadata_size: 64 }, 4096],
    [{ ...CRC16, metadata_size: 16384 }, 65536],
  ];
  for (const [input, block] of edges) {
    const profile = validateIntegrity(input, block);
    assert.deepEqual(validateIntegrity(profile, block), profile, 'valid stays as it is');
  }
});

test('defaults: the logical block, the tuple of the guard, metadata up to its end', () => {
  const profile = validateIntegrity({ csum: 'crc64', pi_offset: 8 }, 4096);
  assert.deepEqual(profile, {
    csum: 'crc64',
    interval_exp: 12,
    metadata_size: 24,
    tuple_size: 16,
    pi_offset: 8,
    tag_size: 0,
    flags: 0,
  });
  assert.equal(validateIntegrity({}, 512), NO_INTEGRITY);
});

test('the types of drives', () => {
  const of = (type: PiType, csum: 'crc16' | 'crc64' | 'ip') => integrityOfType({ type, csum }, 512);
  assert.equal(hasRefTag(of(PiType.TYPE1, 'crc16')), true);
  assert.equal(hasRefTag(of(PiType.TYPE2, 'ip')), true);
  assert.equal(hasRefTag(of(PiType.TYPE3, 'crc16')), false);
  assert.equal(of(PiType.TYPE1, 'crc16').tag_size, 2);
  assert.equal(of(PiType.TYPE3, 'crc16').tag_size, 6);
  assert.equal(of(PiType.TYPE3, 'crc64').tag_size, 8);
  assert.equal(of(PiType.NONE, 'crc16'), NO_INTEGRITY);
  const bare = integrityOfType({ type: PiType.NONE, csum: 'crc16', metadata_size: 64 }, 4096);
  assert.equal(bare.csum, 'none');
  assert.equal(bare.metadata_size, 64);
  const small = integrityOfType({ type: PiType.TYPE1, csum: 'crc16', intervalBytes: 512 }, 4096);
  assert.equal(small.interval_exp, 9);
});

test('1 MiB with 8-byte tuples: 16384 bytes at 512, 2048 at 4096', () => {
  const at = (bytes: number) => integrityOfType({ type: PiType.TYPE1, csum: 'crc16' }, bytes);
  assert.equal(metadataBytesOf(at(512), 2 ** 20), 16384);
  assert.equal(metadataBytesOf(at(4096), 2 ** 20), 2048);
  assert.equal(intervalsOf(at(4096), 4095), 0);
});
