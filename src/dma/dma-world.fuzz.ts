// Memory, lists and devices as tests of this layer want them, and two opinions on bytes.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { MIB, PAGE_BYTES } from '../base/units.ts';
import { Arena } from '../memory/arena.ts';
import { regionOf } from '../memory/region.unsafe.ts';
import { DmaDevice, type DmaDeviceOptions, DmaHit } from './dma-device.ts';
import type { DmaList } from './dma-list.ts';
import { Iommu } from './iommu.ts';
import { SgCursor, SgList, SgPool } from './sg-list.ts';
import { Swiotlb } from './swiotlb.ts';

/** One range of memory, as plain numbers. */
export interface Entry {
  readonly page: number;
  readonly offset: number;
  readonly len: number;
}

/** The first region of the process: addresses below 4 GiB. */
export const lowArena = new Arena({ label: 'low', maxBytes: 32 * MIB });
/** The second one: addresses from 4 GiB on, which a mask of 32 bits does not reach. */
export const highArena = new Arena({ label: 'high', maxBytes: 32 * MIB });
export const MASK_32 = 2 ** 32 - 1;

const BLOCK_PAGES = 20;
const BLOCKS = 24;
const lowMemory = lowArena.alloc(BLOCKS * BLOCK_PAGES * PAGE_BYTES, 'entries');
const highMemory = highArena.alloc(BLOCKS * BLOCK_PAGES * PAGE_BYTES, 'entries');
assert.ok(lowMemory.page * PAGE_BYTES < MASK_32 && highMemory.page * PAGE_BYTES > MASK_32);

interface Step {
  readonly isHigh: boolean;
  readonly offset: number;
  readonly len: number;
  /** Goes on where the entry before ended, at its byte or at the next page. */
  readonly follows: 'no' | 'byte' | 'page';
}

const stepArb: fc.Arbitrary<Step> = fc.record({
  isHigh: fc.boolean(),
  offset: fc.oneof(
    fc.constant(0),
    fc.nat(7).map((n) => n * 512),
    fc.nat(1023).map((n) => n * 4),
    fc.nat(PAGE_BYTES - 1),
  ),
  len: fc.oneof(
    fc.constantFrom(PAGE_BYTES, PAGE_BYTES, 2 * PAGE_BYTES, 4 * PAGE_BYTES, 512, 3584),
    fc.integer({ min: 1, max: 3 * PAGE_BYTES }),
  ),
  follows: fc.constantFrom('no', 'no', 'byte', 'page'),
});

/** Disjoint ranges in a random order of places, some of them adjacent. */
export const entriesArb: fc.Arbitrary<Entry[]> = fc
  .tuple(
    fc.array(stepArb, { minLength: 1, maxLength: 10 }),
    fc.shuffledSubarray(
      Array.from({ length: BLOCKS }, (_, i) => i),
      { minLength: BLOCKS },
    ),
  )
  .map(([steps, places]) => {
    const out: Entry[] = [];
    let end = 0;
    let limit = 0;
    steps.forEach(({ isHigh, offset, len, follows }, i) => {
      const next = follows === 'page' ? Math.ceil(end / PAGE_BYTES) * PAGE_BYTES : end;
      let at = next;
      if (follows === 'no' || next + len > limit) {
        const memory = isHigh ? highMemory : lowMemory;
        const start = (memory.page + places[i] * BLOCK_PAGES) * PAGE_BYTES;
        limit = start + BLOCK_PAGES * PAGE_BYTES;
        at = start + offset;
      }
      const page = Math.floor(at / PAGE_BYTES);
      out.push({ page, offset: at - page * PAGE_BYTES, len });
      end = at + len;
    });
    return out;
  });

export function addressOf({ page, offset }: Entry): number {
  return page * PAGE_BYTES + offset;
}

/** The entries as a queue with the limits of `device` would hand them over. */
export function fitEntries(entries: readonly Entry[], device: DmaDevice): Entry[] {
  const window = device.segBoundaryMask + 1;
  return entries.map((entry) => {
    const room = window - (addressOf(entry) % window);
    return { ...entry, len: Math.min(entry.len, room, device.segBytesMax) };
  });
}

export function totalOf(entries: readonly Entry[]): number {
  return entries.reduce((sum, { len }) => sum + len, 0);
}

/** A list with exactly `entries`. */
export function listOf(pool: SgPool, entries: readonly Entry[]): SgList {
  const list = new SgList(pool);
  assert.equal(list.acquire(entries.length), 0);
  let row = list.first;
  entries.forEach(({ page, offset, len }, i) => {
    if (i > 0) row = pool.slotAfter(row);
    list.set(row, page, offset, len);
  });
  return list;
}

export function entriesOf(list: SgList): Entry[] {
  const cursor = new SgCursor();
  const out: Entry[] = [];
  cursor.start(list);
  while (cursor.next()) out.push({ page: cursor.page, offset: cursor.offset, len: cursor.len });
  return out;
}

export function rangesOf(list: DmaList): [number, number][] {
  return Array.from({ length: list.count }, (_, i) => [list.address[i], list.len[i]]);
}

