import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../../src/base/errno.ts';
import { RUNS } from '../../src/base/runs.fuzz.ts';
import { addSegment } from '../../src/bio/bio-add.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { IntegrityFlag } from '../../src/integrity/integrity-profile.ts';
import { HoldKind } from '../../src/memory/holds.ts';
import {
  anyFormat,
  anyNarrowness,
  assertTuplesFit,
  coverMedium,
  mismatch,
  PATH_FORMATS,
  pathFormat,
  recordsOf,
} from './integrity-cases.ts';
import { Outcome, PathRig, randomOf } from './path-rig.ts';
import type { Fate } from './scripted-engine.ts';

const SIZE = 64 * 1024;
const FEWER_RUNS = { numRuns: Math.ceil(RUNS.numRuns / 10) };
const [CRC16] = PATH_FORMATS;

interface Step {
  readonly isWrite: boolean;
  readonly at: number;
  readonly bytes: number;
  readonly fill: number;
}

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    isWrite: fc.boolean(),
    at: fc.integer({ min: 0, max: SIZE - 1 }),
    bytes: fc.oneof(fc.constantFrom(512, 4096, 8192), fc.integer({ min: 1, max: 20_000 })),
    fill: fc.integer({ min: 0, max: 255 }),
  }),
  { minLength: 1, maxLength: 8 },
);

