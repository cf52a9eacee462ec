import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arena } from '../memory/arena.ts';
import { PI_PARTS, PiInjector } from './injector.ts';
import { formatOf, noise } from './pi-format.fuzz.ts';
import { TestMemory } from './rows.fuzz.ts';

const BLOCKS = 4;

/** Blocks in rows that are cut at odd places, and what lies in them. */
function rig(memory: TestMemory) {
  const { profile } = formatOf('crc64', 512, 5, 3, true);
  const data = memory.place(noise(BLOCKS * 512, 1), [700, 13], 2);
  const records = memory.place(noise(BLOCKS * profile.metadata_size, 2), [7, 50], 1);
  return { profile, data, records, injector: new PiInjector(profile, data.rows, records.rows) };
}

/** Where each part of a record of 5 + 16 + 3 bytes starts. */
const STARTS = { data: 0, prefix: 0, guard: 5, app: 13, ref: 15, rest: 21 } as const;
const BYTES = { data: 512, prefix: 5, guard: 8, app: 2, ref: 6, rest: 3 } as const;

test('a flip turns one bit over, where its part lies', () => {
  using arena = new Arena({ maxBytes: 2 ** 20 });
  using buffer = arena.alloc(8192);
  for (const part of PI_PARTS) {
    const { data, records, injector } = rig(new TestMemory(buffer));
    assert.equal(injector.partBytes(part), BYTES[part]);
    const bit = BYTES[part] * 8 - 3;
    const expected = { data: data.read(), records: records.read() };
    const list = part === 'data' ? expected.data : expected.records;
    const at = 2 * (part === 'data' ? 512 : 24) + STARTS[part] + BYTES[part] - 1;
    list[at] ^= 1 << 5;
    injector.flip(2, part, bit);
    assert.deepEqual(data.read(), expected.data);
    assert.deepEqual(records.read(), expected.records);
    assert.throws(() => injector.flip(2, part, BYTES[part] * 8), /no such bit/);
    assert.throws(() => injector.flip(BLOCKS, part, 0), /outside the rows/);
  }
});

test('misdirected, swapped, lost and torn writes', () => {
  using arena = new Arena({ maxBytes: 2 ** 20 });
  using buffer = arena.alloc(8192);
  const { data, records, injector } = rig(new TestMemory(buffer));
  const block = (i: number): number[] => [...data.read().subarray(i * 512, (i + 1) * 512)];
  const record = (i: number): number[] => [...records.read().subarray(i * 24, (i + 1) * 24)];
  const before = [0, 1, 2, 3].map((i) => ({ data: block(i), record: record(i) }));
  const now = (i: number) => ({ data: block(i), record: record(i) });
  const old = injector.copyOf(1);
  injector.misdirect(0, 1);
  assert.deepEqual(now(1), before[0]);
  assert.deepEqual(now(0), before[0], 'the source stays');
  injector.swap(2, 3);
  assert.deepEqual([now(2), now(3)], [before[3], before[2]]);
  injector.put(1, old, 'data');
  assert.deepEqual(now(1), { data: before[1].data, record: before[0].record });
  injector.tearRecord(1, old, 6);
  const torn = [
    ...(before[1].record.slice(0, 6) as number[]),
    ...(before[0].record.slice(6) as number[]),
  ];
  assert.deepEqual(record(1), torn);
  injector.put(1, old);
  assert.deepEqual(now(1), before[1]);
});
