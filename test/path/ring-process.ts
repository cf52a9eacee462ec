import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { pathToFileURL } from 'node:url';

// Programs of their own, for what a process does with a ring: end, die, sleep, start others.

const SOURCES = join(import.meta.dirname, '..', '..', 'src');

/** An import of the program: `${source('index.ts')}`. */
export function source(path: string): string {
  return JSON.stringify(pathToFileURL(join(SOURCES, path)).href);
}

export interface Program {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves when the program has printed a line that starts so. */
  printed(start: string): Promise<void>;
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** `FILE` in the program is a file of `bytes` zeros. */
export class RingPrograms {
  readonly folder: string;
  readonly file: string;

  constructor(t: TestContext, bytes: number) {
    this.folder = mkdtempSync(join(tmpdir(), 'biovec-ring-'));
    this.file = join(this.folder, 'disk.img');
    writeFileSync(this.file, new Uint8Array(bytes));
    t.after(() => rmSync(this.folder, { recursive: true, force: true }));
  }

  start(code: string): Program {
    const path = join(this.folder, `program-${Math.random().toString(36).slice(2)}.mts`);
    writeFileSync(path, `const FILE = ${JSON.stringify(this.file)};\n${code}`);
    const child = spawn(process.execPath, [path], { stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    const watchers: (() => void)[] = [];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      for (const look of watchers) look();
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const ended = once(child, 'close').then(([code, signal]) => {
      return { code, signal, stdout, stderr } as Ended;
    });
    const printed = async (start: string): Promise<void> => {
      const seen = Promise.withResolvers<void>();
      const look = (): void => {
        if (stdout.split('\n').some((line) => line.startsWith(start))) seen.resolve();
      };
      watchers.push(look);
      look();
      const early = ended.then(({ stderr }) => {
        throw new Error(`ended without '${start}': ${stderr}`);
      });
      await Promise.race([seen.promise, early]);
      early.catch(() => {});
    };
    return { child, ended, printed };
  }

  run(code: string): Promise<Ended> {
    return this.start(code).ended;
  }
}
