import assert from 'node:assert/strict';
import { test } from 'node:test';
import { faultSentence, hexTag, reportFault } from './fault-text.ts';
import { formatOf } from './pi-format.fuzz.ts';
import { PiFault, PiTag } from './verify.ts';

test('a fault names block, tag, expected and actual, as wide as the tag', () => {
  const fault = new PiFault();
  fault.interval = 7;
  fault.tag = PiTag.GUARD;
  fault.expectedHigh = 0xae8b1486 | 0;
  fault.expectedLow = 0x0a799888;
  fault.actualHigh = 0;
  fault.actualLow = 0xffffffff | 0;
  const wide = reportFault(fault, formatOf('crc64', 512, 0, 0, true).profile, 1000);
  const sentence = 'block 1007: guard tag is 0x00000000ffffffff, expected 0xae8b14860a799888';
  assert.equal(faultSentence(wide), sentence);

  fault.tag = PiTag.REF;
  fault.expectedHigh = 1;
  fault.expectedLow = 2;
  fault.actualHigh = 0xffff;
  const ref = reportFault(fault, formatOf('crc64', 512, 0, 0, true).profile, 0);
  assert.equal(faultSentence(ref), 'block 7: ref tag is 0xffffffffffff, expected 0x000100000002');
  fault.expectedHigh = 0;
  fault.actualHigh = 0;
  fault.actualLow = 0x80000000 | 0;
  const short = reportFault(fault, formatOf('crc16', 512, 0, 0, true).profile, 0);
  assert.deepEqual(short, {
    block: 7,
    tag: 'ref tag',
    expected: '00000002',
    actual: '80000000',
  });
  fault.tag = PiTag.APP;
  fault.actualLow = 0x1234;
  assert.equal(reportFault(fault, formatOf('ip', 512, 0, 0, true).profile, 0).actual, '1234');
});

test('tags in hexadecimal', () => {
  assert.equal(hexTag(0, 0xd0db, 16), 'd0db');
  assert.equal(hexTag(-1, -1, 48), 'ffffffffffff');
});
