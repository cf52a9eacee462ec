import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { Errno } from '../base/errno.ts';
import { type Probe, ProbePoint } from '../base/probe.ts';
import { BioState, endBio } from '../bio/bio.ts';
import { BioOp } from '../bio/bio-op.ts';
import { BioPool } from '../bio/bio-pool.ts';
import { BvecTable } from '../bvec/bvec-table.ts';
import { IovIter, IterDirection } from '../iter/iov-iter.ts';
import { Iovec } from '../iter/iovec.ts';
import type { LimitsInput } from '../limits/limits.ts';
import { DEFAULT_PROFILE, LINUX_6_1, type Profile } from '../limits/profile.ts';
import { validateLimits } from '../limits/validate.ts';
import { MappedSpace } from '../memory/address-space.ts';
import { Arena } from '../memory/arena.ts';
import { HoldKind, isDirty, pinCount } from '../memory/holds.ts';
import { BounceReserve } from './bounce-reserve.ts';
import type { MapContext } from './map-context.ts';
import { MapCounters } from './map-counters.ts';
import { Mapping } from './mapping.ts';
import { Piece } from './piece.ts';
import { detachedRow, pinForCopy, unpinAfterCopy } from './user-pins.ts';
import { MapReason } from './verdict.ts';

const arena = new Arena({ maxBytes: 2 * 2 ** 20, label: 'copied transfers' });
const pool = new BioPool({ bios: 4, rows: 2048 });
afterEach(() => {
  assert.equal(pool.busyCount, 0);
  arena.assertNothingOutstanding();
});

function contextOf(input: LimitsInput = {}, profile: Profile = DEFAULT_PROFILE): MapContext {
  const limits = validateLimits({ dma_alignment: 0, ...input });
  return {
    limits,
    profile,
    arena,
    reserve: new BounceReserve(arena, limits),
    counters: new MapCounters(),
    blockBytes: limits.logical_block_size,
  };
}

function viewsIter(direction: IterDirection, views: readonly Uint8Array[]): IovIter {
  const iovec = new Iovec(Math.max(views.length, 1));
  iovec.importViews(views);
  const iter = new IovIter();
  iter.initBytes(direction, iovec);
  return iter;
}

/** One copied piece of a read, to its end: the device's part is `during`. */
function readCopied(
  context: MapContext,
  iter: IovIter,
  options: { readonly mapping?: Mapping; readonly during?: () => void; readonly policy?: 'always' },
): number {
  const { mapping = new Mapping(), during = (): void => undefined, policy = 'auto' } = options;
  const side = { iter, limits: context.limits };
  assert.equal(mapping.start(context, BioOp.READ, 0, side, null, policy), 0);
  const piece = new Piece();
  piece.isCopied = true;
  piece.bytes = mapping.bytes;
  piece.userBytes = mapping.bytes;
  const bio = pool.acquire(BioOp.READ, 0, mapping.vecsFor(piece.bytes, true));
  assert.ok(bio !== null);
  assert.equal(mapping.fill(bio, piece), 0);
  during();
  bio.state = BioState.SUBMITTED;
  bio.endIo = () => mapping.pieceEnded(bio, piece);
  endBio(bio);
  pool.release(bio);
  const result = mapping.finish();
  assert.deepEqual([context.counters.pagesHeld, context.counters.bouncePages], [0, 0]);
  return result;
}

test('vecs of a copied bio: a folio each, at least 4 and at most 256', () => {
  const table: readonly (readonly [LimitsInput, number, number])[] = [
    [{ max_segment_size: 4096 }, 512, 4],
    [{ max_segment_size: 4096 }, 4 * 4096 + 512, 5],
    [{ max_segment_size: 4096 }, 300 * 4096, 256],
    [{ max_segment_size: 65536 }, 2 ** 20, 16],
    [{ max_segment_size: 65536 }, 2 ** 20 + 1, 17],
  ];
  for (const [input, bytes, expected] of table) {
    const context = contextOf({ seg_boundary_mask: Number.MAX_SAFE_INTEGER, ...input });
    const mapping = new Mapping();
    const iter = viewsIter(IterDirection.DEST, [new Uint8Array(512)]);
    mapping.start(context, BioOp.READ, 0, { iter, limits: context.limits }, null, 'auto');
    assert.equal(mapping.vecsFor(bytes, true), expected, `${bytes} bytes`);
    mapping.finish();
    context.reserve.release();
  }
});

