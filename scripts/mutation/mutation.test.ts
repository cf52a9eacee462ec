import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FolderScore } from './folder-score.ts';
import { type Fate, runMutants } from './run-mutants.ts';
import { type Mutant, Sandbox } from './sandbox.ts';
import * as collector from './test-collector.ts';

const ROOT = join(import.meta.dirname, '../..');

test('collected tests run with the hooks of all their suites, others do not', async () => {
  const seen: string[] = [];
  const note = (text: string) => (): void => {
    seen.push(text);
  };
  collector.startCollecting();
  collector.afterEach(note('afterEach'));
  collector.after(note('after'));
  collector.describe('outer', () => {
    collector.before(note('before'));
    collector.beforeEach(note('beforeEach'));
    collector.test('one', {}, async (context) => {
      (context as { after(hook: () => void): void }).after(note('cleanup'));
      await Promise.resolve();
      seen.push('one');
    });
    collector.test('two', note('two'));
    collector.test('left out', { skip: seen.length === 0 }, note('left out'));
  });
  const tests = collector.collected();
  assert.deepEqual(
    tests.map(({ name }) => name),
    ['one', 'two'],
  );
  await collector.runTests(tests.slice(0, 1), () => undefined);
  const expected = ['before', 'beforeEach', 'one', 'cleanup', 'afterEach', 'after'];
  assert.deepEqual(seen, expected);
  const failing = { ...tests[1], body: () => assert.fail('planted') } as (typeof tests)[number];
  await assert.rejects(
    collector.runTests([failing], () => undefined),
    /planted/,
  );
});

const SOURCE = `
import { ok as assert } from 'node:assert/strict';
export const SIZE = 2 + 2;
export function most(a: number, b: number): number {
  return a > b ? a : b;
}
export function halves(n: number): number {
  let count = 0;
  for (let left = n; left > 1; left /= 2) count++;
  return count;
}
export function checked(n: number): number {
  assert(n > 0, 'not above 0');
  return n;
}
let table: number[] | null = null;
export function squares(): number[] {
  table ??= [0, 1, 2].map((n) => n * n);
  return table;
}
export function untested(): boolean {
  return true;
}
`;

const TESTS = `
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { halves, most, SIZE, squares } from './sums.ts';
test('most', () => {
  assert.equal(most(1, 2), 2);
  assert.equal(most(3, 2), 3);
});
test('halves', () => assert.equal(halves(8), 3));
test('squares', () => assert.deepEqual(squares(), [0, 1, 4]));
test('size', () => assert.equal(SIZE, 4));
`;

test('each change gets the fate that it deserves', async () => {
  const root = mkdtempSync(join(tmpdir(), 'biovec-mutation-test-'));
  try {
    mkdirSync(join(root, 'src/sums'), { recursive: true });
    writeFileSync(join(root, 'package.json'), '{ "type": "module" }');
    writeFileSync(join(root, 'src/sums/sums.ts'), SOURCE);
    writeFileSync(join(root, 'src/sums/sums.test.ts'), TESTS);
    symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'));
    using sandbox = new Sandbox();
    const sources = ['src/sums/sums.ts'];
    await sandbox.fill({ root, files: sources, assertions: false });
    const testFiles = sandbox.find(['src/**/*.test.ts']);
    const fates = new Map<Mutant, Fate>();
    const onFate = (mutant: Mutant, fate: Fate): void => {
      fates.set(mutant, fate);
    };
    const { mutants } = sandbox;
    await runMutants({ sandbox, mutants, sources, testFiles, workers: 2, runs: 10, onFate });
    const fateOf = (replacement: string): Fate[] =>
      [...fates].filter(([mutant]) => mutant.replacement === replacement).map(([, fate]) => fate);
    assert.deepEqual(fateOf('a <= b'), ['killed']);
    assert.deepEqual(fateOf('a >= b'), ['survived']); // Nobody can tell: both are the same.
    assert.deepEqual(fateOf('2 - 2'), ['killed']); // Decided while the file is loaded.
    assert.deepEqual(fateOf('n / n'), ['killed']); // Decided once in a process.
    assert.deepEqual(fateOf('left *= 2'), ['killed']); // Endless, seen by its hits.
    assert.deepEqual(fateOf('count--'), ['killed']);
    const lost = [...fates].filter(([, fate]) => fate === 'not-reached');
    // Bodies that no test enters; the assertion in line 13 is not changed at all.
    assert.deepEqual(new Set(lost.map(([{ line }]) => line)), new Set([12, 21, 22]));
    const score = new FolderScore('src/sums', fates);
    assert.equal(score.all, mutants.length);
    assert.equal(score.detected + score.survivors.length, mutants.length);
    assert(score.score > 50 && score.score < 100);
  } finally {
    rmSync(root, { recursive: true });
  }
});

test('a test that fails without any change is an error, not a score', async () => {
  const root = mkdtempSync(join(tmpdir(), 'biovec-mutation-test-'));
  try {
    mkdirSync(join(root, 'src/sums'), { recursive: true });
    writeFileSync(join(root, 'package.json'), '{ "type": "module" }');
    writeFileSync(join(root, 'src/sums/sums.ts'), SOURCE);
    writeFileSync(join(root, 'src/sums/sums.test.ts'), TESTS.replace('most(1, 2), 2', '1, 2'));
    symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'));
    using sandbox = new Sandbox();
    const sources = ['src/sums/sums.ts'];
    await sandbox.fill({ root, files: sources, assertions: false });
    const { mutants } = sandbox;
    const testFiles = ['src/sums/sums.test.ts'];
    const onFate = (): void => assert.fail('nothing is judged');
    const run = runMutants({ sandbox, mutants, sources, testFiles, workers: 1, runs: 10, onFate });
    await assert.rejects(run, /sums\.test\.ts fails without a change/);
  } finally {
    rmSync(root, { recursive: true });
  }
});
