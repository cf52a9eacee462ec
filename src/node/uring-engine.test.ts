import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MIB } from '../base/units.ts';
import { ringState } from '../engine/uring/lane-facts.ts';
import { engineSuite } from '../testing/engine-suite.ts';
import { nodeEnv } from './node-env.ts';
import { ringDoor } from './ring-door.ts';
import { envOf, uringUnderTest as open, realBut, vectorsRoundTrip } from './uring-fixture.test.ts';

const zeroing = { discardsToZero: true };
const state = ringState(nodeEnv());
if (state.isAvailable) {
  const direct = true;
  const bytes = 2 * MIB;
  const odd = bytes + 777;
  const unregistered = realBut({ lockedBytesMax: 0 });
  const pollless = realBut({ poll: () => null });
  const byNodeFfi = ringDoor('node:ffi').door;
  engineSuite('uring, odd size, depth 1', () => open({ bytes: odd, depth: 1 }), zeroing);
  engineSuite(
    'uring, depth 32, unregistered',
    () => open({ bytes, depth: 32, env: unregistered }),
    zeroing,
  );
  engineSuite('uring, direct', () => open({ bytes, direct }), zeroing);
  engineSuite(
    'uring, direct, odd size, depth 1, unregistered',
    () => open({ bytes: odd, direct, depth: 1, env: unregistered }),
    zeroing,
  );
  engineSuite(
    'uring, direct, without poll',
    () => open({ bytes, direct, depth: 32, env: pollless }),
    zeroing,
  );
  if (byNodeFfi !== null) {
    engineSuite('uring by node:ffi', () => open({ bytes, env: envOf(byNodeFfi) }), zeroing);
  }
  test('scattered pages of registered memory', () => vectorsRoundTrip(nodeEnv()));
  test('scattered pages, unregistered', () => vectorsRoundTrip(unregistered));
} else {
  test('there is no ring here, and the reason is a sentence', () => {
    assert.match(state.reason, /\w+ .{10,}/);
  });
}
