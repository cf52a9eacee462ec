import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../../src/base/errno.ts';
import { RUNS } from '../../src/base/runs.fuzz.ts';
import { MIB, PAGE_BYTES, pagesSpanned } from '../../src/base/units.ts';
import { DmaDevice } from '../../src/dma/dma-device.ts';
import { DEFAULT_LIMITS, type Limits, makeLimits } from '../../src/limits/limits.ts';
import { Access } from '../../src/memory/address-space.ts';
import { Arena } from '../../src/memory/arena.ts';
import { pinCount, pinTotals } from '../../src/memory/holds.ts';
import { Protection } from '../../src/memory/user/area.ts';
import { UserMemory } from '../../src/memory/user/user-memory.ts';
import type { UserSpace } from '../../src/memory/user/user-space.ts';
import { type Carrier, type DeviceRange, Transfer } from './carrier.ts';
import { DESIGNS } from './designs.ts';

const PS = PAGE_BYTES;
const PAGES = 192;

interface Stretch {
  readonly pages: number;
  readonly order: number;
  readonly kind: 'written' | 'read' | 'hole';
  /** Its third page is mapped anew: another frame in the middle of a folio. */
  readonly isPatched: boolean;
}

interface Case {
  readonly stretches: readonly Stretch[];
  /** Pages are touched in this stride: 1 gives neighbours. */
  readonly stride: number;
  readonly at: number;
  readonly bytes: number;
  readonly cachePages: number;
  readonly segPages: number;
  readonly boundaryPages: number;
  /** The transfer ends where the memory does, so that pages of the cache may go on there. */
  readonly isToEnd: boolean;
  /** A child shares the pages: a pin has to take them back first. */
  readonly isForked: boolean;
  /** The design that comes first. */
  readonly turn: number;
}

const stretches = fc.array(
  fc.record({
    pages: fc.integer({ min: 1, max: 40 }),
    order: fc.constantFrom(0, 0, 1, 4),
    kind: fc.constantFrom('written', 'written', 'written', 'written', 'written', 'read', 'hole'),
    isPatched: fc.boolean(),
  }) as fc.Arbitrary<Stretch>,
  { minLength: 1, maxLength: 8 },
);
const cases: fc.Arbitrary<Case> = fc.record({
  stretches,
  stride: fc.constantFrom(1, 1, 5, 7),
  at: fc.nat(PAGES * PS - 1),
  bytes: fc.oneof(fc.integer({ min: 1, max: PS }), fc.integer({ min: 1, max: PAGES * PS })),
  cachePages: fc.constantFrom(0, 0, 1, 7, 40),
  segPages: fc.constantFrom(1, 2, 3, 16, 2 ** 19),
  boundaryPages: fc.constantFrom(1, 4, 2 ** 20),
  isToEnd: fc.boolean(),
  isForked: fc.constantFrom(false, false, true),
  turn: fc.nat(DESIGNS.length - 1),
});

/** Numbers in each byte of `bytes` that no neighbour has. */
function fill(bytes: Uint8Array, seed: number): void {
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 31 + seed * 17 + (i >>> 8)) & 255;
}

class World {
  readonly arena = new Arena({ maxBytes: 4 * MIB, label: 'carriers', places: false });
  readonly memory = new UserMemory({ arena: this.arena });
  readonly space: UserSpace = this.memory.newSpace('program');
  readonly transfer: Transfer;
  /** Of each page: is there memory? */
  readonly there: boolean[] = [];
  readonly base = 2 ** 30;
  readonly child: UserSpace | null;

  constructor({ stretches, stride, at, bytes, cachePages, isToEnd, isForked }: Case) {
    this.#map(stretches, stride);
    this.#write();
    const cache = Array.from({ length: cachePages }, () => this.arena.getFolio(0));
    this.transfer = new Transfer(this.space, Uint32Array.from(cache));
    for (const [i, page] of cache.entries()) fill(this.bytesAt(page * PS, PS), 1000 + i);
    const from = at % (this.there.length * PS);
    this.transfer.addr = this.base + from;
    this.transfer.bytes = isToEnd ? this.there.length * PS - from : bytes;
    this.transfer.cacheCount = cachePages;
    this.child = isForked ? this.space.fork('child') : null;
  }

