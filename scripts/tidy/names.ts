import type { Tree } from './tree.ts';
import { type Violation, violationsOf } from './violation.ts';

const CODE_FOLDERS = /^(?:src|test|bench|scripts)\//;
const KEBAB = /^[a-z0-9]+(?:[-.][a-z0-9]+)*$/;
/** Drawers: what lies in them has no noun of its own. */
const DRAWERS = ['utils', 'util', 'common', 'helpers', 'misc'];

export function checkNames(tree: Tree): Violation[] {
  return tree.files.flatMap(({ path }) => {
    if (!CODE_FOLDERS.test(path)) return [];
    return pathFaults(path).map((sentence) => ({ path, line: 1, sentence }));
  });
}

function pathFaults(path: string): string[] {
  const parts = path.split('/');
  const name = parts.pop() as string;
  const stem = name.replace(/\.[a-z0-9]+$/, '');
  const faults: string[] = [];
  if (name !== 'README.md' && !KEBAB.test(stem)) faults.push(`'${name}' is no kebab-case name`);
  for (const folder of parts) {
    if (!KEBAB.test(folder)) faults.push(`the folder '${folder}' is no kebab-case name`);
  }
  for (const drawer of DRAWERS) {
    if (parts.includes(drawer) || stem === drawer) faults.push(`'${drawer}' names no noun`);
  }
  if (name === 'index.ts' && path !== 'src/index.ts') {
    faults.push('a barrel below the entry files hides where a name comes from');
  }
  return faults;
}

const DEFAULT_EXPORT = /\bexport\s+default\b|\bexport\s*\{[^}]*\bas\s+default\b/g;

export function checkDefaultExports(tree: Tree): Violation[] {
  return tree.typeScript.flatMap((file) =>
    violationsOf(file, file.bare, DEFAULT_EXPORT, () => 'a default export has no name; name it'),
  );
}
