import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { maybe } from '../base/assert.ts';
import { RUNS } from '../base/runs.fuzz.ts';
import { KIB, MIB, PAGE_BYTES } from '../base/units.ts';
import { DmaDevice } from './dma-device.ts';
import { DmaList } from './dma-list.ts';
import { DMA_REASON_TEXTS, DmaDir, DmaPerm, DmaReason, NOT_NOW, permOf } from './dma-status.ts';
import {
  addressOf,
  bytesAt,
  bytesOf,
  type DeviceShape,
  DeviceWorld,
  deviceArb,
  entriesArb,
  entriesOf,
  fillEntries,
  fitEntries,
  highArena,
  joined,
  landings,
  landingsOf,
  listOf,
  lowArena,
  MASK_32,
  pattern,
  rangesOf,
  sgPool,
  totalOf,
} from './dma-world.fuzz.ts';
import { dmaOwnership } from './ownership.ts';
import { sgZero } from './sg-copy.ts';
import { Swiotlb } from './swiotlb.ts';

const DIRS = [DmaDir.BIDIRECTIONAL, DmaDir.TO_DEVICE, DmaDir.FROM_DEVICE] as const;
const dirArb = fc.constantFrom(...DIRS);

/** The device range obeys the device. */
function checkRanges(device: DmaDevice, ranges: readonly [number, number][]): void {
  const window = device.segBoundaryMask + 1;
  for (const [address, len] of ranges) {
    assert.ok(len > 0 && len <= device.segBytesMax, 'above the largest segment');
    assert.ok(address + len - 1 <= device.dmaMask, 'beyond the mask');
    const last = Math.floor((address + len - 1) / window);
    assert.equal(Math.floor(address / window), last, 'across the boundary');
  }
}

/** Whether the device sees `expected`, byte for byte, however it gets there. */
function deviceBytes(device: DmaDevice, dma: DmaList, perm: number): Uint8Array {
  return bytesOf(landingsOf(device, dma, perm));
}

test('45, 46: ranges cover the list in order, within the device; unmap leaves nothing', () => {
  fc.assert(
    fc.property(entriesArb, deviceArb, dirArb, (raw, shape, dir) => {
      using world = new DeviceWorld(shape);
      const { device } = world;
      const entries = fitEntries(raw, device);
      fillEntries(entries, pattern(totalOf(entries), 1));
      const list = listOf(sgPool, entries);
      const dma = new DmaList(entries.length);
      const count = device.mapSg(list, entries.length, dir, dma);
      if (count < 0) {
        assert.ok(count === NOT_NOW || count === -5, 'only bounce memory can be short here');
        assert.ok(!dma.isMapped && list.mappings === 0);
      } else {
        const perm = dir === DmaDir.FROM_DEVICE ? DmaPerm.WRITE : DmaPerm.READ;
        const ranges = rangesOf(dma);
        assert.equal(ranges.length, count);
        assert.ok(count <= entries.length, 'm <= n');
        checkRanges(device, ranges);
        const found = landingsOf(device, dma, perm);
        if (dma.bounces === 0) assert.deepEqual(joined(found), joined(entries));
        assert.deepEqual(deviceBytes(device, dma, perm), bytesOf(entries));
        device.unmapSg(list, entries.length, dma);
      }
      maybe(count < 0, 'a random list does not fit the bounce memory');
      assert.deepEqual(entriesOf(list), entries, 'the list is as it was');
      list.release();
      world.assertNothingOutstanding();
    }),
    RUNS,
  );
});

test('45, 47: what the device wrote arrives, what it did not write stays', () => {
  const writes = fc.array(fc.tuple(fc.nat(9999), fc.integer({ min: 1, max: 3000 })), {
    maxLength: 6,
  });
  fc.assert(
    fc.property(entriesArb, deviceArb, writes, fc.nat(2), (raw, shape, parts, how) => {
      using world = new DeviceWorld(shape);
      const { device } = world;
      const entries = fitEntries(raw, device);
      const total = totalOf(entries);
      const before = pattern(total, 2);
      fillEntries(entries, before);
      const list = listOf(sgPool, entries);
      const dma = new DmaList(entries.length);
      if (device.mapSg(list, entries.length, DmaDir.FROM_DEVICE, dma) > 0) {
        const view = bytesOf(landingsOf(device, dma, DmaPerm.WRITE));
        const data = pattern(total, 9);
        for (const [share, bytes] of parts) {
          const at = Math.floor((total * share) / 10_000);
          view.set(data.subarray(at, at + bytes), at);
        }
        fillEntries(landingsOf(device, dma, DmaPerm.WRITE), view);
        if (how === 1) {
          device.syncForCpu(dma);
          assert.deepEqual(bytesOf(entries), view);
          device.syncForDevice(dma);
        }
        device.unmapSg(list, entries.length, dma, how !== 2);
        // A mapping that is dropped copies nothing back; what was not bounced is there anyway.
        if (how !== 2) assert.deepEqual(bytesOf(entries), view);
      }
      list.release();
    }),
    RUNS,
  );
});

