import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BioOp } from '../../bio/bio-op.ts';
import { validateLimits } from '../../limits/validate.ts';
import { appendBio } from './append.ts';
import { ChainMark, maxPassthroughBytes, PassthroughChain } from './bio-chain.ts';
import { PASSTHROUGH_RULES } from './passthrough-rules.ts';
import { bioOf, release } from './rows-rig.fuzz.ts';

const limits = validateLimits({ max_hw_sectors: 16 });

test('a mark cuts a chain where it was: what is behind belongs to the caller', () => {
  const bios = [16, 18, 20].map((page) => bioOf([[page, 0, 1024]]));
  for (const kept of [0, 1, 2, 3]) {
    const chain = new PassthroughChain(BioOp.WRITE);
    const mark = new ChainMark();
    bios.forEach((bio, i) => {
      if (i === kept) mark.set(chain);
      assert.equal(appendBio(chain, bio, limits, PASSTHROUGH_RULES.biovec), 0);
    });
    if (kept === bios.length) mark.set(chain);
    assert.equal(mark.cut(chain), bios[kept] ?? null);
    const last = bios[kept - 1] ?? null;
    assert.deepEqual([chain.bio, chain.bioTail], [kept > 0 ? bios[0] : null, last]);
    assert.deepEqual([chain.bytes, chain.segments], [kept * 1024, kept]);
    if (last !== null) assert.equal(last.next, null);
  }
  release(bios);
});

test('a chain starts empty, and again after a reset', () => {
  const chain = new PassthroughChain(BioOp.WRITE);
  assert.deepEqual({ ...chain }, { op: 1, bio: null, bioTail: null, bytes: 0, segments: 0 });
  const bio = bioOf([[16, 0, 1024]]);
  assert.equal(appendBio(chain, bio, limits, PASSTHROUGH_RULES.biovec), 0);
  chain.reset(BioOp.READ);
  assert.deepEqual({ ...chain }, { op: 0, bio: null, bioTail: null, bytes: 0, segments: 0 });
  release([bio]);
});

test('the bound of a request is max_hw_sectors, not the soft max_sectors', () => {
  const soft = validateLimits({ max_hw_sectors: 65536 });
  assert.ok(soft.max_sectors < 65536);
  assert.equal(maxPassthroughBytes(soft), 32 * 2 ** 20);
});
