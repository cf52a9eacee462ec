// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the strings are programs with templates

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { maskComments, maskStrings } from './mask.ts';

test('comments go, strings stay, offsets stay', () => {
  const text = "a('// no'); // yes\n/* {\n */ b";
  assert.equal(maskComments(text), "a('// no');       \n    \n    b");
});

test('strings and regular expressions lose their content', () => {
  assert.equal(maskStrings(`f('{"', "it's {")`), 'f(\'  \', "      ")');
  assert.equal(maskStrings('x = /[/"{]+/g.test(y)'), 'x = /      /g.test(y)');
  assert.equal(maskStrings('x = a / b / "c"'), 'x = a / b / " "');
});

test('a template keeps its substitutions, also nested ones', () => {
  assert.equal(maskStrings('`a{${b({ c: `d` })}e}`'), '`  ${b({ c: ` ` })}  `');
  assert.equal(maskStrings("`// '` + f"), '`    ` + f');
});

test('what is not closed does not hang', () => {
  for (const text of ["'a", '`a', '`a${', '/* a', '}', 'x = /a']) {
    assert.equal(maskStrings(text).length, text.length);
  }
});