describe('metadata that nobody brought', () => {
  test('39: every write leaves tuples that fit, every read is checked, however it is cut', () =>
    fc.assert(
      fc.asyncProperty(
        anyFormat,
        anyNarrowness,
        steps,
        fc.nat(),
        async (format, narrow, list, seed) => {
          const limits = { ...format.limits, ...narrow };
          await using rig = new PathRig({ ...format, limits, random: randomOf(seed) });
          using buffer = rig.arena.alloc(SIZE);
          const model = rig.medium(0, SIZE);
          for (const { isWrite, at, bytes, fill } of list) {
            const view = buffer.bytes.subarray(at % 4096, (at % 4096) + Math.min(bytes, SIZE - at));
            if (isWrite) {
              view.fill(fill);
              model.set(view, at);
              await rig.disk.write(view, { position: at });
            } else {
              const { bytesRead } = await rig.disk.read(view, { position: at });
              assert.deepEqual(new Uint8Array(view), model.slice(at, at + bytesRead));
            }
          }
          assert.deepEqual(rig.medium(0, SIZE), model);
          assertTuplesFit(rig);
        },
      ),
      FEWER_RUNS,
    ));

  test('39: short transfers go on with the metadata behind them', () =>
    fc.assert(
      fc.asyncProperty(anyFormat, steps, fc.nat(), async (format, list, seed) => {
        const random = randomOf(seed);
        const block = format.limits.logical_block_size as number;
        const fate = (request: { readonly bytes: number }): Fate => {
          if (random() < 0.5 || request.bytes <= block) return {};
          return { bytes: block * (1 + Math.floor(random() * (request.bytes / block - 1))) };
        };
        await using rig = new PathRig({ ...format, fate, random });
        using buffer = rig.arena.alloc(SIZE);
        for (const { isWrite, at, bytes, fill } of list) {
          const view = buffer.bytes.subarray(0, Math.min(bytes, SIZE - at)).fill(fill);
          if (isWrite) await rig.disk.write(view, { position: at });
          else await rig.disk.read(view, { position: at });
        }
        assertTuplesFit(rig);
      }),
      FEWER_RUNS,
    ));

  test('40: a bit that is wrong fails the read, by block and tag; uncovered ones do not', () =>
    fc.assert(
      fc.asyncProperty(
        anyFormat,
        anyNarrowness,
        fc.nat(),
        fc.nat(),
        fc.constantFrom('data', 'record'),
        async (format, narrow, at, bit, what) => {
          const limits = { ...format.limits, ...narrow };
          await using rig = new PathRig({ ...format, limits, random: randomOf(at) });
          coverMedium(rig);
          const { format: layout, bytes: records } = recordsOf(rig);
          const { intervalBytes, metadataBytes, prefixBytes, csum, countsRef } = layout;
          const blocks = SIZE / intervalBytes;
          const block = at % blocks;
          const place = Math.floor(bit / 8) % (what === 'data' ? intervalBytes : metadataBytes);
          const target = what === 'data' ? rig.engine.disk : records;
          target[block * (what === 'data' ? intervalBytes : metadataBytes) + place] ^=
            1 << (bit % 8);
          const guard = csum === 'crc64' ? 8 : 2;
          const inTuple = place - prefixBytes;
          let tag: string | null = 'guard';
          if (what === 'record' && inTuple >= guard) {
            const isRef = inTuple >= guard + 2 && inTuple < (csum === 'crc64' ? 16 : 8);
            tag = isRef && countsRef ? 'ref' : null;
          }
          const view = new Uint8Array(SIZE);
          const reading = rig.disk.read(view, { position: 0 });
          if (tag === null) await reading;
          else await assert.rejects(reading, mismatch(block, tag));
        },
      ),
      FEWER_RUNS,
    ));

  test('of several bad blocks the lowest is told, and what lies before it is good', async () => {
    await using rig = new PathRig({
      ...CRC16,
      limits: { ...CRC16?.limits, max_hw_sectors: 8 },
      random: randomOf(4),
    });
    coverMedium(rig);
    for (const block of [90, 33, 60]) (rig.engine.disk[block * 512] as number) ^= 1;
    for (let block = 0; block < 128; block += 64) rig.engine.disk[(block + 41) * 512] ^= 1;
    const view = new Uint8Array(SIZE);
    const reading = rig.disk.read(view, { position: 0 });
    await assert.rejects(reading, (error: Error) => {
      assert.match(error.message, /block 33: .*the 16896 bytes read before it are good/);
      return true;
    });
    assert.equal(rig.device.integrity?.counters.faults, 5);
  });

  test('a bio of submitBio tells its submitter where the good bytes end', async () => {
    await using rig = new PathRig({ ...CRC16 });
    coverMedium(rig);
    rig.engine.disk[5 * 512] ^= 1;
    using buffer = rig.arena.alloc(4096);
    const bio = rig.device.bios.acquire(BioOp.READ, 2, 1);
    assert.ok(bio !== null);
    addSegment(bio, buffer.page, 0, 4096, HoldKind.BORROWED);
    let ended = 0;
    bio.endIo = () => ended++;
    rig.device.submitBio(bio);
    await rig.finish();
    assert.deepEqual([ended, bio.status, bio.shortAt], [1, -Errno.EILSEQ, 5 * 512]);
    rig.device.bios.release(bio);
  });

  test('a copied read that fails brings nothing to the program', async () => {
    await using rig = new PathRig({ ...CRC16, random: randomOf(4) });
    coverMedium(rig);
    rig.engine.disk[700] ^= 1;
    const view = new Uint8Array(4096).fill(7);
    await assert.rejects(rig.disk.read(view, { position: 0 }), mismatch(1, 'guard'));
    assert.ok(view.every((byte) => byte === 7));
  });

  test('a write into a bad block fails before anything of it is written', async () => {
    await using rig = new PathRig({ ...CRC16, random: randomOf(4) });
    coverMedium(rig);
    rig.engine.disk[700] ^= 1;
    const before = rig.medium(0, SIZE);
    await assert.rejects(rig.disk.write('abc', 600), mismatch(1, 'guard'));
    assert.deepEqual(rig.medium(0, SIZE), before);
    await rig.disk.write(new Uint8Array(512), { position: 512 }); // All of it: it is good again.
    await rig.disk.read(new Uint8Array(SIZE), { position: 0 });
  });

  test('where nothing was written, and after a discard, nothing is checked', async () => {
    const wide = { max_write_zeroes_sectors: 128, max_hw_discard_sectors: 128 };
    const limits = { ...CRC16?.limits, ...wide, discard_granularity: 512 };
    await using rig = new PathRig({ ...CRC16, limits, random: randomOf(4) });
    await rig.disk.read(new Uint8Array(SIZE), { position: 0 });
    coverMedium(rig);
    await rig.disk.writeZeroes(2048, 1024);
    await rig.disk.discard(512, 512);
    assert.deepEqual(recordsOf(rig).bytes.slice(8, 16), new Uint8Array(8).fill(0xff));
    rig.engine.disk.fill(9, 512, 1024);
    await rig.disk.read(new Uint8Array(SIZE), { position: 0 });
  });

  test('payloads of a request that fails, is refused or is aborted are let go', async () => {
    const fates: Fate[] = [
      { status: -Errno.EIO },
      { refuse: -Errno.ENODEV },
      { bytes: 512, status: -Errno.EIO },
      { status: -Errno.EILSEQ },
    ];
    await using rig = new PathRig({ ...CRC16, fate: (_, nth) => fates[nth - 1] ?? {} });
    coverMedium(rig);
    const calls = fates.map((_, i) => {
      const view = new Uint8Array(1024);
      const position = i * 4096;
      const call =
        i % 2 === 0 ? rig.disk.read(view, { position }) : rig.disk.write(view, { position });
      return new Outcome(call as Promise<unknown>);
    });
    const controller = new AbortController();
    const aborted = new Outcome(
      rig.disk.read(new Uint8Array(512), { position: 32768, signal: controller.signal }),
    );
    await rig.settle();
    controller.abort();
    await rig.finish();
    const codes = calls.map(({ error }) => (error as { readonly code?: string }).code);
    assert.deepEqual(codes, ['EIO', 'ENODEV', 'EIO', 'EILSEQ']);
    assert.equal((aborted.error as { readonly code?: string }).code, 'ECANCELED');
  });

  test('one bio of a joined request is bad: the transfer of the other is not', async () => {
    await using rig = new PathRig({ ...CRC16 });
    coverMedium(rig);
    rig.engine.disk[512] ^= 1;
    using buffer = rig.arena.alloc(4096);
    rig.device.queue.startPlug();
    const good = new Outcome(rig.disk.read(buffer.bytes.subarray(0, 512), { position: 0 }));
    const bad = new Outcome(rig.disk.read(buffer.bytes.subarray(512, 1024), { position: 512 }));
    const behind = new Outcome(
      rig.disk.read(buffer.bytes.subarray(1024, 1536), { position: 1024 }),
    );
    rig.device.queue.finishPlug();
    rig.device.arm();
    await rig.finish();
    assert.equal(rig.engine.log.length, 1);
    assert.equal(good.value?.bytesRead, 512);
    assert.ok(mismatch(1, 'guard')(bad.error));
    assert.equal(behind.value?.bytesRead, 512);
  });

  test('few enough pieces of metadata in a request', async () => {
    const limits = { ...CRC16?.limits, max_integrity_segments: 2 };
    await using rig = new PathRig({ ...CRC16, limits, random: randomOf(2) });
    using buffer = rig.arena.alloc(SIZE);
    rig.device.queue.startPlug();
    const calls = Array.from({ length: 8 }, (_, i) => {
      // Slots are taken from the end: those of neighbours do not touch.
      const view = buffer.bytes.subarray(i * 512, (i + 1) * 512);
      return rig.disk.write(view, { position: i * 512 });
    });
    rig.device.queue.finishPlug();
    rig.device.arm();
    await Promise.all(calls);
    assert.equal(rig.engine.log.length, 4); // The disk counts the pieces too, and asserts.
    assertTuplesFit(rig);
  });

  test('a piece of metadata has no more segments than a boundary leaves it', async () => {
    // 64 blocks have 4096 bytes of records: two pages of them would be two segments.
    const format = pathFormat('crc16', 512, { rest: 56 });
    const narrow = { max_integrity_segments: 1, seg_boundary_mask: 4095 };
    const limits = { ...format.limits, ...narrow };
    await using rig = new PathRig({ ...format, limits, random: randomOf(2) });
    using buffer = rig.arena.alloc(SIZE);
    await rig.disk.write(buffer.bytes, { position: 0 });
    const places = rig.engine.log.map(({ at, bytes }) => [at, bytes]);
    assert.deepEqual(
      places.sort(([a = 0], [b = 0]) => a - b),
      [
        [0, 32768],
        [32768, 32768],
      ],
    );
    assertTuplesFit(rig);
  });

  test('NOVERIFY: larger metadata comes with a read and is not checked', async () => {
    const flags = IntegrityFlag.REF_TAG | IntegrityFlag.NOVERIFY;
    const unchecked = pathFormat('crc16', 512, { flags, rest: 8 });
    await using rig = new PathRig({ ...unchecked, random: randomOf(1) });
    coverMedium(rig);
    rig.engine.disk[0] ^= 1;
    await rig.disk.read(new Uint8Array(1024), { position: 0 });
    assert.equal(rig.device.integrity?.counters.bytesVerified, 0);
  });
});

