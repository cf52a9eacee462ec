import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import os from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Row } from './row.ts';

/** What a figure depends on beside the code. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGib: number;
  readonly kernel: string;
  readonly node: string;
}

/** One line of bench/history.ndjson. Lines of one run have the same `run`. */
export interface HistoryLine {
  /** When the run began, as ISO 8601 in UTC. */
  readonly run: string;
  readonly commit: string;
  /** True: the working tree had changes that the commit does not have. */
  readonly isDirty: boolean;
  readonly isQuick: boolean;
  /** Processes that wanted a core in the minute before the run. */
  readonly loadBefore: number;
  readonly machine: Machine;
  readonly row: Row;
}

const HISTORY = fileURLToPath(new URL('./history.ndjson', import.meta.url));
const ROOT = fileURLToPath(new URL('..', import.meta.url));

export type RunFacts = Omit<HistoryLine, 'row'>;

/** Facts of a run that begins now. */
export function runFacts(isQuick: boolean): RunFacts {
  return {
    run: new Date().toISOString(),
    commit: git('rev-parse', '--short=12', 'HEAD') ?? 'unknown',
    isDirty: git('status', '--porcelain', '--', ':!bench/history.ndjson') !== '',
    isQuick,
    loadBefore: os.loadavg()[0],
    machine: {
      cpu: os.cpus()[0]?.model ?? 'unknown',
      cores: os.availableParallelism(),
      memoryGib: Math.round(os.totalmem() / 2 ** 30),
      kernel: os.release(),
      node: process.version,
    },
  };
}

/** null: there is no git, or this is no working tree of it. */
function git(...args: string[]): string | null {
  try {
    const stdio: ['ignore', 'pipe', 'ignore'] = ['ignore', 'pipe', 'ignore'];
    return execFileSync('git', args, { cwd: ROOT, encoding: 'utf8', stdio }).trim();
  } catch {
    return null;
  }
}

/** Appends at once: a run that is broken off has recorded what it measured. */
export function recordRow(facts: RunFacts, row: Row, path = HISTORY): void {
  appendFileSync(path, `${JSON.stringify({ ...facts, row } satisfies HistoryLine)}\n`);
}

/** The lines of the newest run, in the order in which they were measured. */
export function lastRun(path = HISTORY): readonly HistoryLine[] {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, 'utf8').split('\n').filter(Boolean);
  const all = lines.map((line) => JSON.parse(line) as HistoryLine);
  const newest = all.reduce((latest, { run }) => (run > latest ? run : latest), '');
  return all.filter(({ run }) => run === newest);
}

/** One sentence for people: what the figures of a run belong to. */
export function factsText({
  machine,
  commit,
  isDirty,
  isQuick,
  run,
  loadBefore,
}: RunFacts): string {
  const { cpu, cores, memoryGib, kernel, node } = machine;
  const state = `${commit}${isDirty ? ' with changes' : ''}${isQuick ? ', a quick run' : ''}`;
  return (
    `${run.slice(0, 10)}, commit ${state}: ${cores} cores (${cpu}), ${memoryGib} GiB, ` +
    `Linux ${kernel}, Node ${node.slice(1)}, load ${loadBefore.toFixed(1)} before it`
  );
}
