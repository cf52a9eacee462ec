// `npm run sim -- --seeds N [--seed FIRST] [--steps N]`: the real path in simulated worlds.
// `--canaries` plants bugs and finds them, `--provenance` counts what page flags would get wrong.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { WorldSettings } from '../src/testing/simulator/world.ts';
import { runCanaries } from './sim/canary-run.ts';
import { runJob, type SeedJob, type SeedResult } from './sim/job.ts';
import { printMaybes, printTally, SimTotals } from './sim/print.ts';
import { readSettings, type Settings } from './sim/settings.ts';
import { runOnWorkers } from './sim/workers.ts';

const SEEDS_FOLDER = join(import.meta.dirname, '..', 'test', 'seeds');
/** Fewer are not worth the start of processes. */
const SEEDS_ALONE = 4;

function* jobsOf(settings: Settings): Generator<SeedJob> {
  const { first, seeds, steps, world, mutant, history, stepSeconds } = settings;
  const provenance: WorldSettings = settings.provenance ? { provenance: 'on' } : {};
  for (let seed = first; seed < first + seeds; seed++) {
    const record = history && seeds === 1;
    const kind = settings.provenance ? 'path' : world;
    const rest = { settings: provenance, record, shrinks: true, stepSeconds };
    yield { seed, steps, world: kind, mutant, ...rest };
  }
}

function printFailure(result: SeedResult, settings: Settings): void {
  const { seed, steps, message, stack, history } = result;
  const mutant = settings.mutant === undefined ? '' : ` --mutant ${settings.mutant}`;
  const world = settings.world === undefined ? '' : ` --world ${settings.world}`;
  const replay = `npm run sim -- --seed ${seed} --steps ${settings.steps}${world}${mutant}`;
  process.stdout.write(`seed ${seed} failed at step ${steps}: ${message}\n${stack}\n`);
  process.stdout.write(`replay: ${replay}\n`);
  if (history === null) return;
  process.stdout.write(`shrunk to:\n${history}`);
  if (settings.keep === undefined) return;
  mkdirSync(SEEDS_FOLDER, { recursive: true });
  writeFileSync(join(SEEDS_FOLDER, `${settings.keep}.txt`), history);
  process.stdout.write(`kept as test/seeds/${settings.keep}.txt\n`);
}

async function runSeeds(settings: Settings): Promise<number> {
  const totals = new SimTotals();
  const shows = process.stdout.isTTY === true;
  const started = performance.now();
  const take = (result: SeedResult): boolean => {
    totals.add(result);
    if (shows) process.stdout.write('\r\x1b[K');
    if (settings.history) process.stdout.write(`${result.lines.join('\n')}\n`);
    if (result.message !== null) printFailure(result, settings);
    if (shows) process.stdout.write(`${totals.seeds} seeds, ${totals.failures} failures`);
    return true;
  };
  if (settings.seeds < SEEDS_ALONE || settings.mutant !== undefined) {
    for (const job of jobsOf(settings)) take(await runJob(job));
  } else {
    await runOnWorkers(jobsOf(settings), { workers: settings.workers }, take);
  }
  const seconds = (performance.now() - started) / 1000;
  if (shows) process.stdout.write('\r\x1b[K');
  printTally(totals, seconds, settings.provenance ? 'provenance: ' : '');
  const isLong = totals.steps >= 1_000_000;
  const unseen = settings.mutant === undefined ? printMaybes(totals, isLong) : 0;
  const { seeds, steps, failures } = totals;
  process.stdout.write(`seeds run: ${seeds}, steps: ${steps}, failures: ${failures}\n`);
  return failures === 0 && (unseen === 0 || !isLong) ? 0 : 1;
}

const settings = readSettings(process.argv.slice(2));
if (settings === null) process.exitCode = 2;
else process.exitCode = await (settings.canaries ? runCanaries(settings) : runSeeds(settings));
