import { posix } from 'node:path';
import type { SourceFile, Tree } from './tree.ts';
import type { Violation } from './violation.ts';

/** The parts of `src/layers.ts` that the checks need. */
export interface LayerOrder {
  readonly layers: readonly string[];
  readonly browserLayers: readonly string[];
}

interface Import {
  readonly specifier: string;
  readonly line: number;
}

const SPECIFIER = /(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*)(?:'([^'\n]+)'|"([^"\n]+)")/g;

export function importsOf(file: SourceFile): Import[] {
  const found: Import[] = [];
  for (const match of file.code.matchAll(SPECIFIER)) {
    // The same words inside a template (a program that a test writes) are no import of this file.
    const keyword = file.bare.slice(match.index, match.index + 4).trim();
    if (keyword === '') continue;
    found.push({ specifier: match[1] ?? match[2], line: file.lineAt(match.index) });
  }
  return found;
}

/** A file imports its own folder or one that stands before it in `src/layers.ts`. */
export function checkImportDirection(tree: Tree, order: LayerOrder): Violation[] {
  const violations: Violation[] = [];
  for (const file of tree.typeScript) {
    const { layer, path } = file;
    if (layer === null) continue;
    if (!order.layers.includes(layer)) {
      const sentence = `the folder src/${layer} has no place in the order of src/layers.ts`;
      violations.push({ path, line: 1, sentence });
      continue;
    }
    for (const { specifier, line } of importsOf(file)) {
      if (!specifier.startsWith('.')) continue;
      const target = posix.join(posix.dirname(path), specifier);
      const sentence = directionFault(file, target, order.layers);
      if (sentence !== null) violations.push({ path, line, sentence });
    }
  }
  return violations;
}

function directionFault(
  file: SourceFile,
  target: string,
  layers: readonly string[],
): string | null {
  if (!target.startsWith('src/')) return `imports ${target}, which is outside src/`;
  const to = /^src\/([^/]+)\//.exec(target)?.[1];
  if (to === undefined) return `imports ${target}; entry files stand above every layer`;
  if (file.isBesideCode && to === 'testing') return null;
  const from = file.layer as string;
  if (layers.indexOf(to) <= layers.indexOf(from) && layers.includes(to)) return null;
  return `${from}/ imports ${to}/, which does not stand before it in src/layers.ts`;
}

/** The layers of the real path also run in a browser page, and so do these two. */
const BROWSER_PATHS = /^src\/(?:engine\/memory|testing\/simulator)/;

export function checkBrowserLayers(tree: Tree, order: LayerOrder): Violation[] {
  const violations: Violation[] = [];
  for (const file of tree.typeScript) {
    const { layer, path } = file;
    if (layer === null || file.isBesideCode) continue;
    if (!order.browserLayers.includes(layer) && !BROWSER_PATHS.test(path)) continue;
    for (const { specifier, line } of importsOf(file)) {
      if (!specifier.startsWith('node:')) continue;
      const sentence = `imports ${specifier}, but this file also runs in a browser page`;
      violations.push({ path, line, sentence });
    }
  }
  return violations;
}

/** What the package ships imports only what the package installs. */
export function checkPackageImports(tree: Tree): Violation[] {
  const manifest = JSON.parse(tree.get('package.json')?.text ?? '{}') as {
    dependencies?: object;
    optionalDependencies?: object;
  };
  const installed = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies });
  const violations: Violation[] = [];
  for (const file of tree.typeScript) {
    if (!file.path.startsWith('src/') || file.isBesideCode) continue;
    for (const { specifier, line } of importsOf(file)) {
      if (/^(?:\.|node:)/.test(specifier) || installed.includes(packageOf(specifier))) continue;
      const sentence = `imports ${specifier}, which is no dependency in package.json`;
      violations.push({ path: file.path, line, sentence });
    }
  }
  return violations;
}

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}
