import type { SourceFile, Tree } from './tree.ts';
import type { Violation } from './violation.ts';

export const FILE_LINES_MAX = 400;
export const FUNCTION_LINES_MAX = 70;
export const LINE_CHARS_MAX = 100;

/** Long files, functions and lines hide more than one noun. */
export function checkSizes(tree: Tree): Violation[] {
  return tree.typeScript.flatMap((file) => [
    ...longFile(file),
    ...longLines(file),
    ...longFunctions(file),
  ]);
}

function longFile({ path, lines }: SourceFile): Violation[] {
  if (lines.length <= FILE_LINES_MAX) return [];
  const sentence = `the file has ${lines.length} lines; at most ${FILE_LINES_MAX}`;
  return [{ path, line: FILE_LINES_MAX + 1, sentence }];
}

function longLines({ path, lines }: SourceFile): Violation[] {
  return lines.flatMap((text, index) => {
    if (text.length <= LINE_CHARS_MAX) return [];
    const sentence = `the line has ${text.length} characters; at most ${LINE_CHARS_MAX}`;
    return [{ path, line: index + 1, sentence }];
  });
}

/** From the line of the header's `{` to that of its `}`. */
function longFunctions(file: SourceFile): Violation[] {
  const violations: Violation[] = [];
  const { bare, path } = file;
  const open: number[] = [];
  for (const { 0: brace, index } of bare.matchAll(/[{}]/g)) {
    if (brace === '{') {
      open.push(index);
      continue;
    }
    const start = open.pop();
    if (start === undefined || index - start < FUNCTION_LINES_MAX) continue;
    const line = file.lineAt(start);
    const lines = file.lineAt(index) - line + 1;
    if (lines <= FUNCTION_LINES_MAX || !isFunctionBody(headerBefore(bare, start))) continue;
    const sentence = `the function has ${lines} lines; at most ${FUNCTION_LINES_MAX}`;
    violations.push({ path, line, sentence });
  }
  return violations;
}

// A long loop or branch lies in a long function, and `describe` only groups tests.
const BRANCH = /^(?:if|else|for|while|do|switch|try|catch|finally)\b/;
const GROUP = /\b(?:class|interface|namespace)\s|\b(?:describe|suite)\(/;
const FUNCTION = /=>$|\bfunction\b|\)$|\)\s*:[^=]*$/;

function isFunctionBody(header: string): boolean {
  return !BRANCH.test(header) && !GROUP.test(header) && FUNCTION.test(header);
}

/** The statement or member up to the `{` at `start`, its own balanced brackets included. */
function headerBefore(bare: string, start: number): string {
  let depth = 0;
  let at = start - 1;
  for (; at >= 0; at--) {
    const char = bare[at];
    if (depth === 0 && (char === ';' || char === '{' || isBlockEnd(bare, at))) break;
    if (char === ')' || char === ']' || char === '}') depth++;
    if (char === '(' || char === '[' || char === '{') depth--;
    // An argument or an element: the call before it is part of the header, its brackets stay open.
    if (depth < 0) depth = 0;
  }
  return bare.slice(at + 1, start).trim();
}

/** A `}` at the end of its line ends what stands before; one inside a line is a type. */
function isBlockEnd(bare: string, at: number): boolean {
  return bare[at] === '}' && /^\s*\n/.test(bare.slice(at + 1, at + 80));
}
