import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Bio } from '../../bio/bio.ts';
import { BioOp } from '../../bio/bio-op.ts';
import type { LimitsInput } from '../../limits/limits.ts';
import { validateLimits } from '../../limits/validate.ts';
import { MapReason } from '../verdict.ts';
import { appendBio } from './append.ts';
import { PassthroughChain } from './bio-chain.ts';
import { PASSTHROUGH_RULES, type PassthroughRules } from './passthrough-rules.ts';
import { bioOf, clonedBioOf, type RowText, release } from './rows-rig.fuzz.ts';

const OURS = PASSTHROUGH_RULES.biovec;
const LINUX = PASSTHROUGH_RULES['linux-6.12'];
const { FITS, GAP, SEGMENTS, SIZE, ADDRESS } = MapReason;

interface Appended {
  readonly reason: MapReason;
  readonly chain: PassthroughChain;
}

/** Appends `bios` in order, all but the last with success. What the last one answered. */
function append(
  bios: readonly Bio[],
  input: LimitsInput,
  rules: PassthroughRules = OURS,
): Appended {
  const limits = validateLimits({ dma_alignment: 3, ...input });
  const chain = new PassthroughChain(BioOp.WRITE);
  bios.slice(0, -1).forEach((bio, i) => {
    assert.equal(appendBio(chain, bio, limits, rules), FITS, `bio ${i}`);
  });
  const last = bios[bios.length - 1] as Bio;
  const before = [chain.bio, chain.bioTail, chain.bytes, chain.segments];
  const reason = appendBio(chain, last, limits, rules);
  const after = [chain.bio, chain.bioTail, chain.bytes, chain.segments];
  if (reason !== FITS) assert.deepEqual(after, before, 'the request has changed');
  release(bios);
  return { reason, chain };
}

function reasonOf(
  bios: readonly (readonly RowText[])[],
  input: LimitsInput,
  rules: PassthroughRules = OURS,
): MapReason {
  return append(
    bios.map((rows) => bioOf(rows)),
    input,
    rules,
  ).reason;
}

describe('the first bio of a request', () => {
  test('starts it: sector 0, its bytes, its segments', () => {
    const bio = bioOf([
      [16, 0, 4096],
      [18, 0, 512],
    ]);
    const { reason, chain } = append([bio], {});
    assert.deepEqual([reason, chain.bio, chain.bioTail], [FITS, bio, bio]);
    assert.deepEqual([chain.bytes, chain.segments, bio.sector], [4608, 2, 0]);
  });

  test('segments are counted as the device gets them', () => {
    const long: RowText[] = [[16, 0, 12288]];
    assert.equal(append([bioOf(long)], { max_segment_size: 4096 }).chain.segments, 3);
    assert.equal(reasonOf([long], { max_segment_size: 4096, max_segments: 3 }), FITS);
    assert.equal(reasonOf([long], { max_segment_size: 4096, max_segments: 2 }), SEGMENTS);
    const apart: RowText[] = [16, 18, 20].map((page) => [page, 0, 512]);
    assert.equal(reasonOf([apart], { max_segments: 3 }), FITS);
    assert.equal(reasonOf([apart], { max_segments: 2 }), SEGMENTS);
  });

  test('a gap, a start off dma_alignment, a length above max_hw_sectors', () => {
    const gap: RowText[] = [
      [16, 0, 512],
      [18, 0, 512],
    ];
    assert.equal(reasonOf([gap], { virt_boundary_mask: 4095 }), GAP);
    assert.equal(reasonOf([[[16, 2, 512]]], {}), ADDRESS);
    assert.equal(reasonOf([[[16, 0, 8192]]], { max_hw_sectors: 16 }), FITS);
    assert.equal(reasonOf([[[16, 0, 8196]]], { max_hw_sectors: 16 }), SIZE);
    // A chunk of the device is not what a passthrough request is measured by.
    assert.equal(reasonOf([[[16, 0, 8192]]], { max_hw_sectors: 16, chunk_sectors: 8 }), FITS);
    assert.equal(reasonOf([[[16, 0, 8196]]], { max_hw_sectors: 16, chunk_sectors: 8 }), SIZE);
  });

  test('rows that were built page by page are segments; those of others are counted', () => {
    // 6.12: what asked the limits when it was built is not asked again.
    const long: RowText[] = [[16, 0, 12288]];
    const limits = { max_segment_size: 4096, max_segments: 2 };
    const built = append([bioOf(long)], limits, LINUX);
    assert.deepEqual([built.reason, built.chain.segments], [FITS, 1]);
    assert.equal(append([clonedBioOf(long)], limits, LINUX).reason, SEGMENTS);
    assert.equal(append([clonedBioOf(long)], limits, OURS).reason, SEGMENTS);
  });
});

