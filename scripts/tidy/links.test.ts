import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkLinks } from './links.ts';
import { Tree } from './tree.ts';

function faults(text: string): string[] {
  const tree = new Tree({
    'docs/a.md': text,
    'docs/b.md': '# The way of a byte\n\n## `open`, and more\n',
    'src/x.ts': '',
  });
  return checkLinks(tree).map(({ line, sentence }) => `${line}: ${sentence}`);
}

test('links that resolve pass, and so do those that leave the repository', () => {
  const good = [
    '[b](b.md) [x](../src/x.ts) [folder](../src/) [root](..)',
    '[b](b.md#the-way-of-a-byte) [c](b.md#open-and-more)',
    '[web](https://example.org/x) [mail](mailto:a@example.org)',
    '`[code](gone.md)`\n\n```md\n[code](gone.md)\n```',
  ];
  for (const text of good) assert.deepEqual(faults(text), [], text);
});

test('links that lead nowhere fail', () => {
  assert.deepEqual(faults('\n[a](gone.md)'), ["2: the link 'gone.md' leads nowhere"]);
  assert.deepEqual(faults('![a](x.png "title")'), ["1: the link 'x.png' leads nowhere"]);
  assert.deepEqual(faults('[b](b.md#gone)'), ["1: the link 'b.md#gone' names no heading"]);
  assert.deepEqual(faults('[b](#gone)'), ["1: the link '#gone' names no heading"]);
});
