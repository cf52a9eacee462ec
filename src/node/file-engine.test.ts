import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { MIB } from '../base/units.ts';
import { openFileEngine } from '../engine/file/open-file-engine.ts';
import { type EngineUnderTest, engineSuite } from '../testing/engine-suite.ts';
import { blockError, envWith, TemporaryFile } from './file-fixture.test.ts';
import { nodeEnv } from './node-env.ts';

interface Variant {
  readonly bytes: number;
  readonly direct?: boolean;
  readonly ffi?: boolean;
  readonly depth?: number;
}

async function open(variant: Variant): Promise<EngineUnderTest> {
  const { bytes, direct = false, ffi = true, depth } = variant;
  const file = new TemporaryFile(new Uint8Array(bytes));
  const env = ffi ? nodeEnv() : envWith({});
  return {
    engine: await openFileEngine(file.path, { env, direct, depth }),
    readBack: (start, length) => file.read(start, length),
    dispose: () => file[Symbol.dispose](),
  };
}

const zeroing = { discardsToZero: true };
engineSuite('file', () => open({ bytes: 2 * MIB }), zeroing);
engineSuite('file, odd size, depth 3', () => open({ bytes: 2 * MIB + 777, depth: 3 }), zeroing);
engineSuite('file without FFI', () => open({ bytes: 2 * MIB, ffi: false }));

/** Where tests run, O_DIRECT may be refused; then the refusal is what is tested. */
async function takesDirect(): Promise<boolean> {
  using file = new TemporaryFile(MIB);
  try {
    await (await openFileEngine(file.path, { env: nodeEnv(), direct: true })).close();
    return true;
  } catch {
    return false;
  }
}

if (await takesDirect()) {
  const direct = true;
  engineSuite('file, direct', () => open({ bytes: 2 * MIB, direct }), zeroing);
  engineSuite('file, direct, odd size', () => open({ bytes: 2 * MIB + 777, direct }), zeroing);
  engineSuite('file, direct, without FFI', () => open({ bytes: 2 * MIB, direct, ffi: false }));
} else {
  test('O_DIRECT is refused here with EOPNOTSUPP and a sentence, and no file stays', async () => {
    using file = new TemporaryFile(0);
    fs.unlinkSync(file.path);
    const opening = openFileEngine(file.path, { env: nodeEnv(), direct: true, create: true });
    await assert.rejects(opening, blockError('EOPNOTSUPP', /does not take O_DIRECT/));
    assert.equal(fs.existsSync(file.path), false);
  });
}
