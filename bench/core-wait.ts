import fs from 'node:fs';

const SPACE = 0x20;
const ZERO = 0x30;

/**
 * How long this thread has stood in line for a core since it began, in nanoseconds: while other
 * programs have all cores, everybody's event loop stands still, whatever an engine does. It costs
 * about a microsecond. Pre: the main thread. Linux: /proc/PID/task/TID/schedstat, second number.
 */
export class CoreWait {
  readonly #fd = fs.openSync(`/proc/self/task/${process.pid}/schedstat`, 'r');
  readonly #text = new Uint8Array(64);

  ns(): number {
    const text = this.#text;
    const length = fs.readSync(this.#fd, text, 0, text.length, 0);
    let at = 0;
    while (at < length && text[at] !== SPACE) at++;
    let ns = 0;
    for (at++; at < length && text[at] !== SPACE; at++) ns = ns * 10 + text[at] - ZERO;
    return ns;
  }
}
