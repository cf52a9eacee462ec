import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { BlockError } from '../base/block-error.ts';
import { formatCases, parseCases, runTextCases } from './text-cases.ts';

const TEXT = `# What the runner itself is tested with.

# Arguments: words, and words with a value.
show a=1 b flag=x=y
one
two
----
show {"a":"1","b":"","flag":"x=y"}
one
two

show
----
show {}

# An answer with an empty line.
gap
----
----
before

after
----
----

nothing
----

# Bad input is an answer too.
refuse
----
error EINVAL: it is bad

# The end.
`;

test('cases are read with their arguments, bodies and answers', () => {
  const { cases, trailer } = parseCases(TEXT);
  assert.deepEqual(
    cases.map(({ command, line }) => [command, line]),
    [
      ['show', 4],
      ['show', 12],
      ['gap', 17],
      ['nothing', 26],
      ['refuse', 30],
    ],
  );
  assert.deepEqual(cases[0]?.args, { a: '1', b: '', flag: 'x=y' });
  assert.equal(cases[0]?.body, 'one\ntwo');
  assert.equal(cases[2]?.expected, 'before\n\nafter');
  assert.equal(cases[3]?.expected, '');
  assert.deepEqual(trailer, ['# The end.']);
});

test('writing what was read gives the same file', () => {
  const parsed = parseCases(TEXT);
  assert.equal(
    formatCases(parsed, (one) => one.expected),
    TEXT,
  );
});

test('a changed answer changes its place alone, and can be read again', () => {
  const parsed = parseCases(TEXT);
  const text = formatCases(parsed, (one) => (one.line === 12 ? 'x\n\ny' : one.expected));
  assert.equal(
    text,
    TEXT.replace('show\n----\nshow {}\n', 'show\n----\n----\nx\n\ny\n----\n----\n'),
  );
  assert.equal(parseCases(text).cases[1]?.expected, 'x\n\ny');
});

test('a case without a rule is an error with its line', () => {
  assert.throws(() => parseCases('a\n----\nb\n\nc\nd\n', 'f.txt'), /f\.txt:5: a case without/);
});

const folder = mkdtempSync(join(tmpdir(), 'biovec-cases-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
writeFileSync(join(folder, 'one.txt'), TEXT);

runTextCases(folder, {
  show: (args, body) => `show ${JSON.stringify(args)}\n${body}`,
  gap: () => 'before\n\nafter\n',
  nothing: () => '',
  refuse: () => {
    throw new BlockError('EINVAL', { reason: 'it is bad' });
  },
});

test('UPDATE=1 writes the answers', () => {
  const file = join(folder, 'update.case');
  writeFileSync(file, '# Kept.\nupper\nabc\n----\nwrong\n');
  const module = JSON.stringify(join(import.meta.dirname, 'text-cases.ts'));
  const program = `
    import { runTextCases } from ${module};
    runTextCases(${JSON.stringify(file)}, { upper: (_, body) => body.toUpperCase() });
  `;
  const run = (update: string): number | null => {
    const args = ['--input-type=module', '-e', program];
    const env = { PATH: process.env['PATH'], UPDATE: update };
    return spawnSync(process.execPath, args, { env }).status;
  };
  assert.equal(run('0'), 1, 'a wrong answer fails');
  assert.equal(run('1'), 0);
  assert.equal(readFileSync(file, 'utf8'), '# Kept.\nupper\nabc\n----\nABC\n');
  assert.equal(run('0'), 0);
});
