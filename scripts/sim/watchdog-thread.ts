// Looks at its process from beside it: the thread that runs seeds cannot say that it loops. Time is
// that of the CPU, so that a process that was stopped for a while is not taken for one that loops.

import { Session } from 'node:inspector';
import { workerData } from 'node:worker_threads';
import { WatchdogCell, type WatchdogData } from './watchdog.ts';

const POLL_MS = 200;
/** Frames of the loop that are named. */
const FRAMES_MAX = 6;

const { shared, text, stepSeconds } = workerData as WatchdogData;
const cells = new Int32Array(shared);
let step = -1;
let sinceMs = 0;
let isNaming = false;

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function look(): void {
  if (Atomics.load(cells, WatchdogCell.IS_GUARDED) === 0) step = -1;
  else if (Atomics.load(cells, WatchdogCell.STEP) !== step) {
    step = Atomics.load(cells, WatchdogCell.STEP);
    sinceMs = cpuMs();
  } else if (!isNaming && cpuMs() - sinceMs > stepSeconds * 1000) {
    isNaming = true;
    nameFrames(interrupt);
  }
}

interface Frame {
  readonly functionName: string;
  readonly location: { readonly scriptId: string; readonly lineNumber: number };
}

interface Parsed {
  readonly params: { readonly scriptId: string; readonly url: string };
}

/** Stops the other thread where it is, and notes the names of its frames. */
function nameFrames(then: () => void): void {
  const session = new Session();
  const urls = new Map<string, string>();
  session.connectToMainThread();
  session.on('Debugger.scriptParsed', ({ params }: Parsed) => {
    urls.set(params.scriptId, params.url);
  });
  session.once('Debugger.paused', ({ params }: { params: { callFrames: Frame[] } }) => {
    const names = params.callFrames.slice(0, FRAMES_MAX).map(({ functionName, location }) => {
      const url = urls.get(location.scriptId) ?? '';
      const file = url.slice(url.lastIndexOf('/src/') + 1);
      return `${functionName || 'a function'} (${file}:${location.lineNumber + 1})`;
    });
    const bytes = new TextEncoder().encode(names.join(' < ')).subarray(0, text.byteLength);
    new Uint8Array(text).set(bytes);
    Atomics.store(cells, WatchdogCell.TEXT_BYTES, bytes.length);
    session.post('Debugger.resume', () => {
      session.disconnect();
      then();
    });
  });
  session.post('Debugger.enable');
  session.post('Debugger.pause');
}

/** The guard of the other thread runs in a script that ends so. */
function interrupt(): void {
  Atomics.store(cells, WatchdogCell.HAS_FIRED, 1);
  process.kill(process.pid, 'SIGINT');
}

setInterval(look, POLL_MS); // Also keeps this thread alive while it waits for an answer.