describe('a later bio', () => {
  test('goes behind the others, in sectors of the request', () => {
    const bios = [bioOf([[16, 0, 4096]]), bioOf([[18, 0, 1024]]), bioOf([[20, 0, 512]])];
    bios[2].next = bios[0]; // Left over from a list that it was in.
    const { reason, chain } = append(bios, {});
    assert.deepEqual([reason, chain.bio, chain.bioTail], [FITS, bios[0], bios[2]]);
    assert.deepEqual([chain.bytes, chain.segments], [5632, 3]);
    assert.deepEqual(
      bios.map(({ sector }) => sector),
      [0, 8, 10],
    );
  });

  test('links: each bio to the one behind, the last to none', () => {
    const chain = new PassthroughChain(BioOp.WRITE);
    const bios = [bioOf([[16, 0, 512]]), bioOf([[18, 0, 512]])];
    bios[1].next = bios[0];
    const limits = validateLimits({});
    for (const bio of bios) assert.equal(appendBio(chain, bio, limits, OURS), FITS);
    assert.deepEqual([bios[0].next === bios[1], bios[1].next], [true, null]);
    release(bios);
  });

  test('max_segments and max_hw_sectors hold for the request', () => {
    const two: RowText[] = [
      [16, 0, 4096],
      [18, 0, 4096],
    ];
    const more: RowText[] = [[32, 0, 4096]];
    for (const rules of [OURS, LINUX]) {
      assert.equal(reasonOf([two, more], { max_segments: 3 }, rules), FITS);
      assert.equal(reasonOf([two, more], { max_segments: 2 }, rules), SEGMENTS);
      assert.equal(reasonOf([two, more], { max_hw_sectors: 24 }, rules), FITS);
      assert.equal(reasonOf([two, more], { max_hw_sectors: 23 }, rules), SIZE);
    }
  });

  test('kernels leave out the part of a sector of both; here every byte counts', () => {
    const first: RowText[] = [[16, 0, 2044]]; // 3 sectors and 508 bytes.
    const second: RowText[] = [[18, 0, 2556]]; // 4 sectors and 508 bytes.
    assert.equal(reasonOf([first, second], { max_hw_sectors: 8 }, LINUX), FITS);
    assert.equal(reasonOf([first, second], { max_hw_sectors: 8 }, OURS), SIZE);
    const third: RowText[] = [[18, 0, 3072]]; // 6 sectors: 9 in all.
    assert.equal(reasonOf([first, third], { max_hw_sectors: 8 }, LINUX), SIZE);
  });
});

