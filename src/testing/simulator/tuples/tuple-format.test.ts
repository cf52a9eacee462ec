import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  type Csum,
  IntegrityFlag,
  type IntegrityInput,
  validateIntegrity,
} from '../../../integrity/integrity-profile.ts';
import { TupleCheck, TupleFault, TupleFormat } from './tuple-format.ts';

function formatOf(csum: Csum, input: IntegrityInput = {}): TupleFormat {
  const flags = IntegrityFlag.REF_TAG;
  return new TupleFormat(validateIntegrity({ csum, interval_exp: 9, flags, ...input }, 4096));
}

function made(format: TupleFormat, data: Uint8Array, block: number): string {
  const record = new Uint8Array(format.metadataBytes).fill(0x77);
  format.make(data, 0, record, 0, block);
  return Buffer.from(record).toString('hex').toUpperCase();
}

const COUNTING = Uint8Array.from({ length: 512 }, (_, i) => i);
const DOWN = Uint8Array.from({ length: 4096 }, (_, i) => 255 - (i % 256));

describe('tuples of the judge', () => {
  test('are the known answers of the three checksums', () => {
    // Guard of 512 bytes counting up, of 4096 counting down; then app tag 0 and block 0x1234.
    const answers: readonly [Csum, string, string][] = [
      ['crc16', '4F10', '0430'],
      ['ip', '7F80', '03FC'],
      ['crc64', '65F48632094A1B07', '9A2DF64B8E9E517E'],
    ];
    for (const [csum, up, down] of answers) {
      const ref = csum === 'crc64' ? '000000001234' : '00001234';
      assert.equal(made(formatOf(csum), COUNTING, 0x1234), `${up}0000${ref}`);
      const large = formatOf(csum, { interval_exp: 12 });
      assert.equal(made(large, DOWN, 0x1234), `${down}0000${ref}`);
    }
  });

  test('cover the bytes before them', () => {
    // 512 bytes counting, then 8 of EE.
    const answers: readonly [Csum, string][] = [
      ['crc16', '71FE'],
      ['ip', 'C3C4'],
      ['crc64', '1CBA9901945F0664'],
    ];
    for (const [csum, guard] of answers) {
      const format = formatOf(csum, { pi_offset: 8 });
      const record = new Uint8Array(format.metadataBytes).fill(0xee);
      format.makeWith(COUNTING, 0, record, 0, { app: 0x0102, ref: 2 ** 32 + 5 });
      const ref = csum === 'crc64' ? '000100000005' : '00000005';
      const prefix = 'EE'.repeat(8);
      assert.equal(
        Buffer.from(record).toString('hex').toUpperCase(),
        `${prefix}${guard}0102${ref}`,
      );
    }
  });

  test('without makers are zeros, and made by the device where they are all there is', () => {
    const { NOGENERATE, REF_TAG } = IntegrityFlag;
    const larger = formatOf('crc16', { flags: NOGENERATE | REF_TAG, metadata_size: 10 });
    assert.equal(made(larger, COUNTING, 1), '00'.repeat(10));
    const equal = formatOf('crc16', { flags: NOGENERATE | REF_TAG });
    assert.ok(equal.isDeviceMade);
    assert.equal(made(equal, COUNTING, 1), '4F10000000000001');
    assert.equal(made(formatOf('crc16', { flags: 0 }), COUNTING, 9), '4F10000000000000');
  });

  test('fail by ref tag, then app tag, then guard; an escape fails by nothing', () => {
    const fault = new TupleFault();
    for (const csum of ['crc16', 'ip', 'crc64'] as const) {
      const format = formatOf(csum);
      const record = new Uint8Array(format.metadataBytes);
      format.makeWith(COUNTING, 0, record, 0, { app: 5, ref: 40 });
      const wrong = Uint8Array.from(COUNTING);
      wrong[511] ^= 1;
      const find = (data: Uint8Array, check: number, block: number, appTag: number): string => {
        const want = { check, appTag, block };
        return format.findFault(data, 0, record, 0, want, fault) ? fault.tag : 'none';
      };
      const all = TupleCheck.GUARD | TupleCheck.REF | TupleCheck.APP;
      assert.equal(find(COUNTING, all, 40, 5), 'none');
      assert.equal(find(wrong, all, 41, 6), 'ref tag');
      assert.equal(find(wrong, all, 40, 6), 'app tag');
      assert.equal(find(wrong, all, 40, 5), 'guard tag');
      assert.equal(find(wrong, TupleCheck.REF, 40, 6), 'none');
      format.putApp(record, 0, 0xffff);
      assert.equal(find(wrong, all, 41, 6), 'none');
    }
    // Type 3: the ref tag must be all ones too.
    const format = formatOf('crc16', { flags: 0 });
    const half = Uint8Array.of(1, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe);
    assert.ok(!format.isEscape(half, 0));
    assert.ok(format.isEscape(Uint8Array.of(1, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), 0));
  });

  test('seed 5 at block 1000: refs 5, 99, 7 become 1000, 99, 1002', () => {
    const format = formatOf('crc16');
    const records = new Uint8Array(24);
    [5, 99, 7].forEach((ref, i) => {
      format.makeWith(COUNTING, 0, records, 8 * i, { app: 0, ref });
    });
    format.remap(records, 0, 3, 5, 1000);
    assert.deepEqual(
      [0, 8, 16].map((at) => format.refTag(records, at)),
      [1000, 99, 1002],
    );
    format.remap(records, 0, 3, 1000, 5);
    assert.deepEqual(
      [0, 8, 16].map((at) => format.refTag(records, at)),
      [5, 99, 7],
    );
  });
});
