import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arena } from '../../memory/arena.ts';
import { byteAt, regionOf } from '../../memory/region.unsafe.ts';
import { modelCrc16, modelCrc64, modelIp } from '../pi-model.fuzz.ts';
import { guardKernelsFor, instantiateGuards, stateWords } from './guard-kernels.unsafe.ts';

function swapped(value: number): number {
  return ((value & 0xff) << 8) | (value >> 8);
}

for (const swizzle of ['plain', 'relaxed'] as const) {
  test(`kernels with ${swizzle} look-ups give the guards of the definition at every length`, () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const kernels = instantiateGuards(memory, memory, swizzle);
    if (kernels === null) return assert.equal(swizzle, 'relaxed'); // An engine without them.
    const u8 = new Uint8Array(memory.buffer);
    for (let i = 0; i < u8.length; i++) u8[i] = (i * 167 + (i >> 8) * 59) & 0xff;
    const words = stateWords();
    for (let length = 0; length <= 700; length++) {
      const at = length % 37;
      const bytes = u8.subarray(at, at + length);
      assert.equal(swapped(kernels.crc16(at, length, swapped(0x1234))), modelCrc16(bytes, 0x1234));
      words[0] = 0x89abcdef | 0;
      words[1] = 0x01234567;
      kernels.crc64(at, length);
      const actual =
        (BigInt((words[1] as number) >>> 0) << 32n) | BigInt((words[0] as number) >>> 0);
      assert.equal(actual, modelCrc64(bytes, 0x0123456789abcdefn));
      assert.equal(swapped(kernels.ip(at, length) ^ 0xffff), modelIp(bytes));
    }
  });
}

test('a region that takes the place of another one gets kernels of its own memory', () => {
  const contents = [0x11, 0x22, 0x33];
  for (const content of contents) {
    using arena = new Arena({ maxBytes: 65536 });
    using buffer = arena.alloc(4096);
    buffer.bytes.fill(content);
    const region = regionOf(buffer.page);
    const kernels = guardKernelsFor(region, region);
    assert.ok(kernels !== null);
    assert.equal(kernels, guardKernelsFor(region, region));
    const crc = swapped(kernels.crc16(byteAt(buffer.page, 0), 64, 0));
    assert.equal(crc, modelCrc16(buffer.bytes.slice(0, 64)));
  }
});

test('adopted memory has no kernels', () => {
  using arena = new Arena({ maxBytes: 65536 });
  using own = arena.alloc(4096);
  using adopted = arena.adopt(new SharedArrayBuffer(4096));
  assert.equal(guardKernelsFor(regionOf(own.page), regionOf(adopted.page)), null);
  assert.equal(guardKernelsFor(regionOf(adopted.page), regionOf(own.page)), null);
});
