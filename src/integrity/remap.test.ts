import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import { Arena } from '../memory/arena.ts';
import { PayloadFlag } from './bio-integrity.ts';
import { BioIntegrityPool } from './bio-integrity-pool.ts';
import { completePayload, preparePayload } from './payload-remap.ts';
import { type FormatCase, formatOf, noise, recordCuts } from './pi-format.fuzz.ts';
import { PiWalk } from './pi-walk.ts';
import { deviceBlock, remapRefTags } from './remap.ts';
import { type Placed, TestMemory } from './rows.fuzz.ts';

const arena = new Arena({ maxBytes: 2 ** 20 });
const buffer = arena.alloc(65536);
const memory = new TestMemory(buffer);
after(() => {
  buffer.release();
  arena.assertNothingOutstanding();
});

const formats: readonly FormatCase[] = [
  formatOf('crc16', 512, 0, 0, true),
  formatOf('crc16', 4096, 8, 3, true),
  formatOf('crc64', 512, 0, 0, true),
  formatOf('crc64', 4096, 5, 8, true),
];

/** Bits of the ref tag, and where it starts in the record. */
function refPlace({ model }: FormatCase): { readonly bits: bigint; readonly at: number } {
  const isWide = model.csum === 'crc64';
  return { bits: isWide ? 48n : 32n, at: model.prefixBytes + (isWide ? 10 : 4) };
}

function readRefs(format: FormatCase, records: Uint8Array): bigint[] {
  const { bits, at } = refPlace(format);
  const size = format.profile.metadata_size;
  return Array.from({ length: records.length / size }, (_, i) => {
    let value = 0n;
    for (let k = 0; k < Number(bits / 8n); k++) {
      value = (value << 8n) | BigInt(records[i * size + at + k] as number);
    }
    return value;
  });
}

function writeRefs(format: FormatCase, records: Uint8Array, refs: readonly bigint[]): void {
  const { bits, at } = refPlace(format);
  const size = format.profile.metadata_size;
  for (const [i, ref] of refs.entries()) {
    for (let k = 0; k < Number(bits / 8n); k++) {
      records[i * size + at + k] = Number((ref >> (bits - 8n * BigInt(k + 1))) & 0xffn);
    }
  }
}

/** Records with these ref tags, the rest of them noise. */
function placeRefs(format: FormatCase, refs: readonly bigint[], cuts: readonly number[]): Placed {
  memory.reset();
  const records = noise(refs.length * format.profile.metadata_size, refs.length);
  writeRefs(format, records, refs);
  return memory.place(records, cuts, 1);
}

test('user seed 5 at block 1000: refs 5, 99, 7 become 1000, 99, 1002, and come back', () => {
  const walk = new PiWalk();
  for (const format of formats) {
    for (const cuts of [[], [3]]) {
      const placed = placeRefs(format, [5n, 99n, 7n], cuts);
      const before = placed.read();
      walk.startMetadata(format.profile, placed.rows, 3);
      assert.equal(remapRefTags(walk, format.profile, 5, 1000), 2);
      const mapped = before.slice();
      writeRefs(format, mapped, [1000n, 99n, 1002n]);
      assert.deepEqual(placed.read(), mapped);
      walk.startMetadata(format.profile, placed.rows, 3);
      assert.equal(remapRefTags(walk, format.profile, 1000, 5), 2);
      assert.deepEqual(placed.read(), before);
    }
  }
});

test('a tag of 48 bits matches as a whole, one of 32 bits by what there is of it', () => {
  const walk = new PiWalk();
  const low = 5n;
  for (const format of formats) {
    const isWide = format.model.csum === 'crc64';
    const placed = placeRefs(format, isWide ? [low + 2n ** 32n, low + 1n] : [low, low + 1n], []);
    walk.startMetadata(format.profile, placed.rows, 2);
    assert.equal(remapRefTags(walk, format.profile, 5, 2 ** 32 + 9), isWide ? 1 : 2);
    const mapped = isWide ? [low + 2n ** 32n, 2n ** 32n + 10n] : [9n, 10n];
    assert.deepEqual(readRefs(format, placed.read()), mapped);
  }
});

