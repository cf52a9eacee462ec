import { type ChildProcess, fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { SeedJob, SeedResult } from './job.ts';

export interface WorkersOptions {
  readonly workers?: number | undefined;
  /** Name of a planted bug that the children load their sources with. */
  readonly canary?: string | undefined;
}

/**
 * Runs the jobs on one child process per core and hands each result to `onResult`, in the order in
 * which they end; `false` asks for no more. Rejects when a child dies: a world that crashes its
 * process is a failure of the run.
 */
export async function runOnWorkers(
  jobs: Iterator<SeedJob>,
  options: WorkersOptions,
  onResult: (result: SeedResult) => boolean,
): Promise<void> {
  const count = options.workers ?? availableParallelism();
  const state = { isEnough: false };
  const run = () => runChild(startChild(options.canary), jobs, state, onResult);
  await Promise.all(Array.from({ length: count }, run));
}

function startChild(canary: string | undefined): ChildProcess {
  const hook = join(import.meta.dirname, 'canary-hook.ts');
  const execArgv = canary === undefined ? [] : ['--import', hook];
  const env = { ...process.env, BIOVEC_CANARY: canary ?? '' };
  return fork(join(import.meta.dirname, 'worker.ts'), [], { execArgv, env });
}

function runChild(
  child: ChildProcess,
  jobs: Iterator<SeedJob>,
  state: { isEnough: boolean },
  onResult: (result: SeedResult) => boolean,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let current: SeedJob | null = null;
    const next = (): void => {
      const { value, done } = state.isEnough ? { value: null, done: true } : jobs.next();
      current = done === true ? null : (value as SeedJob);
      if (current === null) child.disconnect();
      else child.send(current);
    };
    child.on('message', (result: SeedResult) => {
      if (!onResult(result)) state.isEnough = true;
      next();
    });
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      if (current === null) resolve();
      else reject(new Error(`a worker died (${signal ?? code}) in seed ${current.seed}`));
    });
    next();
  });
}
