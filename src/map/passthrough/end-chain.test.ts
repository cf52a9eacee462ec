import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Errno } from '../../base/errno.ts';
import { type Bio, BioState } from '../../bio/bio.ts';
import { BioOp } from '../../bio/bio-op.ts';
import { validateLimits } from '../../limits/validate.ts';
import { appendBio } from './append.ts';
import { PassthroughChain } from './bio-chain.ts';
import { endChain, startChain } from './end-chain.ts';
import { PASSTHROUGH_RULES } from './passthrough-rules.ts';
import { bioOf, release } from './rows-rig.fuzz.ts';

/** Three bios of 1024 bytes, with the device. */
function started(): { chain: PassthroughChain; bios: Bio[] } {
  const chain = new PassthroughChain(BioOp.WRITE);
  const bios = [16, 18, 20].map((page) => bioOf([[page, 0, 1024]]));
  for (const bio of bios) {
    assert.equal(appendBio(chain, bio, validateLimits({}), PASSTHROUGH_RULES.biovec), 0);
  }
  startChain(chain);
  assert.ok(bios.every(({ state }) => state === BioState.SUBMITTED));
  assert.throws(() => startChain(chain), /sent twice/);
  return { chain, bios };
}

test('bios of a program wait, ended, for who unmaps them: each knows how far it came', () => {
  const none = Number.POSITIVE_INFINITY;
  for (const [bytes, shortAt] of [
    [3072, [none, none, none]],
    [3071, [none, none, 3071]],
    [2048, [none, none, 2048]],
    [1500, [none, 1500, 1500]],
    [0, [0, 0, 0]],
  ] as const) {
    const { chain, bios } = started();
    endChain(chain, 0, bytes);
    for (const { state, remaining, status } of bios) {
      assert.deepEqual([state, remaining, status], [BioState.ENDED, 0, 0]);
    }
    assert.deepEqual(
      bios.map((bio) => bio.shortAt),
      shortAt,
    );
    assert.throws(() => endChain(chain, 0, 0), /ended twice/);
    release(bios);
  }
});

test('bios of the driver end themselves, each once, with the status of the request', () => {
  const { chain, bios } = started();
  const ended: Bio[] = [];
  for (const bio of bios.slice(1)) {
    bio.endIo = (one) => {
      ended.push(one);
      one.next = null; // It is gone by now: the walk must not ask it for the next.
    };
  }
  endChain(chain, -Errno.EIO, 0);
  assert.deepEqual(ended, bios.slice(1));
  assert.ok(bios.every(({ state, status }) => state === BioState.ENDED && status === -Errno.EIO));
  release(bios);
});

test('more than the request has is a bug of the device', () => {
  const { chain, bios } = started();
  assert.throws(() => endChain(chain, 0, 3073), /did too much/);
  endChain(chain, 0, 3072);
  release(bios);
});
