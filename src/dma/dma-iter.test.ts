import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import { MIB, PAGE_BYTES } from '../base/units.ts';
import type { Bio } from '../bio/bio.ts';
import { BioOp } from '../bio/bio-op.ts';
import { Request } from '../queue/request.ts';
import { DmaDevice } from './dma-device.ts';
import { DmaIter, dirOfRequest, mapRequest } from './dma-iter.ts';
import { DmaForm, DmaList } from './dma-list.ts';
import { bioPool, dispose, requestOf, WIDE, walk } from './dma-requests.fuzz.ts';
import { DmaDir, DmaPerm, DmaReason, NOT_NOW } from './dma-status.ts';
import {
  addressOf,
  bytesOf,
  DeviceWorld,
  deviceArb,
  type Entry,
  entriesArb,
  fillEntries,
  highArena,
  joined,
  landingsOf,
  lowArena,
  MASK_32,
  pattern,
  rangesOf,
  totalOf,
} from './dma-world.fuzz.ts';
import { Iommu } from './iommu.ts';
import { dmaOwnership } from './ownership.ts';
import { Swiotlb } from './swiotlb.ts';

const low = lowArena.alloc(64 * PAGE_BYTES, 'iterator');
const high = highArena.alloc(64 * PAGE_BYTES, 'iterator');
const at = (page: number, offset: number, len: number): Entry => ({
  page: low.page + page,
  offset,
  len,
});

test('one range when every joint is at a granule; its ends may be anywhere', () => {
  const iommu = new Iommu({ baseAddress: 0x100000, spaceBytes: MIB });
  const device = new DmaDevice({ iommu });
  const iter = new DmaIter();
  const out = new DmaList(8);
  const cases: [Entry[], [number, number][], DmaForm][] = [
    [[at(0, 512, 3584), at(9, 0, 4096), at(3, 0, 100)], [[0x100200, 7780]], DmaForm.RANGE],
    [[at(5, 100, 200)], [[0x100064, 200]], DmaForm.RANGE],
    // A joint in the middle of a granule: each piece by itself.
    [
      [at(0, 0, 4096), at(9, 512, 512)],
      [
        [0x100000, 4096],
        [0x101200, 512],
      ],
      DmaForm.PIECES,
    ],
    [
      [at(0, 0, 512), at(9, 0, 4096)],
      [
        [0x100000, 512],
        [0x101000, 4096],
      ],
      DmaForm.PIECES,
    ],
    // They touch in memory, so there is no joint.
    [[at(0, 0, 512), at(0, 512, 1000), at(0, 1512, 2584)], [[0x100000, 4096]], DmaForm.RANGE],
  ];
  for (const [entries, expected, form] of cases) {
    const request = requestOf(BioOp.WRITE, entries);
    assert.deepEqual(walk(iter, device, request, out), expected);
    assert.equal(iter.status, 0);
    assert.equal(out.form, form);
    assert.deepEqual(rangesOf(out), expected);
    assert.deepEqual(joined(landingsOf(device, out, DmaPerm.READ)), joined(entries));
    device.unmap(out);
    iommu.assertNothingOutstanding();
    dispose([request]);
  }
  assert.equal(iommu.mapSyncs, 1 + 1 + 2 + 2 + 1, 'one sync for a range, one for each piece');
});

test('the granule decides: 64 KiB granules need joints at 64 KiB', () => {
  const iommu = new Iommu({ granuleBytes: 65536, spaceBytes: MIB });
  const device = new DmaDevice({ iommu });
  const aligned = low.page + ((16 - (low.page % 16)) % 16);
  const entries = [
    { page: aligned, offset: 0, len: 65536 },
    { page: aligned + 32, offset: 0, len: 4096 },
  ];
  const iter = new DmaIter();
  const out = new DmaList(4);
  const one = requestOf(BioOp.READ, entries);
  assert.equal(mapRequest(iter, device, one, WIDE, out), 1);
  assert.equal(out.form, DmaForm.RANGE);
  device.unmap(out);
  dispose([one]);
  const two = requestOf(BioOp.READ, [entries[1], entries[0]]);
  assert.equal(mapRequest(iter, device, two, WIDE, out), 2);
  assert.equal(out.form, DmaForm.PIECES);
  device.unmap(out);
  dispose([two]);
  iommu.assertNothingOutstanding();
});

