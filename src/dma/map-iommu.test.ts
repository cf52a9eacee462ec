import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MIB, PAGE_BYTES } from '../base/units.ts';
import { CoherentPages } from './coherent-pages.ts';
import { DmaDevice, type DmaDeviceOptions } from './dma-device.ts';
import { DmaList } from './dma-list.ts';
import { DmaDir, DmaPerm, DmaReason, NOT_NOW } from './dma-status.ts';
import {
  type Entry,
  joined,
  landings,
  landingsOf,
  listOf,
  lowArena,
  MASK_32,
  rangesOf,
  sgPool,
} from './dma-world.fuzz.ts';
import { Iommu } from './iommu.ts';
import { SgList } from './sg-list.ts';

const BASE = 0xfff00000;
const NO_BOUNDARY = Number.MAX_SAFE_INTEGER;

function behindIommu(options: DmaDeviceOptions = {}, spaceBytes = MIB): [DmaDevice, Iommu] {
  const iommu = new Iommu({ baseAddress: BASE, spaceBytes });
  return [new DmaDevice({ iommu, ...options }), iommu];
}

/** Entries of (offset, len), each in memory of its own with nothing of others beside it. */
function scattered(shape: readonly (readonly [number, number])[]): Entry[] {
  return shape.map(([offset, len], i) => ({ page: memory.page + 16 * i, offset, len }));
}

const memory = lowArena.alloc(100 * PAGE_BYTES, 'worked examples');

test('8.3: the worked examples', () => {
  const five = Array.from({ length: 5 }, () => [0, 4096] as const);
  const cases = [
    {
      shape: [
        [512, 3584] as const,
        [0, 4096] as const,
        [0, 4096] as const,
        [0, 1000] as const,
        [0, 4096] as const,
      ],
      options: { segBoundaryMask: NO_BOUNDARY },
      out: [
        [BASE + 0x200, 12776],
        [BASE + 0x4000, 4096],
      ],
      iovaBytes: 20480,
    },
    {
      shape: five,
      options: { segBytesMax: 8192, segBoundaryMask: NO_BOUNDARY },
      out: [
        [BASE, 8192],
        [BASE + 0x2000, 8192],
        [BASE + 0x4000, 4096],
      ],
      iovaBytes: 20480,
    },
    {
      shape: [[0, 12288] as const, [0, 8192] as const, [0, 4096] as const],
      options: { segBoundaryMask: 0x3fff },
      out: [
        [BASE, 12288],
        [BASE + 0x4000, 12288],
      ],
      iovaBytes: 28672,
    },
    {
      shape: [[256, 512] as const, [1024, 512] as const],
      options: { segBoundaryMask: NO_BOUNDARY },
      out: [
        [BASE + 0x100, 512],
        [BASE + 0x1400, 512],
      ],
      iovaBytes: 8192,
    },
  ];
  for (const { shape, options, out, iovaBytes } of cases) {
    const [device, iommu] = behindIommu(options);
    const entries = scattered(shape);
    const list = listOf(sgPool, entries);
    const dma = new DmaList(8);
    assert.equal(device.mapSg(list, entries.length, DmaDir.TO_DEVICE, dma), out.length);
    assert.deepEqual(rangesOf(dma), out);
    assert.equal(iommu.space.usedGranules * PAGE_BYTES, iovaBytes);
    assert.deepEqual(joined(landingsOf(device, dma, DmaPerm.READ)), joined(entries));
    assert.deepEqual([iommu.mapSyncs, iommu.unmapSyncs], [1, 0], 'one sync for the list');
    device.unmapSg(list, entries.length, dma);
    assert.deepEqual([iommu.mapSyncs, iommu.unmapSyncs], [1, 1]);
    list.release();
    iommu.assertNothingOutstanding();
    device.assertNothingOutstanding();
  }
});

test('a boundary multiple starts a device range, also without padding', () => {
  // Two entries of one window each: they touch at 0x4000, which no range may cross.
  const [device, iommu] = behindIommu({ segBoundaryMask: 0x3fff });
  const list = listOf(
    sgPool,
    scattered([
      [0, 16384],
      [0, 16384],
    ]),
  );
  const dma = new DmaList(2);
  assert.equal(device.mapSg(list, 2, DmaDir.TO_DEVICE, dma), 2);
  assert.deepEqual(rangesOf(dma), [
    [BASE, 16384],
    [BASE + 0x4000, 16384],
  ]);
  device.unmapSg(list, 2, dma);
  list.release();
  // What fits the rest of its window exactly is not padded.
  const halves = listOf(
    sgPool,
    scattered([
      [0, 8192],
      [0, 8192],
    ]),
  );
  assert.equal(device.mapSg(halves, 2, DmaDir.TO_DEVICE, dma), 1);
  assert.deepEqual(rangesOf(dma), [[BASE, 16384]]);
  device.unmapSg(halves, 2, dma);
  halves.release();
  iommu.assertNothingOutstanding();
});

