import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { Errno } from '../base/errno.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { BioOp } from '../bio/bio-op.ts';
import { IovIter, IterDirection, IterKind } from '../iter/iov-iter.ts';
import { Iovec } from '../iter/iovec.ts';
import { DEFAULT_PROFILE, LINUX_6_12 } from '../limits/profile.ts';
import { isDirty, pinCount } from '../memory/holds.ts';
import { COPY_INSTEAD, NO_MEMORY } from './map-context.ts';
import { arena, BASE, bytesOf, copiedPiece, MappingRig, pool } from './mapping-rig.fuzz.ts';
import { Piece } from './piece.ts';
import { pinRows, unpinRows } from './user-rows.ts';
import { MapReason } from './verdict.ts';

const { READ, WRITE } = BioOp;
afterEach(() => {
  assert.equal(pool.busyCount, 0);
  arena.assertNothingOutstanding();
});

function copiedBytes(rig: MappingRig): number {
  return rig.context.counters.bytesCopied.reduce((sum, bytes) => sum + bytes, 0);
}

describe('pages of a file with a hole', () => {
  function pagesIter(op: BioOp): IovIter {
    const iter = new IovIter();
    const direction = op === READ ? IterDirection.DEST : IterDirection.SOURCE;
    iter.initPages(direction, { pageAt: () => -1 }, 0, 1024);
    return iter;
  }

  test('a write finds it at the call: nothing is left of it', () => {
    using rig = new MappingRig(0);
    assert.equal(rig.start(WRITE, pagesIter(WRITE), 0, 'always'), 0);
    const piece = copiedPiece();
    const bio = rig.bio(piece, 1024);
    assert.equal(rig.mapping.fill(bio, piece), -Errno.EFAULT);
    assert.deepEqual([bio.vcnt, bio.size, rig.mapping.iter.count], [0, 0, 1024]);
    assert.deepEqual([rig.context.counters.bouncePages, copiedBytes(rig)], [0, 0]);
    pool.release(bio);
    assert.equal(rig.mapping.finish(), -Errno.EFAULT);
  });

  test('a read finds it at the end', () => {
    using rig = new MappingRig(0);
    assert.equal(rig.start(READ, pagesIter(READ), 0, 'always'), 0);
    const piece = copiedPiece();
    const bio = rig.bio(piece, 1024);
    assert.equal(rig.mapping.fill(bio, piece), 0);
    rig.end(bio, piece);
    assert.equal(copiedBytes(rig), 0);
    assert.equal(rig.mapping.finish(), -Errno.EFAULT);
    const { detachedSegment } = rig.mapping;
    assert.deepEqual([detachedSegment, rig.context.counters.detached], [-1, 0]);
  });
});

test('two pieces of arrays that were detached: counted once, the first is named', () => {
  detachedPieces(0, -Errno.EFAULT);
  detachedPieces(-Errno.EIO, -Errno.EIO);
});

/** The first of two pieces ends with `status`; the arrays of both were detached. */
function detachedPieces(status: number, result: number): void {
  using rig = new MappingRig(0);
  const views = [new Uint8Array(512), new Uint8Array(512)];
  assert.equal(rig.startViews(READ, views), 0);
  const pieces = [copiedPiece(), copiedPiece()];
  const bios = pieces.map((piece, i) => {
    piece.start = i * 512;
    piece.userAt = i * 512;
    const bio = rig.bio(piece, 512);
    assert.equal(rig.mapping.fill(bio, piece), 0);
    return bio;
  });
  for (const { buffer } of views) structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });
  pieces.forEach((piece, i) => {
    const bio = bios[i];
    assert.ok(bio !== undefined);
    rig.end(bio, piece, i === 0 ? status : 0);
  });
  assert.equal(rig.mapping.finish(), result, 'the first error');
  assert.deepEqual([rig.mapping.detachedSegment, rig.context.counters.detached], [0, 1]);
}

