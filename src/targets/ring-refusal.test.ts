import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockError } from '../base/block-error.ts';
import { Errno } from '../base/errno.ts';
import { ringState } from '../engine/uring/lane-facts.ts';
import { openUringEngine } from '../engine/uring/open-uring-engine.ts';
import { blockError, TemporaryFile } from '../node/file-fixture.test.ts';
import { ModelRing, type ModelRingOptions } from '../node/model-ring.fuzz.ts';
import { envOf } from '../node/uring-fixture.test.ts';
import { openEngine } from './open-engine.ts';
import { parseTarget } from './target.ts';

const ENOSYS = 38;

interface Refusal {
  readonly options: ModelRingOptions;
  readonly code: string;
  readonly reason: RegExp;
}

/** What a kernel or a container may say, and what a user reads then. */
const REFUSALS: readonly Refusal[] = [
  { options: { setupStatus: -Errno.EPERM }, code: 'EPERM', reason: /forbidden.*io_uring_disabled/ },
  { options: { setupStatus: -Errno.EACCES }, code: 'EPERM', reason: /forbidden/ },
  { options: { setupStatus: -ENOSYS }, code: 'EOPNOTSUPP', reason: /no io_uring/ },
  { options: { setupStatus: -Errno.ENOMEM }, code: 'ENOMEM', reason: /ulimit -l/ },
  { options: { setupStatus: -Errno.EINVAL }, code: 'EINVAL', reason: /gave no ring/ },
  // 5.6: SINGLE_MMAP, NODROP and SUBMIT_STABLE, but no EXT_ARG.
  { options: { features: 0x7 }, code: 'EOPNOTSUPP', reason: /Linux 5\.11/ },
  { options: { ops: [0, 1, 2, 3] }, code: 'EOPNOTSUPP', reason: /lacks the operation 22/ },
  {
    options: { refused: new Map([[8, -Errno.EINVAL]]) },
    code: 'EOPNOTSUPP',
    reason: /REGISTER_PROBE/,
  },
  { options: { mapStatus: -Errno.ENOMEM }, code: 'ENOMEM', reason: /cannot be mapped/ },
];

for (const { options, code, reason } of REFUSALS) {
  test(`${code}, ${reason}: told to who insists, the file engine to who does not`, async () => {
    using file = new TemporaryFile(8192);
    const ring = new ModelRing(options);
    const env = envOf(ring);
    const state = ringState(env);
    assert.equal(state.isAvailable, false);
    assert.match(state.reason, reason);
    await assert.rejects(openUringEngine(file.path, { env }), blockError(code, reason));
    const target = parseTarget(file.path);
    await assert.rejects(openEngine(target, { env, engine: 'uring' }), blockError(code, reason));
    const engine = await openEngine(target, { env, engine: 'auto' });
    assert.equal(engine.info.kind, 'file');
    await engine.close();
    ring.assertNothingLeft();
  });
}

test('without a door the reason is that of the door', async () => {
  using file = new TemporaryFile(8192);
  const env = envOf(null, 'switched off');
  assert.deepEqual(ringState(env), { isAvailable: false, reason: 'switched off' });
  const opening = openUringEngine(file.path, { env });
  await assert.rejects(opening, blockError('EOPNOTSUPP', /^switched off$/));
});

test('with a ring, what is wrong with the file is told, and the ring is given back', async () => {
  const ring = new ModelRing();
  const env = envOf(ring);
  for (const engine of ['auto', 'uring'] as const) {
    const opening = openEngine(parseTarget('./no/such'), { env, engine });
    await assert.rejects(opening, blockError('ENOENT', /no such file/));
    ring.assertNothingLeft();
  }
  const bad = openUringEngine('x', { env, timeoutMs: -1 });
  await assert.rejects(bad, blockError('EINVAL', /timeoutMs is -1/));
});

test('BIOVEC_ENGINE chooses for a process; a name that is none is told', async () => {
  using file = new TemporaryFile(8192);
  const env = envOf(new ModelRing());
  const before = process.env['BIOVEC_ENGINE'];
  try {
    for (const [word, kind] of [
      ['', 'uring'],
      ['auto', 'uring'],
      ['uring', 'uring'],
      ['file', 'file'],
    ] as const) {
      process.env['BIOVEC_ENGINE'] = word;
      const engine = await openEngine(parseTarget(file.path), { env });
      assert.equal(engine.info.kind, kind);
      await engine.close();
    }
    process.env['BIOVEC_ENGINE'] = 'magic';
    await assert.rejects(
      openEngine(parseTarget(file.path), { env }),
      (error) => error instanceof BlockError && /auto, file, uring/.test(error.reason),
    );
  } finally {
    if (before === undefined) delete process.env['BIOVEC_ENGINE'];
    else process.env['BIOVEC_ENGINE'] = before;
  }
});

test('a kernel that knows fewer flags gets a ring with fewer', async () => {
  using file = new TemporaryFile(8192);
  for (const [unknownFlags, ring] of [
    [0, /^single-issuer defer-taskrun coop-taskrun submit-all no-sqarray$/],
    [1 << 16, /^single-issuer defer-taskrun coop-taskrun submit-all$/],
    [(1 << 16) | (1 << 13), /^single-issuer coop-taskrun submit-all$/],
    [(1 << 16) | (1 << 13) | (1 << 12), /^coop-taskrun submit-all$/],
    [0x13300, /^submit-all$/],
    [0x13380, /^$/],
  ] as const) {
    const model = new ModelRing({ unknownFlags });
    const engine = await openUringEngine(file.path, { env: envOf(model) });
    assert.match(String(engine.info.facts['ring']), ring);
    await engine.close();
    model.assertNothingLeft();
  }
});
