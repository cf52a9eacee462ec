import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../../base/runs.fuzz.ts';
import { Arena } from '../../memory/arena.ts';
import { byteAt, regionOf } from '../../memory/region.unsafe.ts';
import type { Csum } from '../integrity-profile.ts';
import { modelCrc16, modelCrc64, modelGuard, modelIp, modelTuple } from '../pi-model.fuzz.ts';
import { fillTuples, finishGuard, firstBadTuple, updateGuard, updateInPlainCode } from './guard.ts';
import { GuardRun } from './guard-run.ts';
import { GuardState } from './guard-state.ts';

const csum = fc.constantFrom<Csum>('crc16', 'crc64', 'ip');
/** Short ones byte by byte; long ones, which kernels divide first, from a seed. */
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 700 }),
  fc.tuple(fc.integer({ min: 700, max: 5000 }), fc.nat()).map(([length, seed]) => {
    return Uint8Array.from({ length }, (_, i) => Math.imul(i + seed, 2654435761) >>> 24);
  }),
);
const cuts = fc.array(fc.oneof(fc.nat(300), fc.integer({ min: 700, max: 3000 })), { maxLength: 6 });

/** The guard as bytes, from the highest on. */
function bytesOfState(kind: Csum, state: GuardState): number[] {
  const view = new DataView(new ArrayBuffer(8));
  view.setInt32(0, state.high);
  view.setInt32(4, state.low);
  return [...new Uint8Array(view.buffer)].slice(kind === 'crc64' ? 0 : 6);
}

/** Lengths that sum up to `total`: those of `cuts`, then the rest. */
function pieces(total: number, lengths: readonly number[]): number[] {
  const out: number[] = [];
  let left = total;
  for (const length of lengths) {
    out.push(Math.min(length, left));
    left -= out[out.length - 1] as number;
  }
  return [...out, left];
}

test('a guard is that of the definition, however its bytes are cut and wherever they lie', () => {
  using arena = new Arena({ maxBytes: 2 ** 20 });
  using buffer = arena.alloc(12288);
  using adopted = arena.adopt(new SharedArrayBuffer(12288));
  fc.assert(
    fc.property(csum, bytes, cuts, fc.nat(4100), (kind, data, lengths, at) => {
      const expected = [...modelGuard(kind, data)];
      const inArena = new GuardState();
      const inAdopted = new GuardState();
      const across = new GuardState(); // A state wanders from one kernel to the other.
      const plain = new GuardState();
      buffer.bytes.set(data, at);
      adopted.bytes.set(data, at);
      let done = 0;
      for (const [i, length] of pieces(data.length, lengths).entries()) {
        const place = byteAt(buffer.page, at + done);
        updateGuard(kind, inArena, regionOf(buffer.page), place, length);
        updateGuard(kind, inAdopted, regionOf(adopted.page), at + done, length);
        if (i % 2 === 0) updateGuard(kind, across, regionOf(buffer.page), place, length);
        else updateGuard(kind, across, regionOf(adopted.page), at + done, length);
        updateInPlainCode(kind, plain, data, done, length);
        done += length;
      }
      for (const state of [inArena, inAdopted, across, plain]) {
        finishGuard(kind, state);
        assert.deepEqual(bytesOfState(kind, state), expected);
      }
    }),
    RUNS,
  );
});

test('a guard takes more than one call of a kernel takes', () => {
  using arena = new Arena({ maxBytes: 2 ** 20 });
  using buffer = arena.alloc(200_001);
  for (let i = 0; i < buffer.length; i++) buffer.bytes[i] = 255 - ((i * i) % 251);
  for (const kind of ['crc16', 'crc64', 'ip'] as const) {
    const state = new GuardState();
    updateGuard(kind, state, regionOf(buffer.page), byteAt(buffer.page, 0), buffer.length);
    finishGuard(kind, state);
    assert.deepEqual(bytesOfState(kind, state), [...modelGuard(kind, buffer.bytes)]);
  }
});

test('the sum of the largest interval of all ones does not overflow', () => {
  using arena = new Arena({ maxBytes: 2 ** 20 });
  using buffer = arena.alloc(65536);
  buffer.bytes.fill(255);
  const state = new GuardState();
  updateGuard('ip', state, regionOf(buffer.page), byteAt(buffer.page, 0), 65535);
  finishGuard('ip', state);
  // 32767 words FFFF and one FF00: FFFF is zero in ones complement, so the sum is FF00.
  assert.equal(state.low, 0x00ff);
});

