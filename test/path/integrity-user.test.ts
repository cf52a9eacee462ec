import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../../src/base/errno.ts';
import { RUNS } from '../../src/base/runs.fuzz.ts';
import type { IoOptions } from '../../src/device/io-arguments.ts';
import { maybePinned } from '../../src/memory/holds.ts';
import {
  anyFormat,
  anyNarrowness,
  assertTuplesFit,
  coverMedium,
  mismatch,
  PATH_FORMATS,
  type PathFormat,
  pathFormat,
  recordsOf,
} from './integrity-cases.ts';
import { Outcome, PathRig, randomOf } from './path-rig.ts';

const SIZE = 64 * 1024;
const FEWER_RUNS = { numRuns: Math.ceil(RUNS.numRuns / 10) };
const CRC16 = PATH_FORMATS[0] as PathFormat;

/** The ref tag of record `index`, its place, and how many bytes it has. */
function refOf(records: Uint8Array, index: number, { integrity }: PathFormat): DataView {
  const { metadata_size, pi_offset, csum } = integrity;
  const at = index * metadata_size + pi_offset + (csum === 'crc64' ? 10 : 4);
  return new DataView(records.buffer, records.byteOffset + at, csum === 'crc64' ? 6 : 4);
}

function readRef(view: DataView): bigint {
  let value = 0n;
  for (let i = 0; i < view.byteLength; i++) value = value * 256n + BigInt(view.getUint8(i));
  return value;
}

function writeRef(view: DataView, value: bigint): void {
  for (let i = 0; i < view.byteLength; i++) {
    view.setUint8(i, Number((value >> BigInt(8 * (view.byteLength - 1 - i))) & 0xffn));
  }
}

/** Reference 7.5, written down once more: whatever equals `from` becomes `to`. */
function mapped(records: Uint8Array, from: number, to: number, format: PathFormat): Uint8Array {
  const out = Uint8Array.from(records);
  if ((format.integrity.flags & 8) === 0) return out;
  for (let i = 0; i * format.integrity.metadata_size < out.length; i++) {
    const view = refOf(out, i, format);
    const mask = 2n ** BigInt(8 * view.byteLength);
    if (readRef(view) === BigInt(from + i) % mask) writeRef(view, BigInt(to + i) % mask);
  }
  return out;
}

/** Bytes without a pattern. */
function noise(length: number, seed: number): Uint8Array {
  const random = randomOf(seed);
  return Uint8Array.from({ length }, () => Math.floor(random() * 256));
}

interface Case {
  readonly format: PathFormat;
  readonly block: number;
  readonly blocks: number;
  readonly seed: number;
  readonly copy: 'auto' | 'always';
  readonly memory: 'arena' | 'array';
  readonly hits: number;
}

const cases: fc.Arbitrary<Case> = fc.record({
  format: anyFormat,
  block: fc.nat(14),
  blocks: fc.integer({ min: 1, max: 16 }),
  seed: fc.oneof(fc.nat(20), fc.constantFrom(2 ** 32 - 3, 2 ** 48 - 2)),
  copy: fc.constantFrom('auto', 'always'),
  memory: fc.constantFrom('arena', 'array'),
  hits: fc.nat(),
});

/** Records of which every second one has the ref tag that its block should have. */
function recordsFor({ format, seed, hits }: Case, count: number): Uint8Array {
  const records = noise(count * format.integrity.metadata_size, hits);
  for (let i = 0; i < count; i++) {
    const view = refOf(records, i, format);
    const mask = 2n ** BigInt(8 * view.byteLength);
    if ((hits + i) % 2 === 0) writeRef(view, BigInt(seed + i) % mask);
  }
  return records;
}

