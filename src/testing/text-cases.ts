import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { BlockError } from '../base/block-error.ts';

// Data-driven tests: one text file, many cases. `UPDATE=1` writes what the handlers answer.
//
//   # A comment belongs to the case below it.
//   split segments-max=2 fua
//   bio sector=0: p7+0:4k p9+0:4k p3+0:4k
//   ----
//   rq sector=0:  p7+0:4k p9+0:4k
//   rq sector=16: p3+0:4k
//
// The first line names the handler and its arguments, the lines up to ---- are the body. The
// answer ends at an empty line; one that has empty lines itself stands between doubled ---- lines.

const RULE = '----';

/** `segments-max=2 fua` → { 'segments-max': '2', fua: '' }. */
export type CaseArgs = Readonly<Record<string, string>>;

/** Answers a case. A BlockError that it throws is the answer, as `error CODE: reason`. */
export type CaseHandler = (args: CaseArgs, body: string) => string;

export interface TextCase {
  readonly command: string;
  readonly args: CaseArgs;
  readonly body: string;
  readonly expected: string;
  /** Of the command, from 1. */
  readonly line: number;
  /** Everything from the comments above it to the rule, as it stands in the file. */
  readonly source: readonly string[];
}

export interface CaseFile {
  readonly cases: readonly TextCase[];
  /** Comments and empty lines behind the last case. */
  readonly trailer: readonly string[];
}

/**
 * Registers a test for each case of a file, or of every .txt file in a directory. A case whose
 * command has no handler fails. With UPDATE=1 the answers are written into the files instead.
 */
export function runTextCases(path: string, handlers: Readonly<Record<string, CaseHandler>>): void {
  for (const file of filesOf(path)) {
    const parsed = parseCases(readFileSync(file, 'utf8'), file);
    if (process.env['UPDATE'] === '1') {
      test(`${basename(file)} is written anew`, () => {
        writeFileSync(
          file,
          formatCases(parsed, (one) => answer(one, handlers)),
        );
      });
      continue;
    }
    for (const one of parsed.cases) {
      test(`${basename(file)}:${one.line} ${one.command}`, () => {
        assert.equal(answer(one, handlers), one.expected, `${file}:${one.line}`);
      });
    }
  }
}

function filesOf(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  const names = readdirSync(path).filter((name) => name.endsWith('.txt'));
  return names.sort().map((name) => join(path, name));
}

function answer(one: TextCase, handlers: Readonly<Record<string, CaseHandler>>): string {
  assert(Object.hasOwn(handlers, one.command), `no handler for '${one.command}'`);
  try {
    return (handlers[one.command] as CaseHandler)(one.args, one.body).replace(/\n+$/, '');
  } catch (error) {
    if (!(error instanceof BlockError)) throw error;
    return `error ${error.code}: ${error.reason}`;
  }
}

/** Throws an Error that names the file and the line when a case has no rule. */
export function parseCases(text: string, file = 'text'): CaseFile {
  const lines = text.replace(/\n$/, '').split('\n');
  const cases: TextCase[] = [];
  let at = 0;
  let sourceStart = 0;
  while (at < lines.length) {
    if (isComment(lines[at] as string)) {
      at++;
      continue;
    }
    const commandAt = at;
    while (at < lines.length && lines[at] !== RULE) at++;
    if (at === lines.length) throw new Error(`${file}:${commandAt + 1}: a case without ${RULE}`);
    const { command, args } = parseCommand(lines[commandAt] as string);
    const body = lines.slice(commandAt + 1, at).join('\n');
    const source = lines.slice(sourceStart, at);
    const { expected, next } = parseAnswer(lines, at + 1);
    cases.push({ command, args, body, expected, line: commandAt + 1, source });
    at = next;
    sourceStart = next;
  }
  return { cases, trailer: lines.slice(sourceStart) };
}

function isComment(line: string): boolean {
  return line.trim() === '' || line.startsWith('#');
}

function parseCommand(line: string): { command: string; args: CaseArgs } {
  const [command = '', ...words] = line.trim().split(/\s+/);
  const pairs = words.map((word) => {
    const equals = word.indexOf('=');
    return equals < 0 ? [word, ''] : [word.slice(0, equals), word.slice(equals + 1)];
  });
  return { command, args: Object.fromEntries(pairs) };
}

/** `next` is the first line behind the answer, its empty line included. */
function parseAnswer(lines: readonly string[], start: number): { expected: string; next: number } {
  const isDoubled = lines[start] === RULE;
  const first = isDoubled ? start + 1 : start;
  let end = first;
  const ends = (at: number): boolean =>
    isDoubled ? lines[at] === RULE && lines[at + 1] === RULE : lines[at]?.trim() === '';
  while (end < lines.length && !ends(end)) end++;
  let next = isDoubled ? end + 2 : end;
  if (lines[next]?.trim() === '') next++;
  return { expected: lines.slice(first, end).join('\n'), next };
}

/** The file with the answers of `answerOf`; comments and bodies stay as they are. */
export function formatCases(
  { cases, trailer }: CaseFile,
  answerOf: (one: TextCase) => string,
): string {
  const blocks = cases.map((one) => {
    const text = answerOf(one);
    const rules = /^\s*$/m.test(text) && text !== '' ? [RULE, RULE] : [RULE];
    const closing = rules.length === 2 ? rules : [];
    return [...one.source, ...rules, ...(text === '' ? [] : [text]), ...closing].join('\n');
  });
  const end = trailer.some((line) => line !== '') ? [trailer.join('\n')] : [];
  return `${[...blocks, ...end].join('\n\n')}\n`;
}
