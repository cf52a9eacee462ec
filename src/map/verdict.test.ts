import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { Errno } from '../base/errno.ts';
import { BioOp } from '../bio/bio-op.ts';
import { BioPool } from '../bio/bio-pool.ts';
import { IovIter, IterDirection } from '../iter/iov-iter.ts';
import { Iovec } from '../iter/iovec.ts';
import type { LimitsInput } from '../limits/limits.ts';
import { DEFAULT_PROFILE } from '../limits/profile.ts';
import { validateLimits } from '../limits/validate.ts';
import { Arena } from '../memory/arena.ts';
import { BounceReserve } from './bounce-reserve.ts';
import { refusal } from './decide.ts';
import { COPY_INSTEAD, type MapContext } from './map-context.ts';
import { MapCounters } from './map-counters.ts';
import { Mapping } from './mapping.ts';
import { Piece } from './piece.ts';
import { type CopyPolicy, MAP_REASON_NAMES, MapReason, VERDICT_NAMES } from './verdict.ts';

const arena = new Arena({ maxBytes: 4 * 2 ** 20, label: 'verdicts' });
const heap = arena.alloc(64 * 4096, 'heap');
const pool = new BioPool({ bios: 4, rows: 1024 });
after(() => {
  heap.release();
  assert.equal(pool.busyCount, 0);
  arena.assertNothingOutstanding();
});

/** Bytes [start, start + len) of the heap, which starts on a page. */
type Range = readonly [start: number, len: number];

interface Case {
  /** Rows of the heap; a number is an array of the outside with so many bytes. */
  readonly memory: readonly (Range | number)[];
  readonly position?: number;
  readonly limits?: LimitsInput;
  readonly policy?: CopyPolicy;
  /** Only the first bytes of the memory. */
  readonly truncate?: number;
  readonly blockBytes?: number;
}

function contextOf(input: Case): MapContext {
  const limits = validateLimits({ dma_alignment: 0, ...input.limits });
  return {
    limits,
    profile: DEFAULT_PROFILE,
    arena,
    reserve: new BounceReserve(arena, limits),
    counters: new MapCounters(),
    blockBytes: input.blockBytes ?? limits.logical_block_size,
  };
}

function iterOf(input: Case): IovIter {
  const iovec = new Iovec(Math.max(input.memory.length, 1));
  iovec.importViews(
    input.memory.map((range) => {
      if (typeof range === 'number') return new Uint8Array(range);
      return heap.bytes.subarray(range[0], range[0] + range[1]);
    }),
  );
  const iter = new IovIter();
  iter.initBytes(IterDirection.SOURCE, iovec);
  iter.truncate(input.truncate ?? iter.count);
  return iter;
}

interface Outcome {
  readonly verdict: string;
  readonly reason: string;
  /** Of what lies between partial ends. */
  readonly middle: string;
}

/** Starts a mapping and fills its first bio of whole blocks, as a device would; then undoes it. */
function decideAll(input: Case): Outcome {
  const context = contextOf(input);
  const { limits, counters } = context;
  const mapping = new Mapping();
  const iter = iterOf(input);
  const side = { iter, limits };
  const policy = input.policy ?? 'auto';
  const status = mapping.start(context, BioOp.WRITE, input.position ?? 0, side, null, policy);
  if (status === 0 && mapping.reason === MapReason.FITS && iter.count > 0) {
    const piece = new Piece();
    piece.userBytes = iter.count;
    piece.bytes = iter.count;
    const bio = pool.acquire(BioOp.WRITE, 0, mapping.vecsFor(iter.count, false));
    assert.ok(bio !== null);
    const result = mapping.fill(bio, piece);
    if (result === 0) mapping.pieceEnded(bio, piece);
    else {
      assert.equal(result, policy === 'never' ? -Errno.EINVAL : COPY_INSTEAD);
      assert.equal(mapping.iter.count, iter.count, 'the cursor is back where it was');
      assert.deepEqual([bio.vcnt, bio.size], [0, 0]);
    }
    pool.release(bio);
  }
  const { verdict, reason, middleReason } = mapping;
  if (status !== 0) assert.deepEqual([status, verdict], [-Errno.EINVAL, 2]);
  mapping.finish();
  assert.deepEqual([counters.pagesHeld, counters.bouncePages, mapping.pagesHeld], [0, 0, 0]);
  assert.equal(arena.stats().pinnedPages, 0);
  context.reserve.release();
  return {
    verdict: VERDICT_NAMES[verdict],
    reason: MAP_REASON_NAMES[reason],
    middle: MAP_REASON_NAMES[middleReason],
  };
}

