import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../../src/base/runs.fuzz.ts';
import { BlockDevice } from '../../src/device/block-device.ts';
import { Disk } from '../../src/device/disk.ts';
import { openRamEngine, type RamEngine } from '../../src/engine/memory/ram-engine.ts';
import { PI_PARTS, PiInjector } from '../../src/integrity/injector.ts';
import type { RowsAt } from '../../src/integrity/pi-walk.ts';
import { validateLimits } from '../../src/limits/validate.ts';
import { Arena } from '../../src/memory/arena.ts';
import { anyNarrowness, mismatch, type PathFormat, pathFormat } from './integrity-cases.ts';

// A RAM disk whose medium is damaged behind everybody's back, read through the whole path.

const SIZE = 64 * 1024;
const FORMATS = [
  pathFormat('crc16', 512),
  pathFormat('crc64', 4096),
  pathFormat('crc64', 512, { block: 4096, prefix: 8, rest: 8 }),
];
const FEWER_RUNS = { numRuns: Math.ceil(RUNS.numRuns / 10) };
const arena = new Arena({ maxBytes: 8 * 2 ** 20, places: false });
const memory = arena.alloc(SIZE);

after(() => {
  memory.release();
  arena.assertNothingOutstanding();
  arena[Symbol.dispose]();
});

interface Rig extends AsyncDisposable {
  readonly disk: Disk;
  readonly injector: PiInjector;
  readonly blocks: number;
}

/** A written disk: no two blocks are alike. */
async function rigOf(format: PathFormat, narrow: object): Promise<Rig> {
  const limits = validateLimits({ ...format.limits, ...narrow });
  const { integrity } = format;
  const about = { sizeBytes: SIZE, limits, integrity, defer: setImmediate };
  const engine: RamEngine = openRamEngine(about);
  const disk = new Disk(new BlockDevice({ engine, arena }));
  for (let i = 0; i < SIZE; i += 4) new DataView(memory.bytes.buffer).setUint32(at(i), i * 2654435);
  await disk.write(memory.bytes, { position: 0 });
  const { data, records } = engine.medium();
  return {
    disk,
    injector: new PiInjector(integrity, data, records as RowsAt),
    blocks: SIZE / 2 ** integrity.interval_exp,
    async [Symbol.asyncDispose]() {
      disk.assertNothingOutstanding();
      await disk.close();
    },
  };
}

function at(byte: number): number {
  return memory.bytes.byteOffset + byte;
}

const cases = [fc.constantFrom(...FORMATS), anyNarrowness, fc.nat(), fc.nat()] as const;

test('40: flips of every part: found where something covers it', () =>
  fc.assert(
    fc.asyncProperty(
      ...cases,
      fc.constantFrom(...PI_PARTS),
      async (format, narrow, n, bit, part) => {
        await using rig = await rigOf(format, narrow);
        const bits = rig.injector.partBytes(part) * 8;
        if (bits === 0) return;
        const block = n % rig.blocks;
        rig.injector.flip(block, part, bit % bits);
        const reading = rig.disk.read(memory.bytes, { position: 0 });
        if (part === 'app' || part === 'rest') await reading;
        else await assert.rejects(reading, mismatch(block, part === 'ref' ? 'ref' : 'guard'));
      },
    ),
    FEWER_RUNS,
  ));

test('misdirected writes and swapped blocks: the ref tag of the first place tells', () =>
  fc.assert(
    fc.asyncProperty(...cases, fc.boolean(), async (format, narrow, a, b, isSwap) => {
      await using rig = await rigOf(format, narrow);
      const from = a % rig.blocks;
      const to = b % rig.blocks;
      if (isSwap) rig.injector.swap(from, to);
      else rig.injector.misdirect(from, to);
      const reading = rig.disk.read(memory.bytes, { position: 0 });
      if (from === to) await reading;
      else await assert.rejects(reading, mismatch(isSwap ? Math.min(from, to) : to, 'ref'));
    }),
    FEWER_RUNS,
  ));

test('data or tuple of a write is lost: the guard tells. Both: nobody can', () =>
  fc.assert(
    fc.asyncProperty(
      ...cases,
      fc.constantFrom('data', 'record', 'both'),
      async (format, narrow, n, value, kept) => {
        await using rig = await rigOf(format, narrow);
        const block = n % rig.blocks;
        const bytes = 2 ** format.integrity.interval_exp;
        const old = rig.injector.copyOf(block);
        const unit = Math.max(bytes, format.limits.logical_block_size as number);
        const position = block * bytes - ((block * bytes) % unit);
        const fresh = memory.bytes.subarray(0, unit).fill(value % 256);
        await rig.disk.write(fresh, { position });
        rig.injector.put(block, old, kept as 'data' | 'record' | 'both');
        const reading = rig.disk.read(memory.bytes, { position: 0 });
        if (kept === 'both') await reading;
        else await assert.rejects(reading, mismatch(block, 'guard'));
      },
    ),
    FEWER_RUNS,
  ));
