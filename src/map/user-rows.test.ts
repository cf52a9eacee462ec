import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../base/errno.ts';
import { RUNS } from '../base/runs.fuzz.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { BioOp } from '../bio/bio-op.ts';
import { copyIn, copyOut } from '../memory/copy.ts';
import { HoldKind, isDirty, maybePinned, pinCount } from '../memory/holds.ts';
import { COPY_INSTEAD, FAULT_WAIT, NO_MEMORY } from './map-context.ts';
import {
  arena,
  BASE,
  bytesOf,
  copiedPiece,
  MappingRig,
  pool,
  rowBytes,
} from './mapping-rig.fuzz.ts';
import { Piece } from './piece.ts';

// Memory of an address space under a mapping; the test plays the device and the program.

afterEach(() => {
  assert.equal(pool.busyCount, 0);
  arena.assertNothingOutstanding();
});

describe('a copied read of user memory', () => {
  test('pins once and copies to what was pinned, whatever the program maps meanwhile', () => {
    // Confirmed: with the walk through the space instead, the bytes go to the stranger.
    using rig = new MappingRig(3);
    rig.startRanges(BioOp.READ, [[512, 8192]], 'always');
    const piece = copiedPiece();
    const bio = rig.bio(piece, 8192);
    assert.equal(rig.mapping.fill(bio, piece), 0);
    assert.deepEqual([rig.space.holdCalls, rig.space.pageCalls], [1, 0]);
    const pinned = [0, 1, 2].map((i) => rig.frameOf(i));
    assert.ok(pinned.every((frame) => pinCount(frame) === 1));
    assert.equal(rig.mapping.pagesHeld, 3);
    const stranger = rig.frame();
    rig.space.unmap(BASE, 2);
    rig.space.map(BASE + 2 * PAGE_BYTES, { frame: stranger });
    const before = bytesOf(stranger);
    rig.deviceWrites(bio, 7);
    rig.end(bio, piece);
    assert.equal(rig.space.holdCalls + rig.space.pageCalls, 1, 'the space was asked again');
    assert.deepEqual(bytesOf(stranger), before);
    const first = bytesOf(pinned[0] as number);
    assert.ok(first.subarray(512).every((byte) => byte === 7) && first[511] === (511 & 255));
    assert.ok(bytesOf(pinned[1] as number).every((byte) => byte === 7));
    assert.ok(pinned.every((frame) => isDirty(frame) && !maybePinned(frame)));
    assert.ok(!isDirty(stranger));
    assert.equal(rig.mapping.finish(), 8192);
  });

  test('memory that only the pin keeps gets its bytes before it goes, and no mark after', () => {
    // Confirmed: marked dirty after the unpin, a page of the pool would carry the flag.
    using rig = new MappingRig(0);
    const frame = arena.getFolio(0);
    rig.space.map(BASE, { frame });
    rig.startRanges(BioOp.READ, [[0, 512]], 'always');
    const piece = copiedPiece();
    const bio = rig.bio(piece, 512);
    assert.equal(rig.mapping.fill(bio, piece), 0);
    arena.putFolio(frame); // The program is gone.
    assert.equal(pinCount(frame), 1);
    rig.deviceWrites(bio, 1);
    rig.end(bio, piece);
    assert.ok(
      bytesOf(frame)
        .subarray(0, 512)
        .every((byte) => byte === 1),
    );
    assert.deepEqual([pinCount(frame), isDirty(frame)], [0, false]);
    rig.mapping.finish();
  });

  test('H11: after an error nothing is copied and nothing is dirty', () => {
    using rig = new MappingRig(1);
    rig.startRanges(BioOp.READ, [[0, 4096]], 'always');
    const piece = copiedPiece();
    const bio = rig.bio(piece, 4096);
    assert.equal(rig.mapping.fill(bio, piece), 0);
    const before = bytesOf(rig.frameOf(0));
    rig.deviceWrites(bio, 9);
    rig.end(bio, piece, -Errno.EIO);
    assert.deepEqual(bytesOf(rig.frameOf(0)), before);
    assert.ok(!isDirty(rig.frameOf(0)) && !maybePinned(rig.frameOf(0)));
    assert.equal(rig.mapping.finish(), -Errno.EIO);
  });

  test('a short read dirties and copies what it covers', () => {
    using rig = new MappingRig(3);
    rig.startRanges(BioOp.READ, [[0, 3 * PAGE_BYTES]], 'always');
    const piece = copiedPiece();
    const bio = rig.bio(piece, 3 * PAGE_BYTES);
    assert.equal(rig.mapping.fill(bio, piece), 0);
    rig.deviceWrites(bio, 5);
    bio.shortAt = PAGE_BYTES + 512;
    rig.end(bio, piece);
    assert.deepEqual(
      [0, 1, 2].map((i) => isDirty(rig.frameOf(i))),
      [true, true, false],
    );
    assert.equal(bytesOf(rig.frameOf(1))[511], 5);
    assert.equal(bytesOf(rig.frameOf(1))[512], (31 + 512) & 255);
    assert.equal(rig.mapping.finish(), PAGE_BYTES + 512);
  });

  test('a fault after some blocks: they go, only their pins stay, the next piece faults', () => {
    using rig = new MappingRig(3);
    rig.space.unmap(BASE + 2 * PAGE_BYTES);
    rig.startRanges(BioOp.READ, [[100, 3 * PAGE_BYTES - 512]], 'always');
    const piece = copiedPiece();
    const bio = rig.bio(piece, 3 * PAGE_BYTES - 512);
    assert.equal(rig.mapping.fill(bio, piece), 0);
    assert.deepEqual([piece.bytes, piece.userBytes], [15 * 512, 15 * 512]); // 8092 are there.
    assert.equal(rig.mapping.pagesHeld, 2);
    const second = copiedPiece();
    const next = rig.bio(second, 512);
    assert.equal(rig.mapping.fill(next, second), -Errno.EFAULT);
    assert.equal(second.pinRows, 0);
    pool.release(next);
    rig.end(bio, piece);
    assert.equal(rig.mapping.finish(), 3 * PAGE_BYTES - 512, 'the caller cuts it: endAt');
  });

  test('no memory for own pages: no pin stays, the cursor is where it was', () => {
    using rig = new MappingRig(2);
    const taken: number[] = [];
    for (let page = arena.getFolio(0); page >= 0; page = arena.getFolio(0)) taken.push(page);
    rig.startRanges(BioOp.READ, [[0, 8192]], 'always');
    const pieces = [copiedPiece(), copiedPiece()] as const;
    const first = rig.bio(pieces[0], 512);
    const second = rig.bio(pieces[1], 512);
    assert.equal(rig.mapping.fill(first, pieces[0]), 0);
    assert.ok(pieces[0].usesReserve);
    assert.equal(rig.mapping.fill(second, pieces[1]), NO_MEMORY);
    assert.deepEqual([pieces[1].pinRows, rig.mapping.pagesHeld], [0, 1]);
    assert.equal(rig.mapping.iter.count, 8192 - 512);
    pool.release(second);
    rig.end(first, pieces[0]);
    rig.mapping.finish();
    for (const page of taken) arena.putFolio(page);
  });

  test('a block in a thousand ranges of a few bytes is pinned whole', () => {
    using rig = new MappingRig(4, { logical_block_size: 4096 });
    const ranges = Array.from({ length: 1024 }, (_, i) => [(i % 4) * 4096 + i * 3, 4] as const);
    rig.startRanges(BioOp.READ, ranges, 'auto');
    const tried = new Piece();
    const mapped = rig.bio(tried, 4096);
    assert.equal(rig.mapping.fill(mapped, tried), COPY_INSTEAD, 'more rows than a bio has');
    pool.release(mapped);
    const piece = copiedPiece();
    const bio = rig.bio(piece, 4096);
    assert.equal(rig.mapping.fill(bio, piece), 0);
    assert.deepEqual([piece.pinRows, rig.mapping.pagesHeld], [1024, 1024]);
    rig.deviceWrites(bio, 3);
    rig.end(bio, piece);
    for (const [at] of ranges) {
      const frame = rig.frameOf(Math.floor(at / PAGE_BYTES));
      assert.equal(bytesOf(frame)[at % PAGE_BYTES], 3);
    }
    assert.equal(rig.mapping.finish(), 4096);
  });
});

