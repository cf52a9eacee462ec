import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openRamEngine } from '../engine/memory/ram-engine.ts';
import { presetLimits } from '../limits/presets.ts';
import { DATA_TESTS } from './engine-suite/data-tests.ts';
import { EngineBench, type EngineUnderTest } from './engine-suite/engine-bench.ts';
import { PROTOCOL_TESTS } from './engine-suite/protocol-tests.ts';
import { FaultPlan } from './simulator/fault-plan.ts';
import { SimClock } from './simulator/sim-clock.ts';
import { type EngineMutant, SimEngine } from './simulator/sim-engine.ts';

// Who tests the suite: engines with a bug on purpose must fail at least one of its tests.

const SIZE = 2 ** 21;
const BODIES = Object.entries({ ...PROTOCOL_TESTS, ...DATA_TESTS });

/** Titles of the tests that an engine fails. */
async function failedTests(open: () => EngineUnderTest): Promise<string[]> {
  const failed: string[] = [];
  for (const [title, body] of BODIES) {
    const bench = new EngineBench(open(), { discardsToZero: true });
    let hasFailed = true;
    try {
      await body(bench);
      bench.driver.assertNothingOutstanding();
      hasFailed = false;
    } catch {
      failed.push(title);
    }
    await bench.release(hasFailed);
  }
  return failed;
}

function openMutant(mutant: EngineMutant | undefined): EngineUnderTest {
  const clock = new SimClock();
  const limits = presetLimits('nvme');
  const plan = new FaultPlan(1);
  const engine = new SimEngine({ seed: 1, clock, limits, sizeBytes: SIZE, depth: 8, plan, mutant });
  return { engine, tick: () => void clock.step() };
}

test('an engine without a bug fails nothing', async () => {
  assert.deepEqual(await failedTests(() => openMutant(undefined)), []);
});

const MUTANTS: readonly EngineMutant[] = [
  'wrong-byte',
  'lost-write',
  'stray-write',
  'double-completion',
  'lost-completion',
  'too-many-bytes',
];
for (const mutant of MUTANTS) {
  test(`the suite finds the engine with ${mutant}`, async () => {
    const failed = await failedTests(() => openMutant(mutant));
    assert(failed.length > 0, 'every test passed');
  });
}

/** A RAM engine with one method that lies. */
function openLiar(lie: (engine: ReturnType<typeof openRamEngine>) => void): EngineUnderTest {
  const defer = (callback: () => void): void => void setImmediate(callback);
  const engine = openRamEngine({ sizeBytes: SIZE, depth: 4, defer });
  lie(engine);
  return { engine };
}

test('the suite finds a wake from inside arm', async () => {
  const failed = await failedTests(() =>
    openLiar((engine) => {
      engine.arm = (wake) => wake();
    }),
  );
  assert(failed.some((title) => title.includes('arm')));
});

test('the suite finds an engine that takes more than it was offered', async () => {
  const failed = await failedTests(() =>
    openLiar((engine) => {
      const submit = engine.submit.bind(engine);
      engine.submit = (tags, first, count) => submit(tags, first, count) + 1;
    }),
  );
  assert(failed.length > 0);
});

test('the suite finds an engine that knows every tag', async () => {
  const failed = await failedTests(() =>
    openLiar((engine) => {
      engine.cancel = () => 0;
    }),
  );
  assert.deepEqual(failed, ['cancel knows what is in flight; the tag still comes back once']);
});
