import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Tally } from '../../src/testing/simulator/tally.ts';
import type { SeedResult } from './job.ts';

const SRC = join(import.meta.dirname, '..', '..', 'src');

/** What all seeds of a run did. */
export class SimTotals {
  readonly tally = new Tally();
  /** By the text of a `maybe`. */
  readonly maybes = new Map<string, [no: number, yes: number]>();
  seeds = 0;
  steps = 0;
  failures = 0;

  add(result: SeedResult): void {
    this.seeds++;
    this.steps += result.steps;
    if (result.message !== null) this.failures++;
    this.tally.merge(result.tally);
    for (const [what, [no, yes]] of Object.entries(result.maybes)) {
      const counts = this.maybes.get(what) ?? [0, 0];
      this.maybes.set(what, [counts[0] + no, counts[1] + yes]);
    }
  }
}

/** `prefix`: only the counts that start so, without it. */
export function printTally(totals: SimTotals, seconds: number, prefix: string): void {
  for (const [name, count] of Object.entries(totals.tally.toRecord())) {
    if (!name.startsWith(prefix)) continue;
    process.stdout.write(`${count.toString().padStart(12)}  ${name.slice(prefix.length)}\n`);
  }
  const rate = Math.round(totals.steps / seconds);
  process.stdout.write(`${totals.steps} steps in ${seconds.toFixed(1)} s: ${rate} steps/s\n`);
}

/** Prints every `maybe` of the sources that was not seen both ways, and says how many they are. */
export function printMaybes({ maybes }: SimTotals, isLong: boolean): number {
  const sites = maybesInSources();
  const unseen = sites.filter((what) => {
    const [no, yes] = maybes.get(what) ?? [0, 0];
    return no === 0 || yes === 0;
  });
  if (isLong) {
    for (const what of unseen) {
      const [no, yes] = maybes.get(what) ?? [0, 0];
      process.stdout.write(`maybe not seen both ways: '${what}' (no ${no}, yes ${yes})\n`);
    }
  }
  const seen = sites.length - unseen.length;
  process.stdout.write(`maybe: ${seen} of ${sites.length} seen both ways\n`);
  return unseen.length;
}

/** The constant texts of all calls of `maybe` in the library. */
function maybesInSources(): string[] {
  const texts: string[] = [];
  for (const file of readdirSync(SRC, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts') || file.endsWith('.test.ts')) continue;
    const source = readFileSync(join(SRC, file), 'utf8');
    for (const match of source.matchAll(/\bmaybe\([^;]*?,\s*'([^']+)',?\s*\);/g)) {
      texts.push(match[1] as string);
    }
  }
  return texts.sort();
}