test('a 4 KiB interval at sector 2152 has seed 2152 and block 269', () => {
  assert.equal(deviceBlock(2152, (formats[1] as FormatCase).profile), 269);
  assert.equal(deviceBlock(2152, (formats[0] as FormatCase).profile), 2152);
});

test('type 3 has no ref tag to map', () => {
  const format = formatOf('crc16', 512, 0, 0, false);
  const placed = placeRefs(format, [5n, 6n], []);
  const before = placed.read();
  const walk = new PiWalk();
  walk.startMetadata(format.profile, placed.rows, 2);
  assert.equal(remapRefTags(walk, format.profile, 5, 1000), 0);
  assert.deepEqual(placed.read(), before);
});

const start = fc.oneof(
  fc.constantFrom(0, 2 ** 32 - 2, 2 ** 32, 2 ** 48 - 2),
  fc.nat(),
  fc.maxSafeNat().map((value) => Math.min(value, 2 ** 53 - 10)),
);

test('mapping and mapping back is the identity where tags matched (property 41)', () => {
  const walk = new PiWalk();
  const matches = fc.array(fc.boolean(), { minLength: 1, maxLength: 6 });
  const format = fc.constantFrom(...formats);
  fc.assert(
    fc.property(format, matches, start, start, recordCuts, (kind, isMatch, virt, ref, cuts) => {
      const mask = (1n << refPlace(kind).bits) - 1n;
      const virtual = (i: number): bigint => (BigInt(virt) + BigInt(i)) & mask;
      const device = (i: number): bigint => (BigInt(ref) + BigInt(i)) & mask;
      // What does not match is one more than it should be, but never the tag to map back from.
      const odd = (i: number): bigint => {
        const one = (virtual(i) + 1n) & mask;
        return one === device(i) ? (one + 1n) & mask : one;
      };
      const refs = isMatch.map((is, i) => (is ? virtual(i) : odd(i)));
      const placed = placeRefs(kind, refs, cuts);
      const before = placed.read();
      walk.startMetadata(kind.profile, placed.rows, refs.length);
      assert.equal(remapRefTags(walk, kind.profile, virt, ref), isMatch.filter(Boolean).length);
      assert.deepEqual(
        readRefs(kind, placed.read()),
        refs.map((old, i) => (isMatch[i] === true ? device(i) : old)),
      );
      walk.startMetadata(kind.profile, placed.rows, refs.length);
      remapRefTags(walk, kind.profile, ref, virt);
      assert.deepEqual(placed.read(), before);
    }),
    RUNS,
  );
});

test('a payload is mapped once, and moves the block on when it is passed over', () => {
  const format = formats[0] as FormatCase;
  const pool = new BioIntegrityPool({ payloads: 1, rows: 8 });
  // Tags that match before and after mapping: a second mapping would move them on.
  const placed = placeRefs(format, [0n, 1n, 2n], []);
  const payload = pool.acquire(1);
  assert.ok(payload !== null);
  const { table, row } = placed.rows;
  payload.addRow(table.page[row] as number, table.offset[row] as number, 24, 0);
  assert.equal(preparePayload(payload, format.profile, 0), 3);
  assert.notEqual(payload.flags & PayloadFlag.MAPPED, 0);
  assert.equal(preparePayload(payload, format.profile, 50), 3);
  assert.deepEqual(readRefs(format, placed.read()), [0n, 1n, 2n]);
  pool.release(payload);
  assert.equal(pool.busyCount, 0);
});

test('after a short read only what was transferred is mapped back', () => {
  const format = formats[2] as FormatCase;
  const pool = new BioIntegrityPool({ payloads: 1, rows: 8 });
  const placed = placeRefs(format, [70n, 71n, 72n], []);
  const payload = pool.acquire(1);
  assert.ok(payload !== null);
  const { table, row } = placed.rows;
  payload.addRow(table.page[row] as number, table.offset[row] as number, 48, 0);
  payload.seed = 5;
  assert.equal(completePayload(payload, format.profile, 70, 2), 3);
  assert.deepEqual(readRefs(format, placed.read()), [5n, 6n, 72n]);
  pool.release(payload);
});
