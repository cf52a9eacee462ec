import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../base/errno.ts';
import { RUNS } from '../base/runs.fuzz.ts';
import { SECTOR_BYTES } from '../base/units.ts';
import { type Limits, makeLimits } from '../limits/limits.ts';
import { validateLimits } from '../limits/validate.ts';
import type { Bio } from './bio.ts';
import { BioOp } from './bio-op.ts';
import { BioPool } from './bio-pool.ts';
import { SplitPoint, splitPoint } from './split-point.ts';

// Ops without data: a range of the device and no segments.

const pool = new BioPool({ bios: 2000, rows: 4 });
const point = new SplitPoint();

interface Piece {
  readonly sector: number;
  readonly sectors: number;
  readonly segments: number;
}

function pieces(op: BioOp, sector: number, sectors: number, limits: Limits): Piece[] | number {
  const bio = pool.acquire(op, sector, 0) as Bio;
  bio.size = sectors * SECTOR_BYTES;
  const out: Piece[] = [];
  let error = 0;
  for (;;) {
    assert.ok(out.length < 5000, 'splitting does not end');
    splitPoint(bio, limits, point);
    const bytes = point.bytes === 0 ? bio.size : point.bytes;
    if (bytes < 0) error = bytes;
    if (bytes < 0) break;
    out.push({ sector: bio.sector, sectors: bytes / SECTOR_BYTES, segments: point.segments });
    if (point.bytes === 0) break;
    bio.advance(point.bytes);
  }
  pool.release(bio);
  assert.equal(pool.busyCount, 0);
  return error === 0 ? out : error;
}

function checkCover(list: Piece[], sector: number, sectors: number): void {
  let at = sector;
  for (const piece of list) {
    assert.equal(piece.sector, at);
    assert.ok(piece.sectors > 0);
    at += piece.sectors;
  }
  assert.equal(at, sector + sectors);
}

const limitsArb = fc
  .record({
    block: fc.constantFrom(1, 8),
    most: fc.integer({ min: 1, max: 300 }),
    granularity: fc.constantFrom(1, 2, 3, 16, 100),
    alignment: fc.nat(99),
    chunk: fc.constantFrom(0, 0, 64, 24),
    physical: fc.constantFrom(1, 1, 4),
  })
  .map(({ block, most, granularity, alignment, chunk, physical }) => {
    const unit = Math.max(granularity, physical) * block;
    return validateLimits({
      logical_block_size: block * SECTOR_BYTES,
      physical_block_size: block * physical * SECTOR_BYTES,
      max_hw_sectors: 1024,
      chunk_sectors: chunk * block,
      max_hw_discard_sectors: most * block,
      max_write_zeroes_sectors: most * block,
      max_secure_erase_sectors: most * block,
      discard_granularity: unit * SECTOR_BYTES,
      discard_alignment: (alignment % unit) * block * SECTOR_BYTES,
    });
  });
const rangeArb = fc.tuple(fc.nat(1000), fc.integer({ min: 1, max: 2000 }));

test('discards: within the limit, whole blocks, and the next start is on the granularity', () => {
  fc.assert(
    fc.property(limitsArb, rangeArb, (limits, [at, count]) => {
      const block = limits.logical_block_size / SECTOR_BYTES;
      const [sector, sectors] = [at * block, count * block];
      const list = pieces(BioOp.DISCARD, sector, sectors, limits) as Piece[];
      checkCover(list, sector, sectors);
      const unit = limits.discard_granularity / SECTOR_BYTES;
      const most = limits.max_discard_sectors;
      const offset = limits.discard_alignment / SECTOR_BYTES;
      for (const [i, piece] of list.entries()) {
        assert.ok(piece.sectors <= most, `${piece.sectors} > ${most}`);
        assert.equal(piece.sectors % block, 0);
        assert.equal(piece.segments, 1, 'one range');
        if (i === list.length - 1 || most < unit) continue;
        const end = piece.sector + piece.sectors;
        const whole = most - (most % unit);
        const canAlign = (piece.sector + whole - offset) % unit < whole;
        if (canAlign && unit % block === 0) assert.equal((end - offset + unit * 1000) % unit, 0);
      }
    }),
    RUNS,
  );
});

test('write zeroes: within its own limit and the chunk, without segments', () => {
  fc.assert(
    fc.property(limitsArb, rangeArb, (limits, [at, count]) => {
      const block = limits.logical_block_size / SECTOR_BYTES;
      const [sector, sectors] = [at * block, count * block];
      const list = pieces(BioOp.WRITE_ZEROES, sector, sectors, limits) as Piece[];
      checkCover(list, sector, sectors);
      const chunk = limits.chunk_sectors;
      for (const piece of list) {
        assert.ok(piece.sectors <= limits.max_write_zeroes_sectors);
        assert.equal(piece.sectors % block, 0);
        assert.equal(piece.segments, 0);
        const last = piece.sector + piece.sectors - 1;
        if (chunk === 0) continue;
        assert.equal(Math.floor(piece.sector / chunk), Math.floor(last / chunk), 'the chunk');
      }
    }),
    RUNS,
  );
});

test('secure erase has its own limit', () => {
  const limits = validateLimits({ max_secure_erase_sectors: 100, max_hw_discard_sectors: 8 });
  const list = pieces(BioOp.SECURE_ERASE, 0, 250, limits) as Piece[];
  assert.deepEqual(
    list.map(({ sectors }) => sectors),
    [100, 100, 50],
  );
});

test('what the device cannot do is EOPNOTSUPP', () => {
  const limits = validateLimits({});
  for (const op of [BioOp.DISCARD, BioOp.SECURE_ERASE, BioOp.WRITE_ZEROES]) {
    assert.equal(pieces(op, 0, 8, limits), -Errno.EOPNOTSUPP);
  }
});

// Guards: a limit below the granularity was ignored, and the whole range went as one discard.
test('a discard limit below its granularity still holds', () => {
  const limits = validateLimits({ max_hw_discard_sectors: 64, discard_granularity: 65536 });
  const list = pieces(BioOp.DISCARD, 0, 200, limits) as Piece[];
  assert.deepEqual(
    list.map(({ sectors }) => sectors),
    [64, 64, 64, 8],
  );
});

test('a limit below one block leaves nothing to send', () => {
  const valid = validateLimits({ logical_block_size: 4096, max_hw_discard_sectors: 64 });
  const limits = makeLimits({ ...valid, max_discard_sectors: 4, max_write_zeroes_sectors: 4 });
  assert.equal(pieces(BioOp.DISCARD, 0, 16, limits), -Errno.EINVAL);
  assert.equal(pieces(BioOp.WRITE_ZEROES, 0, 16, limits), -Errno.EINVAL);
});

test('a discard is as long as 32 bits of bytes say, whatever the device says', () => {
  const limits = validateLimits({ max_hw_discard_sectors: 2 ** 32 - 1 });
  const list = pieces(BioOp.DISCARD, 0, 2 ** 24, limits) as Piece[];
  assert.equal(list[0]?.sectors, 8388607);
});

test('a flush is never cut', () => {
  const list = pieces(BioOp.FLUSH, 0, 0, validateLimits({})) as Piece[];
  assert.deepEqual(list, [{ sector: 0, sectors: 0, segments: 0 }]);
});
