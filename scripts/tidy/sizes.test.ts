import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkSizes, FILE_LINES_MAX, FUNCTION_LINES_MAX, LINE_CHARS_MAX } from './sizes.ts';
import { Tree } from './tree.ts';

function faults(text: string): string[] {
  return checkSizes(new Tree({ 'src/bio/a.ts': text })).map(
    ({ line, sentence }) => `${line}: ${sentence}`,
  );
}

/** `header {` … `}` over exactly `lines` lines. */
function block(header: string, lines: number): string {
  return `${header} {\n${'  x();\n'.repeat(lines - 2)}}\n`;
}

test('a file, a line: at the bound it passes, one more fails', () => {
  assert.deepEqual(faults('x\n'.repeat(FILE_LINES_MAX)), []);
  assert.deepEqual(faults('x\n'.repeat(FILE_LINES_MAX + 1)), [
    '401: the file has 401 lines; at most 400',
  ]);
  assert.deepEqual(faults('x'.repeat(LINE_CHARS_MAX)), []);
  assert.deepEqual(faults(`\n${'x'.repeat(LINE_CHARS_MAX + 1)}`), [
    '2: the line has 101 characters; at most 100',
  ]);
});

const FUNCTIONS = [
  'function f(a: number)',
  'export async function f(): Promise<void>',
  'function f(): { a: number; b: string }',
  'function f<T extends { a: 1 }>(x: T): asserts x is T',
  'const f = (a: number): number =>',
  'on("end", () =>',
  "test('a long one', async (t) =>",
  'class A {\n  b = 1;\n  get size(): number',
  'class A {\n  constructor(readonly: number)',
  'const o = {\n  a() {\n    b();\n  },\n  c(d)',
];

test('a function of any form: at the bound it passes, one more fails', () => {
  for (const header of FUNCTIONS) {
    const line = header.split('\n').length;
    assert.deepEqual(faults(block(header, FUNCTION_LINES_MAX)), [], header);
    assert.deepEqual(
      faults(block(header, FUNCTION_LINES_MAX + 1)),
      [`${line}: the function has 71 lines; at most 70`],
      header,
    );
  }
});

test('long blocks that are no functions pass', () => {
  const headers = [
    'export class A extends B(c)',
    'interface A',
    'const A =',
    'export const A: Readonly<Record<string, number>> =',
    "describe('split', () =>",
    'for (const a of b())',
    'if (a) {\n  b();\n} else',
  ];
  for (const header of headers) {
    assert.deepEqual(faults(block(header, FUNCTION_LINES_MAX + 9)), [], header);
  }
});

test('braces in strings and comments do not count', () => {
  assert.deepEqual(faults(block("// {\nconst a = '{';\nfunction f()", FUNCTION_LINES_MAX)), []);
});
