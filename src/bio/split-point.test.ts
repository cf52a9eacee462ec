import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../base/errno.ts';
import { RUNS } from '../base/runs.fuzz.ts';
import { PAGE_BYTES, SECTOR_BYTES } from '../base/units.ts';
import type { Limits } from '../limits/limits.ts';
import { validateLimits } from '../limits/validate.ts';
import { type Bio, endBio } from './bio.ts';
import { buildBio, type Segment, segmentsArb, wordsOf } from './bio-bytes.fuzz.ts';
import { BioFlag, BioOp } from './bio-op.ts';
import { BioPool } from './bio-pool.ts';
import {
  alignOf,
  brokenLimit,
  countSegments,
  isWholeBlocks,
  limitsArb,
  passesPhysicalBlock,
} from './limits-judge.fuzz.ts';
import { maxIoBytes, SplitCause, SplitPoint, splitPoint } from './split-point.ts';

const pool = new BioPool({ bios: 4096, rows: 4096 });
const point = new SplitPoint();

interface Case {
  readonly limits: Limits;
  readonly sector: number;
  readonly segments: Segment[];
}

function withoutHold({ page, offset, len }: Segment): Segment {
  return { page, offset, len };
}

const caseArb: fc.Arbitrary<Case> = limitsArb.chain((limits) => {
  const block = limits.logical_block_size / SECTOR_BYTES;
  return fc.record({
    limits: fc.constant(limits),
    sector: fc.oneof(fc.constantFrom(0, 1, 3), fc.nat(500)).map((n) => n * block),
    segments: segmentsArb(alignOf(limits), limits.logical_block_size).map((segments) =>
      // A boundary beyond the page goes by the page of the row, and a rest has a row of its own.
      limits.virt_boundary_mask < PAGE_BYTES ? segments : segments.map(withoutHold),
    ),
  });
});

/** Splits until nothing is left. Calls `piece` for every range that would be sent. */
function splitAll(
  bio: Bio,
  limits: Limits,
  piece: (start: number, bytes: number, sector: number, isSplit: boolean) => void,
): { fronts: Bio[]; error: number; at: number } {
  const fronts: Bio[] = [];
  let at = 0;
  for (;;) {
    assert.ok(fronts.length < 4000, 'splitting does not end');
    splitPoint(bio, limits, point);
    if (point.bytes < 0) return { fronts, error: point.bytes, at };
    if (point.bytes === 0) break;
    piece(at, point.bytes, bio.sector, true);
    const front = pool.splitFront(bio, point.bytes);
    assert.ok(front !== null);
    assert.equal(front.size, point.bytes);
    at += point.bytes;
    fronts.push(front);
  }
  piece(at, bio.size, bio.sector, false);
  return { fronts, error: 0, at };
}

/** Ends every part; the bio must have ended once, with the last of them. */
function endAll(bio: Bio, fronts: readonly Bio[]): void {
  let ends = 0;
  bio.state = 2; // SUBMITTED, as the queue does.
  bio.endIo = () => {
    ends++;
  };
  endBio(bio);
  for (const front of fronts) {
    assert.equal(ends, 0);
    endBio(front);
  }
  assert.equal(ends, 1);
  pool.release(bio);
  assert.equal(pool.busyCount, 0);
  assert.equal(pool.runs.rowsUsed, 0);
}

test('26, 27: every piece satisfies the limits and none could be a block longer', () => {
  let splits = 0;
  let failures = 0;
  fc.assert(
    fc.property(caseArb, ({ limits, sector, segments }) => {
      const bio = buildBio(pool, BioOp.WRITE, sector, segments);
      const words = wordsOf(bio);
      const block = limits.logical_block_size;
      const { fronts, error, at } = splitAll(bio, limits, (start, size, from, isSplit) => {
        const range = { start, end: start + size, sector: from };
        assert.equal(brokenLimit(words, range, limits), null);
        assert.ok(isWholeBlocks(range, limits), `${size} bytes are no whole blocks`);
        assert.equal(from * SECTOR_BYTES, sector * SECTOR_BYTES + start);
        const counted = countSegments(words, range, limits);
        if (!isSplit) return assert.equal(point.segments, counted);
        splits++;
        assert.ok(point.segments >= counted && point.segments <= limits.max_segments);
        const more = { ...range, end: range.end + block };
        assert.ok(
          brokenLimit(words, more, limits) !== null ||
            passesPhysicalBlock(from, (size + block) / SECTOR_BYTES, limits),
          'one more block would have fitted',
        );
      });
      if (error !== 0) {
        failures++;
        assert.equal(error, -Errno.EINVAL);
        const least = { start: at, end: at + block, sector: bio.sector };
        assert.notEqual(brokenLimit(words, least, limits), null, 'one block would have fitted');
      }
      endAll(bio, fronts);
    }),
    RUNS,
  );
  assert.ok(splits > 1000 && failures > 10, `${splits} splits, ${failures} failures`);
});

