import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { PAGE_BYTES } from '../base/units.ts';
import { BvecTable } from '../bvec/bvec-table.ts';
import { MappedSpace } from '../memory/address-space.ts';
import { Arena } from '../memory/arena.ts';
import { copyIn } from '../memory/copy.ts';
import { IovIter, IterDirection, IterState } from './iov-iter.ts';
import { Iovec } from './iovec.ts';
import { everyCase, FAULT, IterWorld, OUTSIDE_TOP, RUNS } from './iter-cases.fuzz.ts';
import {
  copyBytesFromIter,
  copyBytesFromIterFull,
  copyBytesToIter,
  copyBytesToIterFull,
  copyFromIter,
  copyFromIterFull,
  copyPageFromIter,
  copyPageToIter,
  copyToIter,
  copyToIterFull,
  faultInReadable,
  faultInWriteable,
  zeroIter,
} from './iter-copy.ts';

const { SOURCE, DEST } = IterDirection;
const counts = fc.oneof(fc.nat(20), fc.nat(9000), fc.constant(2 ** 17));

// The other side of the copies: 32 frames of another region.
const bounce = new Arena({ maxBytes: 16 * 2 ** 20, label: 'bounce' });
const buffer = bounce.alloc(32 * PAGE_BYTES);
after(() => {
  buffer.release();
  bounce.assertNothingOutstanding();
});

/** Bytes that can be had from the place on, of at most `bytes`. */
function reachable(world: IterWorld, bytes: number): number {
  const { place } = world;
  const want = Math.min(bytes, world.left);
  for (let i = 0; i < want; i++) if (world.addr[place + i] === FAULT) return i;
  return want;
}

type Contents = Map<number, Uint8Array>;

/** Sets the byte at an address of the world in a copy of its contents. */
function poke(contents: Contents, address: number, value: number): void {
  const isOutside = address <= OUTSIDE_TOP;
  const at = isOutside ? OUTSIDE_TOP - address : address;
  const unit = isOutside ? 2 ** 20 : PAGE_BYTES;
  const start = at - (at % unit);
  (contents.get(isOutside ? OUTSIDE_TOP - start : start) as Uint8Array)[at % unit] = value;
}

function assertContents(world: IterWorld, expected: Contents): void {
  for (const [key, bytes] of world.contents()) {
    assert.equal(Buffer.compare(bytes, expected.get(key) as Uint8Array), 0, 'a byte is wrong');
  }
}

const readers: Record<string, (iter: IovIter, want: number) => [number, Uint8Array]> = {
  'an array': (iter, want) => {
    const bytes = new Uint8Array(want + 3);
    const copied = copyBytesFromIter(iter, bytes, 3, want);
    return [copied, bytes.subarray(3)];
  },
  'page frames': (iter, want) => {
    buffer.bytes.fill(0, 0, want + 10);
    const copied = copyFromIter(iter, buffer.page, 10, want);
    return [copied, buffer.bytes.subarray(10, want + 10)];
  },
};

for (const [name, read] of Object.entries(readers)) {
  test(`from an iterator to ${name}: exactly the first r bytes, and the next one faults`, () => {
    fc.assert(
      fc.property(everyCase({ direction: SOURCE }), counts, (given, wanted) => {
        using world = new IterWorld(given);
        const want = Math.min(wanted, 100_000);
        const expected = reachable(world, want);
        const [copied, bytes] = read(world.iter, want);
        assert.equal(copied, expected);
        assert.equal(world.place, world.start + copied);
        for (let i = 0; i < copied; i++) {
          const address = world.addr[world.start + i] as number;
          if (bytes[i] !== world.readAt(address)) assert.fail(`byte ${i} is wrong`);
        }
        assert.ok(!bytes.subarray(copied).some((byte) => byte !== 0), 'something behind r');
        if (copied < Math.min(want, world.left)) assert.equal(read(world.iter, 1)[0], 0);
      }),
      RUNS,
    );
  });
}

const writers: Record<string, (iter: IovIter, from: Uint8Array) => number> = {
  'an array': (iter, from) => copyBytesToIter(iter, from, 0, from.length),
  'page frames': (iter, from) => {
    copyIn(buffer.page, 10, from, 0, from.length);
    return copyToIter(iter, buffer.page, 10, from.length);
  },
};