test('vecs of a mapped bio: by range, by page, or those of the owner', () => {
  using buffer = arena.alloc(8 * 4096);
  const bytes = 5 * 4096;
  const views = [buffer.bytes.subarray(0, bytes - 512), buffer.bytes.subarray(bytes, bytes + 512)];
  const space = new MappedSpace();
  const iovec = new Iovec();
  iovec.importRanges([4096], [bytes], 1);
  const user = new IovIter();
  user.initUser(IterDirection.DEST, space, iovec);
  const rows = new BvecTable(1);
  rows.set(0, buffer.page, 0, bytes, HoldKind.BORROWED);
  const bvec = new IovIter();
  bvec.initBvec(IterDirection.DEST, rows, 0, 1, 0, bytes);
  const table: readonly (readonly [IovIter, Profile, number])[] = [
    [viewsIter(IterDirection.DEST, views), DEFAULT_PROFILE, 2],
    [viewsIter(IterDirection.DEST, views), LINUX_6_1, 5 + 2], // Counts pages, also of an array.
    [user, DEFAULT_PROFILE, 5 + 1],
    [bvec, DEFAULT_PROFILE, 0],
  ];
  for (const [iter, profile, expected] of table) {
    const context = contextOf({}, profile);
    const mapping = new Mapping();
    mapping.start(context, BioOp.READ, 0, { iter, limits: context.limits }, null, 'auto');
    assert.equal(mapping.vecsFor(bytes, false), expected);
    mapping.finish();
    context.reserve.release();
  }
});

test('a copied piece ends at max_sectors where a cut at a block would be off alignment', () => {
  const input = { logical_block_size: 512, max_hw_sectors: 16, max_sectors: 16 };
  for (const [dma_alignment, expected] of [
    [511, 65536],
    [1023, 8192],
  ] as const) {
    const context = contextOf({ ...input, dma_alignment });
    const mapping = new Mapping();
    const iter = viewsIter(IterDirection.DEST, [new Uint8Array(65536)]);
    mapping.start(context, BioOp.READ, 0, { iter, limits: context.limits }, null, 'auto');
    const strict = context.limits.dma_alignment >= context.limits.logical_block_size;
    assert.equal(mapping.pieceBytesMax(0, 65536, true), strict ? 8192 : 65536);
    assert.equal(strict, expected === 8192);
    assert.equal(mapping.pieceBytesMax(0, 65536, false), 65536);
    assert.equal(mapping.pieceBytesMax(0, 512, true), 512);
    mapping.finish();
    context.reserve.release();
  }
});

test('a read into memory that was detached in flight: EFAULT, counted once, named', () => {
  for (const lost of [0, 1]) {
    const context = contextOf();
    const mapping = new Mapping();
    const views = [new Uint8Array(1024), new Uint8Array(1024)];
    const iter = viewsIter(IterDirection.DEST, views);
    const during = (): void => {
      structuredClone(views[lost]?.buffer, { transfer: [views[lost]?.buffer as ArrayBuffer] });
    };
    assert.equal(readCopied(context, iter, { mapping, during }), -Errno.EFAULT);
    assert.equal(mapping.detachedSegment, lost);
    assert.equal(context.counters.detached, 1);
    assert.equal(context.counters.bytesCopied[MapReason.DETACHABLE], lost * 1024);
    context.reserve.release();
  }
});

test('no array is named when none was detached', () => {
  const views = [new Uint8Array(0), new Uint8Array(8)];
  const iovec = new Iovec();
  iovec.importViews(views);
  assert.equal(detachedRow(iovec), -1);
});