test('25: the pieces are the bytes of the bio, in order', () => {
  fc.assert(
    fc.property(caseArb, ({ limits, sector, segments }) => {
      const bio = buildBio(pool, BioOp.READ, sector, segments);
      const whole = wordsOf(bio).addr;
      const { fronts } = splitAll(bio, limits, () => {});
      const parts = [...fronts, bio];
      const joined = parts.flatMap((part) => wordsOf(part).addr);
      assert.equal(joined.length, whole.length);
      assert.ok(joined.every((addr, i) => addr === whole[i]));
      let at = sector;
      for (const part of parts) {
        assert.equal(part.sector, at);
        at += part.sectors;
      }
      endAll(bio, fronts);
    }),
    RUNS,
  );
});

test('an entry that starts off dma_alignment is refused, whatever its place', () => {
  fc.assert(
    fc.property(caseArb, fc.nat(10), fc.integer({ min: 1, max: 511 }), (given, which, off) => {
      const limits = validateLimits({ ...given.limits, dma_alignment: 511, max_segments: 1024 });
      const page = 10_000; // Away from all others: it joins none.
      const segments = given.segments.map(({ page, len }) => ({ page, offset: 0, len }));
      segments.splice(which % (segments.length + 1), 0, { page, offset: off, len: 512 });
      const bio = buildBio(pool, BioOp.WRITE, 0, segments);
      const { fronts, error } = splitAll(bio, limits, () => {});
      assert.equal(error, -Errno.EINVAL);
      endAll(bio, fronts);
    }),
    RUNS,
  );
});

test('NOWAIT fails with EAGAIN where another bio would be split', () => {
  fc.assert(
    fc.property(caseArb, ({ limits, sector, segments }) => {
      const bio = buildBio(pool, BioOp.WRITE, sector, segments);
      splitPoint(bio, limits, point);
      const wouldSplit = point.bytes !== 0;
      bio.flags |= BioFlag.NOWAIT;
      splitPoint(bio, limits, point);
      assert.equal(point.bytes, wouldSplit ? -Errno.EAGAIN : 0);
      endAll(bio, []);
    }),
    RUNS,
  );
});

// Guards: the shortcut for one segment within a page ignored a max_sectors below a page.
test('a max_sectors below a page also cuts a bio of one page', () => {
  const limits = validateLimits({ max_dev_sectors: 2 });
  const bio = buildBio(pool, BioOp.WRITE, 0, [{ page: 3, offset: 0, len: 4096 }]);
  splitPoint(bio, limits, point);
  assert.equal(point.bytes, 1024);
  assert.equal(point.cause, SplitCause.MAX_SECTORS);
  endAll(bio, []);
});

test('maxIoBytes: size, chunk and physical block, found by trying every end', () => {
  fc.assert(
    fc.property(limitsArb, fc.nat(2000), (limits, at) => {
      const { chunk_sectors: chunk, max_sectors: most } = limits;
      const lbs = limits.logical_block_size / SECTOR_BYTES;
      const pbs = limits.physical_block_size / SECTOR_BYTES;
      const sector = at * lbs;
      let fits = 0;
      let onPhysical = 0;
      for (let sectors = 1; sectors <= most; sectors++) {
        const end = sector + sectors;
        if (chunk > 0 && Math.floor(sector / chunk) !== Math.floor((end - 1) / chunk)) break;
        fits = sectors;
        if (end % pbs === 0) onPhysical = sectors;
      }
      const expected = onPhysical > 0 ? onPhysical : Math.floor(fits / lbs) * lbs;
      assert.equal(maxIoBytes(sector, limits), expected * SECTOR_BYTES);
    }),
    RUNS,
  );
});
