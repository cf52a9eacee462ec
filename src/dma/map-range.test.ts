import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MIB, PAGE_BYTES } from '../base/units.ts';
import { BioOp } from '../bio/bio-op.ts';
import { DmaDevice } from './dma-device.ts';
import { DmaIter } from './dma-iter.ts';
import { DmaForm, DmaList } from './dma-list.ts';
import { dispose, requestOf, walk } from './dma-requests.fuzz.ts';
import { DmaDir, DmaPerm, DmaReason, NOT_NOW } from './dma-status.ts';
import {
  addressOf,
  bytesAt,
  bytesOf,
  type Entry,
  fillEntries,
  landings,
  landingsOf,
  lowArena,
  pattern,
  totalOf,
} from './dma-world.fuzz.ts';
import { Iommu } from './iommu.ts';
import { Swiotlb } from './swiotlb.ts';

const low = lowArena.alloc(64 * PAGE_BYTES, 'iterator');
const at = (page: number, offset: number, len: number): Entry => ({
  page: low.page + page,
  offset,
  len,
});

function untrusted(bounceBytes: number): [DmaDevice, Iommu, Swiotlb] {
  const iommu = new Iommu({ baseAddress: 0x100000, spaceBytes: MIB });
  const swiotlb = new Swiotlb(lowArena, bounceBytes);
  return [new DmaDevice({ iommu, swiotlb, isUntrusted: true }), iommu, swiotlb];
}

test('untrusted: only unaligned head and tail are bounced, and an empty middle is left out', () => {
  const [device, iommu, swiotlb] = untrusted(64 * 1024);
  const iter = new DmaIter();
  const out = new DmaList(4);
  // entries, bounces, granules that are mapped in place
  const cases: [Entry[], number, number][] = [
    [[at(0, 0, 4096), at(9, 0, 8192)], 0, 3],
    [[at(0, 512, 3584), at(9, 0, 4096), at(3, 0, 100)], 2, 1],
    [[at(0, 512, 3 * 4096)], 2, 2],
    [[at(0, 512, 3584 + 100)], 2, 0],
    [[at(0, 512, 100)], 1, 0],
    [[at(0, 512, 3584 + 4096)], 1, 1],
    [[at(0, 0, 4196)], 1, 1],
    [[at(0, 4095, 2)], 2, 0],
  ];
  for (const [entries, bounces, inPlace] of cases) {
    const request = requestOf(BioOp.READ, entries);
    const total = totalOf(entries);
    const around = { page: low.page, offset: 0, len: 16 * PAGE_BYTES };
    const before = pattern(around.len, 4);
    bytesAt(around).set(before);
    assert.equal(walk(iter, device, request, out).length, 1);
    assert.deepEqual([out.form, out.bounces], [DmaForm.RANGE, bounces]);
    const found = landingsOf(device, out, DmaPerm.WRITE);
    const first = addressOf(entries[0]);
    assert.equal(out.address[0] % PAGE_BYTES, first % PAGE_BYTES);
    const original = found.filter(({ page }) => page >= low.page && page < low.page + 64);
    assert.equal(
      original.reduce((sum, { len }) => sum + len, 0),
      inPlace * PAGE_BYTES,
    );
    // The device sees the data and zeros, and no byte of a neighbour.
    const end = Math.ceil((out.address[0] + total) / PAGE_BYTES) * PAGE_BYTES;
    const start = out.address[0] - (out.address[0] % PAGE_BYTES);
    const seen = bytesOf(landings(device, start, end - start, DmaPerm.WRITE));
    const expected = new Uint8Array(end - start);
    expected.set(bytesOf(entries), out.address[0] - start);
    assert.deepEqual(seen, expected);
    const written = pattern(total, 8);
    fillEntries(found, written);
    device.unmap(out);
    assert.deepEqual(bytesOf(entries), written);
    const after = before.slice();
    let done = 0;
    for (const { page, offset, len } of entries) {
      const start = (page - low.page) * PAGE_BYTES + offset;
      after.set(written.subarray(done, done + len), start);
      done += len;
    }
    assert.deepEqual(bytesAt(around).slice(), after, 'nothing beside the entries was written');
    iommu.assertNothingOutstanding();
    device.assertNothingOutstanding();
    dispose([request]);
  }
  swiotlb[Symbol.dispose]();
});