test('a probe sees the pages of an address space that a copy holds and lets go', () => {
  const context = contextOf();
  using memory = arena.alloc(2 * 4096);
  const space = new MappedSpace();
  space.map(4096, memory.page);
  space.map(8192, memory.page + 1);
  const iter = new IovIter();
  const iovec = new Iovec();
  iovec.importRanges([4096 + 512], [4096], 1);
  iter.initUser(IterDirection.DEST, space, iovec);
  const seen: (readonly number[])[] = [];
  const probe: Probe = {
    hit(point, _traceId, _subject, _row, hold, pages): void {
      if (point === ProbePoint.HOLD || point === ProbePoint.UNHOLD) seen.push([point, hold, pages]);
    },
  };
  const mapping = new Mapping();
  mapping.probe = probe;
  const during = (): void => {
    assert.deepEqual([pinCount(memory.page), context.counters.pagesHeld], [2, 2]);
    assert.equal(isDirty(memory.page), false);
  };
  assert.equal(readCopied(context, iter, { mapping, during, policy: 'always' }), 4096);
  assert.equal(isDirty(memory.page), true);
  assert.equal(context.counters.bytesCopied[MapReason.ASKED], 4096);
  const ofUser = seen.filter(([, hold]) => hold === HoldKind.PINNED);
  const pages = (point: number): number =>
    ofUser.filter(([at]) => at === point).reduce((sum, [, , count = 0]) => sum + count, 0);
  assert.deepEqual([pages(ProbePoint.HOLD), pages(ProbePoint.UNHOLD)], [2, 2]);
  const own = seen.filter(([, hold]) => hold === HoldKind.OWNED).map(([point]) => point);
  assert.equal(own.filter((point) => point === ProbePoint.HOLD).length, own.length / 2);
  context.reserve.release();
});

test('pins for a copy: all of it or nothing, and the cursor says which', () => {
  const first = arena.alloc(4096);
  const gone = arena.alloc(4096);
  const views = [first.bytes.subarray(100, 200), new Uint8Array(50), gone.bytes.subarray(0, 10)];
  const iter = viewsIter(IterDirection.DEST, views);
  assert.equal(pinForCopy(iter, 160), 2); // The plain array has no page.
  assert.deepEqual([iter.count, pinCount(first.page), pinCount(gone.page)], [0, 1, 1]);
  iter.revert(160);
  assert.equal(unpinAfterCopy(iter, 160), 2);
  assert.deepEqual([iter.count, pinCount(first.page), pinCount(gone.page)], [0, 0, 0]);
  iter.revert(160);
  gone.release();
  assert.equal(pinForCopy(iter, 160), -1);
  assert.deepEqual([iter.count, pinCount(first.page)], [160, 0]);
  assert.equal(pinForCopy(iter, 150), 1); // What lies before it can still be had.
  iter.revert(150);
  assert.equal(unpinAfterCopy(iter, 150), 1);
  first.release();
});

/** Fills one piece of `mapping` with `bytes` at the current place. */
function fillPiece(mapping: Mapping, shape: Partial<Piece> & { readonly bytes: number }): Piece {
  const piece = Object.assign(new Piece(), { isCopied: true, userBytes: shape.bytes }, shape);
  const bio = pool.acquire(mapping.op, 0, mapping.vecsFor(piece.bytes, true));
  assert.ok(bio !== null);
  assert.equal(mapping.fill(bio, piece), 0);
  piece.bio = bio;
  return piece;
}

function endPiece(mapping: Mapping, piece: Piece, status = 0): void {
  const { bio } = piece;
  assert.ok(bio !== null);
  bio.status = status;
  bio.state = BioState.SUBMITTED;
  bio.endIo = () => mapping.pieceEnded(bio, piece);
  endBio(bio);
  pool.release(bio);
}

test('the first error of several pieces is the result', () => {
  const context = contextOf();
  const mapping = new Mapping();
  const iter = viewsIter(IterDirection.DEST, [new Uint8Array(3 * 512)]);
  mapping.start(context, BioOp.READ, 0, { iter, limits: context.limits }, null, 'auto');
  const pieces = [0, 512, 1024].map((userAt) =>
    fillPiece(mapping, { bytes: 512, start: userAt, userAt }),
  );
  const statuses = [0, -Errno.ENOSPC, -Errno.EIO];
  pieces.forEach((piece, i) => {
    endPiece(mapping, piece, statuses[i]);
  });
  assert.equal(mapping.status, -Errno.ENOSPC);
  assert.equal(mapping.finish(), -Errno.ENOSPC);
  assert.equal(context.counters.transfers, 1);
  context.reserve.release();
});