test('a piece that had rows of a program serves an array: the rows are of the past', () => {
  using rig = new MappingRig(1);
  const piece = copiedPiece(); // Pooled: one for both.
  assert.equal(rig.startRanges(READ, [[0, 512]], 'always'), 0);
  const first = rig.bio(piece, 512);
  assert.equal(rig.mapping.fill(first, piece), 0);
  assert.equal(piece.pinRows, 1);
  rig.end(first, piece);
  assert.equal(rig.mapping.finish(), 512);
  assert.equal(piece.pinRows, 0);
  const array = new Uint8Array(512);
  assert.equal(rig.startViews(READ, [array]), 0);
  const second = rig.bio(piece, 512);
  assert.equal(rig.mapping.fill(second, piece), 0);
  rig.deviceWrites(second, 7);
  rig.end(second, piece);
  assert.equal(rig.mapping.finish(), 512);
  assert.ok(array.every((byte) => byte === 7));
});

test('a mapping that has ended keeps no memory of the program alive', () => {
  using rig = new MappingRig(1);
  assert.equal(rig.startRanges(READ, [[0, 512]], 'auto'), 0);
  const { iter } = rig.mapping;
  assert.deepEqual([iter.kind, iter.space], [IterKind.USER, rig.space]);
  rig.mapping.finish();
  assert.deepEqual([iter.kind, iter.space, iter.count], [IterKind.DISCARD, null, 0]);
});

describe('what only the built bio tells', () => {
  test('the first reason stays that of the transfer; the middle has the new one', () => {
    using rig = new MappingRig(4, { max_segments: 1, logical_block_size: 4096 });
    const ranges = [0, 1, 2, 3].map((i) => [i * PAGE_BYTES, 2048] as const);
    const iovec = new Iovec(4);
    const bases = ranges.map(([at]) => BASE + at);
    iovec.importRanges(bases, [2048, 2048, 2048, 2048], 4);
    const iter = new IovIter();
    iter.initUser(IterDirection.DEST, rig.space, iovec);
    assert.equal(rig.start(READ, iter, 100), 0);
    const reasons = (): MapReason[] => [rig.mapping.reason, rig.mapping.middleReason];
    assert.deepEqual(reasons(), [MapReason.OFFSET, MapReason.FITS]);
    const piece = new Piece();
    const bio = rig.bio(piece, 4096);
    assert.equal(rig.mapping.fill(bio, piece), COPY_INSTEAD);
    assert.deepEqual(reasons(), [MapReason.OFFSET, MapReason.SEGMENTS]);
    pool.release(bio);
    rig.mapping.finish();
  });

  test('kernels let the queue find it', () => {
    // A block in two pages that are no neighbours: two segments, where one is allowed.
    const limits = { max_segments: 1, logical_block_size: 4096, dma_alignment: 511 };
    for (const [profile, result, reason] of [
      [DEFAULT_PROFILE, COPY_INSTEAD, MapReason.SEGMENTS],
      [LINUX_6_12, 0, MapReason.FITS],
    ] as const) {
      using rig = new MappingRig(2, limits, profile);
      assert.equal(rig.startRanges(READ, [[512, 4096]], 'auto'), 0);
      const piece = new Piece();
      const bio = rig.bio(piece, 4096);
      assert.equal(rig.mapping.fill(bio, piece), result);
      assert.equal(rig.mapping.reason, reason);
      assert.ok(!isDirty(rig.frameOf(0)), 'no device has written there');
      if (result === 0) rig.end(bio, piece);
      else pool.release(bio);
      rig.mapping.finish();
    }
  });

  test('a block of no more pages than rows faults for memory; of more, for rows', () => {
    for (const [at, result] of [
      [0, -Errno.EFAULT],
      [512, COPY_INSTEAD],
    ] as const) {
      // The block behind it has pages of its own, which are not counted.
      using rig = new MappingRig(9, { logical_block_size: 16384, dma_alignment: 511 });
      rig.space.unmap(BASE + 3 * PAGE_BYTES);
      assert.equal(rig.startRanges(READ, [[at, 32768]], 'auto'), 0);
      const piece = new Piece();
      const bio = pool.acquire(READ, 0, 4);
      assert.ok(bio !== null);
      piece.bytes = 16384;
      piece.userBytes = 16384;
      assert.equal(rig.mapping.fill(bio, piece), result);
      assert.equal(rig.mapping.iter.count, 32768);
      pool.release(bio);
      rig.mapping.finish();
    }
  });
});

