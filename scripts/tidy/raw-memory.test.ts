import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkRawMemory } from './raw-memory.ts';
import { Tree } from './tree.ts';

function faults(path: string, text: string): number {
  return checkRawMemory(new Tree({ [path]: text })).length;
}

test('raw memory and foreign functions fail outside *.unsafe.ts', () => {
  const raw = [
    "import koffi from 'koffi';",
    "await import('node:ffi');",
    'new WebAssembly.Memory();',
  ];
  for (const text of raw) {
    assert.equal(faults('src/node/door.ts', text), 1, text);
    assert.equal(faults('src/node/door.unsafe.ts', text), 0, text);
    assert.equal(faults('src/node/door.unsafe.test.ts', text), 0, text);
  }
});

test('speaking of them is no use of them', () => {
  assert.equal(faults('src/node/door.ts', "// WebAssembly.Memory\nconst a = 'koffi';"), 0);
});
