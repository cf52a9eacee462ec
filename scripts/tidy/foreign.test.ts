import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkForeign } from './foreign.ts';
import { Tree } from './tree.ts';

function faults(text: string): number {
  return checkForeign(new Tree({ 'docs/a.md': text })).length;
}

// Built from parts, because this file is checked as well.
const path = (...parts: string[]): string => `/${parts.join('/')}`;
const host = (...parts: string[]): string => parts.join('.');

test('paths of one machine fail', () => {
  for (const found of [path('work', 'x'), path('root', '.npmrc'), path('tmp', 'disk.img')]) {
    assert.equal(faults(`see ${found}`), 1, found);
    assert.equal(faults(`"${found}"`), 1, found);
  }
});

test('addresses of registries fail', () => {
  assert.equal(faults(`https://${host('registry', 'example', 'org')}/x`), 1);
  assert.equal(faults(`http://${host('deb', 'example', 'org')}/`), 1);
  assert.equal(faults(`"${'resolved'}": "https://example.org/a.tgz"`), 1);
});

test('relative paths and plain words pass', () => {
  assert.equal(faults('src/work/a.ts, ./tmp/a, /tmp, a registry, registry.get(name)'), 0);
});