test('a checksum is linear, and chaining pieces gives that of the whole', () => {
  const pair = fc
    .nat(500)
    .chain((n) =>
      fc.tuple(
        fc.uint8Array({ minLength: n, maxLength: n }),
        fc.uint8Array({ minLength: n, maxLength: n }),
        fc.nat(n),
      ),
    );
  const crc16 = (data: Uint8Array, start = 0): number => {
    const state = new GuardState();
    state.low = start;
    updateInPlainCode('crc16', state, data, 0, data.length);
    return state.low;
  };
  fc.assert(
    fc.property(pair, ([a, b, cut]) => {
      const both = a.map((byte, i) => byte ^ (b[i] as number));
      assert.equal(crc16(both), crc16(a) ^ crc16(b));
      assert.equal(crc16(a.subarray(cut), crc16(a.subarray(0, cut))), crc16(a));
      assert.equal(crc16(a), modelCrc16(a));
      assert.equal(modelCrc64(a.subarray(cut), modelCrc64(a.subarray(0, cut))), modelCrc64(a));
      const ones = (x: number, y: number): number => (x + y) % 65535;
      if (cut % 2 === 0) {
        const sum = ones(0xffff - modelIp(a.subarray(0, cut)), 0xffff - modelIp(a.subarray(cut)));
        assert.equal(sum, (0xffff - modelIp(a)) % 65535);
      }
    }),
    RUNS,
  );
});

interface RunCase {
  readonly kind: Exclude<Csum, 'none'>;
  readonly intervalBytes: number;
  readonly count: number;
  readonly gap: number;
  readonly prefix: number;
  readonly seed: number;
  readonly block: number;
  readonly refStep: number;
  readonly appTag: number;
}

const runCase: fc.Arbitrary<RunCase> = fc.record({
  kind: fc.constantFrom<Exclude<Csum, 'none'>>('crc16', 'crc64', 'ip'),
  intervalBytes: fc.constantFrom(512, 1024, 4096),
  count: fc.integer({ min: 1, max: 5 }),
  gap: fc.constantFrom(0, 8, 24),
  prefix: fc.constantFrom(0, 1, 8, 17, 80),
  seed: fc.nat(),
  block: fc.constantFrom(0, 7, 2 ** 32 - 2, 2 ** 40 + 5, 2 ** 48 - 2, 2 ** 53 - 6),
  refStep: fc.constantFrom(0, 1),
  appTag: fc.nat(0xffff),
});

interface Bytes {
  readonly page: number;
  readonly bytes: Uint8Array;
}

/** A run over data in one buffer and records in another; gives the tuples that it should have. */
function prepareRun(
  value: RunCase,
  data: Bytes,
  records: Bytes,
): { readonly run: GuardRun; readonly tuples: readonly number[][] } {
  const run = new GuardRun();
  run.data = regionOf(data.page);
  run.metadata = regionOf(records.page);
  run.dataAt = byteAt(data.page, 3);
  run.metadataAt = byteAt(records.page, 5);
  run.intervalBytes = value.intervalBytes;
  run.dataStride = value.intervalBytes + value.gap;
  run.prefixBytes = value.prefix;
  run.metadataStride = value.prefix + 16 + value.gap;
  run.count = value.count;
  run.block = value.block;
  run.refStep = value.refStep;
  run.appTag = value.appTag;
  run.appMask = 0xffff;
  run.checksRef = true;
  for (let i = 0; i < data.bytes.length; i++) data.bytes[i] = (i * value.seed + (i >> 3)) & 0xff;
  for (let i = 0; i < records.bytes.length; i++) records.bytes[i] = (i * 29 + value.seed) & 0xff;
  const tuples = Array.from({ length: value.count }, (_, i) => {
    const start = 3 + i * run.dataStride;
    const record = 5 + i * run.metadataStride;
    const covered = [
      ...data.bytes.subarray(start, start + value.intervalBytes),
      ...records.bytes.subarray(record, record + value.prefix),
    ];
    const guard = modelGuard(value.kind, Uint8Array.from(covered));
    const ref = BigInt(value.block) + BigInt(value.refStep * i);
    return [...modelTuple(value.kind, guard, value.appTag, ref)];
  });
  return { run, tuples };
}

/** The tag in which bit `bit` of a tuple lies. */
function tagOfBit(kind: Csum, bit: number): 'guard' | 'app' | 'ref' {
  const [app, ref] = kind === 'crc64' ? [64, 80] : [16, 32];
  return bit < app ? 'guard' : bit < ref ? 'app' : 'ref';
}