test('memory above the mask: -EIO without bounce memory, bounced with it', () => {
  using low = lowArena.alloc(PAGE_BYTES);
  using high = highArena.alloc(PAGE_BYTES);
  const entries = [
    { page: low.page, offset: 0, len: 512 },
    { page: high.page, offset: 1024, len: 512 },
  ];
  const list = listOf(sgPool, entries);
  const dma = new DmaList(2);
  const bare = new DmaDevice({ dmaMask: MASK_32 });
  assert.equal(bare.mapSg(list, 2, DmaDir.TO_DEVICE, dma), -5);
  assert.equal(bare.reason, DmaReason.UNREACHABLE);
  const wide = new DmaDevice({ dmaMask: 2 ** 36 - 1 });
  assert.equal(wide.mapSg(list, 2, DmaDir.TO_DEVICE, dma), 2);
  assert.deepEqual(
    rangesOf(dma),
    entries.map((entry) => [addressOf(entry), 512]),
    '1:1',
  );
  wide.unmapSg(list, 2, dma);
  const swiotlb = new Swiotlb(lowArena, 64 * KIB);
  const device = new DmaDevice({ dmaMask: MASK_32, swiotlb, minAlignMask: 4095 });
  assert.equal(device.mapSg(list, 2, DmaDir.TO_DEVICE, dma), 2);
  assert.equal(dma.address[0], addressOf(entries[0]), 'what it reaches is not copied');
  assert.equal(dma.address[1] % 4096, 1024);
  assert.ok(dma.address[1] <= MASK_32);
  assert.deepEqual([dma.bounces, device.bounced], [1, 1]);
  device.unmapSg(list, 2, dma);
  device.assertNothingOutstanding();
  swiotlb[Symbol.dispose]();
  list.release();
});

test('the last byte decides: a range may end at the mask, one byte more may not', () => {
  using low = lowArena.alloc(2 * PAGE_BYTES);
  const top = low.page * PAGE_BYTES + PAGE_BYTES - 1;
  const device = new DmaDevice({ dmaMask: top });
  const dma = new DmaList(1);
  const fits = listOf(sgPool, [{ page: low.page, offset: 0, len: PAGE_BYTES }]);
  const over = listOf(sgPool, [{ page: low.page, offset: 0, len: PAGE_BYTES + 1 }]);
  assert.equal(device.mapSg(fits, 1, DmaDir.TO_DEVICE, dma), 1);
  assert.throws(() => landings(device, top, 2, DmaPerm.READ), /cannot say/);
  device.unmapSg(fits, 1, dma);
  assert.equal(device.mapSg(over, 1, DmaDir.TO_DEVICE, dma), -5);
  device.beginPieces(DmaDir.TO_DEVICE, dma);
  assert.equal(device.mapPiece(low.page, 1, PAGE_BYTES, dma), -5);
  assert.equal(device.mapPiece(low.page, 0, PAGE_BYTES, dma), 0);
  device.unmap(dma);
  fits.release();
  over.release();
  device.assertNothingOutstanding();
});

test('an entry that breaks the limits of the device by itself is -EINVAL, direct or not', () => {
  using low = lowArena.alloc(4 * PAGE_BYTES);
  const dma = new DmaList(1);
  const cases = [
    [{ segBytesMax: 4096 }, 0, 4096, 0],
    [{ segBytesMax: 4096 }, 0, 4097, DmaReason.SEGMENT_SIZE],
    [{ segBoundaryMask: 4095 }, 96, 4000, 0],
    [{ segBoundaryMask: 4095 }, 97, 4000, DmaReason.SEGMENT_BOUNDARY],
  ] as const;
  for (const [options, offset, len, reason] of cases) {
    const device = new DmaDevice(options);
    const list = listOf(sgPool, [{ page: low.page, offset, len }]);
    assert.equal(device.mapSg(list, 1, DmaDir.TO_DEVICE, dma), reason === 0 ? 1 : -22);
    assert.equal(device.reason, reason);
    if (reason === 0) device.unmapSg(list, 1, dma);
    list.release();
  }
});

