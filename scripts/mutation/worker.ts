// One process of a mutation run. Loads the instrumented code once; each job switches one change on
// and runs the tests that reach it, from freshly loaded test files.

import { readFileSync } from 'node:fs';
import { registerHooks, stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import type { Answer, Job } from './job.ts';
import { mutationSwitch } from './switch.ts';
import { type CollectedTest, collected, runTests, startCollecting } from './test-collector.ts';

const [folder = '', sources = '[]', active = '-1'] = process.argv.slice(2);
const SANDBOX = pathToFileURL(folder).href;
const COLLECTOR = pathToFileURL(join(import.meta.dirname, 'test-collector.ts')).href;
/**
 * Of each property: `runs.fuzz.ts`, which is loaded again with the tests, reads them. Some tests
 * ask for a half or a quarter, and fast-check never ends a part of a run.
 */
const RUNS = Number(process.env['BIOVEC_RUNS']);
const RUNS_QUICK = Math.min(RUNS, 12);
const HITS_FACTOR = 50;
const HITS_MIN = 100_000;
const mutation = mutationSwitch();
/** Test files are loaded again and again: a number behind their name makes them new. */
let loads = 0;
const texts = new Map<string, string>();

registerHooks({
  resolve(specifier, context, next) {
    if (specifier === 'node:test' && context.parentURL?.startsWith(SANDBOX) === true) {
      return { url: COLLECTOR, shortCircuit: true };
    }
    const found = next(specifier, context);
    return isOfTests(found.url) ? { ...found, url: `${found.url}?load=${loads}` } : found;
  },
  load(url, context, next) {
    const path = url.startsWith(SANDBOX) ? url.split('?', 1)[0] : undefined;
    if (path === undefined || path === url) return next(url, context);
    return { format: 'module', source: textOf(path), shortCircuit: true };
  },
});

/** Text without types, by file: the same files are loaded a thousand times. */
function textOf(url: string): string {
  const known = texts.get(url);
  if (known !== undefined) return known;
  const text = stripTypeScriptTypes(readFileSync(new URL(url), 'utf8'));
  texts.set(url, text);
  return text;
}

/** What only tests import is as fresh as they: a failed test leaves pins in its arenas. */
function isOfTests(url: string): boolean {
  if (!url.startsWith(SANDBOX)) return false;
  return url.endsWith('.fuzz.ts') || /\/test\/[^?]*\.ts$/.test(url);
}

// That a property fails is all that is asked; the smallest counterexample would take time. Every
// run sees the same values, so that a score can be had again and no test fails by bad luck.
fc.configureGlobal({ endOnFailure: true, seed: 1 });

async function load(file: string): Promise<readonly CollectedTest[]> {
  startCollecting();
  loads++;
  await import(`${pathToFileURL(join(folder, file)).href}?load=${loads}`);
  return collected();
}

/** Runs the tests of `file` that `wanted` names, null = all. The error, or null. */
async function failureOf(file: string, wanted: readonly number[] | null): Promise<Error | null> {
  try {
    const tests = await load(file);
    const chosen = wanted === null ? tests : tests.filter((_, index) => wanted.includes(index));
    await runTests(chosen, () => undefined);
    return null;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

async function judge({ id, hits, plan }: Extract<Job, { kind: 'judge' }>): Promise<Answer> {
  // Most changes are noticed at once: the long run is for the others.
  for (const runs of [RUNS_QUICK, RUNS]) {
    process.env['BIOVEC_RUNS'] = String(runs);
    for (const { file, tests } of plan) {
      mutation.active = id;
      mutation.hitsLeft = hits * HITS_FACTOR + HITS_MIN;
      const error = await failureOf(file, tests);
      mutation.active = -1;
      if (error === null) continue;
      // The same tests without the change: they must pass, or this process is spoilt.
      const isSound = (await failureOf(file, tests)) === null;
      if (isSound) return { kind: 'killed', by: file, isSpoilt: false };
      // Some tests want to see both values of something, which takes more than a few runs.
      if (runs === RUNS) return { kind: 'killed', by: file, isSpoilt: true };
    }
  }
  return { kind: 'survived' };
}

/** How often each test reaches each change, and how long it computes. */
async function cover(file: string): Promise<Answer> {
  const atLoad = new Map<number, number>();
  mutation.counts = atLoad;
  await load(file); // Loads what it imports, too, which no later load does.
  const around = new Map<number, number>();
  mutation.counts = around;
  const tests = await load(file);
  const perTest = tests.map(() => ({ hits: new Map<number, number>(), ms: 0 }));
  let running: { ms: number } | undefined;
  let started = 0;
  await runTests(tests, (one) => {
    const now = cpuMs();
    const test = one === null ? undefined : perTest[tests.indexOf(one)];
    mutation.counts = test?.hits ?? around;
    if (running !== undefined) running.ms += now - started;
    running = test;
    started = now;
  });
  mutation.counts = null;
  const coverage = {
    file,
    atLoad: [...atLoad.keys()],
    around: [...around],
    tests: perTest.map(({ hits, ms }) => ({ hits: [...hits], ms })),
  };
  return { kind: 'covered', coverage };
}

/** Of this process so far: a machine that does more changes it little. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Loads all sources, under change `active`. What loading reaches, no test can switch on later. */
async function start(): Promise<Answer> {
  mutation.counts = new Map();
  mutation.active = Number(active);
  mutation.hitsLeft = HITS_MIN;
  for (const path of JSON.parse(sources) as string[]) {
    await import(pathToFileURL(join(folder, path)).href);
  }
  const atLoad = [...mutation.counts.keys()];
  mutation.counts = null;
  return { kind: 'ready', atLoad };
}

async function answerTo(job: Job): Promise<Answer> {
  switch (job.kind) {
    case 'cover':
      return cover(job.file);
    case 'judge':
      return judge(job);
    case 'static': {
      // The change is on since this process started.
      mutation.hitsLeft = HITS_MIN * HITS_FACTOR;
      for (const file of job.files) {
        if ((await failureOf(file, null)) !== null) {
          return { kind: 'killed', by: file, isSpoilt: false };
        }
      }
      return { kind: 'survived' };
    }
  }
}

function send(answer: Answer): void {
  process.send?.(answer);
}

const failed = (error: unknown): void => send({ kind: 'failed', why: String(error) });
process.on('uncaughtException', failed);
process.on('unhandledRejection', failed);
process.on('disconnect', () => process.exit());
process.on('message', (job: Job) => {
  answerTo(job).then(send, failed);
});
start().then(send, failed);
