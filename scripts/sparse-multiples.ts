// Finds multiples of the guards' polynomials with few terms, for
// `src/integrity/guards/sparse-multiples.ts`.
//
//   node scripts/sparse-multiples.ts crc16                      the pair that is used, at once
//   node scripts/sparse-multiples.ts crc64                      the ten that are used, in minutes
//   node scripts/sparse-multiples.ts crc64 --taps 12 --to 400   others
//
// A search of CRC64 ends after hours; most is found early, if there is anything: stop it, or say
// with --slices how many of its steps are enough. It needs about 500 MB.

import { parseArgs } from 'node:util';
import { Search } from './sparse/search.ts';

const POLYNOMIALS: Readonly<Record<string, { polynomial: bigint; taps: number; to: number }>> = {
  crc16: { polynomial: 0x18bb7n, taps: 2, to: 600 },
  crc64: { polynomial: 0x1ad93d23594c93659n, taps: 10, to: 512 },
};
const FROM_DEFAULT = 112;

function main(): number {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      taps: { type: 'string' },
      from: { type: 'string' },
      to: { type: 'string' },
      slices: { type: 'string' },
    },
  });
  const kind = POLYNOMIALS[positionals[0] ?? ''];
  if (kind === undefined) {
    process.stderr.write('sparse-multiples: crc16 or crc64\n');
    return 2;
  }
  const search = new Search({
    polynomial: kind.polynomial,
    taps: Number(values.taps ?? kind.taps),
    from: Number(values.from ?? FROM_DEFAULT),
    to: Number(values.to ?? kind.to),
  });
  const slices = Math.min(search.slices, Number(values.slices ?? search.slices));
  const seen = new Set<string>();
  for (let slice = 0; slice < slices; slice++) {
    for (const distances of search.multiplesIn(slice)) {
      const text = distances.join(' ');
      if (seen.has(text)) continue;
      seen.add(text);
      process.stdout.write(`slice ${slice} of ${search.slices}: ${text}\n`);
    }
  }
  return 0;
}

process.exitCode = main();
