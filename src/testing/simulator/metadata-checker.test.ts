import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BioOp } from '../../bio/bio-op.ts';
import { BioPool } from '../../bio/bio-pool.ts';
import { type BioIntegrity, PayloadFlag } from '../../integrity/bio-integrity.ts';
import { BioIntegrityPool } from '../../integrity/bio-integrity-pool.ts';
import { integrityOfType, PiType } from '../../integrity/integrity-profile.ts';
import { validateLimits } from '../../limits/validate.ts';
import { HoldKind } from '../../memory/holds.ts';
import { Request } from '../../queue/request.ts';
import { checkRequestMetadata } from './metadata-checker.ts';

const PROFILE = integrityOfType({ type: PiType.TYPE1, csum: 'crc16' }, 512);
const LIMITS = validateLimits({
  max_integrity_segments: 2,
  max_segment_size: 4096,
  virt_boundary_mask: 511,
});

/** Two bios of 1024 and 512 bytes with their records at [page, offset, bytes]. */
function requestOf(
  rows: readonly (readonly [page: number, offset: number, bytes: number][] | null)[],
  change: (payloads: readonly (BioIntegrity | null)[]) => void = () => {},
): string | null {
  const bios = new BioPool({ bios: 4, rows: 16 });
  const pool = new BioIntegrityPool({ payloads: 4, rows: 64, profile: PROFILE });
  const payloads = rows.map((list) => {
    const payload = list === null ? null : pool.acquire(Math.max(list.length, 1));
    for (const row of list ?? []) payload?.addRow(...row, HoldKind.BORROWED);
    return payload;
  });
  change(payloads);
  const [first, second] = payloads.map((payload, i) => {
    const bio = bios.acquire(BioOp.WRITE, i === 0 ? 0 : 2, 0);
    assert.ok(bio !== null);
    bio.size = i === 0 ? 1024 : 512;
    bio.integrity = payload;
    return bio;
  });
  assert.ok(first !== undefined && second !== undefined);
  first.next = second;
  const request = new Request();
  request.op = BioOp.WRITE;
  request.bio = first;
  return checkRequestMetadata(request, LIMITS, PROFILE);
}

/** 16 bytes that end at a boundary of 512, and 8 that start at one. */
const FRONT = [[5, 496, 16]] as [number, number, number][];
const BACK = [[9, 512, 8]] as [number, number, number][];

test('metadata that a device takes passes', () => {
  assert.equal(requestOf([FRONT, BACK]), null);
  assert.equal(requestOf([null, null]), null);
});

test('every rule can fail', () => {
  const cases: readonly [string | null, RegExp][] = [
    [requestOf([FRONT, null]), /some of its bios have metadata, and some have none/],
    [requestOf([[[5, 496, 8]], BACK]), /8 bytes of metadata go with 1024 of data/],
    [
      requestOf([FRONT, BACK], ([payload]) => {
        if (payload) payload.flags = PayloadFlag.BLOCK;
      }),
      /of a program and of the block layer share a request/,
    ],
    [
      requestOf([FRONT, BACK], ([payload]) => {
        if (payload) payload.check = 1;
      }),
      /different checks share/,
    ],
    [
      requestOf([FRONT, BACK], ([front, back]) => {
        if (front) front.check = 4;
        if (back) Object.assign(back, { check: 4, appTag: 3 });
      }),
      /different app tags share/,
    ],
    [requestOf([FRONT, [[9, 500, 8]]]), /a joint off the virt_boundary of 512/],
    [
      requestOf([
        [
          [5, 100, 8],
          [6, 504, 8],
        ],
        BACK,
      ]),
      /has 3 segments, but max_integrity_segments is 2/,
    ],
  ];
  for (const [why, expected] of cases) assert.match(why ?? 'nothing', expected);
});
