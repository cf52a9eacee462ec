// `npm run tidy`: the rules of the house that neither the compiler nor the linter knows.

import { join } from 'node:path';
import { BROWSER_LAYERS, LAYERS } from '../src/layers.ts';
import { checkForeign } from './tidy/foreign.ts';
import { checkBrowserLayers, checkImportDirection, checkPackageImports } from './tidy/imports.ts';
import { checkLinks } from './tidy/links.ts';
import { checkLinuxMap } from './tidy/linux-map.ts';
import { checkDefaultExports, checkNames } from './tidy/names.ts';
import { checkRawMemory } from './tidy/raw-memory.ts';
import { checkReadmes } from './tidy/readmes.ts';
import { checkSilencedTests } from './tidy/silenced-tests.ts';
import { checkSizes } from './tidy/sizes.ts';
import { readTree } from './tidy/tree.ts';
import type { Check } from './tidy/violation.ts';

const order = { layers: LAYERS, browserLayers: BROWSER_LAYERS };
const checks: readonly Check[] = [
  (tree) => checkImportDirection(tree, order),
  (tree) => checkBrowserLayers(tree, order),
  checkPackageImports,
  checkSizes,
  checkNames,
  checkDefaultExports,
  checkRawMemory,
  checkLinuxMap,
  checkForeign,
  checkSilencedTests,
  checkLinks,
  checkReadmes,
];

const tree = readTree(join(import.meta.dirname, '..'));
const violations = checks
  .flatMap((check) => check(tree))
  .sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : a.line - b.line));

for (const { path, line, sentence } of violations) {
  process.stdout.write(`${path}:${line}: ${sentence}\n`);
}
if (violations.length > 0) {
  process.stdout.write(`tidy: ${violations.length} violations\n`);
  process.exitCode = 1;
} else {
  process.stdout.write(`tidy: ${tree.files.length} files, no violation\n`);
}
