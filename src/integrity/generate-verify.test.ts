import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../base/errno.ts';
import { RUNS } from '../base/runs.fuzz.ts';
import { Arena } from '../memory/arena.ts';
import { generate } from './generate.ts';
import { PI_PARTS, PiInjector, type PiPart } from './injector.ts';
import type { FormatCase } from './pi-format.fuzz.ts';
import { formatCase, formatOf, noise, recordCuts, rowCuts } from './pi-format.fuzz.ts';
import { modelGenerate } from './pi-model.fuzz.ts';
import { PiWalk } from './pi-walk.ts';
import { type Placed, TestMemory } from './rows.fuzz.ts';
import { CheckFlag, PiCheck, PiFault, PiTag, verify } from './verify.ts';

const ALL = CheckFlag.GUARD | CheckFlag.REF | CheckFlag.APP;
const runs = { numRuns: Math.ceil(RUNS.numRuns / 4) };

interface Case {
  readonly format: FormatCase;
  readonly intervals: number;
  readonly dataCuts: readonly number[];
  readonly recordCuts: readonly number[];
  readonly gap: number;
  readonly noiseSeed: number;
  readonly seed: number;
  readonly appTag: number;
}

const piCase: fc.Arbitrary<Case> = fc.record({
  format: formatCase,
  intervals: fc.integer({ min: 1, max: 6 }),
  dataCuts: rowCuts,
  recordCuts,
  gap: fc.constantFrom(0, 1, 3),
  noiseSeed: fc.nat(),
  seed: fc.oneof(
    fc.constantFrom(0, 2 ** 32 - 2, 2 ** 32, 2 ** 48 - 2, 2 ** 48, 2 ** 53 - 10),
    fc.nat(),
    fc.maxSafeNat().map((value) => Math.min(value, 2 ** 53 - 10)),
  ),
  appTag: fc.oneof(fc.constant(0), fc.nat(0xfffe)),
});

const arena = new Arena({ maxBytes: 2 ** 20, label: 'data' });
const otherArena = new Arena({ maxBytes: 2 ** 20, label: 'metadata' });
const dataMemory = TestMemory.of(arena, 2 ** 17);
const recordMemory = TestMemory.of(otherArena, 2 ** 17);

/** Data and records in rows, and what the records should become. */
function prepare(value: Case): {
  readonly data: Placed;
  readonly records: Placed;
  readonly expected: Uint8Array;
} {
  const { profile, model } = value.format;
  dataMemory.reset();
  recordMemory.reset();
  const bytes = noise(value.intervals * model.intervalBytes, value.noiseSeed);
  const before = noise(value.intervals * profile.metadata_size, value.noiseSeed + 1);
  const expected = before.slice();
  modelGenerate(model, bytes, expected, BigInt(value.seed), value.appTag);
  return {
    data: dataMemory.place(bytes, value.dataCuts, value.gap),
    records: recordMemory.place(before, value.recordCuts, value.gap),
    expected,
  };
}

function checkOf(value: Case, flags: number): PiCheck {
  const check = new PiCheck();
  check.flags = flags;
  check.seed = value.seed;
  check.appTag = value.appTag;
  return check;
}

test('tuples are those of the definition, however data and metadata are cut', () => {
  const walk = new PiWalk();
  fc.assert(
    fc.property(piCase, (value) => {
      const { data, records, expected } = prepare(value);
      const bytes = data.read();
      walk.startSeparate(value.format.profile, data.rows, records.rows);
      generate(walk, value.format.profile, value.seed, value.appTag);
      assert.equal(walk.left, 0);
      assert.deepEqual(records.read(), expected);
      assert.deepEqual(data.read(), bytes, 'data is only read');
    }),
    runs,
  );
});

test('what was generated verifies, in other rows too (property 39)', () => {
  const walk = new PiWalk();
  const fault = new PiFault();
  fc.assert(
    fc.property(piCase, rowCuts, recordCuts, (value, cuts, moreCuts) => {
      const { data, records } = prepare(value);
      const { profile } = value.format;
      walk.startSeparate(profile, data.rows, records.rows);
      generate(walk, profile, value.seed, value.appTag);
      walk.startSeparate(profile, data.rows, records.rows);
      assert.equal(verify(walk, profile, checkOf(value, ALL), fault), 0);
      const data2 = dataMemory.place(data.read(), cuts, 1);
      const records2 = recordMemory.place(records.read(), moreCuts, 2);
      walk.startSeparate(profile, data2.rows, records2.rows);
      assert.equal(verify(walk, profile, checkOf(value, ALL), fault), 0);
      assert.equal(fault.tag, PiTag.NONE);
    }),
    runs,
  );
});

