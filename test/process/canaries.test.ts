import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { CANARIES } from '../../scripts/sim/canaries.ts';

const ROOT = join(import.meta.dirname, '..', '..');

test('the text of every canary stands in its source, once', () => {
  for (const { name, file, find, replace } of CANARIES) {
    const parts = readFileSync(join(ROOT, 'src', file), 'utf8').split(find);
    assert.equal(parts.length, 2, `${name}: its text stands ${parts.length - 1} times`);
    assert.notEqual(find, replace, name);
  }
});

// The others take more seeds: `npm run sim -- --canaries`.
for (const name of ['trim-without-release', 'completion-twice', 'merge-joins-different-holds']) {
  test(`a planted bug is found: ${name}`, () => {
    const args = [join(ROOT, 'scripts/sim.ts'), '--canary', name];
    const { status, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    assert.match(stdout, new RegExp(`^${name}: found after \\d+ seeds; seed`));
    assert.equal(status, 0);
  });
}

test('a loop inside a step ends, with the seed, the step and the frames of the loop', () => {
  const args = ['--canary', 'loop-in-a-step', '--step-seconds', '1', '--workers', '1'];
  const script = join(ROOT, 'scripts/sim.ts');
  const { status, stdout } = spawnSync(process.execPath, [script, ...args], { encoding: 'utf8' });
  const loop =
    'a step does not end \\(1 s of CPU\\): resumeWaiting \\(src/device/submit.ts:\\d+\\) <';
  assert.match(
    stdout,
    new RegExp(`found after 1 seeds; seed 1 \\(path\\), step \\d+: sim: ${loop}`),
  );
  assert.equal(status, 0);
});

test('a canary that does not exist is said so', () => {
  const args = [join(ROOT, 'scripts/sim.ts'), '--canary', 'none'];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  assert.notEqual(status, 0);
  assert.match(stderr, /there is no canary 'none'/);
});
