import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Answer, FileCoverage, Hits, Job, PlannedFile } from './job.ts';
import type { Mutant, Sandbox } from './sandbox.ts';

/** What became of a change: only the first two were noticed by a test. */
export type Fate = 'killed' | 'timeout' | 'survived' | 'not-reached';

export interface RunOptions {
  readonly sandbox: Sandbox;
  /** Those to be judged. */
  readonly mutants: readonly Mutant[];
  /** The instrumented files. */
  readonly sources: readonly string[];
  readonly testFiles: readonly string[];
  readonly workers: number;
  /** Runs of each property. */
  readonly runs: number;
  readonly onFate: (mutant: Mutant, fate: Fate) => void;
}

/** Every job leaves a copy of the test files in a worker's memory. */
const JOBS_MAX = 300;
/** Computing time that a worker may take: far above what the tests of a change need without it. */
const CPU_MS = 2000;
const CPU_FACTOR = 4;
/** Of the clock, which goes on while nothing is computed: a promise that never settles. */
const CLOCK_FACTOR = 8;
const LOOK_MS = 250;
const START_MS = 30_000;

type Reply = Answer | { readonly kind: 'gone' } | { readonly kind: 'timeout' };

/** A worker process, one job at a time. */
class Worker {
  jobs = 0;
  readonly #child: ChildProcess;
  #onReply: ((reply: Reply) => void) | null = null;

  constructor({ sandbox, sources, runs }: RunOptions, active: number) {
    const args = [sandbox.folder, JSON.stringify(sources), String(active)];
    this.#child = fork(join(import.meta.dirname, 'worker.ts'), args, {
      cwd: sandbox.folder,
      env: { ...process.env, BIOVEC_RUNS: String(runs) },
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    this.#child.on('message', (answer) => this.#reply(answer as Answer));
    this.#child.on('exit', () => this.#reply({ kind: 'gone' }));
  }

  #reply(reply: Reply): void {
    const onReply = this.#onReply;
    this.#onReply = null;
    onReply?.(reply);
  }

  /** The next answer: of its start, or of `job`. `cpuMsMax` = what it may compute till then. */
  ask(job: Job | null, cpuMsMax: number): Promise<Reply> {
    return new Promise((resolve) => {
      const startedAt = performance.now();
      const cpuAtStart = cpuMsOf(this.#child);
      const timer = setInterval(() => {
        const cpuMs = cpuMsOf(this.#child) - cpuAtStart;
        const clockMs = performance.now() - startedAt;
        const isOver = cpuMs > cpuMsMax || clockMs > CLOCK_FACTOR * cpuMsMax;
        if (isOver) this.#reply({ kind: 'timeout' });
      }, LOOK_MS);
      this.#onReply = (reply) => {
        clearInterval(timer);
        resolve(reply);
      };
      if (job === null) return;
      this.jobs++;
      this.#child.send(job);
    });
  }

  stop(): void {
    this.#onReply = null;
    this.#child.kill('SIGKILL');
  }
}

/** Decides the fate of every change in the sandbox. Throws when a test fails without a change. */
export async function runMutants(options: RunOptions): Promise<void> {
  const { atLoad, coverage } = await coverAll(options);
  const queue = [...options.mutants];
  const lane = async (): Promise<void> => {
    let worker: Worker | null = null;
    for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
      const { plan, hits, ms } = planOf(mutant, coverage);
      let fate: Fate = 'not-reached';
      if (plan.length > 0) {
        const job: Job = { kind: 'judge', id: mutant.id, hits, plan };
        const judged: { fate: Fate; worker: Worker | null } = await judge(options, worker, job, ms);
        ({ fate, worker } = judged);
      }
      const isOpen = fate === 'survived' || fate === 'not-reached';
      if (isOpen && atLoad.has(mutant.id)) fate = await judgeStatic(options, mutant, coverage);
      options.onFate(mutant, fate);
    }
    worker?.stop();
  };
  await Promise.all(Array.from({ length: options.workers }, lane));
}

async function started(options: RunOptions, active: number): Promise<[Worker, Reply]> {
  const worker = new Worker(options, active);
  return [worker, await worker.ask(null, START_MS)];
}

/**
 * Which tests reach which change. What only the first of two rounds reaches is done once in a
 * process and kept (a compiled module): like what loading reaches, it needs a process of its own.
 */