test('no room for one range: pieces; no room for a piece: the driver has those before it', () => {
  const iommu = new Iommu({ spaceBytes: 6 * PAGE_BYTES }); // granules 1, 2-3, 4-5, 6
  const device = new DmaDevice({ iommu });
  const entries = [0, 9, 18, 27].map((page) => at(page, 0, 2 * PAGE_BYTES));
  const iter = new DmaIter();
  const out = new DmaList(8);
  const two = requestOf(BioOp.READ, entries.slice(0, 2));
  assert.equal(walk(iter, device, two, out).length, 2);
  assert.deepEqual([iter.status, out.form], [0, DmaForm.PIECES]);
  device.unmap(out);
  const four = requestOf(BioOp.READ, entries);
  assert.equal(walk(iter, device, four, out).length, 2);
  assert.equal(iter.status, -12, 'nothing else is mapped, so no completion makes room');
  assert.equal(device.reason, DmaReason.IOVA_SIZE);
  assert.equal(out.count, 2, 'two pieces are still mapped');
  assert.equal(iommu.space.usedGranules, 4);
  device.unmap(out);
  iommu.assertNothingOutstanding();
  assert.equal(mapRequest(iter, device, four, WIDE, out), -12);
  assert.ok(!out.isMapped, 'all at once undoes all');
  // The same while another transfer has half of the space.
  const [one, other] = [requestOf(BioOp.READ, entries.slice(0, 1)), new DmaList(1)];
  assert.equal(mapRequest(iter, device, one, WIDE, other), 1);
  assert.equal(mapRequest(iter, device, two, WIDE, out), NOT_NOW);
  assert.equal(device.reason, DmaReason.IOVA_FULL);
  device.unmap(other);
  assert.equal(mapRequest(iter, device, two, WIDE, out), 2);
  device.unmap(out);
  const small = new DmaList(1);
  assert.equal(mapRequest(iter, device, four, WIDE, small), -22);
  assert.equal(device.reason, DmaReason.RANGES);
  iommu.assertNothingOutstanding();
  device.assertNothingOutstanding();
  dispose([one, two, four]);
});

test('no data is no error, and nothing is mapped', () => {
  const device = new DmaDevice();
  const iter = new DmaIter();
  const out = new DmaList(1);
  const request = new Request();
  const bio = bioPool.acquire(BioOp.FLUSH, 0, 0) as Bio;
  request.start(0, bio, 0);
  assert.equal(iter.start(device, request, WIDE, out), false);
  assert.equal(iter.status, 0);
  assert.equal(mapRequest(iter, device, request, WIDE, out), 0);
  assert.ok(!out.isMapped);
  const behindIommu = new DmaDevice({ iommu: new Iommu() });
  assert.equal(mapRequest(iter, behindIommu, request, WIDE, out), 0);
  assert.ok(!out.isMapped && behindIommu.mappings === 0);
  // The ranges of a discard are a payload of their own, which the device reads.
  request.op = BioOp.DISCARD;
  assert.equal(dirOfRequest(request), DmaDir.TO_DEVICE);
  const special = { page: low.page, offset: 16, len: 48 };
  assert.ok(iter.start(device, request, WIDE, out, special));
  assert.deepEqual([iter.addr, iter.len], [low.page * PAGE_BYTES + 16, 48]);
  assert.ok(!iter.next());
  assert.throws(() => iter.start(device, request, WIDE, out), /the list is mapped/);
  device.unmap(out);
  assert.throws(() => device.unmap(out), /unmapped twice/);
  bioPool.release(bio);
});