describe('metadata of a program', () => {
  test('41, 42, 43: the device and the program get theirs, mapped or copied, cut or whole', () =>
    fc.assert(
      fc.asyncProperty(cases, anyNarrowness, async (given, narrow) => {
        const { format, copy, memory, seed } = given;
        const limits = { ...format.limits, ...narrow };
        await using rig = new PathRig({ ...format, limits, random: randomOf(given.hits) });
        const unit = format.limits.logical_block_size as number;
        const position = given.block * unit;
        const bytes = Math.min(given.blocks * unit, SIZE - position);
        if (bytes <= 0) return;
        const { interval_exp, metadata_size } = format.integrity;
        const first = position / 2 ** interval_exp;
        const count = bytes / 2 ** interval_exp;
        using data = rig.arena.alloc(bytes);
        using pages = rig.arena.alloc(count * metadata_size + 100);
        const own = pages.bytes.subarray(3, 3 + count * metadata_size);
        const metadata = memory === 'arena' ? own : new Uint8Array(count * metadata_size);
        const records = recordsFor(given, count);
        metadata.set(records);
        data.bytes.set(noise(bytes, given.hits + 1));
        await rig.disk.write(data.bytes, { position, metadata, seed, copy });
        assert.deepEqual(Uint8Array.from(metadata), records, 'a write changes no memory');
        const start = first * metadata_size;
        const stored = recordsOf(rig).bytes.slice(start, start + records.length);
        assert.deepEqual(stored, mapped(records, seed, first, format), 'on the device');
        metadata.fill(0);
        const written = data.copy();
        data.bytes.fill(0);
        await rig.disk.read(data.bytes, { position, metadata, seed, copy });
        assert.deepEqual(data.copy(), written);
        const back = mapped(stored, first, seed, format);
        assert.deepEqual(Uint8Array.from(metadata), back, 'back in the program');
      }),
      FEWER_RUNS,
    ));

  test('42: metadata of several bios: seeds go on from bio to bio', async () => {
    const format = pathFormat('crc16', 512, { rest: 1016 });
    await using rig = new PathRig({ ...format, random: randomOf(2) });
    coverMedium(rig);
    const data = new Uint8Array(SIZE);
    const metadata = new Uint8Array(128 * 1024);
    await rig.disk.read(data, { position: 0, metadata, seed: 1000 });
    assert.ok(rig.disk.stats().bios > 1, '64 KiB of metadata a bio, at most');
    for (let i = 0; i < 128; i++)
      assert.equal(readRef(refOf(metadata, i, format)), BigInt(1000 + i));
    await rig.disk.write(data, { position: 0, metadata, seed: 1000, check: { ref: true } });
    assertTuplesFit(rig);
  });

  test('42: more metadata than a request may have bytes: shorter bios, no E2BIG', async () => {
    // 56 KiB of data have 112 records of 64 bytes, 7168, and max_hw_sectors allows 4096.
    const format = pathFormat('crc16', 512, { rest: 56 });
    const limits = { ...format.limits, max_hw_sectors: 8 };
    await using rig = new PathRig({ ...format, limits, random: randomOf(2) });
    coverMedium(rig);
    using pages = rig.arena.alloc(SIZE);
    const data = pages.bytes.subarray(0, 56 * 1024);
    const metadata = pages.bytes.subarray(56 * 1024, 56 * 1024 + 112 * 64);
    await rig.disk.read(data, { position: 0, metadata });
    assert.deepEqual(Uint8Array.from(metadata), recordsOf(rig).bytes.slice(0, 112 * 64));
  });

  test('43: mapped memory has one pin an entry, and none afterwards', async () => {
    await using rig = new PathRig({ ...CRC16 });
    using buffer = rig.arena.alloc(4096);
    using pages = rig.arena.alloc(4096);
    const metadata = pages.bytes.subarray(8, 72);
    const call = new Outcome<object>(rig.disk.read(buffer.bytes, { position: 0, metadata }));
    await rig.settle();
    const counters = rig.device.metadata?.counters;
    assert.equal(counters?.pagesHeld, 1);
    assert.ok(maybePinned(pages.page));
    assert.equal([...rig.device.holds()].filter(({ page }) => page === pages.page).length, 1);
    await rig.finish();
    assert.ok(!maybePinned(pages.page) && call.error === undefined);
    assert.equal(counters?.bytesMapped, 64);
    assert.deepEqual(counters?.copiedByReason(), {});
  });

  test('a write whose ref tags change is copied: the memory of the program stays', async () => {
    await using rig = new PathRig({ ...CRC16, random: randomOf(1) });
    using pages = rig.arena.alloc(8192);
    const data = pages.bytes.subarray(0, 1024);
    const metadata = pages.bytes.subarray(4096, 4112);
    await rig.disk.write(data, { position: 0, metadata, seed: 7 });
    assert.deepEqual(rig.device.metadata?.counters.copiedByReason(), { 'ref-tags': 16 });
    const refused = rig.disk.write(data, { position: 0, metadata, seed: 7, copy: 'never' });
    await assert.rejects(refused, /EINVAL: of the metadata: the ref tags must become those of/);
    await rig.disk.write(data, { position: 512, metadata, seed: 1, copy: 'never' });
    await rig.disk.read(data, { position: 0, metadata, seed: 7, copy: 'never' });
  });

  test('checks that a device does not make are made here, before and after it', async () => {
    await using rig = new PathRig({ ...CRC16, random: randomOf(1) });
    coverMedium(rig);
    const data = new Uint8Array(2048);
    const metadata = new Uint8Array(32);
    const all = { guard: true, ref: true, app: true, appTag: 0 };
    const at = { position: 1024, metadata, seed: 50 };
    await rig.disk.read(data, { ...at, check: all });
    assert.equal(readRef(refOf(metadata, 3, CRC16)), 53n);
    await rig.disk.write(data, { ...at, check: all });
    const before = rig.engine.log.length;
    const failing: [(copy: Uint8Array) => void, IoOptions['check'], string][] = [
      [(copy) => (copy[8] ^= 1), { guard: true }, 'guard'],
      [(copy) => (copy[15] ^= 1), { ref: true }, 'ref'],
      [() => {}, { app: true, appTag: 9 }, 'app'],
    ];
    for (const [change, check, tag] of failing) {
      const wrong = Uint8Array.from(metadata);
      change(wrong);
      const write = rig.disk.write(data, { ...at, metadata: wrong, check });
      await assert.rejects(write, mismatch(tag === 'app' ? 2 : 3, tag));
    }
    assert.equal(rig.engine.log.length, before, 'nothing of it went to the device');
    (recordsOf(rig).bytes[3 * 8] as number) ^= 1;
    await assert.rejects(rig.disk.read(data, { ...at, check: all }), mismatch(3, 'guard'));
    await rig.disk.read(data, { ...at, check: { ref: true } });
    await rig.disk.read(data, at);
    await assert.rejects(rig.disk.read(data, { position: 1024 }), mismatch(3, 'guard'));
  });

  test('a front that is wrong is not sent, nor anything behind it', async () => {
    const limits = { ...CRC16.limits, max_hw_sectors: 8 };
    await using rig = new PathRig({ ...CRC16, limits, random: randomOf(1) });
    coverMedium(rig);
    const data = new Uint8Array(16384);
    const metadata = new Uint8Array(256);
    const check = { guard: true };
    await rig.disk.read(data, { position: 0, metadata, check });
    const before = rig.engine.log.length;
    (metadata[12 * 8] as number) ^= 1; // In the second front of 4 KiB, a clone.
    const write = rig.disk.write(data, { position: 0, metadata, check });
    await assert.rejects(write, mismatch(12, 'guard'));
    assert.ok(rig.engine.log.slice(before).every(({ at }) => at < 4096));
  });

  test('user and automatic metadata in one queue do not join', async () => {
    await using rig = new PathRig({ ...CRC16, random: randomOf(1) });
    coverMedium(rig);
    using buffer = rig.arena.alloc(4096);
    const part = (i: number): Uint8Array => buffer.bytes.subarray(i * 512, (i + 1) * 512);
    rig.device.queue.startPlug();
    const metadata = new Uint8Array(8);
    const calls = [
      rig.disk.read(part(0), { position: 0 }),
      rig.disk.read(part(1), { position: 512, metadata }),
      rig.disk.read(part(2), { position: 1024, metadata, check: { guard: true } }),
      rig.disk.read(part(3), { position: 1536 }),
      rig.disk.read(part(4), { position: 2048 }),
    ];
    rig.device.queue.finishPlug();
    rig.device.arm();
    await Promise.all(calls);
    assert.deepEqual(
      rig.engine.log.map(({ bytes }) => bytes),
      [512, 512, 512, 1024],
    );
  });

  test('what was not transferred is not copied back, and nothing after an error', async () => {
    const fates = [{ status: -Errno.EIO, bytes: 4096 }];
    await using rig = new PathRig({ ...CRC16, fate: (_, nth) => fates[nth - 1] ?? {} });
    coverMedium(rig);
    const metadata = new Uint8Array(64).fill(0x5a);
    const data = new Uint8Array(4096);
    const failed = new Outcome(rig.disk.read(data, { position: 0, metadata }));
    await rig.finish();
    assert.equal((failed.error as { code?: string }).code, 'EIO');
    assert.ok(metadata.every((byte) => byte === 0x5a));
    // 2048 bytes are left before the end of the disk: 4 records of 8.
    const short = new Outcome(rig.disk.read(data, { position: SIZE - 2048, metadata }));
    await rig.finish();
    assert.equal(short.value?.bytesRead, 2048);
    assert.ok(metadata.subarray(32).every((byte) => byte === 0x5a));
    assert.deepEqual(metadata.slice(0, 32), recordsOf(rig).bytes.slice(-32));
  });

  test('an array that is detached in flight is named', async () => {
    await using rig = new PathRig({ ...CRC16 });
    coverMedium(rig);
    const metadata = new Uint8Array(8);
    const call = new Outcome(rig.disk.read(new Uint8Array(512), { position: 0, metadata }));
    await rig.settle();
    structuredClone(metadata.buffer, { transfer: [metadata.buffer] });
    await rig.finish();
    const { code, message } = call.error as Error & { code: string };
    assert.equal(code, 'ERR_BIOVEC_DETACHED');
    assert.match(message, /the metadata of the call was detached/);
  });

  test('an abort gives metadata back after the device let go', async () => {
    await using rig = new PathRig({ ...CRC16 });
    using pages = rig.arena.alloc(8192);
    const controller = new AbortController();
    const { signal } = controller;
    const metadata = pages.bytes.subarray(4096, 4160);
    const call = new Outcome(
      rig.disk.read(pages.bytes.subarray(0, 4096), { position: 0, metadata, signal }),
    );
    await rig.settle();
    controller.abort();
    await rig.settle();
    assert.ok(maybePinned(pages.page + 1) && !call.isSettled);
    await rig.finish();
    assert.equal((call.error as { code?: string }).code, 'ECANCELED');
    assert.ok(!maybePinned(pages.page + 1));
  });

  test('without memory for a copy it waits for the reserve', async () => {
    const random = randomOf(3);
    await using rig = new PathRig({ ...CRC16, arenaBytes: 2 ** 20, random });
    coverMedium(rig);
    const buffer = rig.arena.alloc(SIZE);
    const taken: number[] = [];
    for (let page = rig.arena.getFolio(0); page >= 0; page = rig.arena.getFolio(0)) {
      taken.push(page);
    }
    const calls = Array.from({ length: 32 }, async (_, i) => {
      const view = buffer.bytes.subarray(i * 2048, (i + 1) * 2048);
      const metadata = new Uint8Array(32);
      await rig.disk.read(view, { position: i * 2048, metadata });
      assert.deepEqual(metadata, recordsOf(rig).bytes.slice(i * 32, (i + 1) * 32));
      await rig.disk.write(view, { position: i * 2048, metadata, check: { guard: true } });
    });
    await Promise.all(calls);
    assertTuplesFit(rig);
    for (const page of taken) rig.arena.putFolio(page);
    buffer.release();
  });

  test('sentences for what cannot be', async () => {
    await using rig = new PathRig({ ...CRC16 });
    await using plain = new PathRig();
    const data = new Uint8Array(1024);
    const good = { position: 0, metadata: new Uint8Array(16) };
    const bad: [PathRig, IoOptions, RegExp][] = [
      [plain, good, /a target of kind scripted keeps no metadata beside the data/],
      [
        rig,
        { ...good, metadata: new Uint8Array(15) },
        /has 15 bytes; 1024 .* have 16, 8 for each 512/,
      ],
      [rig, { ...good, metadata: new Uint8Array(17) }, /has 17 bytes; 1024 bytes of data have 16/],
      [rig, { ...good, position: 5 }, /position 5 and length 1024 must be multiples of 512/],
      [rig, { ...good, length: 100 }, /length 100 must be multiples of 512/],
      [rig, { position: 0, check: { guard: true } }, /belong to metadata, and there is none/],
      [rig, { position: 0, seed: 4 }, /belong to metadata/],
      [rig, { ...good, seed: -1 }, /seed is -1/],
      [rig, { ...good, seed: 0.5 }, /seed is 0.5/],
      [rig, { ...good, check: { app: true } }, /check.app needs check.appTag/],
      [rig, { ...good, check: { appTag: 65536 } }, /appTag is 65536/],
      [rig, { ...good, check: null as never }, /check must be an object/],
      [rig, { ...good, metadata: 'no' as never }, /metadata must be a TypedArray/],
      [rig, { ...good, copy: 'never' }, /can be detached in flight, so it must be copied/],
    ];
    for (const [{ disk }, options, reason] of bad) {
      const check = { code: 'EINVAL', message: reason };
      await assert.rejects(disk.read(data, options), check);
      await assert.rejects(disk.write(data, options), check);
    }
    assert.equal(rig.engine.log.length + plain.engine.log.length, 0);
  });
});
