import assert from 'node:assert/strict';
import type { HostEnv, RingDoor } from '../base/env.ts';
import { BioOp } from '../bio/bio-op.ts';
import { openUringEngine } from '../engine/uring/open-uring-engine.ts';
import type { EngineUnderTest } from '../testing/engine-suite.ts';
import { FileBench, pattern, TemporaryFile } from './file-fixture.test.ts';
import { nodeEnv } from './node-env.ts';

// What the tests of the ring share. No test of its own.

export interface UringVariant {
  readonly bytes: number;
  readonly direct?: boolean;
  readonly depth?: number;
  readonly env?: HostEnv;
}

/** An engine on a file of zeros, for the engine suite. */
export async function uringUnderTest(variant: UringVariant): Promise<EngineUnderTest> {
  const { bytes, direct = false, depth, env = nodeEnv() } = variant;
  const file = new TemporaryFile(new Uint8Array(bytes));
  return {
    engine: await openUringEngine(file.path, { env, direct, depth }),
    readBack: (start, length) => file.read(start, length),
    dispose: () => file[Symbol.dispose](),
  };
}

/** Node's environment with another ring. */
export function envOf(ring: RingDoor | null, ringReason = 'of this test'): HostEnv {
  return { ...nodeEnv(), ring, ringReason };
}

/** The kernel's ring by a door that is like the real one but for `changes`. */
export function realBut(changes: Partial<RingDoor>): HostEnv {
  const { ring } = nodeEnv();
  assert(ring);
  const door = new Proxy(ring, {
    get(target, name) {
      const value: unknown = Reflect.get(changes, name) ?? Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return envOf(door);
}

/**
 * Scattered pages, written and read back by one request each, after their memory was used so often
 * that it is registered. Throws when a byte is wrong.
 */
export async function vectorsRoundTrip(env: HostEnv): Promise<void> {
  using file = new TemporaryFile(65536);
  await using bench = new FileBench(await openUringEngine(file.path, { env, direct: false }));
  const { buffer, driver } = bench;
  for (let i = 0; i < 12; i++) await bench.once(BioOp.READ, 0, 4096);
  const bytes = pattern(4 * 4096, 5);
  const pages = [9, 2, 30, 4];
  for (const [i, page] of pages.entries()) {
    buffer.bytes.set(bytes.subarray(i * 4096, (i + 1) * 4096), page * 4096);
  }
  const segments = pages.map((page) => ({ page: buffer.page + page, offset: 0, len: 4096 }));
  for (const op of [BioOp.WRITE, BioOp.READ]) {
    const result = await driver.transfer(driver.build(op, 8192, [segments]));
    assert.deepEqual(result, { status: 0, bytesDone: bytes.length });
    assert.deepEqual(file.read(8192, bytes.length), bytes);
    if (op === BioOp.WRITE) buffer.bytes.fill(0);
  }
  for (const [i, page] of pages.entries()) {
    const got = buffer.bytes.slice(page * 4096, (page + 1) * 4096);
    assert.deepEqual(got, bytes.subarray(i * 4096, (i + 1) * 4096), `page ${page}`);
  }
}
