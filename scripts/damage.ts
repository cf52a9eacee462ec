// Damages protected blocks and counts what verification misses; a part of `npm run test:nightly`.
// `node scripts/damage.ts [--count N] [--seed N]`; exit 1 when 64-bit guards missed any.

import { parseArgs } from 'node:util';
import { integrityOfType, type PiFormat, PiType } from '../src/integrity/integrity-profile.ts';
import { DAMAGE_KINDS } from '../src/testing/damage/damage-kinds.ts';
import { type DamageCount, runDamage } from '../src/testing/damage/damage-run.ts';

const COUNT_DEFAULT = 1_000_000;
const BLOCK_BYTES_MAX = 4096;

const WIDE: readonly PiFormat[] = [
  { type: PiType.TYPE1, csum: 'crc64', intervalBytes: 512 },
  { type: PiType.TYPE1, csum: 'crc64', intervalBytes: 4096, metadata_size: 64, pi_offset: 48 },
];
const NARROW: PiFormat = { type: PiType.TYPE1, csum: 'crc16', intervalBytes: 512 };
/** The larger format takes longer, and its guard is the same. */
const SHARES = [1, 0.1];

function describe({ csum, intervalBytes, metadata_size }: PiFormat): string {
  const metadata = metadata_size === undefined ? '' : `, ${metadata_size} bytes of metadata`;
  return `${csum}, blocks of ${intervalBytes}${metadata}`;
}

function print(format: PiFormat, counts: readonly DamageCount[]): number {
  const injected = counts.reduce((sum, one) => sum + one.injected, 0);
  const missed = counts.reduce((sum, one) => sum + one.missed, 0);
  const head = `${describe(format)}: ${injected} damages, ${missed} missed`;
  const lines = counts.map(({ kind, injected: of, missed: by }) => {
    return `  ${kind.name.padEnd(44)}${String(of).padStart(9)}${String(by).padStart(9)}`;
  });
  process.stdout.write(`${[head, ...lines].join('\n')}\n`);
  return missed;
}

/** What the ref tag cannot see is for the guard: of 16 bits, one damage in 2^16 passes. */
function printRate(counts: readonly DamageCount[]): void {
  const chances = counts.filter(({ kind }) => kind.guard16 === 'chance');
  const injected = chances.reduce((sum, one) => sum + one.injected, 0);
  const missed = chances.reduce((sum, one) => sum + one.missed, 0);
  const expected = injected / 2 ** 16;
  const rate = (missed / injected).toExponential(2);
  const [share, around] = [(2 ** -16).toExponential(2), Math.sqrt(expected).toFixed(1)];
  process.stdout.write(
    `crc16, right ref tag, damage beyond its polynomial: ${missed} of ${injected} missed, ` +
      `${rate}; 2^-16 is ${share}, that is ${expected.toFixed(1)} ± ${around}\n`,
  );
}

function main(): number {
  const { values } = parseArgs({
    options: { count: { type: 'string' }, seed: { type: 'string', default: '1' } },
  });
  const count = Number(values.count ?? COUNT_DEFAULT);
  const seed = Number(values.seed);
  if (![count, seed].every((value) => Number.isSafeInteger(value) && value > 0)) {
    process.stderr.write('damage: --count and --seed are whole numbers from 1 on\n');
    return 2;
  }
  let missed = 0;
  for (const [i, format] of WIDE.entries()) {
    const profile = integrityOfType(format, BLOCK_BYTES_MAX);
    const share = Math.ceil(count * (SHARES[i] as number));
    missed += print(format, runDamage({ profile, count: share, seed }));
  }
  const profile = integrityOfType(NARROW, BLOCK_BYTES_MAX);
  print(NARROW, runDamage({ profile, count: Math.ceil(count / 10), seed }));
  process.stdout.write('  (32 bits of a ref tag are the same 2^32 blocks apart)\n');
  const kinds = DAMAGE_KINDS.filter(({ guard16 }) => guard16 === 'chance');
  printRate(runDamage({ profile, count, seed, kinds }));
  return missed === 0 ? 0 : 1;
}

process.exitCode = main();