const FITS: Outcome = { verdict: 'map', reason: 'fits', middle: 'fits' };
const PAGE: Range = [0, 4096];

const TWO_PAGES: LimitsInput = { virt_boundary_mask: 8191, logical_block_size: 8192 };

/** For each reason: a case that has it, and the nearest one that has not. */
const PAIRS: Readonly<Record<string, readonly [has: Case, hasNot: Case]>> = {
  detachable: [{ memory: [PAGE, 512] }, { memory: [PAGE, 0] }],
  'detachable ': [{ memory: [PAGE, 512] }, { memory: [PAGE, 512], truncate: 4096 }],
  asked: [
    { memory: [PAGE], policy: 'always' },
    { memory: [PAGE], policy: 'auto' },
  ],
  offset: [
    { memory: [PAGE], position: 511 },
    { memory: [PAGE], position: 512 },
  ],
  'offset ': [
    { memory: [PAGE], position: 2048, limits: { logical_block_size: 4096 } },
    { memory: [PAGE], position: 2048, limits: { logical_block_size: 2048 } },
  ],
  'offset  ': [
    { memory: [PAGE], position: 1 },
    { memory: [PAGE], position: 1, blockBytes: 1 },
  ],
  length: [{ memory: [[0, 4095]] }, { memory: [[0, 4096]] }],
  'length ': [
    {
      memory: [
        [0, 100],
        [4096, 411],
      ],
    },
    {
      memory: [
        [0, 100],
        [4096, 412],
      ],
    },
  ],
  address: [
    { memory: [[510, 512]], limits: { dma_alignment: 3 } },
    { memory: [[512, 512]], limits: { dma_alignment: 3 } },
  ],
  'address ': [
    {
      memory: [
        [0, 511],
        [4096, 513],
      ],
      limits: { dma_alignment: 1 },
    },
    {
      memory: [
        [0, 510],
        [4096, 514],
      ],
      limits: { dma_alignment: 1 },
    },
  ],
  // A cut at a block would leave memory that starts off dma_alignment.
  'address  ': [
    { memory: [[0, 8192]], limits: { dma_alignment: 4095, chunk_sectors: 9 } },
    { memory: [[0, 8192]], limits: { dma_alignment: 511, chunk_sectors: 9 } },
  ],
  segments: [
    {
      memory: [
        [0, 256],
        [4096, 256],
      ],
      limits: { max_segments: 1 },
    },
    {
      memory: [
        [0, 256],
        [4096, 256],
      ],
      limits: { max_segments: 2 },
    },
  ],
  'segments ': [
    {
      memory: [
        [0, 256],
        [4096, 256],
      ],
      limits: { max_segments: 1 },
    },
    {
      memory: [
        [0, 256],
        [256, 256],
      ],
      limits: { max_segments: 1 },
    },
  ],
  // 512 fragments of 8 bytes are a block of 4096, but a bio has 256 rows.
  'segments  ': [
    { memory: fragments(512, 8), limits: { logical_block_size: 4096, max_segments: 1024 } },
    { memory: fragments(256, 16), limits: { logical_block_size: 4096, max_segments: 1024 } },
  ],
  gap: [
    {
      memory: [
        [0, 256],
        [4096, 256],
      ],
      limits: { virt_boundary_mask: 4095 },
    },
    {
      memory: [
        [3840, 256],
        [8192, 256],
      ],
      limits: { virt_boundary_mask: 4095 },
    },
  ],
  // Both are pages that end and start on a page; on a boundary of two pages only the second pair.
  'gap ': [
    {
      memory: [
        [8192, 4096],
        [16384, 4096],
      ],
      limits: TWO_PAGES,
    },
    {
      memory: [
        [4096, 4096],
        [16384, 4096],
      ],
      limits: TWO_PAGES,
    },
  ],
};

