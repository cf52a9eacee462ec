import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addSegment } from '../../bio/bio-add.ts';
import { BioOp } from '../../bio/bio-op.ts';
import { BioPool } from '../../bio/bio-pool.ts';
import type { LimitsInput } from '../../limits/limits.ts';
import { presetLimits } from '../../limits/presets.ts';
import { fromEffective } from '../../limits/validate.ts';
import { HoldKind } from '../../memory/holds.ts';
import { Request } from '../../queue/request.ts';
import { checkRequest } from './request-checker.ts';

const pool = new BioPool({ bios: 256, rows: 4096 });

type Row = readonly [page: number, offset: number, len: number];

function requestOf(op: BioOp, sector: number, bios: readonly (readonly Row[])[]): Request {
  const request = new Request();
  let at = sector;
  for (const rows of bios) {
    const bio = pool.acquire(op, at, rows.length);
    assert(bio !== null);
    for (const [page, offset, len] of rows) {
      assert.equal(addSegment(bio, page, offset, len, HoldKind.BORROWED), len);
    }
    at += bio.size / 512;
    if (request.bioTail === null) request.start(0, bio, 0);
    else {
      request.bioTail.next = bio;
      request.bioTail = bio;
      request.bytes += bio.size;
    }
  }
  request.segments = 65535;
  return request;
}

function faultOf(input: LimitsInput, sector: number, bios: readonly (readonly Row[])[]) {
  const limits = fromEffective({ ...presetLimits('unlimited'), ...input });
  return checkRequest(requestOf(BioOp.READ, sector, bios), limits);
}

const PAGE: Row = [1, 0, 4096];
const SCATTERED: readonly Row[] = [
  [1, 0, 4096],
  [3, 0, 4096],
  [5, 0, 4096],
];

test('what fits has no fault', () => {
  assert.equal(faultOf({}, 0, [[PAGE]]), null);
  assert.equal(faultOf({ max_segments: 3 }, 0, [SCATTERED]), null);
  assert.equal(faultOf({ max_hw_sectors: 24 }, 0, [SCATTERED]), null);
  assert.equal(faultOf({ virt_boundary_mask: 4095 }, 0, [SCATTERED]), null);
  assert.equal(faultOf({ chunk_sectors: 8 }, 8, [[PAGE]]), null);
});

test('each limit is seen when it is broken', () => {
  assert.match(faultOf({ max_segments: 2 }, 0, [SCATTERED]) ?? '', /max_segments is 2/);
  assert.match(faultOf({ max_hw_sectors: 16 }, 0, [SCATTERED]) ?? '', /max_sectors is 16/);
  assert.match(faultOf({ chunk_sectors: 8 }, 4, [[PAGE]]) ?? '', /chunk_sectors/);
  assert.match(faultOf({ logical_block_size: 4096 }, 1, [[PAGE]]) ?? '', /inside a block/);
  assert.match(faultOf({ dma_alignment: 511 }, 0, [[[1, 4, 512]]]) ?? '', /dma_alignment is 511/);
  const long: Row = [1, 0, 5 * 4096];
  const pieces = { max_segments: 1, max_segment_size: 16384 };
  assert.match(faultOf(pieces, 0, [[long]]) ?? '', /2 segments/);
  const windows = { max_segments: 2, seg_boundary_mask: 8191 };
  assert.match(faultOf(windows, 0, [[long]]) ?? '', /3 segments/);
  const gap: readonly Row[] = [
    [1, 0, 512],
    [3, 0, 512],
  ];
  assert.match(faultOf({ virt_boundary_mask: 4095 }, 0, [gap]) ?? '', /virt_boundary of 4096/);
  const acrossBios = gap.map((row) => [row]);
  assert.match(faultOf({ virt_boundary_mask: 4095 }, 0, acrossBios) ?? '', /virt_boundary/);
});

test('bios that do not follow each other are no request', () => {
  const request = requestOf(BioOp.WRITE, 0, [[PAGE], [PAGE]]);
  assert(request.bioTail !== null);
  request.bioTail.sector = 100;
  assert.match(checkRequest(request, presetLimits('unlimited')) ?? '', /starts at byte 51200/);
  const short = requestOf(BioOp.WRITE, 0, [[PAGE]]);
  short.bytes = 8192;
  assert.match(checkRequest(short, presetLimits('unlimited')) ?? '', /request says 8192/);
});

test('a count of segments that is too low is seen', () => {
  const request = requestOf(BioOp.WRITE, 0, [SCATTERED]);
  request.segments = 2;
  const fault = checkRequest(request, presetLimits('unlimited'));
  assert.match(fault ?? '', /counted as 2/);
});

test('commands without data have limits of their own', () => {
  const limits = fromEffective({ max_hw_discard_sectors: 64, max_write_zeroes_sectors: 8 });
  for (const [op, sectors] of [
    [BioOp.DISCARD, 64],
    [BioOp.WRITE_ZEROES, 8],
  ] as const) {
    const request = requestOf(op, 0, [[]]);
    assert(request.bio !== null);
    for (const [count, isGood] of [
      [sectors, true],
      [sectors + 1, false],
    ] as const) {
      request.bio.size = count * 512;
      request.bytes = count * 512;
      assert.equal(checkRequest(request, limits) === null, isGood);
    }
  }
});