test('runs of intervals: every way writes the same tuples and finds the same first bad one', () => {
  using arena = new Arena({ maxBytes: 2 ** 20 });
  using other = new Arena({ maxBytes: 2 ** 20 });
  using first = arena.alloc(24576);
  using second = arena.alloc(4096);
  using far = other.alloc(4096);
  using adopted = arena.adopt(new SharedArrayBuffer(24576));
  const ways = [
    { data: first, records: second }, // One memory.
    { data: first, records: far }, // Two memories.
    { data: adopted, records: second }, // Data out of reach of WebAssembly.
  ];
  fc.assert(
    fc.property(runCase, fc.nat(4), fc.nat(), (value, bad, anyBit) => {
      for (const { data, records } of ways) {
        const { run, tuples } = prepareRun(value, data, records);
        const tupleAt = (i: number): number => 5 + i * run.metadataStride + value.prefix;
        const expected = [...records.bytes];
        for (const [i, tuple] of tuples.entries())
          expected.splice(tupleAt(i), tuple.length, ...tuple);
        fillTuples(value.kind, run);
        assert.deepEqual([...records.bytes], expected, 'the tuples, and nothing else');
        assert.equal(firstBadTuple(value.kind, run, 0), value.count);

        const wrong = bad % value.count;
        const bit = anyBit % ((tuples[0] as number[]).length * 8);
        records.bytes[tupleAt(wrong) + Math.floor(bit / 8)] ^= 1 << (bit % 8);
        assert.equal(firstBadTuple(value.kind, run, 0), wrong);
        assert.equal(firstBadTuple(value.kind, run, wrong), wrong);
        assert.equal(firstBadTuple(value.kind, run, wrong + 1), value.count);
        // What is not compared may differ; the guard always is.
        const tag = tagOfBit(value.kind, bit);
        if (tag === 'app') run.appMask = 0;
        if (tag === 'ref') run.checksRef = false;
        assert.equal(firstBadTuple(value.kind, run, 0), tag === 'guard' ? wrong : value.count);
      }
    }),
    { numRuns: Math.ceil(RUNS.numRuns / 4) },
  );
});

test('each bit of a tuple counts exactly where it is compared', () => {
  using arena = new Arena({ maxBytes: 2 ** 20 });
  using data = arena.alloc(4096);
  using records = arena.alloc(4096);
  const base = { intervalBytes: 512, count: 2, gap: 8, prefix: 8, seed: 5, refStep: 1 };
  for (const kind of ['crc16', 'crc64', 'ip'] as const) {
    const value = { ...base, kind, block: 2 ** 40, appTag: 0x8001 };
    const { run, tuples } = prepareRun(value, data, records);
    fillTuples(kind, run);
    const start = 5 + run.metadataStride + value.prefix;
    for (let bit = 0; bit < (tuples[1] as number[]).length * 8; bit++) {
      const tag = tagOfBit(kind, bit);
      const appBit = 1 << ((bit >> 3) % 2 === 0 ? (bit % 8) + 8 : bit % 8);
      records.bytes[start + (bit >> 3)] ^= 1 << (bit % 8);
      for (const [appMask, checksRef] of [
        [0xffff, true],
        [0xffff, false],
        [0, true],
        [0, false],
        [appBit, false],
        [0xffff ^ appBit, true],
      ] as const) {
        run.appMask = appMask;
        run.checksRef = checksRef;
        const isCompared =
          tag === 'guard' || (tag === 'ref' ? checksRef : (appMask & appBit) !== 0);
        assert.equal(firstBadTuple(kind, run, 0), isCompared ? 1 : 2, `${kind}, bit ${bit}`);
      }
      records.bytes[start + (bit >> 3)] ^= 1 << (bit % 8);
    }
  }
});

test('a run that leaves its memory is a bug that is told', () => {
  using arena = new Arena({ maxBytes: 65536 });
  using buffer = arena.alloc(8192);
  const run = new GuardRun();
  run.data = regionOf(buffer.page);
  run.metadata = regionOf(buffer.page);
  run.intervalBytes = 512;
  run.dataStride = 512;
  run.metadataStride = 8;
  assert.throws(() => fillTuples('crc16', run), /empty run/);
  run.count = 2;
  run.dataAt = regionOf(buffer.page).u8.length - 1023;
  assert.throws(() => fillTuples('crc16', run), /data outside/);
  run.dataAt = 0;
  run.metadataAt = regionOf(buffer.page).u8.length - 15;
  assert.throws(() => firstBadTuple('crc16', run, 0), /metadata outside/);
});
