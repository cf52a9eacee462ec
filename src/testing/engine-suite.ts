import { describe, test } from 'node:test';
import { DATA_TESTS } from './engine-suite/data-tests.ts';
import {
  assertNoMemoryHeld,
  EngineBench,
  type EngineTraits,
  type OpenEngine,
} from './engine-suite/engine-bench.ts';
import { METADATA_TESTS } from './engine-suite/metadata-tests.ts';
import { PROTOCOL_TESTS } from './engine-suite/protocol-tests.ts';

export type { EngineTraits, EngineUnderTest, OpenEngine } from './engine-suite/engine-bench.ts';

/**
 * Registers the conformance tests of the engine contract (src/engine/contract.ts) for one engine.
 * Every engine passes the same; what an engine may choose stands in `info` and in `traits`.
 *
 *   engineSuite('ram', async () => ({ engine: openRamEngine({ sizeBytes: 2 ** 21, defer }) }));
 */
export function engineSuite(name: string, open: OpenEngine, traits: EngineTraits = {}): void {
  describe(`engine ${name}`, () => {
    const metadata = traits.hasMetadata === true ? METADATA_TESTS : {};
    const tests = { ...PROTOCOL_TESTS, ...DATA_TESTS, ...metadata };
    for (const [title, body] of Object.entries(tests)) {
      test(title, async () => {
        const bench = new EngineBench(await open(), traits);
        let hasFailed = true;
        try {
          await body(bench);
          bench.driver.assertNothingOutstanding();
          hasFailed = false;
        } finally {
          await bench.release(hasFailed);
        }
        assertNoMemoryHeld();
      });
    }
  });
}
