import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MIB } from '../base/units.ts';
import { type EngineUnderTest, engineSuite } from '../testing/engine-suite.ts';
import { ModelRing, type ModelRingOptions } from './model-ring.fuzz.ts';
import { envOf, uringUnderTest, vectorsRoundTrip } from './uring-fixture.test.ts';

// The suite on a model of the kernel: it runs where there is no ring, too.

function model(options: ModelRingOptions): () => Promise<EngineUnderTest> {
  return async () => {
    const ring = new ModelRing(options);
    const under = await uringUnderTest({ bytes: 2 * MIB + 777, env: envOf(ring) });
    const dispose = async (): Promise<void> => {
      await under.dispose?.();
      ring.assertNothingLeft();
    };
    return { ...under, dispose };
  };
}

/** NO_SQARRAY, DEFER_TASKRUN, SINGLE_ISSUER, COOP_TASKRUN and TASKRUN_FLAG, SUBMIT_ALL. */
const LINUX_5_11 = { unknownFlags: 0x13380, ops: [0, 1, 2, 3, 22, 23] };
const zeroing = { discardsToZero: true };
engineSuite('uring on a model', model({}), zeroing);
engineSuite('uring on a model of an old kernel', model(LINUX_5_11), zeroing);
engineSuite('uring on a model without poll', model({ polls: false }), zeroing);
engineSuite('uring on a model that takes one at a time', model({ submitMax: 1 }), zeroing);

test('one range and many, registered and not, each by its own operation', async () => {
  for (const [options, writev, readv] of [
    [{}, 61, 60],
    [{ ops: [0, 1, 2, 3, 4, 5, 22, 23] }, 2, 1],
    [{ lockedBytesMax: 0 }, 2, 1],
  ] as const) {
    const ring = new ModelRing(options);
    await vectorsRoundTrip(envOf(ring));
    assert.deepEqual(
      ring.entries.slice(-2).map(({ op }) => op),
      [writev, readv],
    );
    const isRegistered = ring.entries.some(({ op }) => op === 4);
    assert.equal(isRegistered, !('lockedBytesMax' in options), 'READ_FIXED');
    ring.assertNothingLeft();
  }
});