test('interleaved blocks carry the same tuples', () => {
  const walk = new PiWalk();
  const fault = new PiFault();
  fc.assert(
    fc.property(piCase, rowCuts, (value, cuts) => {
      const { data, records, expected } = prepare(value);
      const { profile, model } = value.format;
      const bytes = data.read();
      const before = records.read();
      const weave = (some: Uint8Array): Uint8Array =>
        Uint8Array.from(
          Array.from({ length: value.intervals }, (_, i) => [
            ...bytes.subarray(i * model.intervalBytes, (i + 1) * model.intervalBytes),
            ...some.subarray(i * profile.metadata_size, (i + 1) * profile.metadata_size),
          ]).flat(),
        );
      const both = dataMemory.place(weave(before), cuts, value.gap);
      walk.startInterleaved(profile, both.rows);
      generate(walk, profile, value.seed, value.appTag);
      assert.deepEqual(both.read(), weave(expected));
      walk.startInterleaved(profile, both.rows);
      assert.equal(verify(walk, profile, checkOf(value, ALL), fault), 0);
    }),
    runs,
  );
});

/** Property 40: what a flipped bit of each part does, with the given checks. */
function tagHit(part: PiPart, format: FormatCase, flags: number): PiTag {
  const has = (flag: number): boolean => (flags & flag) !== 0;
  switch (part) {
    case 'data':
    case 'prefix':
    case 'guard':
      return has(CheckFlag.GUARD) ? PiTag.GUARD : PiTag.NONE;
    case 'ref':
      return has(CheckFlag.REF) && format.model.countsRef ? PiTag.REF : PiTag.NONE;
    case 'app':
      return has(CheckFlag.APP) ? PiTag.APP : PiTag.NONE;
    case 'rest':
      return PiTag.NONE;
  }
}

test('a flipped bit is found where it is covered, and nowhere else (property 40)', () => {
  const walk = new PiWalk();
  const fault = new PiFault();
  const flags = fc.constantFrom(0, 1, 2, 3, 4, 5, 6, 7);
  fc.assert(
    fc.property(piCase, flags, fc.constantFrom(...PI_PARTS), fc.nat(), fc.nat(), (...args) => {
      const [value, checks, part, at, bit] = args;
      const { data, records } = prepare(value);
      const { profile } = value.format;
      walk.startSeparate(profile, data.rows, records.rows);
      generate(walk, profile, value.seed, value.appTag);
      const injector = new PiInjector(profile, data.rows, records.rows);
      const bits = injector.partBytes(part) * 8;
      if (bits === 0) return;
      const block = at % value.intervals;
      // 0xFFFE with its lowest bit set would be an escape; reference: only what is not 0xFFFF.
      if (part === 'app' && isOneBitFromEscape(value.appTag, bit % bits)) return;
      injector.flip(block, part, bit % bits);
      const hit = tagHit(part, value.format, checks);
      walk.startSeparate(profile, data.rows, records.rows);
      const status = verify(walk, profile, checkOf(value, checks), fault);
      assert.equal(status, hit === PiTag.NONE ? 0 : -Errno.EILSEQ);
      assert.equal(fault.tag, hit);
      if (hit !== PiTag.NONE) assert.equal(fault.interval, block);
    }),
    runs,
  );
});

function isOneBitFromEscape(appTag: number, bit: number): boolean {
  const place = bit < 8 ? bit + 8 : bit - 8; // Byte 0 of the tag is the upper one.
  return (appTag ^ (1 << place)) === 0xffff;
}

