import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { LIMIT_NAMES, type LimitName, type LimitsInput } from './limits.ts';
import { profileNamed } from './profile.ts';
import { fromEffective, validateLimits } from './validate.ts';

interface Recorded {
  readonly device: string;
  readonly kernels: readonly string[];
  /** What the device was told, or null where a stock driver decided. */
  readonly given: LimitsInput | null;
  readonly effective: LimitsInput;
}

function isLimitName(name: string): name is LimitName {
  return (LIMIT_NAMES as readonly string[]).includes(name);
}

function pairs(entries: readonly (readonly [string, string])[]): LimitsInput {
  return Object.fromEntries(
    entries.map(([name, value]) => {
      assert(isLimitName(name), name);
      return [name, Number(value)];
    }),
  );
}

function readRecorded(): Recorded[] {
  const path = join(import.meta.dirname, '../../test/cases/limits-recorded.txt');
  const lines = readFileSync(path, 'utf8').trim().split('\n');
  const [header = '', ...rows] = lines.filter((line) => !line.startsWith('#'));
  const columns = header.split(' ').slice(1);
  return rows.map((row) => {
    const [device = '', kernels = '', given = '', ...values] = row.split(' ');
    assert.equal(values.length, columns.length, row);
    const told = given === '-' ? [] : given.split(',');
    return {
      device,
      kernels: kernels.split(','),
      given:
        given === '?'
          ? null
          : pairs(told.map((pair) => [pair.split('=')[0] ?? '', pair.split('=')[1] ?? ''])),
      effective: pairs(columns.map((name, i) => [name, values[i] ?? ''])),
    };
  });
}

function pick(from: LimitsInput, like: LimitsInput): LimitsInput {
  const names = Object.keys(like).filter(isLimitName);
  return Object.fromEntries(names.map((name) => [name, from[name]]));
}

const recorded = readRecorded();

test('the recorded queues are there', () => {
  assert.equal(recorded.length, 188);
  assert.equal(recorded.filter(({ given }) => given !== null).length, 148);
});

test('fromEffective keeps every limit of every recorded queue', () => {
  for (const { device, kernels, effective } of recorded) {
    for (const kernel of kernels) {
      const limits = fromEffective(effective, profileNamed(kernel));
      assert.deepEqual(pick(limits, effective), effective, `${device} on ${kernel}`);
    }
  }
});

test('validateLimits derives what the kernel derived from what the RAM disk was told', () => {
  for (const { device, kernels, given, effective } of recorded) {
    if (given === null) continue;
    for (const kernel of kernels) {
      const limits = validateLimits(given, profileNamed(kernel));
      assert.deepEqual(pick(limits, effective), effective, `${device} on ${kernel}`);
    }
  }
});