test('padding is not mapped, nor is anything after unmap, nor the other direction', () => {
  const [device, iommu] = behindIommu({ segBoundaryMask: 0x3fff });
  const list = listOf(
    sgPool,
    scattered([
      [0, 12288],
      [0, 8192],
    ]),
  );
  const dma = new DmaList(2);
  device.mapSg(list, 2, DmaDir.TO_DEVICE, dma);
  const faults = (address: number, perm: number): void => {
    assert.throws(() => landings(device, address, 1, perm), /cannot say/);
  };
  landings(device, BASE, 12288, DmaPerm.READ);
  faults(BASE, DmaPerm.WRITE);
  faults(BASE + 12288, DmaPerm.READ);
  faults(BASE - 1, DmaPerm.READ);
  faults(BASE + MIB, DmaPerm.READ);
  faults(-1, DmaPerm.READ);
  device.unmapSg(list, 2, dma);
  faults(BASE, DmaPerm.READ);
  for (const dir of [DmaDir.FROM_DEVICE, DmaDir.BIDIRECTIONAL]) {
    device.mapSg(list, 2, dir, dma);
    landings(device, dma.address[0], 12288, DmaPerm.WRITE);
    if (dir === DmaDir.FROM_DEVICE) faults(dma.address[0], DmaPerm.READ);
    else landings(device, dma.address[0], 12288, DmaPerm.READ);
    device.unmapSg(list, 2, dma);
  }
  list.release();
  iommu.assertNothingOutstanding();
});

test('what cannot be mapped says why, and nothing stays mapped', () => {
  const memoryPage = memory.page;
  const cases: [DmaDeviceOptions, Entry[], number, DmaReason][] = [
    [{ segBytesMax: 4096 }, scattered([[0, 4097]]), -22, DmaReason.SEGMENT_SIZE],
    [
      { segBoundaryMask: 4095 },
      [{ page: memoryPage, offset: 4000, len: 97 }],
      -22,
      DmaReason.SEGMENT_BOUNDARY,
    ],
    [{}, scattered(Array.from({ length: 5 }, () => [0, 65536] as const)), -12, DmaReason.IOVA_SIZE],
    [
      { isUntrusted: true },
      scattered([
        [0, 4096],
        [0, 4095],
      ]),
      -5,
      DmaReason.UNREACHABLE,
    ],
    [
      { isCoherent: false },
      scattered([
        [0, 4096],
        [32, 64],
      ]),
      -5,
      DmaReason.UNREACHABLE,
    ],
  ];
  for (const [options, entries, errno, reason] of cases) {
    const [device, iommu] = behindIommu(options, 65536 * 4);
    const list = listOf(sgPool, entries);
    const dma = new DmaList(8);
    const dir = DmaDir.FROM_DEVICE;
    assert.equal(device.mapSg(list, entries.length, dir, dma), errno);
    assert.equal(device.reason, reason);
    assert.ok(!dma.isMapped && dma.count === 0 && list.mappings === 0);
    iommu.assertNothingOutstanding();
    device.assertNothingOutstanding();
    list.release();
  }
});

test('a full IOVA space is back-pressure that says so', () => {
  const [device, iommu] = behindIommu({}, 8 * PAGE_BYTES);
  const list = listOf(sgPool, scattered([[0, 16384]]));
  const [a, b, c] = [new DmaList(1), new DmaList(1), new DmaList(1)];
  assert.equal(device.mapSg(list, 1, DmaDir.TO_DEVICE, a), 1);
  assert.equal(device.mapSg(list, 1, DmaDir.TO_DEVICE, b), 1);
  assert.equal(device.mapSg(list, 1, DmaDir.TO_DEVICE, c), NOT_NOW);
  assert.equal(device.reason, DmaReason.IOVA_FULL);
  device.unmapSg(list, 1, a);
  assert.equal(device.mapSg(list, 1, DmaDir.TO_DEVICE, c), 1);
  device.unmapSg(list, 1, b);
  device.unmapSg(list, 1, c);
  // Taken by what never ends: nobody should wait.
  const pages = new CoherentPages(device, lowArena, 5);
  assert.equal(device.mapSg(list, 1, DmaDir.TO_DEVICE, a), -12);
  assert.equal(device.reason, DmaReason.IOVA_SIZE);
  pages[Symbol.dispose]();
  list.release();
  iommu.assertNothingOutstanding();
});