test('a list that the bounce memory never holds is -EIO, so that nobody waits for it', () => {
  const swiotlb = new Swiotlb(lowArena, 64 * KIB);
  const device = new DmaDevice({ dmaMask: MASK_32, swiotlb });
  using high = highArena.alloc(64 * KIB);
  const entry = { page: high.page, offset: 0, len: 40 * KIB };
  const [one, two] = [listOf(sgPool, [entry]), listOf(sgPool, [entry, entry])];
  const [a, b] = [new DmaList(2), new DmaList(2)];
  assert.equal(device.mapSg(two, 2, DmaDir.TO_DEVICE, a), -5);
  assert.equal(device.reason, DmaReason.SWIOTLB_LIST);
  assert.equal(device.mapSg(one, 1, DmaDir.TO_DEVICE, a), 1);
  assert.equal(device.mapSg(one, 1, DmaDir.TO_DEVICE, b), NOT_NOW);
  assert.equal(device.reason, DmaReason.SWIOTLB_FULL);
  device.unmapSg(one, 1, a);
  one.release();
  two.release();
  device.assertNothingOutstanding();
  swiotlb[Symbol.dispose]();
});

test('every reason is one sentence', () => {
  assert.equal(DMA_REASON_TEXTS.length, Object.keys(DmaReason).length);
  assert.match(DMA_REASON_TEXTS[DmaReason.SWIOTLB_FULL], /bounce memory is full/);
  assert.match(DMA_REASON_TEXTS[DmaReason.IOVA_FULL], /IOVA space is full/);
  assert.match(DMA_REASON_TEXTS[DmaReason.SWIOTLB_LIST], /more bounce memory than there is/);
});

test('bounce memory that the device does not reach is refused', () => {
  const swiotlb = new Swiotlb(highArena, 8192);
  assert.throws(() => new DmaDevice({ dmaMask: MASK_32, swiotlb }), { code: 'EINVAL' });
  swiotlb[Symbol.dispose]();
});

test('caches that are not kept in step: shared lines are bounced, but not for writes', () => {
  const shape: DeviceShape = {
    kind: 'direct',
    granuleBytes: 4096,
    segBytesMax: 65536,
    segBoundaryMask: MASK_32,
    minAlignMask: 0,
    isCoherent: false,
  };
  using world = new DeviceWorld(shape);
  const { device } = world;
  using low = lowArena.alloc(PAGE_BYTES);
  const dma = new DmaList(1);
  const bounces = (offset: number, len: number, dir: DmaDir): number => {
    const list = listOf(sgPool, [{ page: low.page, offset, len }]);
    assert.equal(device.mapSg(list, 1, dir, dma), 1);
    const count = dma.bounces;
    device.unmapSg(list, 1, dma);
    list.release();
    return count;
  };
  assert.equal(bounces(64, 128, DmaDir.FROM_DEVICE), 0);
  assert.equal(bounces(32, 128, DmaDir.FROM_DEVICE), 1);
  assert.equal(bounces(64, 100, DmaDir.BIDIRECTIONAL), 1);
  assert.equal(bounces(32, 100, DmaDir.TO_DEVICE), 0);
});

test('full bounce memory: the device says so, and every transfer gets through in the end', () => {
  // 4 MiB of bounce memory, 200 transfers of 256 KiB from memory that the device cannot reach.
  const swiotlb = new Swiotlb(lowArena, 4 * MIB);
  const device = new DmaDevice({ dmaMask: MASK_32, swiotlb, minAlignMask: 4095 });
  using high = highArena.alloc(64 * KIB);
  const entries = [0, 1, 2, 3].map(() => ({ page: high.page, offset: 0, len: 64 * KIB }));
  const inFlight: [ReturnType<typeof listOf>, DmaList][] = [];
  let refused = 0;
  let done = 0;
  for (let next = 0; done < 200; ) {
    const list = listOf(sgPool, entries);
    const dma = new DmaList(4);
    const count = next < 200 ? device.mapSg(list, 4, DmaDir.TO_DEVICE, dma) : NOT_NOW;
    if (count === 4) {
      inFlight.push([list, dma]);
      next++;
      continue;
    }
    assert.equal(count, NOT_NOW);
    if (next < 200) {
      assert.equal(device.reason, DmaReason.SWIOTLB_FULL);
      refused++;
    }
    list.release();
    assert.ok(inFlight.length > 0, 'something is always in flight');
    const [oldest, ranges] = inFlight.splice(0, 1)[0];
    device.unmapSg(oldest, 4, ranges);
    oldest.release();
    done++;
  }
  assert.ok(refused > 100);
  assert.equal(swiotlb.usedSlotsMost, 2048, 'all of it was in use');
  device.assertNothingOutstanding();
  swiotlb[Symbol.dispose]();
});