describe('pools of metadata', () => {
  const POOLS = {
    'no payload beside the reserve': { payloads: 0 },
    'one payload, one tag': { payloads: 1, depth: 1 },
    'no fronts': { payloads: 1, splits: 0, limits: { max_hw_sectors: 8 } },
  } as const;
  for (const [name, { limits, ...pools }] of Object.entries<RigPools>(POOLS)) {
    for (const format of PATH_FORMATS.slice(0, 3)) {
      test(`${name}, ${format.name}: 40 transfers end with their bytes`, async () => {
        const all = { ...format.limits, ...limits };
        await using rig = new PathRig({ ...format, ...pools, limits: all, random: randomOf(3) });
        coverMedium(rig);
        using buffer = rig.arena.alloc(SIZE);
        const calls = Array.from({ length: 40 }, (_, i) => {
          const view = buffer.bytes.subarray(i * 1024, (i + 1) * 1024);
          if (i % 2 === 0) return rig.disk.read(view, { position: i * 1024 });
          return rig.disk.write(view.fill(i), { position: i * 1024 });
        });
        await Promise.all<unknown>(calls);
        await rig.disk.read(buffer.bytes, { position: 0 });
        for (let i = 1; i < 40; i += 2) assert.equal(buffer.bytes[i * 1024 + 1000], i);
        assertTuplesFit(rig);
      });
    }
  }

  test('an arena without a free page: pieces that the reserve has room for', async () => {
    const format = pathFormat('crc16', 512, { rest: 1016 });
    await using rig = new PathRig({ ...format, arenaBytes: 2 ** 20, random: randomOf(5) });
    coverMedium(rig);
    const buffer = rig.arena.alloc(SIZE);
    const taken: number[] = [];
    for (let page = rig.arena.getFolio(0); page >= 0; page = rig.arena.getFolio(0)) {
      taken.push(page);
    }
    // 64 KiB of the reserve have 64 records of 1024 bytes: 32 KiB of data.
    await Promise.all([
      rig.disk.write(buffer.bytes.subarray(0, 40960), { position: 0 }),
      rig.disk.read(buffer.bytes.subarray(40960), { position: 40960 }),
    ]);
    const bytes = rig.engine.log.map((request) => request.bytes);
    assert.ok(Math.max(...bytes) <= 32768 && bytes.length > 2);
    assert.ok((rig.device.integrity?.counters.payloadWaits ?? 0) > 0);
    assertTuplesFit(rig);
    for (const page of taken) rig.arena.putFolio(page);
    buffer.release();
  });
});

interface RigPools {
  readonly payloads: number;
  readonly depth?: number;
  readonly splits?: number;
  readonly limits?: object;
}
