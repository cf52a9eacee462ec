import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkReadmes, README_LINES_MAX } from './readmes.ts';
import { Tree } from './tree.ts';

function faults(contents: Record<string, string>): string[] {
  return checkReadmes(new Tree(contents)).map(({ sentence }) => sentence);
}

test('each layer with files has a README of one screen', () => {
  const readme = 'x\n'.repeat(README_LINES_MAX);
  assert.deepEqual(faults({ 'src/index.ts': '' }), []);
  assert.deepEqual(faults({ 'src/bio/a.ts': '', 'src/bio/README.md': readme }), []);
  assert.deepEqual(faults({ 'src/bio/a.ts': '' }), ['the layer bio/ has no README.md']);
  assert.deepEqual(faults({ 'src/bio/README.md': `${readme}x\n` }), [
    'the README has 61 lines; at most 60',
  ]);
});