test('what lies between the ends goes by its own length, too', () => {
  // Blocks of 512 bytes, memory in steps of 4096: 1,024 of 1,124 bytes are whole blocks.
  for (const [bytes, middle] of [
    [1124, MapReason.ADDRESS],
    [4196, MapReason.FITS],
  ] as const) {
    using rig = new MappingRig(2, { dma_alignment: 4095 });
    assert.equal(rig.startRanges(READ, [[0, bytes]], 'auto'), 0);
    const { reason, middleReason } = rig.mapping;
    assert.deepEqual([reason, middleReason], [MapReason.LENGTH, middle]);
    rig.mapping.finish();
  }
});

describe('a part of a block', () => {
  /** Bytes 100 to 300 of the block at `start`, to or from a program; the device comes to `end`. */
  function part(rig: MappingRig, op: BioOp, start: number, end: number): number {
    const iovec = new Iovec();
    iovec.importRange(BASE, 200);
    const iter = new IovIter();
    const direction = op === READ ? IterDirection.DEST : IterDirection.SOURCE;
    iter.initUser(direction, rig.space, iovec);
    assert.equal(rig.start(op, iter, start + 100), 0);
    const piece = copiedPiece();
    const bio = rig.bio(piece, 512);
    Object.assign(piece, { start, isPart: true, skip: 100, userBytes: 200 });
    assert.equal(rig.mapping.fill(bio, piece), 0);
    assert.deepEqual([rig.mapping.pieces, pinCount(rig.frameOf(0))], [1, 1]);
    if (op === READ) rig.deviceWrites(bio, 9);
    else assert.ok(rig.mapping.copyIn(bio, piece));
    bio.shortAt = start + end;
    rig.end(bio, piece);
    return rig.mapping.finish();
  }

  test('a read that ends inside of it: the bytes before that', () => {
    for (const [end, bytes] of [
      [512, 200],
      [300, 200],
      [150, 50],
      [100, 0],
      [99, 0],
    ] as const) {
      for (const start of [0, 512]) {
        using rig = new MappingRig(1);
        const expected = bytesOf(rig.frameOf(0)).fill(9, 0, bytes);
        assert.equal(part(rig, READ, start, end), bytes);
        assert.deepEqual(bytesOf(rig.frameOf(0)), expected);
        assert.equal(isDirty(rig.frameOf(0)), bytes > 0);
      }
    }
  });

  test('a write leaves the memory that it came from clean', () => {
    using rig = new MappingRig(1);
    assert.equal(part(rig, WRITE, 0, Infinity), 200);
    assert.ok(!isDirty(rig.frameOf(0)));
  });
});

