import assert from 'node:assert/strict';
import { test } from 'node:test';
import { validateLimits } from '../limits/validate.ts';
import { integrityLimits, stackIntegrity } from './integrity-limits.ts';
import {
  IntegrityFlag,
  type IntegrityInput,
  type IntegrityProfile,
  NO_INTEGRITY,
  validateIntegrity,
} from './integrity-profile.ts';

const wide = validateLimits({
  max_hw_sectors: 65536,
  max_user_sectors: 65536,
  max_segment_size: 2 ** 31,
  dma_alignment: 3,
});
const crc16 = (input: IntegrityInput = {}, block = 512): IntegrityProfile =>
  validateIntegrity({ csum: 'crc16', ...input }, block);

test('a request is no longer than one buffer of metadata covers', () => {
  // 2 MiB / 8 = 262144 intervals of 512: 128 MiB, more than the limits have.
  assert.equal(integrityLimits(wide, crc16()).max_sectors, 65536);
  // 2 MiB / 64 = 32768 intervals of 512 bytes: 32768 sectors.
  assert.equal(integrityLimits(wide, crc16({ metadata_size: 64 })).max_sectors, 32768);
  // 2 MiB / 1000 = 2097 whole intervals.
  assert.equal(integrityLimits(wide, crc16({ metadata_size: 1000 })).max_sectors, 2097);
});

test('the size of a segment caps the data, as coded in Linux', () => {
  const short = validateLimits({ max_hw_sectors: 1024, max_segment_size: 65536 });
  assert.equal(integrityLimits(short, crc16()).max_sectors, 128);
});

test('segments start on an interval, unless split ones are taken or there is no guard', () => {
  const blocks4k = validateLimits({ logical_block_size: 4096, dma_alignment: 3 });
  const dma = (limits: typeof wide, profile: IntegrityProfile): number =>
    integrityLimits(limits, profile).dma_alignment;
  assert.equal(dma(wide, crc16()), 511);
  assert.equal(dma(blocks4k, crc16({}, 4096)), 4095);
  assert.equal(dma(blocks4k, crc16({ interval_exp: 9 }, 4096)), 511);
  assert.equal(dma(wide, crc16({ flags: IntegrityFlag.SPLIT_INTERVAL_OK })), 3);
  assert.equal(dma(wide, validateIntegrity({ metadata_size: 8 }, 512)), 3);
  const blocks64k = validateLimits({ logical_block_size: 65536, max_hw_sectors: 65536 });
  assert.equal(dma(blocks64k, crc16({}, 65536)), 4095);
  const strict = validateLimits({ dma_alignment: 4095 });
  assert.equal(dma(strict, crc16()), 4095);
});

test('no metadata, no change', () => {
  assert.equal(integrityLimits(wide, NO_INTEGRITY), wide);
});

test('a stack of equal parts has their format', () => {
  const part = crc16({ flags: IntegrityFlag.REF_TAG | IntegrityFlag.DEVICE_CAPABLE });
  const stacked = stackIntegrity([part, part]);
  const flags = IntegrityFlag.REF_TAG | IntegrityFlag.DEVICE_CAPABLE | IntegrityFlag.STACKED;
  assert.deepEqual(stacked, { ...part, flags });
  assert.deepEqual(stackIntegrity([part]), { ...part, flags });
});

test('any difference clears the profile, in any order', () => {
  const base = validateIntegrity(
    { csum: 'crc16', metadata_size: 64, tag_size: 2, interval_exp: 9 },
    4096,
  );
  const others: readonly IntegrityProfile[] = [
    { ...base, metadata_size: 32 },
    { ...base, interval_exp: 12 },
    { ...base, tag_size: 6 },
    { ...base, csum: 'ip' },
    { ...base, csum: 'crc64', tuple_size: 16 },
    { ...base, flags: IntegrityFlag.REF_TAG },
    { ...base, pi_offset: 8 },
    NO_INTEGRITY,
  ];
  for (const other of others) {
    // Linux sets the profile anew after a part that did not fit; here the third part cannot.
    for (const parts of [
      [base, other],
      [other, base],
      [base, other, base],
      [other, base, base],
    ]) {
      assert.equal(stackIntegrity(parts), NO_INTEGRITY);
    }
  }
  assert.equal(stackIntegrity([]), NO_INTEGRITY);
});

test('what only some parts can, the stack cannot', () => {
  const can = crc16({ flags: IntegrityFlag.DEVICE_CAPABLE | IntegrityFlag.SPLIT_INTERVAL_OK });
  const cannot = crc16();
  assert.equal(stackIntegrity([can, cannot]).flags, IntegrityFlag.STACKED);
  assert.equal(stackIntegrity([cannot, can]).flags, IntegrityFlag.STACKED);
});
