import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fillTuples, firstBadTuple } from '../integrity/guards/guard.ts';
import { useGuardLibrary } from '../integrity/guards/guard-library.ts';
import { GuardRun } from '../integrity/guards/guard-run.ts';
import { modelCrc16 } from '../integrity/pi-model.fuzz.ts';
import { Arena } from '../memory/arena.ts';
import { byteAt, regionOf } from '../memory/region.unsafe.ts';
import { isalGuards } from './isal.unsafe.ts';

test('the library is there and right, or absent with a reason', () => {
  const { library, reason } = isalGuards();
  assert.ok(reason.length > 0);
  if (library === null) return;
  using arena = new Arena({ maxBytes: 2 ** 20 });
  using buffer = arena.alloc(65536);
  for (let i = 0; i < buffer.length; i++) buffer.bytes[i] = (i * 31 + (i >> 8)) & 0xff;
  const region = regionOf(buffer.page);
  const start = library.addressOf(region) + byteAt(buffer.page, 0);
  for (const length of [0, 1, 15, 512, 4096, 65000]) {
    const bytes = buffer.bytes.slice(7, 7 + length);
    assert.equal(library.crc16?.(0x1234, start + 7, length), modelCrc16(bytes, 0x1234));
  }
});

test('guards of long intervals go through the library and are the same', () => {
  const { library } = isalGuards();
  using arena = new Arena({ maxBytes: 2 ** 20 });
  using data = arena.alloc(32768);
  using records = arena.alloc(4096);
  for (let i = 0; i < data.length; i++) data.bytes[i] = (i * 7 + (i >> 7)) & 0xff;
  const run = new GuardRun();
  run.data = regionOf(data.page);
  run.metadata = regionOf(records.page);
  run.dataAt = byteAt(data.page, 0);
  run.metadataAt = byteAt(records.page, 0);
  run.intervalBytes = 4096;
  run.dataStride = 4096;
  run.metadataStride = 16;
  run.prefixBytes = 8;
  run.count = 8;
  const last = useGuardLibrary(library);
  try {
    fillTuples('crc16', run);
    const filled = records.bytes.slice();
    assert.equal(firstBadTuple('crc16', run, 0), 8);
    useGuardLibrary(null);
    assert.equal(firstBadTuple('crc16', run, 0), 8);
    const covered = [...data.bytes.subarray(4096, 8192), ...filled.subarray(16, 24)];
    const guard = modelCrc16(Uint8Array.from(covered));
    assert.equal((filled[24] as number) * 256 + (filled[25] as number), guard);
  } finally {
    useGuardLibrary(last);
  }
});

test('switched off, it is absent', () => {
  assert.equal(isalGuards('none').library, null);
  assert.equal(isalGuards('node').library, null);
});