describe('a gap between two bios', () => {
  const paged = { virt_boundary_mask: 4095 };

  test('is looked for at both sides of the joint, and only at a virtual boundary', () => {
    const whole: RowText[] = [[16, 0, 4096]];
    for (const rules of [OURS, LINUX]) {
      assert.equal(reasonOf([whole, [[18, 0, 512]]], paged, rules), FITS);
      assert.equal(reasonOf([whole, [[18, 512, 512]]], paged, rules), GAP);
      assert.equal(reasonOf([[[16, 0, 512]], whole], paged, rules), GAP);
      assert.equal(reasonOf([[[16, 0, 512]], [[18, 512, 512]]], {}, rules), FITS);
    }
  });

  test('the joint is behind the last row of the last bio', () => {
    const rows: RowText[] = [
      [16, 0, 4096],
      [18, 0, 512],
    ];
    const last: RowText[] = [
      [16, 0, 4096],
      [18, 0, 4096],
    ];
    for (const rules of [OURS, LINUX]) {
      assert.equal(reasonOf([rows, [[20, 0, 4096]]], paged, rules), GAP);
      assert.equal(reasonOf([last, [[20, 0, 4096]]], paged, rules), FITS);
      // Also where the bio has moved on, and where its rows hold more than it has.
      for (const [bytes, reason] of [
        [4608, GAP],
        [8192, FITS],
      ] as const) {
        const bio = clonedBioOf(last);
        bio.size = bytes;
        assert.equal(append([bio, bioOf([[20, 0, 4096]])], paged, rules).reason, reason);
      }
      const moved = clonedBioOf(rows);
      moved.advance(4096);
      const joint = append([moved, bioOf([[18, 512, 3584]])], paged, LINUX);
      assert.equal(joint.reason, FITS, 'its row 1 runs on');
    }
  });

  test('a request that begins off the boundary never grows', () => {
    for (const rules of [OURS, LINUX]) {
      const begin: RowText[] = [[16, 512, 3584]];
      assert.equal(reasonOf([begin, [[18, 0, 4096]]], paged, rules), GAP);
      assert.equal(reasonOf([begin, [[18, 0, 4096]]], {}, rules), FITS);
      const clone = clonedBioOf([[16, 0, 8192]]);
      clone.advance(512); // Its offset is that of the row and what is behind.
      assert.equal(append([clone, bioOf([[32, 0, 4096]])], paged, rules).reason, GAP);
      const onIt = clonedBioOf([[16, 512, 7680]]);
      onIt.advance(3584);
      assert.equal(append([onIt, bioOf([[32, 0, 4096]])], paged, rules).reason, FITS);
    }
  });

  test('memory that runs on has none for kernels; here only if no segment ends inside', () => {
    const halves: RowText[][] = [[[16, 0, 512]], [[16, 512, 3584]]];
    const ends = (max_segment_size: number, max_hw_sectors = 64): LimitsInput => {
      return { ...paged, max_segment_size, max_hw_sectors };
    };
    assert.equal(reasonOf(halves, ends(12800), LINUX), FITS);
    assert.equal(reasonOf(halves, ends(12800), OURS), GAP, 'cut at 12800, off the boundary');
    assert.equal(reasonOf(halves, ends(12288), OURS), FITS, 'cut at the boundary');
    assert.equal(reasonOf(halves, ends(32768 - 512), OURS), GAP);
    assert.equal(reasonOf(halves, ends(32768 + 512), OURS), FITS, 'never cut: 64 sectors are less');
    assert.equal(reasonOf(halves, ends(33280, 65), OURS), FITS, 'nor at exactly as much');
    // 32 bits say how long a segment can be, whatever a request may have.
    assert.equal(reasonOf(halves, ends(2 ** 32 - 1, 2 ** 24), OURS), FITS);
    assert.equal(reasonOf(halves, ends(2 ** 32 - 2, 2 ** 24), OURS), GAP);
  });

  test('to run on is to be the next byte, in the same window of seg_boundary_mask', () => {
    for (const [next, reason] of [
      [[16, 1024, 512], FITS],
      [[16, 1536, 512], GAP],
      [[17, 1024, 512], GAP],
      [[15, 1024, 512], GAP],
    ] as const) {
      const first: RowText[] = [[16, 0, 1024]];
      assert.equal(reasonOf([first, [next]], paged, LINUX), reason, `${next}`);
    }
    const over: RowText[][] = [[[17, 0, 3072]], [[17, 3072, 2048]]];
    const windows = { ...paged, seg_boundary_mask: 8191 };
    assert.equal(reasonOf(over, paged, LINUX), FITS);
    assert.equal(reasonOf(over, windows, LINUX), GAP, 'the window ends at page 18');
  });
});
