import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { nodeEnv } from '../node/node-env.ts';
import { claimStore, WRITER_FACT, writerFact } from './claim-store.ts';
import { type EngineChoice, openFile } from './file-choice.ts';

const env = nodeEnv();
const isClosed = env.native === null ? env.nativeReason : false;

function makeStore(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'biovec-claim-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'store');
  writeFileSync(path, new Uint8Array(8192));
  return path;
}

const CHOICES: readonly EngineChoice[] = ['auto', 'file'];
for (const choice of CHOICES) {
  test(`${choice}: one engine has the store until it is closed`, { skip: isClosed }, async (t) => {
    const path = makeStore(t);
    const first = await openFile(path, { env }, choice);
    const second = await openFile(path, { env, direct: true }, choice);
    await claimStore(first);
    assert.deepEqual(writerFact(first), { [WRITER_FACT]: false }, 'it is its own writer');
    assert.deepEqual(writerFact(second), { [WRITER_FACT]: true });
    await assert.rejects(claimStore(second), { code: 'EBUSY' });
    const passing = await openFile(path, { env, readOnly: true }, choice);
    assert.equal(passing.writerLock?.isTaken(), true);
    await passing.close();
    assert.equal(second.writerLock?.isTaken(), true, 'the close of a reader let go of the lock');
    const claim = claimStore(second);
    await first.close();
    await claim;
    await second.close();
  });
}

test('where nobody can tell the store is taken on trust', async (t) => {
  const blind = { ...env, native: null, ring: null };
  const store = await openFile(makeStore(t), { env: blind }, 'file');
  await claimStore(store);
  assert.deepEqual(writerFact(store), { [WRITER_FACT]: 'unknown' });
  await store.close();
});