describe('a copied write of a program', () => {
  function write(rig: MappingRig, bytes: number): { result: number; piece: Piece } {
    assert.equal(rig.startRanges(WRITE, [[0, bytes]], 'always'), 0);
    const piece = copiedPiece();
    const bio = rig.bio(piece, bytes);
    const result = rig.mapping.fill(bio, piece);
    if (result === 0) {
      assert.deepEqual([bio.size, piece.bytes], [piece.userBytes, piece.userBytes]);
      rig.end(bio, piece);
    } else {
      assert.deepEqual([bio.vcnt, bio.size, rig.mapping.iter.count], [0, 0, bytes]);
      pool.release(bio);
    }
    assert.equal(rig.context.counters.bouncePages, 0);
    rig.mapping.finish();
    return { result, piece };
  }

  test('own pages for what is there, not for what was asked', () => {
    using rig = new MappingRig(1, { logical_block_size: 4096 });
    const { result, piece } = write(rig, 16384);
    assert.deepEqual([result, piece.userBytes], [0, 4096]);
    assert.equal(rig.context.counters.bouncePagesMost, 1);
    assert.equal(copiedBytes(rig), 4096);
  });

  test('memory that goes between two looks: as much as is left, or the fault', () => {
    for (const [blocks, result] of [
      [2, 0],
      [1, -Errno.EFAULT],
    ] as const) {
      using rig = new MappingRig(blocks, { logical_block_size: 4096 });
      const last = BASE + (blocks - 1) * PAGE_BYTES;
      let looks = 0;
      rig.space.onFault = (addr) => {
        if (addr >= last && ++looks === 2) rig.space.unmap(last);
      };
      const done = write(rig, blocks * PAGE_BYTES);
      assert.equal(done.result, result);
      assert.equal(copiedBytes(rig), (blocks - 1) * PAGE_BYTES);
      assert.ok(looks >= 2);
    }
  });

  test('memory that is back at the third look: the fault stands', () => {
    using rig = new MappingRig(1, { logical_block_size: 4096 });
    const frame = rig.frameOf(0);
    let looks = 0;
    rig.space.onFault = () => {
      looks++;
      if (looks === 2) rig.space.unmap(BASE);
      if (looks === 3) rig.space.map(BASE, { frame });
    };
    assert.equal(write(rig, PAGE_BYTES).result, -Errno.EFAULT);
  });

  test('no own pages: NO_MEMORY, and no byte counts as copied', () => {
    using rig = new MappingRig(1);
    const pages: number[] = [];
    for (let page = arena.getFolio(0); page >= 0; page = arena.getFolio(0)) pages.push(page);
    const other = pool.acquire(WRITE, 0, 4);
    assert.ok(other !== null);
    assert.ok(rig.context.reserve.take(other, 512) > 0);
    assert.equal(write(rig, 512).result, NO_MEMORY);
    assert.equal(copiedBytes(rig), 0);
    rig.context.reserve.giveBack(other);
    pool.release(other);
    for (const page of pages) arena.putFolio(page);
  });
});

describe('rows of many small ranges', () => {
  function bytewise(rig: MappingRig): IovIter {
    const iovec = new Iovec(1024);
    const bases = Array.from({ length: 1024 }, (_, i) => BASE + 2 * i);
    iovec.importRanges(bases, new Array(1024).fill(1), 1024);
    const iter = new IovIter();
    iter.initUser(IterDirection.DEST, rig.space, iovec);
    return iter;
  }

  test('rows that end at a whole unit end the piece; inside one they grow', () => {
    for (const [bytes, unit, pinned, rows] of [
      [1024, 512, 512, 512],
      [1024, 1024, 1024, 1024],
      [800, 1024, 800, 800],
      [800, 513, 800, 800],
      [1024, 256, 512, 512],
    ] as const) {
      using rig = new MappingRig(1);
      const piece = new Piece();
      const iter = bytewise(rig);
      assert.equal(pinRows(piece, iter, bytes, unit), pinned);
      assert.deepEqual([piece.pinRows, iter.count], [rows, 1024 - pinned]);
      const { pins } = piece;
      assert.ok(pins !== null);
      for (let row = 0; row < rows; row++) {
        assert.deepEqual([pins.offset[row], pins.len[row]], [2 * row, 1]);
      }
      unpinRows(piece, 0);
    }
  });

  test('a read through them: each byte at its place', () => {
    using rig = new MappingRig(1, { logical_block_size: 1024 });
    const before = bytesOf(rig.frameOf(0));
    assert.equal(rig.start(READ, bytewise(rig), 0, 'always'), 0);
    const piece = copiedPiece();
    const bio = rig.bio(piece, 1024);
    assert.equal(rig.mapping.fill(bio, piece), 0);
    rig.deviceWrites(bio, 9);
    rig.end(bio, piece);
    assert.equal(rig.mapping.finish(), 1024);
    const expected = before.map((byte, i) => (i < 2048 && i % 2 === 0 ? 9 : byte));
    assert.deepEqual(bytesOf(rig.frameOf(0)), expected);
  });
});