/** Every second `len` bytes. */
function fragments(count: number, len: number): readonly Range[] {
  return Array.from({ length: count }, (_, i): Range => [i * 2 * len, len]);
}

describe('verdicts', () => {
  for (const [name, [has, hasNot]] of Object.entries(PAIRS)) {
    const reason = name.trim();
    test(`${reason}: ${JSON.stringify(has).slice(0, 70)}`, () => {
      const outcome = decideAll(has);
      assert.deepEqual([outcome.verdict, outcome.reason], ['copy', reason]);
      assert.deepEqual(decideAll(hasNot), FITS);
      if (has.policy !== undefined) return;
      assert.deepEqual(decideAll({ ...has, policy: 'never' }).verdict, 'refuse');
      assert.deepEqual(decideAll({ ...hasNot, policy: 'never' }), FITS);
    });
  }

  test('the order of the tests: the first reason that holds', () => {
    const worst: Case = {
      memory: [[1, 256], [4097, 254], 100],
      position: 3,
      limits: { dma_alignment: 511 },
      policy: 'always',
    };
    assert.equal(decideAll(worst).reason, 'detachable');
    assert.equal(decideAll({ ...worst, truncate: 400 }).reason, 'asked');
    assert.equal(decideAll({ ...worst, truncate: 400, policy: 'auto' }).reason, 'offset');
    const aligned: Case = { ...worst, truncate: 400, policy: 'auto', position: 0 };
    assert.equal(decideAll(aligned).reason, 'length');
    assert.equal(decideAll({ ...aligned, memory: [[1, 512]], truncate: 512 }).reason, 'address');
  });

  test('only the middle: what lies between partial ends goes by its own address', () => {
    const middle = (input: Case): string => decideAll(input).middle;
    const limits = { dma_alignment: 3 };
    assert.equal(middle({ memory: [[0, 8192]], position: 4, limits }), 'fits');
    assert.equal(middle({ memory: [[0, 8192]], position: 3, limits }), 'address');
    assert.equal(middle({ memory: [[2, 8192]], position: 3, limits }), 'address');
    // 509 bytes to the next block: byte 3 + 509 = 512 of the heap is aligned.
    assert.equal(middle({ memory: [[3, 8192]], position: 3, limits }), 'fits');
    assert.equal(middle({ memory: [[0, 8191]], limits }), 'fits');
    assert.equal(middle({ memory: [[1, 8191]], limits }), 'address');
    assert.equal(middle({ memory: [[0, 100]], position: 100, limits }), 'fits'); // There is none.
    assert.equal(middle({ memory: [8192], position: 4, limits }), 'detachable');
  });

  test('nothing to transfer fits', () => {
    assert.deepEqual(decideAll({ memory: [] }), FITS);
    assert.deepEqual(decideAll({ memory: [[1, 0]] }), FITS);
  });

  test("the sentence for copy: 'never' names the limit and its value", () => {
    const limits = validateLimits({
      logical_block_size: 1024,
      dma_alignment: 63,
      max_segments: 5,
      virt_boundary_mask: 8191,
    });
    const sentences = Object.values(MapReason).map((reason) => refusal(reason, limits, 1024));
    const never = "and copy is 'never'";
    assert.deepEqual(sentences, [
      `the memory fits, ${never}`,
      `memory of a plain Buffer can be detached in flight, so it must be copied, ${never}`,
      `the memory fits, ${never}`,
      `the position is no multiple of logical_block_size 1024, ${never}`,
      `the length is no multiple of logical_block_size 1024, ${never}`,
      `a memory address or segment length is no multiple of dma_alignment + 1 = 64, ${never}`,
      `as many segments as max_segments 5 allows hold less than one block of 1024 bytes, ${never}`,
      `a gap at virt_boundary_mask 8191 leaves less than one block of 1024 bytes, ${never}`,
      `the driver has pages of its own for this request, ${never}`,
      `memory of no program cannot be pinned, so it must be copied, ${never}`,
      'the length passes max_hw_sectors 254, and no copy is shorter',
      "the ref tags must become those of the device, which changes them, and copy is 'never'",
    ]);
  });
});