test('the longest range that always has a bounce buffer', () => {
  const shapes = [
    ['direct', 0, Number.POSITIVE_INFINITY],
    ['low', 0, 256 * KIB],
    ['low', 4095, 252 * KIB],
    ['untrusted', 0, 252 * KIB],
    ['iommu', 0, Number.POSITIVE_INFINITY],
  ] as const;
  using high = highArena.alloc(260 * KIB);
  for (const [kind, minAlignMask, most] of shapes) {
    using world = new DeviceWorld({
      kind,
      granuleBytes: 4096,
      segBytesMax: 2 ** 32 - 1,
      segBoundaryMask: MASK_32,
      minAlignMask,
      isCoherent: true,
    });
    const { device } = world;
    assert.equal(device.mappingBytesMax, most);
    if (most === Number.POSITIVE_INFINITY) continue;
    const dma = new DmaList(1);
    for (const offset of [0, 1, 4095]) {
      device.beginPieces(DmaDir.TO_DEVICE, dma);
      assert.equal(device.mapPiece(high.page, offset, most, dma), 0);
      device.unmap(dma);
    }
    device.beginPieces(DmaDir.TO_DEVICE, dma);
    assert.equal(device.mapPiece(high.page, 1, 256 * KIB + 1, dma), -5);
    assert.equal(device.reason, DmaReason.SWIOTLB_SIZE);
    device.unmap(dma);
  }
});

test('checked mode: between map and unmap or sync the device owns the memory', () => {
  dmaOwnership.isEnabled = true;
  try {
    fc.assert(
      fc.property(entriesArb, deviceArb, dirArb, (raw, shape, dir) => {
        using world = new DeviceWorld(shape);
        const { device } = world;
        const entries = fitEntries(raw, device);
        const list = listOf(sgPool, entries);
        const dma = new DmaList(entries.length);
        const perm = permOf(dir) & DmaPerm.READ ? DmaPerm.READ : DmaPerm.WRITE;
        const touch = (): number => sgZero(list, totalOf(entries));
        const look = (): unknown => landingsOf(device, dma, perm);
        if (device.mapSg(list, entries.length, dir, dma) > 0) {
          const bounced = dma.bounces;
          assert.throws(touch, /the CPU touched/);
          look();
          device.syncForCpu(dma);
          touch();
          // Bounce memory stays the device's; what it uses in place does not.
          if (bounced === 0) assert.throws(look, /that the CPU owns/);
          device.syncForDevice(dma);
          assert.throws(touch, /the CPU touched/);
          look();
          const [address] = dma.address;
          device.unmapSg(list, entries.length, dma);
          touch();
          if (world.iommu !== null) {
            assert.throws(() => landings(device, address, 1, perm), /cannot say/);
          }
        }
        touch();
        assert.equal(dmaOwnership.pages, 0);
        list.release();
      }),
      { numRuns: Math.min(RUNS.numRuns, 300) },
    );
  } finally {
    dmaOwnership.isEnabled = false;
  }
});

test('what the CPU wrote after a sync is not lost, and reaches the device at the next one', () => {
  const swiotlb = new Swiotlb(lowArena, 8192);
  const device = new DmaDevice({ dmaMask: MASK_32, swiotlb });
  using high = highArena.alloc(PAGE_BYTES);
  const entry = { page: high.page, offset: 0, len: 64 };
  const list = listOf(sgPool, [entry]);
  const dma = new DmaList(1);
  bytesAt(entry).fill(1);
  assert.throws(() => device.syncForCpu(dma), /not mapped/);
  assert.throws(() => device.syncForDevice(dma), /not mapped/);
  device.mapSg(list, 1, DmaDir.FROM_DEVICE, dma);
  fillEntries(landingsOf(device, dma, DmaPerm.WRITE), new Uint8Array(64).fill(2));
  device.syncForCpu(dma);
  assert.equal(bytesAt(entry)[0], 2);
  bytesAt(entry).fill(3);
  device.unmapSg(list, 1, dma);
  assert.equal(bytesAt(entry)[0], 3);
  device.mapSg(list, 1, DmaDir.TO_DEVICE, dma);
  device.syncForCpu(dma);
  bytesAt(entry).fill(4);
  assert.equal(deviceBytes(device, dma, DmaPerm.READ)[0], 3, 'not before the sync');
  device.syncForDevice(dma);
  assert.equal(deviceBytes(device, dma, DmaPerm.READ)[0], 4);
  device.unmapSg(list, 1, dma);
  list.release();
  swiotlb[Symbol.dispose]();
});
