import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockError } from '../base/block-error.ts';
import { DEFAULT_PROFILE, LINUX_6_1, LINUX_6_12, PROFILES, profileNamed } from './profile.ts';

test('a profile is found by its name', () => {
  assert.equal(profileNamed('biovec'), DEFAULT_PROFILE);
  assert.equal(profileNamed('linux-6.1'), LINUX_6_1);
  assert.equal(profileNamed('linux-6.12'), LINUX_6_12);
  assert.throws(
    () => profileNamed('linux-5.4'),
    new BlockError('EINVAL', {
      reason: "profile 'linux-5.4' is none of biovec, linux-6.1, linux-6.12",
    }),
  );
});

test('a profile is frozen data of at most ten behaviours, and each of them tells two apart', () => {
  const behaviours = Object.keys(DEFAULT_PROFILE).filter((key) => key !== 'name');
  assert(behaviours.length <= 10);
  for (const profile of PROFILES) {
    assert(Object.isFrozen(profile));
    assert.deepEqual(Object.keys(profile), Object.keys(DEFAULT_PROFILE));
  }
  for (const key of behaviours) {
    const values = PROFILES.map((profile) => Object.entries(profile).find(([k]) => k === key)?.[1]);
    assert(new Set(values).size > 1, `${key} is the same in all profiles`);
  }
});
