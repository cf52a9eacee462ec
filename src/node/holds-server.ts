import { chmodSync, rmSync } from 'node:fs';
import { createConnection, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BlockError } from '../base/block-error.ts';
import { type HoldsReport, holdsReport } from '../memory/hold-source.ts';
import { nodeEnv } from './node-env.ts';

/** What a process says about itself to whoever connects. */
export interface ProcessHolds extends HoldsReport {
  readonly pid: number;
  /** By the clock of `sinceNs`. */
  readonly nowNs: number;
}

/** A report is text for people: more of it than this is not read. */
const REPORT_BYTES_MAX = 64 * 1024 * 1024;
const ANSWER_MS_MAX = 5000;

let server: Server | null = null;

/** Where the process `pid` listens when it was started with BIOVEC_HOLDS=1. */
export function holdsSocketOf(pid: number): string {
  return join(process.env['XDG_RUNTIME_DIR'] ?? tmpdir(), `biovec-${pid}.holds`);
}

/**
 * Answers every connection to a unix socket, which only this user may open, with one JSON object.
 * It never keeps the process alive. BIOVEC_HOLDS=1 or =PATH calls it when a disk is opened.
 */
export function serveHolds(path = holdsSocketOf(process.pid)): void {
  if (server !== null) return;
  server = createServer((socket) => {
    socket.on('error', () => socket.destroy()); // Whoever asked has gone.
    socket.end(JSON.stringify(processHolds()));
  });
  // A program must not fail because nobody can look at it.
  server.on('error', () => stopServingHolds());
  const mask = process.umask(0o177);
  server.listen(path, () => chmodSync(path, 0o600));
  process.umask(mask);
  server.unref();
  process.once('exit', () => rmSync(path, { force: true }));
}

export function stopServingHolds(): void {
  server?.close();
  server = null;
}

/** By the environment variable, once. */
export function serveHoldsIfAsked(): void {
  const asked = process.env['BIOVEC_HOLDS'];
  if (asked === undefined || asked === '' || asked === '0') return;
  serveHolds(asked === '1' ? undefined : asked);
}

export function processHolds(): ProcessHolds {
  return { pid: process.pid, nowNs: nodeEnv().nowNs(), ...holdsReport() };
}

/** Asks the process that listens at `path`. */
export async function askHolds(path: string): Promise<ProcessHolds> {
  const text = await new Promise<string>((resolve, reject) => {
    const socket = createConnection(path);
    let answer = '';
    socket.setEncoding('utf8');
    socket.setTimeout(ANSWER_MS_MAX, () => socket.destroy(new Error('it does not answer')));
    socket.on('data', (chunk: string) => {
      answer += chunk;
      if (answer.length > REPORT_BYTES_MAX) socket.destroy(new Error('its answer is too long'));
    });
    socket.on('error', reject);
    socket.on('end', () => resolve(answer));
  }).catch((cause: NodeJS.ErrnoException) => {
    const code = cause.code === 'EACCES' ? 'EACCES' : 'ENOENT';
    const reason =
      `no answer at ${path} (${cause.message}); ` +
      'a program shows its holds when it was started with BIOVEC_HOLDS=1';
    throw new BlockError(code, { reason, cause });
  });
  return JSON.parse(text) as ProcessHolds;
}
