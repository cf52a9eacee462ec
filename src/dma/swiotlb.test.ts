import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import { MIB, PAGE_BYTES } from '../base/units.ts';
import { DmaDir, NOT_NOW } from './dma-status.ts';
import { addressOf, bytesAt, highArena, lowArena, pattern } from './dma-world.fuzz.ts';
import { type BounceShape, Swiotlb } from './swiotlb.ts';

const ANYWHERE: BounceShape = {
  keepMask: 0,
  unitBytes: 1,
  boundaryMask: Number.MAX_SAFE_INTEGER,
};
const memory = highArena.alloc(MIB, 'originals');

function bounceAddress(swiotlb: Swiotlb, slot: number): number {
  return swiotlb.pageOf(slot) * PAGE_BYTES + swiotlb.offsetOf(slot);
}

test('slots of 2 KiB, at most 128 for a buffer, and a buffer stays in its group', () => {
  const swiotlb = new Swiotlb(lowArena, MIB / 2);
  assert.equal(swiotlb.slots, 256);
  const cases: [number, number][] = [
    [1, 1],
    [2048, 1],
    [2049, 2],
    [262144, 128],
  ];
  for (const [bytes, slots] of cases) {
    const slot = swiotlb.map(memory.page, 0, bytes, ANYWHERE);
    assert.ok(slot >= 0);
    assert.equal(swiotlb.usedSlots, slots);
    swiotlb.unmap(slot, DmaDir.TO_DEVICE, true);
  }
  assert.equal(swiotlb.map(memory.page, 0, 262145, ANYWHERE), -5, 'too large for ever');
  const big = swiotlb.map(memory.page, 0, 100 * 2048, ANYWHERE);
  const other = swiotlb.map(memory.page, 0, 30 * 2048, ANYWHERE);
  assert.ok(Math.floor(big / 128) !== Math.floor(other / 128), '28 are left beside the first');
  assert.equal(swiotlb.map(memory.page, 0, 99 * 2048, ANYWHERE), NOT_NOW, '28 + 98 are not 99');
  const rest = swiotlb.map(memory.page, 0, 98 * 2048, ANYWHERE);
  assert.ok(rest >= 0);
  for (const slot of [rest, other, big]) swiotlb.unmap(slot, DmaDir.TO_DEVICE, false);
  assert.throws(() => swiotlb.unmap(big, DmaDir.TO_DEVICE, false), /unmapped twice/);
  assert.throws(() => swiotlb.syncForCpu(big, DmaDir.TO_DEVICE), /not mapped/);
  assert.deepEqual([swiotlb.usedSlots, swiotlb.usedSlotsMost], [0, 228]);
  const again = swiotlb.map(memory.page, 0, 1, ANYWHERE);
  assert.equal(again, 0, 'an empty pool is filled from its start, whatever was before');
  swiotlb.unmap(again, DmaDir.TO_DEVICE, false);
  swiotlb[Symbol.dispose]();
});

test('low address bits stay, as the mask of the device asks', () => {
  const swiotlb = new Swiotlb(lowArena, MIB);
  const origin = { page: memory.page + 5, offset: 0x1a34, len: 300 };
  const low = addressOf(origin);
  for (const keepMask of [0, 511, 2047, 4095, 8191, 65535]) {
    const shape = { ...ANYWHERE, keepMask };
    const slot = swiotlb.map(origin.page, origin.offset, origin.len, shape);
    const address = bounceAddress(swiotlb, slot);
    assert.equal(address % (keepMask + 1), low % (keepMask + 1));
    assert.equal(swiotlb.slotAt(swiotlb.pageOf(slot), swiotlb.offsetOf(slot)), slot);
    assert.equal(swiotlb.slotAt(swiotlb.pageOf(slot), swiotlb.offsetOf(slot) + 299), slot);
    swiotlb.unmap(slot, DmaDir.TO_DEVICE, false);
  }
  assert.equal(swiotlb.slotAt(swiotlb.page - 1, 0), -1);
  assert.equal(swiotlb.slotAt(swiotlb.page + 256, 0), -1);
  assert.equal(swiotlb.slotAt(swiotlb.page, 0), -1, 'free slots belong to nobody');
  swiotlb[Symbol.dispose]();
});

