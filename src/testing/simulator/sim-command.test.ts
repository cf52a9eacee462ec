import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';

const SCRIPT = join(import.meta.dirname, '../../../scripts/sim.ts');

function sim(...args: string[]): { status: number | null; lines: string[]; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [SCRIPT, ...args], {
    encoding: 'utf8',
  });
  return { status, lines: stdout.trimEnd().split('\n'), stderr };
}

test('the last line counts seeds, steps and failures', () => {
  const { status, lines } = sim('--seeds', '3', '--seed', '7', '--steps', '100');
  assert.equal(lines.at(-1), 'seeds run: 3, steps: 300, failures: 0');
  assert.equal(status, 0);
});

test('a seed alone runs that seed', () => {
  const { lines } = sim('--seed', '7', '--steps', '50');
  assert.equal(lines.at(-1), 'seeds run: 1, steps: 50, failures: 0');
});

test('bad usage is exit code 2 and a sentence', () => {
  for (const args of [
    ['--seeds', '0'],
    ['--seeds', 'many'],
    ['--steps', '-1'],
    ['--wrong'],
    ['--mutant', 'none'],
    ['word'],
  ]) {
    const { status, stderr } = sim(...args);
    assert.equal(status, 2, args.join(' '));
    assert.match(stderr, /^sim: .*\nusage: /s);
  }
});

test('a failure prints its seed and how to replay it, and is exit code 1', () => {
  const { status, lines } = sim('--seeds', '2', '--mutant', 'wrong-byte');
  assert.equal(status, 1);
  assert.match(lines[0] ?? '', /^seed 1 failed at step \d+: sim: byte \d+ of area/);
  assert(lines.includes('replay: npm run sim -- --seed 2 --steps 1000 --mutant wrong-byte'));
  assert.match(lines.at(-1) ?? '', /^seeds run: 2, steps: \d+, failures: 2$/);
});