test('the earliest short end is the result, whichever piece tells of it first', () => {
  for (const order of [
    [1, 2],
    [2, 1],
  ]) {
    const context = contextOf();
    const mapping = new Mapping();
    const iter = viewsIter(IterDirection.DEST, [new Uint8Array(3 * 512)]);
    mapping.start(context, BioOp.READ, 4096, { iter, limits: context.limits }, null, 'auto');
    const pieces = [0, 512, 1024].map((userAt) =>
      fillPiece(mapping, { bytes: 512, start: 4096 + userAt, userAt }),
    );
    for (const i of [0, ...order]) {
      const piece = pieces[i];
      assert.ok(piece !== undefined && piece.bio !== null);
      if (i > 0) piece.bio.shortAt = piece.start + 100;
      endPiece(mapping, piece);
    }
    assert.equal(mapping.finish(), 512 + 100);
    context.reserve.release();
  }
});

test('a copy of released memory is EFAULT at the call, and nothing is taken for it', () => {
  const context = contextOf();
  const buffer = arena.alloc(4096);
  const iter = viewsIter(IterDirection.SOURCE, [buffer.bytes.subarray(0, 512)]);
  buffer.release();
  const mapping = new Mapping();
  mapping.start(context, BioOp.WRITE, 0, { iter, limits: context.limits }, null, 'always');
  const piece = Object.assign(new Piece(), { isCopied: true, bytes: 512, userBytes: 512 });
  const bio = pool.acquire(BioOp.WRITE, 0, 4);
  assert.ok(bio !== null);
  assert.equal(mapping.fill(bio, piece), -Errno.EFAULT);
  assert.deepEqual([bio.vcnt, bio.size, mapping.iter.count, mapping.pieces], [0, 0, 512, 0]);
  pool.release(bio);
  assert.equal(mapping.finish(), -Errno.EFAULT);
  assert.deepEqual([mapping.detachedSegment, context.counters.detached], [-1, 0]);
  context.reserve.release();
});

test('a copied write of an address space counts its bytes by reason', () => {
  const context = contextOf();
  using memory = arena.alloc(4096);
  memory.bytes.fill(5);
  const space = new MappedSpace();
  space.map(8192, memory.page, { readOnly: true });
  const iovec = new Iovec();
  iovec.importRanges([8192], [1024], 1);
  const iter = new IovIter();
  iter.initUser(IterDirection.SOURCE, space, iovec);
  const mapping = new Mapping();
  mapping.start(context, BioOp.WRITE, 0, { iter, limits: context.limits }, null, 'always');
  const piece = fillPiece(mapping, { bytes: 1024 });
  assert.equal(pinCount(memory.page), 0); // A whole write is a snapshot of the call.
  assert.equal(context.counters.bytesCopied[MapReason.ASKED], 1024);
  endPiece(mapping, piece);
  assert.equal(mapping.finish(), 1024);
  assert.equal(isDirty(memory.page), false);
  context.reserve.release();
});

test('an edge is counted for its edge, unless all of the transfer is copied anyway', () => {
  using buffer = arena.alloc(4096);
  const table = [
    [[buffer.bytes.subarray(0, 100)], 'auto', 12, MapReason.OFFSET],
    [[buffer.bytes.subarray(0, 100)], 'auto', 0, MapReason.LENGTH],
    [[buffer.bytes.subarray(0, 100)], 'always', 12, MapReason.ASKED],
    [[new Uint8Array(100)], 'auto', 12, MapReason.DETACHABLE],
  ] as const;
  for (const [views, policy, skip, reason] of table) {
    const context = contextOf();
    const mapping = new Mapping();
    const iter = viewsIter(IterDirection.DEST, views);
    mapping.start(context, BioOp.READ, skip, { iter, limits: context.limits }, null, policy);
    const piece = fillPiece(mapping, { bytes: 512, userBytes: 100, skip, isPart: true });
    endPiece(mapping, piece);
    assert.equal(mapping.finish(), 100);
    const counted = [...context.counters.bytesCopied].map((bytes, at) => [at, bytes]);
    assert.deepEqual(
      counted.filter(([, bytes]) => bytes !== 0),
      [[reason, 100]],
    );
    context.reserve.release();
  }
});