test('an error in the middle of one range undoes what was linked', () => {
  // Two pages of bounce memory: the head gets one, the tail none while the other is in use.
  const [device, iommu, swiotlb] = untrusted(2 * PAGE_BYTES);
  const iter = new DmaIter();
  const [out, other] = [new DmaList(4), new DmaList(4)];
  const request = requestOf(BioOp.READ, [at(0, 512, 3584), at(9, 0, 8192 + 100)]);
  const small = requestOf(BioOp.READ, [at(20, 0, 100)]);
  assert.equal(walk(iter, device, small, other).length, 1);
  const before = iommu.space.usedGranules;
  assert.deepEqual(walk(iter, device, request, out), []);
  assert.equal(iter.status, NOT_NOW);
  assert.equal(device.reason, DmaReason.SWIOTLB_FULL);
  assert.ok(!out.isMapped);
  assert.deepEqual([swiotlb.buffers, iommu.space.usedGranules], [1, before]);
  device.unmap(other);
  iommu.assertNothingOutstanding();
  device.assertNothingOutstanding();
  assert.equal(walk(iter, device, request, out).length, 1, 'and now there is room');
  device.unmap(out);
  dispose([request, small]);
  swiotlb[Symbol.dispose]();
});

test('a part that does not start at a granule is -EIO, and the range can be dropped', () => {
  const iommu = new Iommu({ spaceBytes: MIB });
  const device = new DmaDevice({ iommu });
  const out = new DmaList(1);
  const address = (page: number, offset: number): number => (low.page + page) * PAGE_BYTES + offset;
  assert.ok(device.beginRange(address(0, 512), 9000, DmaDir.TO_DEVICE, out));
  assert.equal(device.linkRange(address(0, 0), 4096, out), -5, 'not where the range starts');
  assert.equal(device.linkRange(address(0, 512), 3584, out), 0);
  assert.equal(device.linkRange(address(5, 512), 100, out), -5);
  assert.equal(device.reason, DmaReason.LINK_ALIGNMENT);
  assert.equal(device.linkRange(address(5, 0), 100, out), 0);
  assert.equal(device.linkRange(address(6, 100), 100, out), -5, 'behind an unaligned end');
  device.dropRange(out);
  iommu.assertNothingOutstanding();
  assert.ok(device.beginRange(address(0, 0), 100, DmaDir.TO_DEVICE, out));
  assert.throws(() => device.finishRange(out), /empty range/);
  device.dropRange(out);
  assert.ok(!device.beginRange(address(0, 0), 2 * MIB, DmaDir.TO_DEVICE, out));
  assert.equal(device.reason, DmaReason.IOVA_SIZE);
  assert.ok(!new DmaDevice().beginRange(address(0, 0), 1, DmaDir.TO_DEVICE, out));
  device.assertNothingOutstanding();
});

test('dropping a range leaves the bounce buffers of others alone', () => {
  const [device, iommu, swiotlb] = untrusted(2 * PAGE_BYTES);
  const [range, first, second] = [new DmaList(1), new DmaList(1), new DmaList(1)];
  const start = low.page * PAGE_BYTES + 512;
  const begin = (): boolean => device.beginRange(start, PAGE_BYTES, DmaDir.FROM_DEVICE, range);
  // Both granules of the range led to bounce memory once, the second to its second page.
  assert.ok(begin());
  assert.equal(device.linkRange(start, PAGE_BYTES, range), 0);
  device.finishRange(range);
  const { iova } = range;
  device.unmap(range);
  assert.ok(begin());
  assert.equal(range.iova, iova, 'the same addresses again');
  for (const list of [first, second]) {
    device.beginPieces(DmaDir.TO_DEVICE, list);
    assert.equal(device.mapPiece(low.page + 9, 0, 100, list), 0);
  }
  device.unmap(first);
  assert.equal(device.linkRange(start, PAGE_BYTES, range), NOT_NOW, 'a head, but no tail');
  device.dropRange(range);
  assert.equal(swiotlb.buffers, 1, 'the second piece has its buffer');
  device.unmap(second);
  assert.equal(swiotlb.buffers, 0);
  iommu.assertNothingOutstanding();
  swiotlb[Symbol.dispose]();
});