for (const [name, write] of Object.entries(writers)) {
  test(`from ${name} to an iterator: exactly the first r bytes, nothing else changes`, () => {
    fc.assert(
      fc.property(everyCase({ direction: DEST }), counts, (given, wanted) => {
        using world = new IterWorld(given);
        const from = Uint8Array.from({ length: Math.min(wanted, 30_000) }, (_, i) => i * 13 + 1);
        const expected = reachable(world, from.length);
        const contents = world.contents();
        const copied = write(world.iter, from);
        assert.equal(copied, expected);
        assert.equal(world.place, world.start + copied);
        for (let i = 0; i < copied; i++) {
          poke(contents, world.addr[world.start + i] as number, from[i] as number);
        }
        assertContents(world, contents);
      }),
      RUNS,
    );
  });
}

test('zeros obey the same rules', () => {
  fc.assert(
    fc.property(everyCase({ direction: DEST }), counts, (given, want) => {
      using world = new IterWorld(given);
      const expected = reachable(world, want);
      const contents = world.contents();
      assert.equal(zeroIter(world.iter, want), expected);
      assert.equal(world.place, world.start + expected);
      for (let i = 0; i < expected; i++) poke(contents, world.addr[world.start + i] as number, 0);
      assertContents(world, contents);
    }),
    RUNS,
  );
});

test('one array behind the other, of both kinds: every byte at its place', () => {
  // 3 bytes outside, none, 4 of the arena, 5 outside, 2 outside: from byte 1 on, 12 of 13.
  const inArena = bounce.alloc(PAGE_BYTES);
  const views = [3, 0, 4, 5, 2].map((bytes, i) =>
    i === 2 ? inArena.bytes.subarray(100, 100 + bytes) : new Uint8Array(bytes),
  );
  const iovec = new Iovec(views.length);
  iovec.importViews(views);
  const iterOf = (direction: IterDirection): IovIter => {
    const iter = new IovIter();
    iter.initBytes(direction, iovec);
    iter.advance(1);
    return iter;
  };
  const bytesOf = (): number[] => views.flatMap((view) => [...view]);
  const fill = (value: (at: number) => number): void => {
    let at = 0;
    for (const view of views) for (let i = 0; i < view.length; i++) view[i] = value(at++);
  };
  const numbers = Uint8Array.from({ length: 32 }, (_, i) => 100 + i);
  buffer.bytes.set(numbers);
  const toIter: Record<string, (iter: IovIter) => number> = {
    frames: (iter) => copyToIter(iter, buffer.page, 7, 12),
    array: (iter) => copyBytesToIter(iter, numbers, 7, 12),
  };
  for (const copy of Object.values(toIter)) {
    fill(() => 1);
    const iter = iterOf(DEST);
    assert.deepEqual([copy(iter), iter.count], [12, 1]);
    assert.deepEqual(bytesOf(), [1, ...numbers.subarray(7, 19), 1]);
  }
  fill(() => 1);
  assert.equal(zeroIter(iterOf(DEST), 12), 12);
  assert.deepEqual(bytesOf(), [1, ...new Uint8Array(12), 1]);
  fill((at) => 10 + at);
  const expected = [0, 0, ...Array.from({ length: 12 }, (_, i) => 11 + i), 0, 0];
  const out = new Uint8Array(16);
  assert.equal(copyBytesFromIter(iterOf(SOURCE), out, 2, 12), 12);
  assert.deepEqual([...out], expected);
  buffer.bytes.fill(0, 0, 16);
  assert.equal(copyFromIter(iterOf(SOURCE), buffer.page, 2, 12), 12);
  assert.deepEqual([...buffer.bytes.subarray(0, 16)], expected);
  inArena.release();
});

test('the full variants move the iterator by all or not at all', () => {
  fc.assert(
    fc.property(everyCase(), counts, (given, wanted) => {
      using world = new IterWorld(given);
      const { iter } = world;
      const want = Math.min(wanted, 100_000);
      const isAll = reachable(world, want) === want;
      const state = new IterState();
      iter.save(state);
      const bytes = new Uint8Array(want);
      const place = world.start + (isAll ? want : 0);
      if (iter.direction === SOURCE) {
        assert.equal(copyBytesFromIterFull(iter, bytes, 0, want), isAll);
        assert.equal(world.place, place);
        iter.restore(state);
        assert.equal(copyFromIterFull(iter, buffer.page, 0, want), isAll);
      } else {
        assert.equal(copyBytesToIterFull(iter, bytes, 0, want), isAll);
        assert.equal(world.place, place);
        iter.restore(state);
        assert.equal(copyToIterFull(iter, buffer.page, 0, want), isAll);
      }
      assert.equal(world.place, place);
      assert.equal(iter.count, world.addr.length - place);
    }),
    RUNS,
  );
});

