import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkDefaultExports, checkNames } from './names.ts';
import { Tree } from './tree.ts';

function nameFaults(path: string): string[] {
  return checkNames(new Tree({ [path]: '' })).map(({ sentence }) => sentence);
}

test('good names pass', () => {
  const paths = [
    'src/index.ts',
    'src/bio/README.md',
    'src/bio/bio-chain.test.ts',
    'src/memory/region.unsafe.ts',
    'test/oracle/linux-6.12/split.json',
    'docs/Anything Goes.md',
  ];
  for (const path of paths) assert.deepEqual(nameFaults(path), [], path);
});

test('camel case, drawers and barrels fail', () => {
  assert.deepEqual(nameFaults('src/bio/bioChain.ts'), ["'bioChain.ts' is no kebab-case name"]);
  assert.deepEqual(nameFaults('src/Bio/a.ts'), ["the folder 'Bio' is no kebab-case name"]);
  assert.deepEqual(nameFaults('src/utils/a.ts'), ["'utils' names no noun"]);
  assert.deepEqual(nameFaults('src/bio/helpers.ts'), ["'helpers' names no noun"]);
  assert.equal(nameFaults('src/bio/index.ts').length, 1);
});

test('default exports fail in both forms', () => {
  const faults = (text: string): number =>
    checkDefaultExports(new Tree({ 'src/bio/a.ts': text })).length;
  assert.equal(faults('export default 1;'), 1);
  assert.equal(faults('const a = 1;\nexport { a as default };'), 1);
  assert.equal(faults("export const a = 1; // export default\nconst b = 'export default';"), 0);
});