describe('a copied write of user memory', () => {
  test('is a snapshot of the call: no hold, and later changes are not seen', () => {
    using rig = new MappingRig(2);
    rig.startRanges(BioOp.WRITE, [[100, 4096]], 'always');
    const piece = copiedPiece();
    const bio = rig.bio(piece, 4096);
    assert.equal(rig.mapping.fill(bio, piece), 0);
    assert.deepEqual([rig.space.holdCalls, rig.mapping.pagesHeld], [0, 0]);
    copyIn(rig.frameOf(0), 0, new Uint8Array(4096), 0, 4096);
    const got = new Uint8Array(8);
    copyOut(got, 0, bio.table.page[bio.first] as number, 0, 8);
    assert.deepEqual(
      [...got],
      [0, 1, 2, 3, 4, 5, 6, 7].map((k) => 100 + k),
    );
    rig.end(bio, piece);
    assert.equal(rig.mapping.finish(), 4096);
  });

  test('a fault ends it behind the last whole block; the next piece says why', () => {
    for (const [error, answer] of [
      [undefined, -Errno.EFAULT],
      [-Errno.ENOMEM, -Errno.ENOMEM],
      [-Errno.EAGAIN, FAULT_WAIT],
    ] as const) {
      using rig = new MappingRig(2);
      if (error === undefined) rig.space.unmap(BASE + PAGE_BYTES);
      else rig.space.map(BASE + PAGE_BYTES, { frame: 0, error });
      rig.startRanges(BioOp.WRITE, [[100, 8000 - (8000 % 512)]], 'always');
      const pieces = [copiedPiece(), copiedPiece()] as const;
      const bio = rig.bio(pieces[0], 7680);
      assert.equal(rig.mapping.fill(bio, pieces[0]), 0);
      assert.deepEqual([pieces[0].bytes, bio.size, rig.mapping.iter.count], [3584, 3584, 4096]);
      const next = rig.bio(pieces[1], 4096);
      assert.equal(rig.mapping.fill(next, pieces[1]), answer);
      assert.deepEqual([next.size, next.vcnt, rig.mapping.iter.count], [0, 0, 4096]);
      pool.release(next);
      rig.end(bio, pieces[0]);
      rig.mapping.finish();
    }
  });
});