  #map(stretches: readonly Stretch[], stride: number): void {
    const { space, base } = this;
    for (const { pages, order, kind, isPatched } of stretches) {
      const fit = Math.min(pages, PAGES - this.there.length);
      if (fit === 0) break;
      const addr = base + this.there.length * PS;
      const isHole = kind === 'hole';
      if (!isHole) {
        const protection = Protection.WRITE;
        assert.equal(space.mmap({ addr, bytes: fit * PS, protection, folioOrder: order }), addr);
      }
      for (let i = 0; i < fit; i++) this.there.push(!isHole);
      for (let i = 0; i < fit && !isHole; i++) {
        const page = addr + ((i * stride) % fit) * PS;
        if (kind === 'written') assert.equal(space.fault(page, Access.WRITE, 0), 0);
      }
      if (!isPatched || isHole || fit < 3) continue;
      const patch = { addr: addr + 2 * PS, bytes: PS, protection: Protection.WRITE };
      assert.equal(space.mmap(patch), patch.addr);
      assert.equal(space.fault(patch.addr, Access.WRITE, 0), 0);
    }
  }

  /** Other bytes in every page that the program has touched. */
  #write(): void {
    const { space, base } = this;
    const content = new Uint8Array(PS);
    for (const [i, isThere] of this.there.entries()) {
      if (!isThere || space.table.bitsAt(base / PS + i) === 0) continue;
      fill(content, i);
      assert.equal(space.write(base + i * PS, content), PS);
    }
  }

  /** Memory as a device finds it. */
  bytesAt(address: number, bytes: number): Uint8Array {
    const { region } = this.arena;
    const from = address - region.firstPage * PS;
    return region.u8.subarray(from, from + bytes);
  }

  /** What the program and the owner of the cache have there, by their own addresses. */
  expected(): Buffer {
    const { space, addr, bytes, cachePages } = this.transfer;
    const user = new Uint8Array(bytes);
    assert.equal(space.read(addr, user), bytes);
    const cached = [...cachePages].map((page) => this.bytesAt(page * PS, PS));
    return Buffer.concat([user, ...cached]);
  }

  get isWhole(): boolean {
    const { addr, bytes } = this.transfer;
    const first = Math.floor((addr - this.base) / PS);
    const pages = pagesSpanned(addr % PS, bytes);
    for (let i = first; i < first + pages; i++) if (this.there[i] !== true) return false;
    return true;
  }

  /** Pins of every frame, and its references where no pin takes a page back from a child. */
  holds(): Int32Array {
    const { pins, refs, frames } = this.arena.region;
    const counts = new Int32Array(2 * frames);
    counts.set(pins.subarray(0, frames));
    if (this.child === null) counts.set(refs.subarray(0, frames), frames);
    return counts;
  }

  end(): void {
    const { space, arena, transfer } = this;
    space.exit();
    this.child?.exit();
    for (const page of transfer.cachePages) arena.putFolio(page);
    arena.putFolio(this.memory.zeroPage);
    assert.equal(arena.stats().usedBytes, 0);
    arena.region[Symbol.dispose]();
  }
}

function assertObeys(ranges: readonly DeviceRange[], limits: Limits, name: string): void {
  const window = limits.seg_boundary_mask + 1;
  for (const { address, bytes } of ranges) {
    assert.ok(bytes > 0 && bytes <= limits.max_segment_size, `${name}: segment size`);
    const last = address + bytes - 1;
    assert.equal(Math.floor(address / window), Math.floor(last / window), `${name}: boundary`);
  }
}

/** Every page of the program under the ranges is pinned and its own: nobody can take it away. */
function assertPinned(world: World, ranges: readonly DeviceRange[], name: string): void {
  const { memory, transfer } = world;
  let left = transfer.bytes;
  for (const { address, bytes } of ranges) {
    const held = Math.min(bytes, left);
    left -= held;
    const end = Math.ceil((address + held) / PS);
    for (let page = Math.floor(address / PS); page < end && held > 0; page++) {
      if (page === memory.zeroPage) continue;
      assert.ok(pinCount(page) > 0, `${name}: a page without a pin`);
      const isOwn = memory.columns.exclusive[page - memory.region.firstPage] === 1;
      assert.ok(isOwn, `${name}: a page that a child can part from`);
    }
  }
}

function checkCarrier(world: World, carrier: Carrier, name: string, limits: Limits): void {
  const { transfer } = world;
  const holds = world.holds();
  const pins = pinTotals.acquired - pinTotals.released;
  const result = carrier.map(transfer);
  if (!world.isWhole) {
    assert.equal(result, -Errno.EFAULT, name);
  } else {
    const ranges = carrier.ranges();
    assert.equal(result, ranges.length, name);
    assertObeys(ranges, limits, name);
    assertPinned(world, ranges, name);
    const seen = Buffer.concat(ranges.map(({ address, bytes }) => world.bytesAt(address, bytes)));
    assert.ok(seen.equals(world.expected()), `${name}: other bytes`);
    carrier.unmap();
  }
  carrier.assertNothingOutstanding();
  assert.deepEqual(world.holds(), holds, `${name}: holds`);
  assert.equal(pinTotals.acquired - pinTotals.released, pins, `${name}: pins`);
}

test('Every design gives the device the same bytes within its limits, and lets all go', () => {
  fc.assert(
    fc.property(cases, (given) => {
      const world = new World(given);
      const max_segment_size = Math.min(given.segPages * PS, 2 ** 32 - 1);
      const seg_boundary_mask = given.boundaryPages * PS - 1;
      const limits = makeLimits({ ...DEFAULT_LIMITS, max_segment_size, seg_boundary_mask });
      const device = new DmaDevice();
      // Untouched memory becomes the zero page at the first look, once for all designs.
      if (world.isWhole) world.expected();
      const { turn } = given;
      for (const design of [...DESIGNS.slice(turn), ...DESIGNS.slice(0, turn)]) {
        const carrier = design.make({ device, limits, pagesMax: 256 });
        checkCarrier(world, carrier, design.name, limits);
        checkCarrier(world, carrier, `${design.name} again`, limits);
        device.assertNothingOutstanding();
      }
      world.end();
    }),
    { ...RUNS, numRuns: Math.ceil(RUNS.numRuns / 5) },
  );
});