async function coverAll(
  options: RunOptions,
): Promise<{ atLoad: Set<number>; coverage: FileCoverage[] }> {
  const [worker, ready] = await started(options, -1);
  try {
    if (ready.kind !== 'ready') throw new Error(`mutation: no start, ${JSON.stringify(ready)}`);
    const atLoad = new Set(ready.atLoad);
    const first = await coverRound(options, worker);
    const second = new Set((await coverRound(options, worker)).flatMap(idsOf));
    for (const file of first) {
      for (const id of file.atLoad) atLoad.add(id);
      for (const id of idsOf(file)) if (!second.has(id)) atLoad.add(id);
    }
    return { atLoad, coverage: first };
  } finally {
    worker.stop();
  }
}

async function coverRound(options: RunOptions, worker: Worker): Promise<FileCoverage[]> {
  const coverage: FileCoverage[] = [];
  for (const file of options.testFiles) {
    const reply = await worker.ask({ kind: 'cover', file }, START_MS);
    if (reply.kind !== 'covered') {
      throw new Error(`mutation: ${file} fails without a change, ${JSON.stringify(reply)}`);
    }
    coverage.push(reply.coverage);
  }
  return coverage;
}

function idsOf({ around, tests }: FileCoverage): number[] {
  return [...around, ...tests.flatMap(({ hits }) => hits)].map(([id]) => id);
}

/** Own test file first, then the fastest. */
function planOf(
  { id, path }: Mutant,
  coverage: readonly FileCoverage[],
): { plan: PlannedFile[]; hits: number; ms: number } {
  const own = `${basename(path, '.ts')}.test.ts`;
  const reached = coverage
    .map((one) => reachedIn(one, id))
    .filter(({ hits }) => hits > 0)
    .sort((a, b) => rank(a, own) - rank(b, own));
  return {
    plan: reached.map(({ file, tests }) => ({ file, tests })),
    hits: reached.reduce((sum, one) => sum + one.hits, 0),
    ms: reached.reduce((sum, one) => sum + one.ms, 0),
  };
}

interface Reached extends PlannedFile {
  readonly hits: number;
  readonly ms: number;
}

function rank({ file, ms }: Reached, own: string): number {
  return basename(file) === own ? -1 : ms;
}

/** The tests of a file that reach change `id`: all where it is reached around them. */
function reachedIn({ file, around, tests }: FileCoverage, id: number): Reached {
  const countIn = (hits: Hits): number => hits.find(([other]) => other === id)?.[1] ?? 0;
  const outside = countIn(around);
  const found = tests.flatMap(({ hits, ms }, index) => {
    const count = countIn(hits);
    return outside > 0 || count > 0 ? [{ index, count, ms }] : [];
  });
  return {
    file,
    tests: outside > 0 ? null : found.map(({ index }) => index),
    hits: found.reduce((sum, { count }) => sum + count, outside),
    ms: found.reduce((sum, { ms }) => sum + ms, 0),
  };
}

function cpuMaxFor(ms: number): number {
  return CPU_MS + CPU_FACTOR * ms;
}

/** User and system time of a process so far, in units of 10 ms; 0 where there is no /proc. */
function cpuMsOf({ pid }: ChildProcess): number {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // Behind the name, which may have blanks: state is field 3, utime and stime are 14 and 15.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return 10 * (Number(fields[11]) + Number(fields[12]));
  } catch {
    return 0;
  }
}

async function judge(
  options: RunOptions,
  used: Worker | null,
  job: Job,
  ms: number,
): Promise<{ fate: Fate; worker: Worker | null }> {
  let worker = used;
  if (worker !== null && worker.jobs >= JOBS_MAX) {
    worker.stop();
    worker = null;
  }
  for (;;) {
    const isFresh = worker === null;
    if (worker === null) [worker] = await started(options, -1);
    const reply = await worker.ask(job, cpuMaxFor(ms));
    if (reply.kind === 'survived') return { fate: 'survived', worker };
    if (reply.kind === 'killed' && !reply.isSpoilt) return { fate: 'killed', worker };
    worker.stop();
    worker = null;
    if (reply.kind === 'timeout') return { fate: 'timeout', worker };
    // What went wrong in a process that nothing was wrong with before is the change's doing.
    if (isFresh) return { fate: 'killed', worker };
  }
}

/** For what is decided while the code is loaded: a process of its own. */
async function judgeStatic(
  options: RunOptions,
  mutant: Mutant,
  coverage: readonly FileCoverage[],
): Promise<Fate> {
  const [worker, ready] = await started(options, mutant.id);
  const ms = coverage.flatMap(({ tests }) => tests).reduce((sum, test) => sum + test.ms, 0);
  const files = options.testFiles;
  const reply =
    ready.kind === 'ready' ? await worker.ask({ kind: 'static', files }, cpuMaxFor(ms)) : ready;
  worker.stop();
  if (reply.kind === 'survived') return 'survived';
  return reply.kind === 'timeout' ? 'timeout' : 'killed';
}
