import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { IoCase } from './io-case.ts';
import { childCpuSeconds } from './peer.ts';
import type { Figure, Subject } from './rounds.ts';

/** io_uring as fio does it best: buffers and files registered. The cache stays as it is. */
const ENGINE = ['--ioengine=io_uring', '--fixedbufs', '--registerfiles', '--invalidate=0'];

interface FioJob {
  readonly read: FioSide;
  readonly write: FioSide;
}

interface FioSide {
  readonly iops: number;
  readonly total_ios: number;
  /** Milliseconds. */
  readonly runtime: number;
}

/**
 * fio on the same case. Its CPU is that of the whole process with the threads that the kernel made
 * for it, as ours is (its own `usr_cpu` leaves those out), less what its start costs.
 */
export class Fio implements Subject {
  readonly name = 'fio io_uring';
  readonly #args: readonly string[];
  readonly #write: boolean;
  readonly #seconds: number;
  #startCpuSeconds = Number.NaN;

  constructor(path: string, ioCase: IoCase, seconds: number) {
    const { blockBytes, depth, direct, write } = ioCase;
    this.#write = write;
    this.#seconds = seconds;
    this.#args = [
      '--name=peer',
      `--filename=${path}`,
      ...ENGINE,
      `--direct=${direct ? 1 : 0}`,
      `--rw=${write ? 'randwrite' : 'randread'}`,
      `--bs=${blockBytes}`,
      `--iodepth=${depth}`,
      '--norandommap',
      '--randrepeat=0',
      '--output-format=json',
    ];
  }

  async round(): Promise<Figure> {
    // A fraction of a second would be read as 0: so in milliseconds.
    const runtime = Math.round(this.#seconds * 1000);
    const { job, cpuSeconds, rssBytes } = await this.#run([
      '--time_based',
      `--runtime=${runtime}ms`,
    ]);
    const side = this.#write ? job.write : job.read;
    return {
      amount: side.total_ios,
      seconds: side.total_ios / side.iops,
      cpuSeconds: cpuSeconds - this.#startCpuSeconds,
      rssBytes,
    };
  }

  /** The least of three runs of one I/O. Without it a round's CPU is not known. */
  async measureStart(): Promise<void> {
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 3; i++) {
      const { cpuSeconds } = await this.#run(['--number_ios=1']);
      least = Math.min(least, cpuSeconds);
    }
    this.#startCpuSeconds = least;
  }

  async #run(more: readonly string[]): Promise<FioRun> {
    const before = childCpuSeconds();
    const child = spawn('fio', [...this.#args, ...more], { stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    let rssBytes = Number.NaN;
    const look = setTimeout(() => {
      rssBytes = rssOfTree(child.pid ?? 0);
    }, this.#seconds * 700);
    const code = await new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', resolve);
    });
    clearTimeout(look);
    if (code !== 0) throw new Error(`fio failed: ${stderr}`);
    const { jobs } = JSON.parse(stdout.slice(stdout.indexOf('{'))) as { jobs: FioJob[] };
    return { job: jobs[0], cpuSeconds: childCpuSeconds() - before, rssBytes };
  }
}

interface FioRun {
  readonly job: FioJob;
  readonly cpuSeconds: number;
  readonly rssBytes: number;
}

/** Resident bytes of a process and of its children, which fio's jobs are. */
function rssOfTree(pid: number): number {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    const pids = [pid, ...children.split(' ').filter(Boolean).map(Number)];
    let kib = 0;
    for (const each of pids) {
      const status = readFileSync(`/proc/${each}/status`, 'utf8');
      kib += Number(/^VmRSS:\s*(\d+)/m.exec(status)?.[1] ?? 0);
    }
    return kib * 1024;
  } catch {
    return Number.NaN; // It ended already.
  }
}
