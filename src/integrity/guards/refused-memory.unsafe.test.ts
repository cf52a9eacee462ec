import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arena } from '../../memory/arena.ts';
import { byteAt, regionOf } from '../../memory/region.unsafe.ts';
import { modelCrc16, modelCrc64, modelIp } from '../pi-model.fuzz.ts';
import { fillTuples, finishGuard, firstBadTuple, updateGuard } from './guard.ts';
import { guardKernelsFor, instantiateGuards } from './guard-kernels.unsafe.ts';
import { GuardRun } from './guard-run.ts';
import { GuardState } from './guard-state.ts';

// A file of its own: the memory of the tables is asked for once in a process.

test('a host that refuses the memory of the tables gets its guards from plain code', (t) => {
  using arena = new Arena({ maxBytes: 65536 });
  using buffer = arena.alloc(8192);
  const { bytes } = buffer;
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 167 + (i >> 8) * 59) & 0xff;
  const region = regionOf(buffer.page);
  const at = byteAt(buffer.page, 0);

  let asked = 0;
  const { Memory } = WebAssembly;
  t.after(() => Object.assign(WebAssembly, { Memory }));
  class Refused {
    constructor() {
      asked++;
      throw new RangeError('WebAssembly.Memory(): could not allocate memory');
    }
  }
  Object.assign(WebAssembly, { Memory: Refused });

  const guardOf = (csum: 'crc16' | 'crc64' | 'ip', state = new GuardState()): GuardState => {
    updateGuard(csum, state, region, at, 4001);
    finishGuard(csum, state);
    return state;
  };
  const message = bytes.slice(0, 4001);
  assert.equal(guardOf('crc16').low, modelCrc16(message));
  assert.equal(guardOf('ip').low, modelIp(message));
  const wide = guardOf('crc64');
  assert.equal((BigInt(wide.high >>> 0) << 32n) | BigInt(wide.low >>> 0), modelCrc64(message));

  const run = new GuardRun();
  Object.assign(run, { data: region, metadata: region, dataAt: at, metadataAt: at + 4096 });
  Object.assign(run, { dataStride: 512, intervalBytes: 512, metadataStride: 8, count: 8 });
  fillTuples('crc16', run);
  assert.equal(firstBadTuple('crc16', run, 0), 8);
  const tuple = bytes.slice(4096, 4098);
  assert.equal(((tuple[0] as number) << 8) | (tuple[1] as number), modelCrc16(bytes.slice(0, 512)));
  bytes[5 * 512] = ~(bytes[5 * 512] as number);
  assert.equal(firstBadTuple('crc16', run, 0), 5);

  assert.equal(guardKernelsFor('crc16', region, region), null);
  assert.equal(asked, 1, 'a refusal is remembered');
  const shared = new Memory({ initial: 1, maximum: 1, shared: true });
  assert.equal(instantiateGuards('ip', shared, shared, 'plain'), null);
});
