import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** One run of a program as a whole process. */
export interface Run {
  readonly seconds: number;
  /** User + system time of the process and its threads. */
  readonly cpuSeconds: number;
}

/** Runs to the end; throws with what it printed when it fails. */
export function runProcess(command: string, args: readonly string[]): Run {
  const cpuBefore = childCpuSeconds();
  const start = performance.now();
  const child = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 24 });
  const seconds = (performance.now() - start) / 1000;
  if (child.status !== 0) {
    throw new Error(`${command} ${args.join(' ')} failed: ${child.stderr || child.error?.message}`);
  }
  return { seconds, cpuSeconds: childCpuSeconds() - cpuBefore };
}

/** Of all children that have ended, from /proc/self/stat (100 ticks a second). */
export function childCpuSeconds(): number {
  const stat = readFileSync('/proc/self/stat', 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[13]) + Number(fields[14])) / 100; // cutime and cstime
}

/** A peer that is not there is told of in the row, and is no failure. */
export function hasCommand(command: string): boolean {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).error === undefined;
}