test('48: one range only where joints are granules; either form is the same bytes', () => {
  const opArb = fc.constantFrom(BioOp.READ, BioOp.WRITE);
  dmaOwnership.isEnabled = true;
  try {
    fc.assert(
      fc.property(entriesArb, deviceArb, opArb, fc.boolean(), (entries, shape, op, rounds) => {
        using world = new DeviceWorld(shape);
        const { device, iommu } = world;
        const granule = iommu?.granuleBytes ?? 0;
        // Half of the runs have joints at pages, so that both forms are common.
        const given = rounds
          ? entries.map((e) => ({ ...e, offset: 0, len: pageUp(e.len) }))
          : entries;
        const memory = rounds
          ? given.filter((_, i) => i === 0 || entries[i].offset < 0x800)
          : given;
        const distinct = disjoint(memory);
        fillEntries(distinct, pattern(totalOf(distinct), 1));
        const request = requestOf(op, distinct);
        const out = new DmaList(distinct.length);
        const iter = new DmaIter();
        const perm = op === BioOp.READ ? DmaPerm.WRITE : DmaPerm.READ;
        const count = mapRequest(iter, device, request, WIDE, out);
        const runs = joined(distinct);
        const edges = runs.slice(1).flatMap(([start], i) => [start, runs[i][0] + runs[i][1]]);
        const isSmooth = granule > 0 && edges.every((edge) => edge % granule === 0);
        if (count < 0) {
          assert.ok(count === NOT_NOW || count === -5);
          assert.ok(world.swiotlb !== null && !out.isMapped);
        } else {
          assert.equal(out.form === DmaForm.RANGE, isSmooth);
          assert.equal(count, isSmooth ? 1 : runs.length);
          assert.equal(out.bytes(), totalOf(distinct));
          assert.deepEqual(bytesOf(landingsOf(device, out, perm)), bytesOf(distinct));
          if (op === BioOp.READ)
            fillEntries(landingsOf(device, out, perm), pattern(totalOf(distinct), 7));
          device.unmap(out);
          assert.deepEqual(
            bytesOf(distinct),
            pattern(totalOf(distinct), op === BioOp.READ ? 7 : 1),
          );
        }
        assert.equal(dmaOwnership.pages, 0);
        dispose([request]);
      }),
      RUNS,
    );
  } finally {
    dmaOwnership.isEnabled = false;
  }
});

function pageUp(len: number): number {
  return Math.ceil(len / PAGE_BYTES) * PAGE_BYTES;
}

/** Rounding up may have made ranges overlap: keeps those that do not. */
function disjoint(entries: readonly Entry[]): Entry[] {
  const kept: Entry[] = [];
  for (const entry of entries) {
    const start = addressOf(entry);
    const isFree = kept.every(
      (one) => addressOf(one) + one.len <= start || start + entry.len <= addressOf(one),
    );
    if (isFree) kept.push(entry);
  }
  return kept;
}

test('a device without an IOMMU: pieces, bounced where it does not reach', () => {
  const swiotlb = new Swiotlb(lowArena, 64 * 1024);
  const device = new DmaDevice({ dmaMask: MASK_32, swiotlb, minAlignMask: 4095 });
  const entries = [at(0, 0, 4096), { page: high.page, offset: 512, len: 1024 }, at(9, 0, 100)];
  fillEntries(entries, pattern(totalOf(entries), 3));
  const request = requestOf(BioOp.WRITE, entries);
  const out = new DmaList(3);
  assert.equal(mapRequest(new DmaIter(), device, request, WIDE, out), 3);
  assert.deepEqual(
    [out.address[0], out.address[2]],
    [addressOf(entries[0]), addressOf(entries[2])],
  );
  assert.equal(out.address[1] % 4096, 512);
  assert.deepEqual(bytesOf(landingsOf(device, out, DmaPerm.READ)), bytesOf(entries));
  device.unmap(out);
  device.assertNothingOutstanding();
  dispose([request]);
  swiotlb[Symbol.dispose]();
});

test('the first piece fails: nothing is mapped', () => {
  const device = new DmaDevice({ dmaMask: MASK_32 });
  const request = requestOf(BioOp.WRITE, [{ page: high.page, offset: 0, len: 512 }]);
  const iter = new DmaIter();
  const out = new DmaList(1);
  assert.equal(iter.start(device, request, WIDE, out), false);
  assert.deepEqual([iter.status, device.reason], [-5, DmaReason.UNREACHABLE]);
  assert.ok(!iter.next() && !out.isMapped);
  device.assertNothingOutstanding();
  dispose([request]);
});