test('bits above the page are those of addresses, wherever the pool starts', () => {
  const pools = [0, 1, 2, 3].map(() => new Swiotlb(lowArena, 2 * PAGE_BYTES));
  assert.ok(new Set(pools.map(({ page }) => page % 4)).size > 1, 'at different places');
  const shape = { ...ANYWHERE, keepMask: 0x3fff };
  const first = memory.page + ((4 - (memory.page % 4)) % 4);
  for (const swiotlb of pools) {
    for (const inUnit of [0, 1, 2, 3]) {
      const slot = swiotlb.map(first + inUnit, 100, 50, shape);
      const has = inUnit - (swiotlb.page % 4);
      if (has === 0 || has === 1) {
        assert.equal(bounceAddress(swiotlb, slot) % 0x4000, inUnit * PAGE_BYTES + 100);
        swiotlb.unmap(slot, DmaDir.TO_DEVICE, false);
      } else {
        assert.equal(slot, NOT_NOW, 'its two pages are not that quarter');
      }
    }
    swiotlb[Symbol.dispose]();
  }
});

test('no buffer crosses the boundary of the device', () => {
  const swiotlb = new Swiotlb(lowArena, 64 * 1024);
  const shape = { ...ANYWHERE, boundaryMask: 4095 };
  // One slot is taken, so the next free one is in the middle of a page.
  const slots = [swiotlb.map(memory.page, 0, 1, shape)];
  for (;;) {
    const slot = swiotlb.map(memory.page, 0, 2049, shape);
    if (slot < 0) break;
    assert.equal(bounceAddress(swiotlb, slot) % 4096, 0);
    slots.push(slot);
  }
  assert.equal(slots.length, 16);
  for (const slot of slots) swiotlb.unmap(slot, DmaDir.TO_DEVICE, false);
  swiotlb[Symbol.dispose]();
});

test('a unit that the device sees whole holds nothing but the data and zeros', () => {
  const swiotlb = new Swiotlb(lowArena, 64 * 1024);
  const all = { page: swiotlb.page, offset: 0, len: 64 * 1024 };
  bytesAt(all).fill(0xee);
  const origin = { page: memory.page + 2, offset: 1000, len: 5000 };
  bytesAt(origin).set(pattern(5000, 3));
  const slot = swiotlb.map(origin.page, origin.offset, 5000, { ...ANYWHERE, unitBytes: 4096 });
  const start = bounceAddress(swiotlb, slot);
  assert.equal(start % 4096, 1000);
  assert.equal(swiotlb.usedSlots, 4);
  const expected = new Uint8Array(8192);
  expected.set(pattern(5000, 3), 1000);
  const unit = { page: Math.floor(start / PAGE_BYTES), offset: 0, len: 8192 };
  assert.deepEqual(bytesAt(unit).slice(), expected);
  swiotlb.unmap(slot, DmaDir.FROM_DEVICE, true);
  swiotlb[Symbol.dispose]();
});

test('copies by direction: in at every map, back where the device may write', () => {
  const swiotlb = new Swiotlb(lowArena, 64 * 1024);
  const origin = { page: memory.page, offset: 100, len: 1000 };
  const { BIDIRECTIONAL, FROM_DEVICE, TO_DEVICE } = DmaDir;
  for (const dir of [TO_DEVICE, FROM_DEVICE, BIDIRECTIONAL]) {
    const before = pattern(1000, 1);
    bytesAt(origin).set(before);
    const slot = swiotlb.map(origin.page, origin.offset, 1000, ANYWHERE);
    const bounce = { page: swiotlb.pageOf(slot), offset: swiotlb.offsetOf(slot), len: 1000 };
    assert.deepEqual(bytesAt(bounce).slice(), before, 'also for a read of the disk');
    const written = pattern(1000, 9);
    bytesAt(bounce).set(written);
    swiotlb.syncForCpu(slot, dir);
    const seen = dir === TO_DEVICE ? before : written;
    assert.deepEqual(bytesAt(origin).slice(), seen);
    const changed = pattern(1000, 20);
    bytesAt(origin).set(changed);
    swiotlb.syncForDevice(slot, dir);
    assert.deepEqual(bytesAt(bounce).slice(), dir === FROM_DEVICE ? written : changed);
    bytesAt(bounce).set(pattern(1000, 30));
    swiotlb.unmap(slot, dir, true);
    const last = dir === TO_DEVICE ? changed : pattern(1000, 30);
    assert.deepEqual(bytesAt(origin).slice(), last);
  }
  swiotlb[Symbol.dispose]();
});

