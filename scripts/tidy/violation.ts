import type { SourceFile, Tree } from './tree.ts';

export interface Violation {
  readonly path: string;
  /** From 1. */
  readonly line: number;
  readonly sentence: string;
}

export type Check = (tree: Tree) => Violation[];

/** What each match of `pattern` (with the `g` flag) in `text`, a masked form of `file`, means. */
export function violationsOf(
  file: SourceFile,
  text: string,
  pattern: RegExp,
  sentence: (match: RegExpExecArray) => string,
): Violation[] {
  return [...text.matchAll(pattern)].map((match) => ({
    path: file.path,
    line: file.lineAt(match.index),
    sentence: sentence(match),
  }));
}
