import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { IoTask } from './io-case.ts';
import type { Figure, Subject } from './rounds.ts';

const PROGRAM = fileURLToPath(new URL('./io-subject.ts', import.meta.url));

/** Ours, or one of node:fs, in a Node process that lives for all rounds. */
export class IoProcess implements Subject {
  readonly name: string;
  readonly #child: ChildProcess;

  private constructor(name: string, child: ChildProcess) {
    this.name = name;
    this.#child = child;
  }

  static async start(task: IoTask): Promise<IoProcess> {
    const child = fork(PROGRAM, [JSON.stringify(task)]);
    const started = new IoProcess(task.way, child);
    await started.#answer();
    return started;
  }

  async round(): Promise<Figure> {
    this.#child.send('round');
    return (await this.#answer()) as Figure;
  }

  async close(): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.send('close');
    await ended;
  }

  /** Rejects when the process ends instead. */
  async #answer(): Promise<unknown> {
    const over = new AbortController();
    const { signal } = over;
    const ended = once(this.#child, 'exit', { signal }).then(([code]) => {
      throw new Error(`${this.name} ended with ${code} in the middle of a row`);
    });
    try {
      const [answer] = await Promise.race([once(this.#child, 'message', { signal }), ended]);
      return answer;
    } finally {
      ended.catch(() => {});
      over.abort();
    }
  }
}
