import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arena } from '../../memory/arena.ts';
import { byteAt, regionOf } from '../../memory/region.unsafe.ts';
import { modelCrc16, modelCrc64, modelIp } from '../pi-model.fuzz.ts';
import {
  type GuardKernels,
  guardKernelsFor,
  instantiateGuards,
  stateWords,
} from './guard-kernels.unsafe.ts';

function swapped(value: number): number {
  return ((value & 0xff) << 8) | (value >> 8);
}

interface Guards {
  readonly crc16: number;
  readonly crc64: bigint;
}

/** What the definition gives for the first 0, 1, 2, … bytes. */
function guardsOfFronts(bytes: Uint8Array, start: Guards): Guards[] {
  let last = start;
  const fronts = [...bytes].map((byte) => {
    const one = Uint8Array.of(byte);
    last = { crc16: modelCrc16(one, last.crc16), crc64: modelCrc64(one, last.crc64) };
    return last;
  });
  return [start, ...fronts];
}

interface Kernels {
  readonly crc16: GuardKernels;
  readonly crc64: GuardKernels;
}

function guardsOfKernels(kernels: Kernels, at: number, length: number, start: Guards): Guards {
  const words = stateWords();
  words[0] = Number(BigInt.asIntN(32, start.crc64));
  words[1] = Number(BigInt.asIntN(32, start.crc64 >> 32n));
  kernels.crc64.piece(at, length, 0);
  const [low, high] = [words[0] >>> 0, (words[1] as number) >>> 0];
  const crc16 = swapped(kernels.crc16.piece(at, length, swapped(start.crc16)));
  return { crc16, crc64: (BigInt(high) << 32n) | BigInt(low) };
}

const PAGES = 2;
const START: Guards = { crc16: 0x1234, crc64: 0x0123456789abcdefn };

for (const swizzle of ['plain', 'relaxed'] as const) {
  test(`kernels with ${swizzle} look-ups give the guards of the definition at every length`, () => {
    const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: true });
    const crc16 = instantiateGuards('crc16', memory, memory, swizzle);
    const crc64 = instantiateGuards('crc64', memory, memory, swizzle);
    const ip = instantiateGuards('ip', memory, memory, swizzle);
    if (crc16 === null || crc64 === null || ip === null) {
      return assert.equal(swizzle, 'relaxed'); // An engine without them.
    }
    const u8 = new Uint8Array(memory.buffer);
    for (let i = 0; i < u8.length; i++) u8[i] = (i * 167 + (i >> 8) * 59 + (i >> 12)) & 0xff;
    for (let length = 0; length <= 700; length++) {
      const at = length % 37;
      const sum = swapped(ip.piece(at, length, 0) ^ 0xffff);
      assert.equal(sum, modelIp(u8.subarray(at, at + length)));
    }
    // Every alignment; then over the bytes that are divided in one piece, and up to the last byte.
    const places = Array.from({ length: 16 }, (_, at) => ({ at, most: 5000 }));
    const long = { at: 4099, most: 20_000 };
    for (const { at, most } of [...places, long, { at: u8.length - 1100, most: 1100 }]) {
      const start = { ...START, crc64: START.crc64 + BigInt(at) };
      const fronts = guardsOfFronts(u8.subarray(at, at + most), start);
      for (const [length, expected] of fronts.entries()) {
        const actual = guardsOfKernels({ crc16, crc64 }, at, length, start);
        if (actual.crc16 === expected.crc16 && actual.crc64 === expected.crc64) continue;
        assert.deepEqual(actual, expected, `${length} bytes at ${at}`);
      }
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
    const kernels = guardKernelsFor('crc16', region, region);
    assert.ok(kernels !== null);
    assert.equal(kernels, guardKernelsFor('crc16', region, region));
    const crc = swapped(kernels.piece(byteAt(buffer.page, 0), 64, 0));
    assert.equal(crc, modelCrc16(buffer.bytes.slice(0, 64)));
  }
});

test('adopted memory has no kernels', () => {
  using arena = new Arena({ maxBytes: 65536 });
  using own = arena.alloc(4096);
  using adopted = arena.adopt(new SharedArrayBuffer(4096));
  assert.equal(guardKernelsFor('crc16', regionOf(own.page), regionOf(adopted.page)), null);
  assert.equal(guardKernelsFor('crc16', regionOf(adopted.page), regionOf(own.page)), null);
});