test('counts: the original number of entries, exactly once', () => {
  const [device, iommu] = behindIommu();
  const list = listOf(
    sgPool,
    scattered([
      [0, 4096],
      [0, 4096],
      [0, 4096],
    ]),
  );
  const dma = new DmaList(3);
  const other = new SgList(sgPool);
  assert.equal(device.mapSg(list, 0, DmaDir.TO_DEVICE, dma), -22);
  assert.equal(device.mapSg(list, 4, DmaDir.TO_DEVICE, dma), -22);
  assert.equal(device.reason, DmaReason.COUNT);
  assert.equal(device.mapSg(list, 3, DmaDir.TO_DEVICE, new DmaList(2)), -22);
  assert.equal(device.reason, DmaReason.RANGES);
  assert.equal(device.mapSg(list, 3, DmaDir.TO_DEVICE, dma), 1, 'three entries, one range');
  assert.throws(() => device.mapSg(list, 3, DmaDir.TO_DEVICE, dma), /mapped twice/);
  assert.throws(() => device.unmapSg(list, 1, dma), /another count/, 'not the ranges');
  assert.throws(() => device.unmapSg(other, 3, dma), /another list/);
  assert.throws(() => device.unmap(dma), /mapped as a list/);
  assert.throws(() => list.release(), /while a device has it/);
  device.unmapSg(list, 3, dma);
  assert.throws(() => device.unmapSg(list, 3, dma), /unmapped twice/);
  // A part of the list is mapped and unmapped by its own count.
  assert.equal(device.mapSg(list, 2, DmaDir.TO_DEVICE, dma), 1);
  assert.equal(dma.bytes(), 8192);
  device.unmapSg(list, 2, dma);
  list.release();
  iommu.assertNothingOutstanding();
  device.assertNothingOutstanding();
});

test('a large granule maps the whole of it, at the same place inside', () => {
  const iommu = new Iommu({ granuleBytes: 65536, spaceBytes: MIB });
  const device = new DmaDevice({ iommu });
  const page = memory.page + (16 - (memory.page % 16));
  const entries = [
    { page: page + 3, offset: 100, len: 5000 },
    { page: page + 20, offset: 0, len: 4096 },
  ];
  const list = listOf(sgPool, entries);
  const dma = new DmaList(2);
  assert.equal(device.mapSg(list, 2, DmaDir.TO_DEVICE, dma), 2);
  assert.deepEqual(
    rangesOf(dma).map(([address, len]) => [address % 65536, len]),
    [
      [3 * 4096 + 100, 5000],
      [4 * 4096, 4096],
    ],
  );
  assert.deepEqual(joined(landingsOf(device, dma, DmaPerm.READ)), joined(entries));
  device.unmapSg(list, 2, dma);
  list.release();
  iommu.assertNothingOutstanding();
});

test('options that cannot be are refused with a sentence', () => {
  const refused = { code: 'EINVAL' };
  assert.throws(() => new Iommu({ granuleBytes: 2048 }), refused);
  assert.throws(() => new Iommu({ granuleBytes: 12288 }), refused);
  assert.throws(() => new Iommu({ baseAddress: 100 }), refused);
  assert.throws(() => new Iommu({ spaceBytes: 5000 }), refused);
  assert.throws(() => new Iommu({ spaceBytes: 0 }), refused);
  assert.throws(() => new Iommu({ spaceBytes: 2 ** 43 }), refused);
  const iommu = new Iommu({ baseAddress: BASE, spaceBytes: 2 * MIB });
  assert.throws(() => new DmaDevice({ iommu, dmaMask: MASK_32 }), /ends at 4296015872/);
  new DmaDevice({ iommu, dmaMask: 2 ** 33 - 1 });
  assert.throws(() => iommu.link(BASE / 4096 - 1, 0, 1, 1), /outside/);
  assert.throws(() => iommu.link(BASE / 4096, 0, 1, 0), /permission/);
  assert.throws(() => iommu.link(BASE / 4096, 0, 0, 1), /nothing/);
  iommu.link(BASE / 4096, 0, 1, 1);
  assert.throws(() => iommu.link(BASE / 4096, 0, 1, 1), /over another/);
  assert.throws(() => iommu.assertNothingOutstanding(), /still mapped/);
  iommu.unlink(BASE / 4096, 1);
  iommu.assertNothingOutstanding();
});