/** The bytes of memory, read past every layer of this folder. */
export function bytesAt({ page, offset, len }: Entry): Uint8Array {
  const region = regionOf(page);
  const at = (page - region.firstPage) * PAGE_BYTES + offset;
  return region.u8.subarray(at, at + len);
}

export function bytesOf(entries: readonly Entry[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(totalOf(entries));
  let at = 0;
  for (const entry of entries) {
    out.set(bytesAt(entry), at);
    at += entry.len;
  }
  return out;
}

const patterns = new Map<number, Uint8Array<ArrayBuffer>>();

/** Bytes by `seed` without a period of any power of two, so that a shift shows. */
export function pattern(bytes: number, seed: number): Uint8Array<ArrayBuffer> {
  let known = patterns.get(seed);
  if (known === undefined || known.length < bytes) {
    known = new Uint8Array(Math.max(bytes, 256 * 1024));
    for (let i = 0; i < known.length; i++) known[i] = (i * 7 + seed * 13 + (i >>> 8) * 3) % 251;
    patterns.set(seed, known);
  }
  return known.slice(0, bytes);
}

export function fillEntries(entries: readonly Entry[], data: Uint8Array): void {
  let at = 0;
  for (const entry of entries) {
    bytesAt(entry).set(data.subarray(at, at + entry.len));
    at += entry.len;
  }
}

/** Where a device lands with one of its ranges, as ranges of memory. */
export function landings(device: DmaDevice, address: number, bytes: number, perm: number): Entry[] {
  const hit = new DmaHit();
  const out: Entry[] = [];
  for (let done = 0; done < bytes; done += hit.bytes) {
    const result = device.translate(address + done, bytes - done, perm, hit);
    assert.equal(result, 0, `the device cannot say ${address + done}`);
    out.push({ page: hit.page, offset: hit.offset, len: hit.bytes });
  }
  return out;
}

export function landingsOf(device: DmaDevice, list: DmaList, perm: number): Entry[] {
  return rangesOf(list).flatMap(([address, len]) => landings(device, address, len, perm));
}

/** Joins ranges that touch, so that two ways to cut the same memory compare equal. */
export function joined(entries: readonly Entry[]): [number, number][] {
  const out: [number, number][] = [];
  for (const entry of entries) {
    const last = out.at(-1);
    const at = addressOf(entry);
    if (last !== undefined && last[0] + last[1] === at) last[1] += entry.len;
    else out.push([at, entry.len]);
  }
  return out;
}

export interface DeviceShape {
  readonly kind: 'direct' | 'low' | 'iommu' | 'untrusted';
  readonly granuleBytes: number;
  readonly segBytesMax: number;
  readonly segBoundaryMask: number;
  readonly minAlignMask: number;
  readonly isCoherent: boolean;
}

export const deviceArb: fc.Arbitrary<DeviceShape> = fc.record({
  kind: fc.constantFrom('direct', 'low', 'iommu', 'iommu', 'untrusted'),
  granuleBytes: fc.constantFrom(4096, 4096, 16384, 65536),
  segBytesMax: fc.constantFrom(4096, 8192, 65536, 20000, 2 ** 32 - 1),
  segBoundaryMask: fc.constantFrom(4095, 0x3fff, 0xffff, MASK_32, Number.MAX_SAFE_INTEGER),
  minAlignMask: fc.constantFrom(0, 511, 4095, 0xffff),
  isCoherent: fc.constantFrom(true, true, false),
});

/** A device of its own, with IOMMU and bounce memory of its own; dispose of it. */
export class DeviceWorld {
  readonly device: DmaDevice;
  readonly iommu: Iommu | null;
  readonly swiotlb: Swiotlb | null;

  constructor(shape: DeviceShape, bounceBytes = 1 * MIB) {
    const hasIommu = shape.kind === 'iommu' || shape.kind === 'untrusted';
    const hasBounces = shape.kind === 'low' || shape.kind === 'untrusted' || !shape.isCoherent;
    this.iommu = hasIommu
      ? new Iommu({ granuleBytes: shape.granuleBytes, spaceBytes: 64 * MIB })
      : null;
    this.swiotlb = hasBounces ? new Swiotlb(lowArena, bounceBytes) : null;
    const options: DmaDeviceOptions = {
      iommu: this.iommu,
      swiotlb: this.swiotlb,
      isUntrusted: shape.kind === 'untrusted',
      isCoherent: shape.isCoherent,
      segBytesMax: shape.segBytesMax,
      segBoundaryMask: shape.segBoundaryMask,
      minAlignMask: shape.minAlignMask,
    };
    this.device = new DmaDevice(shape.kind === 'low' ? { ...options, dmaMask: MASK_32 } : options);
  }

  assertNothingOutstanding(): void {
    this.device.assertNothingOutstanding();
    this.iommu?.assertNothingOutstanding();
  }

  [Symbol.dispose](): void {
    this.assertNothingOutstanding();
    this.swiotlb?.[Symbol.dispose]();
  }
}

export const sgPool = new SgPool({ chunks: 64 });
