import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Bio } from '../bio/bio.ts';
import { buildBio } from '../bio/bio-bytes.fuzz.ts';
import { BioOp } from '../bio/bio-op.ts';
import { BioPool } from '../bio/bio-pool.ts';
import { BioIntegrityPool } from '../integrity/bio-integrity-pool.ts';
import { validateIntegrity } from '../integrity/integrity-profile.ts';
import type { Profile } from '../limits/profile.ts';
import { validateLimits } from '../limits/validate.ts';
import { HoldKind } from '../memory/holds.ts';
import { MergeResult, tryMerge } from './merge.ts';
import { Request } from './request.ts';

const { BACK, FRONT, NONE } = MergeResult;
const profile = validateIntegrity({ csum: 'crc16' }, 512);
const limits = validateLimits({ max_integrity_segments: 4 });

/** One page at `sector`, with metadata on a page of its own unless told otherwise. */
class Rig {
  readonly bios = new BioPool({ bios: 16, rows: 16 });
  readonly payloads = new BioIntegrityPool({ payloads: 16, rows: 16, profile });
  readonly #made: Bio[] = [];

  bio(sector: number, hasMetadata = true): Bio {
    const at = 10 * this.#made.length;
    const bio = buildBio(this.bios, BioOp.WRITE, sector, [{ page: at, offset: 0, len: 4096 }]);
    this.#made.push(bio);
    if (!hasMetadata) return bio;
    const payload = this.payloads.acquire(1);
    assert.ok(payload !== null);
    payload.addRow(1000 + at, 0, 64, HoldKind.OWNED);
    bio.integrity = payload;
    return bio;
  }

  request(first: Bio): Request {
    const request = new Request();
    request.start(0, first, 1);
    return request;
  }

  /** What becomes of pages that are tried one after the other on a request for sector 800. */
  tries(count: Profile['metadataCount'], sectors: readonly number[]): [number[], number] {
    const request = this.request(this.bio(800));
    const results = sectors.map((sector) => {
      return tryMerge(request, this.bio(sector), 1, limits, count);
    });
    this.release();
    return [results, request.metadataSegments];
  }

  release(): void {
    for (const bio of this.#made.splice(0)) {
      const { integrity } = bio;
      bio.integrity = null;
      if (integrity !== null) this.payloads.release(integrity as never);
      this.bios.release(bio);
    }
    assert.deepEqual([this.bios.busyCount, this.payloads.busyCount], [0, 0]);
  }
}

test('a request has as many pieces of metadata as the device takes', () => {
  const rig = new Rig();
  const [results, segments] = rig.tries('exact', [808, 816, 792, 824]);
  assert.deepEqual(results, [BACK, BACK, FRONT, NONE]);
  assert.equal(segments, 4);
});

test('counted by attempts, two joins fill four segments, and a look takes one', () => {
  const rig = new Rig();
  // Cases merge-m14-09 and merge-m14-04 of Linux 6.1.
  assert.deepEqual(rig.tries('attempts', [808, 816, 824]), [[BACK, BACK, NONE], 4]);
  assert.deepEqual(rig.tries('attempts', [900]), [[NONE], 1]);
  assert.deepEqual(rig.tries('exact', [900]), [[NONE], 0]);
  // Three looks leave one: the next is counted when it is looked at, and has no room to join.
  assert.deepEqual(rig.tries('attempts', [900, 900, 900, 808]), [[NONE, NONE, NONE, NONE], 4]);
});

test('a bio with metadata and one without never share a request', () => {
  const rig = new Rig();
  for (const count of ['exact', 'attempts'] as const) {
    const bare = rig.request(rig.bio(800, false));
    assert.equal(tryMerge(bare, rig.bio(808), 1, limits, count), NONE);
    assert.equal(tryMerge(bare, rig.bio(808, false), 1, limits, count), BACK);
    const full = rig.request(rig.bio(800));
    assert.equal(tryMerge(full, rig.bio(808, false), 1, limits, count), NONE);
    assert.equal(full.metadataSegments, count === 'exact' ? 1 : 0);
    rig.release();
  }
});
