import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  checkBrowserLayers,
  checkImportDirection,
  checkPackageImports,
  importsOf,
} from './imports.ts';
import { SourceFile, Tree } from './tree.ts';

const order = {
  layers: ['base', 'bio', 'engine', 'testing', 'cli'],
  browserLayers: ['base', 'bio'],
};

function directionFaults(path: string, text: string): string[] {
  return checkImportDirection(new Tree({ [path]: text }), order).map(({ sentence }) => sentence);
}

test('every form of import is seen, with its line', () => {
  const text = [
    "import { a } from './a.ts';",
    "import type { b } from './b.ts';",
    'import {\n  c,\n} from "./c.ts";',
    "export * from './d.ts';",
    "import './e.ts';",
    "const f = await import('./f.ts');",
    "// import './no.ts';",
    "const program = `import './no.ts'`;",
    "const word = 'from';",
  ].join('\n');
  const found = importsOf(new SourceFile('src/bio/x.ts', text));
  assert.deepEqual(
    found.map(({ specifier, line }) => `${line} ${specifier}`),
    ['1 ./a.ts', '2 ./b.ts', '5 ./c.ts', '6 ./d.ts', '7 ./e.ts', '8 ./f.ts'],
  );
});

test('a layer imports itself and what stands before it', () => {
  assert.deepEqual(directionFaults('src/bio/a.ts', "import '../base/b.ts'; import './c.ts';"), []);
  assert.deepEqual(directionFaults('src/index.ts', "import './cli/main.ts';"), []);
  assert.deepEqual(directionFaults('src/bio/a.ts', "import '../engine/b.ts';"), [
    'bio/ imports engine/, which does not stand before it in src/layers.ts',
  ]);
  assert.deepEqual(directionFaults('src/bio/a.ts', "import '../index.ts';"), [
    'imports src/index.ts; entry files stand above every layer',
  ]);
  assert.deepEqual(directionFaults('src/bio/a.ts', "import '../../scripts/sim.ts';"), [
    'imports scripts/sim.ts, which is outside src/',
  ]);
  assert.deepEqual(directionFaults('src/drawer/a.ts', ''), [
    'the folder src/drawer has no place in the order of src/layers.ts',
  ]);
});

test('testing/ is open to the tests beside the code, and to nothing else', () => {
  const text = "import '../testing/simulator.ts';";
  assert.deepEqual(directionFaults('src/bio/split.test.ts', text), []);
  assert.deepEqual(directionFaults('src/bio/split.fuzz.ts', text), []);
  assert.equal(directionFaults('src/bio/split.ts', text).length, 1);
  assert.equal(directionFaults('src/bio/split.test.ts', "import '../cli/main.ts';").length, 1);
});

test('the layers of the browser import no node: module', () => {
  const text = "import fs from 'node:fs';";
  const fails = ['src/bio/a.ts', 'src/engine/memory.ts', 'src/testing/simulator/disk.ts'];
  const passes = ['src/bio/a.test.ts', 'src/engine/file.ts', 'src/testing/suite.ts'];
  const contents = Object.fromEntries([...fails, ...passes].map((path) => [path, text]));
  const paths = checkBrowserLayers(new Tree(contents), order).map(({ path }) => path);
  assert.deepEqual(paths, fails);
});

test('what is shipped imports what is installed', () => {
  const tree = new Tree({
    'package.json': '{ "dependencies": { "commander": "1" }, "devDependencies": { "dev": "1" } }',
    'src/cli/main.ts': "import 'commander'; import 'node:fs'; import 'dev/part';",
    'src/cli/main.test.ts': "import 'dev';",
  });
  assert.deepEqual(
    checkPackageImports(tree).map(({ sentence }) => sentence),
    ['imports dev/part, which is no dependency in package.json'],
  );
});
