import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { BlockError } from '../base/block-error.ts';
import { openEngine } from './open-engine.ts';
import { parseTarget } from './target.ts';

function refused(code: string, reason: RegExp): (error: unknown) => boolean {
  return (error) =>
    error instanceof BlockError && error.code === code && reason.test(error.message);
}

test('every kind of target becomes its engine', async () => {
  const file = path.join(os.tmpdir(), `biovec-open-${process.pid}.img`);
  const options = { create: true, truncateTo: 8192, depth: 5, engine: 'file' } as const;
  const engine = await openEngine(parseTarget(file), options);
  assert.equal(engine.info.kind, 'file');
  assert.equal(engine.info.target, file);
  assert.equal(engine.info.depth, 5);
  assert.equal(engine.sizeBytes(), 8192);
  await engine.close();
  fs.rmSync(file);
  for (const [name, kind] of [
    ['ram:1M', 'ram'],
    ['null:1T', 'null'],
  ] as const) {
    const memory = await openEngine(parseTarget(name), { direct: true, readOnly: true });
    assert.equal(memory.info.kind, kind);
    assert.equal(memory.info.target, name);
    assert.equal(memory.info.limits.read_only, true);
    await memory.close();
  }
});

test('what cannot be opened says why', async () => {
  await assert.rejects(openEngine(parseTarget('-')), refused('EINVAL', /only copy takes them/));
  const nbd = openEngine(parseTarget('nbd://host/x'));
  await assert.rejects(nbd, refused('EOPNOTSUPP', /not built yet.*'nbd:\/\/host\/x'/));
  const small = openEngine(parseTarget('ram:1M'), { truncateTo: 2 ** 21 });
  await assert.rejects(small, refused('ENOSPC', /1048576 bytes, 2097152 are needed/));
  await assert.rejects(openEngine(parseTarget('/')), refused('EISDIR', /directory.*'\/'/));
  await assert.rejects(openEngine(parseTarget('./no/such')), refused('ENOENT', /no such file/));
});

test('a protected target is as large as it is, and more is refused', async () => {
  const target = parseTarget('protect:ram:1M');
  await assert.rejects(openEngine(target, { truncateTo: 2 ** 20 + 512 }), { code: 'ENOSPC' });
  const engine = await openEngine(target, { truncateTo: 2 ** 20 });
  assert.equal(engine.sizeBytes(), 2 ** 20);
  await engine.close();
});
