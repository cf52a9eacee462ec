import type { Tree } from './tree.ts';
import { type Violation, violationsOf } from './violation.ts';

// The repository speaks of the project alone: nothing in it depends on one machine.
const MACHINE_PATH = /(?<![\w.~-])\/(?:work\/|root\/|tmp\/\w)[\w./-]*/g;
const REGISTRY = /\b(?:registry|deb|ftp)\.[a-z0-9-]+\.(?:org|com|net|io|dev)\b/g;
const LINK_FIELD = /"resolved":\s*"https?:[^"]*"/g;

export function checkForeign(tree: Tree): Violation[] {
  return tree.files.flatMap((file) => [
    ...violationsOf(file, file.text, MACHINE_PATH, ([path]) => `${path} is a path of one machine`),
    ...violationsOf(file, file.text, REGISTRY, ([host]) => `${host} is a registry's address`),
    ...violationsOf(file, file.text, LINK_FIELD, () => 'the lock file names a download address'),
  ]);
}