test('47: bytes that the device does not write are preserved in the original', () => {
  const swiotlb = new Swiotlb(lowArena, 64 * 1024);
  const holes = fc.array(fc.tuple(fc.nat(6000), fc.integer({ min: 1, max: 500 })), {
    maxLength: 6,
  });
  const bits = fc.constantFrom(0, 511, 4095);
  const place = fc.tuple(fc.nat(4095), fc.integer({ min: 1, max: 6000 }));
  fc.assert(
    fc.property(place, holes, bits, fc.nat(250), ([offset, len], writes, keepMask, seed) => {
      const around = { page: memory.page, offset: 0, len: 3 * PAGE_BYTES };
      const before = pattern(around.len, seed);
      bytesAt(around).set(before);
      const slot = swiotlb.map(memory.page, offset, len, { ...ANYWHERE, keepMask });
      const bounce = { page: swiotlb.pageOf(slot), offset: swiotlb.offsetOf(slot), len };
      const after = before.slice();
      for (const [at, bytes] of writes) {
        const end = Math.min(at + bytes, len);
        for (let i = at; i < end; i++) {
          bytesAt(bounce)[i] = 255;
          after[offset + i] = 255;
        }
      }
      swiotlb.unmap(slot, DmaDir.FROM_DEVICE, true);
      assert.deepEqual(bytesAt(around).slice(), after);
      assert.equal(swiotlb.usedSlots, 0);
    }),
    RUNS,
  );
  swiotlb[Symbol.dispose]();
});

test('46: buffers are disjoint, a full one waits, and all slots come back', () => {
  const act = fc.record({
    frees: fc.boolean(),
    pick: fc.nat(1000),
    bytes: fc.integer({ min: 1, max: 70_000 }),
  });
  const shapes = fc.constantFrom(
    ANYWHERE,
    { ...ANYWHERE, keepMask: 4095 },
    { ...ANYWHERE, unitBytes: 4096 },
  );
  fc.assert(
    fc.property(fc.array(act, { maxLength: 40 }), shapes, (acts, shape) => {
      const swiotlb = new Swiotlb(lowArena, 300 * 1024); // 150 slots: a group and a part of one
      const owner = new Int32Array(150).fill(-1);
      const live = new Map<number, number>();
      for (const { frees, pick, bytes } of acts) {
        if (frees && live.size > 0) {
          const slot = [...live.keys()][pick % live.size];
          const slots = live.get(slot) ?? 0;
          swiotlb.unmap(slot, DmaDir.TO_DEVICE, false);
          owner.fill(-1, slot, slot + slots);
          live.delete(slot);
          continue;
        }
        const used = swiotlb.usedSlots;
        const slot = swiotlb.map(memory.page, pick, bytes, shape);
        const most = Math.ceil((bytes + 4095) / 4096) * 2;
        if (slot < 0) {
          assert.equal(slot, NOT_NOW);
          assert.equal(swiotlb.usedSlots, used);
          const run = longestRun(owner);
          assert.ok(run < most + 2, 'there was room');
          continue;
        }
        const slots = swiotlb.usedSlots - used;
        assert.ok(slots >= Math.ceil(bytes / 2048) && slots <= most + 1);
        assert.ok(owner.subarray(slot, slot + slots).every((one) => one < 0));
        assert.equal(Math.floor(slot / 128), Math.floor((slot + slots - 1) / 128));
        owner.fill(slot, slot, slot + slots);
        live.set(slot, slots);
      }
      for (const slot of live.keys()) swiotlb.unmap(slot, DmaDir.TO_DEVICE, false);
      assert.equal(swiotlb.usedSlots, 0);
      const whole = swiotlb.map(memory.page, 0, 262144, ANYWHERE);
      assert.ok(whole >= 0, 'the group is whole again');
      swiotlb.unmap(whole, DmaDir.TO_DEVICE, false);
      swiotlb[Symbol.dispose]();
    }),
    RUNS,
  );
});

/** Free slots in a row inside one group. */
function longestRun(owner: Int32Array): number {
  let most = 0;
  let run = 0;
  owner.forEach((one, i) => {
    run = one < 0 && i % 128 !== 0 ? run + 1 : one < 0 ? 1 : 0;
    most = Math.max(most, run);
  });
  return most;
}

test('memory for bounces is whole pages of an arena with room, and goes back', () => {
  assert.throws(() => new Swiotlb(lowArena, 1000), { code: 'EINVAL' });
  assert.throws(() => new Swiotlb(lowArena, 0), { code: 'EINVAL' });
  assert.throws(() => new Swiotlb(lowArena, 2 ** 30), { code: 'ENOMEM' });
  const before = lowArena.stats().usedBytes;
  const swiotlb = new Swiotlb(lowArena, 8192);
  const slot = swiotlb.map(memory.page, 0, 1, ANYWHERE);
  assert.throws(() => swiotlb[Symbol.dispose](), /while buffers are mapped/);
  swiotlb.unmap(slot, DmaDir.TO_DEVICE, true);
  swiotlb[Symbol.dispose]();
  assert.equal(lowArena.stats().usedBytes, before);
});