test('the first of several faults is told, wherever the rows are cut', () => {
  const walk = new PiWalk();
  const fault = new PiFault();
  const places = fc.array(fc.tuple(fc.nat(5), fc.constantFrom<PiPart>('data', 'guard', 'ref')), {
    minLength: 1,
    maxLength: 4,
  });
  fc.assert(
    fc.property(piCase, places, (value, faults) => {
      const { data, records } = prepare(value);
      const { profile, model } = value.format;
      walk.startSeparate(profile, data.rows, records.rows);
      generate(walk, profile, value.seed, value.appTag);
      const injector = new PiInjector(profile, data.rows, records.rows);
      const first = new Map<number, PiTag>();
      const seen = new Set<string>();
      for (const [place, part] of faults) {
        const block = place % value.intervals;
        if (part === 'ref' && !model.countsRef) continue;
        if (seen.has(`${block} ${part === 'ref'}`)) continue; // A second flip may undo the first.
        seen.add(`${block} ${part === 'ref'}`);
        injector.flip(block, part, 3);
        // The ref tag is compared before the guard.
        if (part === 'ref') first.set(block, PiTag.REF);
        else if (!first.has(block)) first.set(block, PiTag.GUARD);
      }
      walk.startSeparate(profile, data.rows, records.rows);
      const status = verify(walk, profile, checkOf(value, ALL), fault);
      const block = Math.min(...first.keys());
      assert.equal(status, first.size === 0 ? 0 : -Errno.EILSEQ);
      if (first.size > 0) {
        assert.equal(fault.interval, block);
        assert.equal(fault.tag, first.get(block));
      }
    }),
    runs,
  );
});

test('escapes: app tag FFFF for types 1 and 2, with a ref tag of all ones for type 3', () => {
  const walk = new PiWalk();
  const fault = new PiFault();
  for (const csum of ['crc16', 'crc64', 'ip'] as const) {
    for (const countsRef of [true, false]) {
      for (const cuts of [[], [5]]) {
        for (const isRefOnes of [true, false]) {
          const format = formatOf(csum, 512, 8, 8, countsRef);
          const value: Case = {
            format,
            intervals: 3,
            dataCuts: [],
            recordCuts: cuts,
            gap: 0,
            noiseSeed: 77,
            seed: 9,
            appTag: 0,
          };
          const { data, records } = prepare(value);
          walk.startSeparate(format.profile, data.rows, records.rows);
          generate(walk, format.profile, 9);
          const bytes = records.read();
          const tuple = format.profile.metadata_size + 8;
          const [app, ref] = csum === 'crc64' ? [8, 10] : [2, 4];
          bytes[tuple] = ~(bytes[tuple] as number); // A wrong guard in block 1.
          bytes.fill(255, tuple + app, tuple + app + 2);
          if (isRefOnes) bytes.fill(255, tuple + ref, tuple + (csum === 'crc64' ? 16 : 8));
          records.write(bytes);
          walk.startSeparate(format.profile, data.rows, records.rows);
          const check = checkOf(value, CheckFlag.GUARD | CheckFlag.REF);
          const isEscape = countsRef || isRefOnes;
          const status = verify(walk, format.profile, check, fault);
          assert.equal(status, isEscape ? 0 : -Errno.EILSEQ);
        }
      }
    }
  }
});

test('behind an escape the next bad interval is found, in a run and in pieces', () => {
  const walk = new PiWalk();
  const fault = new PiFault();
  for (const recordPieces of [[], [5]]) {
    const format = formatOf('crc16', 512, 0, 0, true);
    const value: Case = {
      format,
      intervals: 6,
      dataCuts: [],
      recordCuts: recordPieces,
      gap: 0,
      noiseSeed: 5,
      seed: 100,
      appTag: 0,
    };
    const { data, records } = prepare(value);
    walk.startSeparate(format.profile, data.rows, records.rows);
    generate(walk, format.profile, 100);
    const bytes = records.read();
    bytes.fill(255, 8, 24); // Never written: blocks 1 and 2.
    bytes[3 * 8 + 7] ^= 1; // The ref tag of block 3.
    bytes[4 * 8] ^= 1; // The guard of block 4.
    records.write(bytes);
    for (const [flags, interval] of [
      [CheckFlag.GUARD | CheckFlag.REF, 3],
      [CheckFlag.REF, 3],
      [CheckFlag.GUARD, 4],
    ] as const) {
      walk.startSeparate(format.profile, data.rows, records.rows);
      assert.equal(verify(walk, format.profile, checkOf(value, flags), fault), -Errno.EILSEQ);
      assert.equal(fault.interval, interval);
    }
  }
});