describe('mapped user memory', () => {
  test('waits, faults and other errors of the space are told apart', () => {
    for (const [error, answer] of [
      [-Errno.EFAULT, -Errno.EFAULT],
      [-Errno.ENOMEM, -Errno.ENOMEM],
      [-Errno.EAGAIN, FAULT_WAIT],
    ] as const) {
      using rig = new MappingRig(2, { logical_block_size: 4096 });
      rig.space.map(BASE + PAGE_BYTES, { frame: 0, error });
      rig.startRanges(BioOp.READ, [[512, 4096]], 'auto');
      const piece = new Piece();
      const bio = rig.bio(piece, 4096);
      assert.equal(rig.mapping.fill(bio, piece), answer);
      assert.deepEqual([bio.size, bio.vcnt, rig.mapping.iter.count], [0, 0, 4096]);
      assert.equal(pinCount(rig.frameOf(0)), 0, 'H2: half a block keeps no pin');
      pool.release(bio);
      rig.mapping.finish();
    }
  });

  test('whole blocks before a wait go out', () => {
    using rig = new MappingRig(4);
    const waits = Number.POSITIVE_INFINITY;
    rig.space.map(BASE + 2 * PAGE_BYTES, { frame: rig.frameOf(2), waits });
    rig.startRanges(BioOp.READ, [[100, 4 * PAGE_BYTES - 512]], 'auto');
    const piece = new Piece();
    const bio = rig.bio(piece, 4 * PAGE_BYTES - 512);
    assert.equal(rig.mapping.fill(bio, piece), 0);
    assert.equal(bio.size, 15 * 512);
    rig.end(bio, piece);
    rig.mapping.endAt(15 * 512);
    assert.equal(rig.mapping.finish(), 15 * 512);
  });
});

const opArb = fc.constantFrom(BioOp.READ, BioOp.WRITE);
const rangesArb = fc.array(
  fc.tuple(fc.nat(6 * PAGE_BYTES), fc.oneof(fc.constantFrom(0, 512, 4096), fc.nat(5000))),
  { minLength: 1, maxLength: 6 },
);
const faultArb = fc.option(fc.constantFrom(-Errno.EFAULT, -Errno.EAGAIN, -Errno.ENOMEM));

test('33, 34: map and copy move the same bytes, end at the same fault, and hold nothing', () => {
  fc.assert(
    fc.property(opArb, rangesArb, fc.nat(7), faultArb, (op, wanted, bad, error) => {
      const results = (['auto', 'always'] as const).map((policy) => {
        using rig = new MappingRig(8);
        const frames = Array.from({ length: 8 }, (_, i) => rig.frameOf(i));
        if (error !== null) rig.space.map(BASE + bad * PAGE_BYTES, { frame: 0, error });
        const ranges = wanted.map(([at, len]) => [at, Math.min(len, 8 * 4096 - at)] as const);
        assert.equal(rig.startRanges(op, ranges, policy), 0);
        const all = rig.mapping.bytes - (rig.mapping.bytes % 512);
        let done = 0;
        let answer = 0;
        const device: number[] = [];
        while (done < all && answer === 0) {
          const piece = new Piece();
          piece.isCopied = policy === 'always';
          piece.userAt = done;
          piece.start = done;
          const bio = rig.bio(piece, all - done);
          answer = rig.mapping.fill(bio, piece);
          if (answer !== 0) {
            pool.release(bio);
            continue;
          }
          if (op === BioOp.READ) rig.deviceWrites(bio, 77, piece.bytes);
          else device.push(...rowBytes(bio, piece.bytes));
          done += piece.userBytes;
          rig.end(bio, piece);
        }
        rig.mapping.finish();
        assert.ok(frames.every((frame) => !maybePinned(frame)));
        return { answer, done, device, memory: frames.map((frame) => bytesOf(frame)) };
      });
      assert.deepEqual(results[1], results[0]);
    }),
    { numRuns: Math.max(Math.floor(RUNS.numRuns / 10), 50) },
  );
});

test('D3: a mapping never takes another hold than a pin of user memory', () => {
  using rig = new MappingRig(2);
  rig.startRanges(BioOp.READ, [[0, 8192]], 'auto');
  const piece = new Piece();
  const bio = rig.bio(piece, 8192);
  assert.equal(rig.mapping.fill(bio, piece), 0);
  for (let row = 0; row < bio.vcnt; row++) {
    assert.equal(bio.table.hold[bio.first + row], HoldKind.PINNED);
  }
  rig.end(bio, piece);
  rig.mapping.finish();
});
