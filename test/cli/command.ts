import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

// The real command, as a user starts it, and a folder to work in.

const LAUNCHER = join(import.meta.dirname, '..', '..', 'bin', 'biovec.cjs');

export interface Ended {
  /** Exit code, or null after a signal. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
}

export function makeFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'biovec-cli-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function start(
  args: readonly string[],
  options: RunOptions = {},
): ChildProcessWithoutNullStreams {
  const env = { ...process.env, ...options.env };
  const child = spawn(process.execPath, [LAUNCHER, ...args], { env, stdio: 'pipe' });
  child.stdin.on('error', () => {}); // It need not read all.
  return child;
}

export async function run(args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  const child = start(args, options);
  child.stdin.end(options.input ?? new Uint8Array());
  return await endOf(child);
}

/** Through a shell, for limits and redirections; `$BIOVEC` is the command. */
export async function shell(script: string): Promise<Ended> {
  const env = { ...process.env, BIOVEC: `'${process.execPath}' '${LAUNCHER}'` };
  const child = spawn('sh', ['-c', script.replaceAll('$BIOVEC', env.BIOVEC)], { env });
  child.stdin.end();
  return await endOf(child);
}

export async function endOf(child: ChildProcessWithoutNullStreams): Promise<Ended> {
  const out: Buffer[] = [];
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { code, signal, stdout: Buffer.concat(out).toString('latin1'), stderr };
}

/** Bytes that differ from block to block, so that a swapped block shows. */
export function pattern(bytes: number, seed = 1): Uint8Array {
  const out = new Uint8Array(bytes);
  for (let i = 0; i < bytes; i++) out[i] = 1 + ((i * 31 + (i >>> 12) * 17 + seed) % 255);
  return out;
}
