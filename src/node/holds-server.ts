import { lstatSync, rmSync } from 'node:fs';
import { createConnection, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isMainThread } from 'node:worker_threads';
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
let removeSocket = (): void => {};

/** Where the process `pid` listens when it was started with BIOVEC_HOLDS=1. */
export function holdsSocketOf(pid: number): string {
  return join(process.env['XDG_RUNTIME_DIR'] ?? tmpdir(), `biovec-${pid}.holds`);
}

/**
 * Answers every connection to a unix socket, which only this user may open, with one JSON object.
 * It never keeps the process alive, and a program does not fail because nobody can look at it: what
 * goes wrong here is not told. BIOVEC_HOLDS=1 or =PATH calls it when a disk is opened.
 *
 * On the main thread only: a process has one socket, and a worker may not set the umask. What the
 * disks of a worker hold is not told.
 */
export function serveHolds(path = holdsSocketOf(process.pid)): void {
  if (server !== null || !isMainThread) return;
  const made = createServer((socket) => {
    socket.on('error', () => socket.destroy()); // Whoever asked has gone.
    socket.end(JSON.stringify(processHolds()));
  });
  server = made;
  made.once('error', (error: NodeJS.ErrnoException) => {
    made.on('error', () => giveUp(made));
    if (error.code === 'EADDRINUSE') listenInsteadOfDead(made, path);
    else giveUp(made);
  });
  made.on('listening', () => madeSocket(path));
  listen(made, path);
  made.unref();
}

function listen(made: Server, path: string): void {
  const mask = process.umask(0o177);
  try {
    made.listen(path);
  } finally {
    process.umask(mask);
  }
}

/** The socket of a process that was killed stays; nobody answers there. */
function listenInsteadOfDead(made: Server, path: string): void {
  const socket = createConnection(path);
  socket.unref();
  socket.on('connect', () => {
    socket.destroy(); // It lives: the place is taken.
    giveUp(made);
  });
  socket.on('error', (error: NodeJS.ErrnoException) => {
    const isDead = error.code === 'ECONNREFUSED' && isSocket(path);
    if (!isDead || server !== made) {
      giveUp(made);
      return;
    }
    rmSync(path, { force: true });
    listen(made, path);
  });
}

function isSocket(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false })?.isSocket() ?? false;
}

/** Only from here on is the socket ours to remove: before, it may be that of another process. */
function madeSocket(path: string): void {
  const ino = lstatSync(path, { throwIfNoEntry: false })?.ino;
  if (ino === undefined) return;
  removeSocket = () => {
    if (lstatSync(path, { throwIfNoEntry: false })?.ino === ino) rmSync(path, { force: true });
  };
  process.once('exit', removeSocket);
}

function giveUp(made: Server): void {
  if (server === made) stopServingHolds();
}

export function stopServingHolds(): void {
  process.off('exit', removeSocket);
  server?.close(); // This removes the socket.
  server = null;
}

/** By the environment variable, once. */
export function serveHoldsIfAsked(): void {
  const asked = process.env['BIOVEC_HOLDS'];
  if (asked === undefined || asked === '' || asked === '0') return;
  serveHolds(asked === '1' ? undefined : asked);
}

function processHolds(): ProcessHolds {
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
  const report = parsedReport(text);
  if (report !== null) return report;
  const reason = `what answers at ${path} is no program with biovec`;
  throw new BlockError('EINVAL', { reason });
}

/** null: it is none. */
function parsedReport(text: string): ProcessHolds | null {
  try {
    const report = JSON.parse(text) as Partial<ProcessHolds> | null;
    return Array.isArray(report?.sources) ? (report as ProcessHolds) : null;
  } catch {
    return null;
  }
}