test('faultIn answers the bytes that cannot be reached, and moves nothing', () => {
  fc.assert(
    fc.property(everyCase(), counts, (given, want) => {
      using world = new IterWorld(given);
      const { iter } = world;
      const expected = Math.min(want, world.left) - reachable(world, want);
      const ask = iter.direction === SOURCE ? faultInReadable : faultInWriteable;
      assert.equal(ask(iter, want), expected);
      assert.equal(world.place, world.start);
      assert.equal(iter.count, world.addr.length - world.start);
    }),
    RUNS,
  );
});

test('a read-only page can be read in and cannot be written to', () => {
  const space = new MappedSpace();
  space.map(0x1000, buffer.page);
  space.map(0x2000, buffer.page + 1, { readOnly: true });
  const iter = new IovIter();
  iter.initUserRange(SOURCE, space, 0x1ff0, 32);
  assert.equal(faultInReadable(iter, 32), 0);
  assert.equal(faultInWriteable(iter, 32), 16);
  iter.initUserRange(DEST, space, 0x1ff0, 32);
  assert.equal(copyBytesToIter(iter, new Uint8Array(32), 0, 32), 16);
});

test('memory that its owner detached or shrank faults where it ends', () => {
  const gone = new Uint8Array(100);
  const shrunk = new Uint8Array(new ArrayBuffer(100, { maxByteLength: 100 }));
  const iovec = new Iovec();
  assert.equal(iovec.importViews([new Uint8Array(10).fill(7), shrunk, gone]), 210);
  const iter = new IovIter();
  iter.initBytes(SOURCE, iovec);
  gone.buffer.transfer();
  shrunk.buffer.resize(20);
  const bytes = new Uint8Array(210);
  assert.equal(faultInReadable(iter, 210), 180);
  assert.equal(copyBytesFromIter(iter, bytes, 0, 210), 30);
  assert.equal(copyBytesFromIter(iter, bytes, 0, 1), 0);
  iter.advance(80);
  assert.equal(copyFromIter(iter, buffer.page, 0, 100), 0);
});

test('memory of an arena that was disposed of faults', () => {
  const arena = new Arena({ maxBytes: 16 * 2 ** 20 });
  const iter = new IovIter();
  const own = arena.alloc(100);
  iter.initView(SOURCE, own.bytes);
  own.release();
  arena.assertNothingOutstanding();
  arena[Symbol.dispose]();
  assert.equal(faultInReadable(iter, 100), 100);
  assert.equal(copyFromIter(iter, buffer.page, 0, 100), 0);
  assert.equal(iter.count, 100);
});

test('a page copy stays in the folio of its page', () => {
  const head = bounce.getFolio(1);
  const bytes = new Uint8Array(2 * PAGE_BYTES + 1);
  const iter = new IovIter();
  const fits = [
    [head, 0, 2 * PAGE_BYTES, true],
    [head, PAGE_BYTES + 5, PAGE_BYTES - 5, true],
    [head + 1, 0, PAGE_BYTES, true],
    [head + 1, 1, PAGE_BYTES, false],
    [head, 0, 2 * PAGE_BYTES + 1, false],
    [head, 2 * PAGE_BYTES, 1, false],
    [head, -1, 1, false],
  ] as const;
  for (const [page, offset, len, isFit] of fits) {
    iter.initView(DEST, bytes);
    assert.equal(copyPageToIter(iter, page, offset, len), isFit ? len : 0);
    assert.equal(iter.count, bytes.length - (isFit ? len : 0));
    iter.initView(SOURCE, bytes);
    assert.equal(copyPageFromIter(iter, page, offset, len), isFit ? len : 0);
  }
  bounce.putFolio(head);
});

test('a sink takes everything', () => {
  const iter = new IovIter();
  iter.initDiscard(100);
  assert.equal(copyBytesToIter(iter, new Uint8Array(60), 0, 60), 60);
  assert.equal(copyToIter(iter, buffer.page, 0, 10), 10);
  assert.equal(zeroIter(iter, 100), 30);
  assert.equal(copyToIter(iter, buffer.page, 0, 10), 0);
  assert.equal(iter.count, 0);
});

test('the wrong direction is a bug', () => {
  const table = new BvecTable(1);
  table.set(0, buffer.page, 0, 10, 0);
  const iter = new IovIter();
  const bytes = new Uint8Array(10);
  iter.initBvec(SOURCE, table, 0, 1, 0, 10);
  assert.throws(() => copyBytesToIter(iter, bytes, 0, 10), /is a source/);
  assert.throws(() => copyToIter(iter, buffer.page, 0, 10), /is a source/);
  assert.throws(() => zeroIter(iter, 10), /is a source/);
  iter.initBvec(DEST, table, 0, 1, 0, 10);
  assert.throws(() => copyBytesFromIter(iter, bytes, 0, 10), /is a destination/);
  assert.throws(() => copyFromIter(iter, buffer.page, 0, 10), /is a destination/);
});
