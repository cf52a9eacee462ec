import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkSilencedTests } from './silenced-tests.ts';
import { Tree } from './tree.ts';

function faults(path: string, text: string): number {
  return checkSilencedTests(new Tree({ [path]: text })).length;
}

test('a test that does not run fails', () => {
  const silenced = [
    'test.only("a", f);',
    'describe.skip("a", f);',
    'it.todo("a");',
    't.skip("later");',
    'test("a", { skip: true }, f);',
    'test("a", { todo: "later" }, f);',
  ];
  for (const text of silenced) assert.equal(faults('src/bio/a.test.ts', text), 1, text);
});

test('other things called skip pass, and a peer may be missing', () => {
  assert.equal(faults('src/bio/a.test.ts', 'iter.skip(3); f({ only: false }); // test.only('), 0);
  assert.equal(faults('test/peers/nbd.peer.ts', 't.skip("qemu-nbd is not installed");'), 0);
});
