import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RUNS } from '../../base/runs.fuzz.ts';
import { integrityOfType, type PiFormat, PiType } from '../../integrity/integrity-profile.ts';
import { CheckFlag } from '../../integrity/verify.ts';
import { DAMAGE_KINDS } from './damage-kinds.ts';
import { type DamageCount, runDamage } from './damage-run.ts';

/** 13,000 with 1,000 runs, 260,000 in the nightly mode, whose script does 10^6 beside. */
const COUNT = DAMAGE_KINDS.length * RUNS.numRuns;

const CRC64: readonly PiFormat[] = [
  { type: PiType.TYPE1, csum: 'crc64', intervalBytes: 512 },
  { type: PiType.TYPE2, csum: 'crc64', intervalBytes: 4096, metadata_size: 64, pi_offset: 48 },
];

const missedBy = (counts: readonly DamageCount[]): string[] =>
  counts.filter(({ missed }) => missed > 0).map(({ kind }) => kind.name);

test('64-bit guards and 48-bit ref tags miss no damage', () => {
  for (const format of CRC64) {
    const counts = runDamage({ profile: integrityOfType(format, 4096), count: COUNT, seed: 1 });
    for (const { kind, injected, missed } of counts) {
      assert.equal(injected, RUNS.numRuns, kind.name);
      assert.equal(missed, 0, kind.name);
    }
  }
});

test('16-bit guards: short bursts are found, 2^32 blocks apart is not, the rest mostly', () => {
  const profile = integrityOfType({ type: PiType.TYPE1, csum: 'crc16', intervalBytes: 512 }, 512);
  const counts = runDamage({ profile, count: COUNT, seed: 2 });
  let chances = 0;
  let missed = 0;
  for (const one of counts) {
    const isFar = one.kind.name.endsWith('2^32 blocks apart');
    if (one.kind.guard16 === 'chance') {
      chances += one.injected;
      missed += one.missed;
    } else {
      assert.equal(one.missed, isFar ? one.injected : 0, one.kind.name);
    }
  }
  // 7,000 chances: 0.11 are expected; ten are one in 10^16.
  assert.ok(missed < 10 + (chances / 2 ** 16) * 2, `${missed} of ${chances}`);
});

test('without the guard, or the ref tag, what it is for is missed', () => {
  const profile = integrityOfType(CRC64[0] as PiFormat, 512);
  const options = { profile, count: 20 * DAMAGE_KINDS.length, seed: 3 };
  const noGuard = runDamage({ ...options, checks: CheckFlag.REF });
  const guarded = DAMAGE_KINDS.filter(({ guard16 }) => guard16 !== 'ref').map(({ name }) => name);
  assert.deepEqual(missedBy(noGuard), guarded);
  const noRef = runDamage({ ...options, checks: CheckFlag.GUARD });
  const byRef = DAMAGE_KINDS.filter(({ guard16 }) => guard16 === 'ref').map(({ name }) => name);
  assert.deepEqual(missedBy(noRef), byRef);
  for (const { injected, missed } of [...noGuard, ...noRef]) {
    assert.ok(missed === 0 || missed === injected);
  }
});
