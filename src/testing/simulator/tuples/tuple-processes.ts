import { assert } from '../../../base/assert.ts';
import { PAGE_BYTES } from '../../../base/units.ts';
import type { Arena } from '../../../memory/arena.ts';
import { Protection } from '../../../memory/user/area.ts';
import { UserMemory } from '../../../memory/user/user-memory.ts';
import { Process } from '../../../process/process.ts';
import type { SeededRandom } from '../seeded-random.ts';
import type { SimClock } from '../sim-clock.ts';

const SLOTS = 3;
const WINDOW_PAGES = 24;
const WINDOW_START = 0x400000;
const TRIES = 4;

/** A process with a window of anonymous memory. */
export interface TupleProcess {
  readonly process: Process;
  /** By page of the window: an operation has it. */
  readonly busy: Uint8Array;
  isAlive: boolean;
}

/** A few processes, whose memory is program memory in its full sense: pinned, and gone any time. */
export class TupleProcesses {
  readonly memory: UserMemory;
  readonly #clock: SimClock;
  readonly #alive: TupleProcess[] = [];
  #made = 0;

  constructor(arena: Arena, clock: SimClock) {
    this.memory = new UserMemory({ arena, label: 'tuples' });
    this.#clock = clock;
  }

  get alive(): readonly TupleProcess[] {
    return this.#alive;
  }

  spawn(): void {
    if (this.#alive.length >= SLOTS) return;
    const label = `p${this.#made++}`;
    const process = new Process({ memory: this.memory, label, defer: this.#clock.defer });
    const bytes = WINDOW_PAGES * PAGE_BYTES;
    const protection = Protection.READ | Protection.WRITE;
    const addr = process.space.mmap({ addr: WINDOW_START, bytes, protection });
    assert(addr === WINDOW_START, 'sim: no room in a new process');
    this.#alive.push({ process, busy: new Uint8Array(WINDOW_PAGES), isAlive: true });
  }

  /** Its mappings go at once; what a device has pinned stays until the device is done. */
  kill(made: TupleProcess): void {
    made.isAlive = false;
    made.process.kill();
    this.#alive.splice(this.#alive.indexOf(made), 1);
  }

  /**
   * `bytes` at an address that is a multiple of `unit`, with their pages present and for one
   * operation alone; null: no process has room, or no page is left for it.
   */
  take(bytes: number, unit: number, random: SeededRandom): readonly [TupleProcess, number] | null {
    if (this.#alive.length === 0) return null;
    const made = random.pick(this.#alive);
    for (let i = 0; i < TRIES; i++) {
      const inPage = random.below(Math.ceil(PAGE_BYTES / unit)) * unit;
      const pages = Math.ceil((inPage + bytes) / PAGE_BYTES);
      if (pages > WINDOW_PAGES) return null;
      const first = random.below(WINDOW_PAGES - pages + 1);
      if (made.busy.subarray(first, first + pages).includes(1)) continue;
      const start = WINDOW_START + first * PAGE_BYTES;
      const zeros = new Uint8Array(pages * PAGE_BYTES);
      if (made.process.space.write(start, zeros) < zeros.length) return null;
      made.busy.fill(1, first, first + pages);
      return [made, start + inPage];
    }
    return null;
  }

  give(made: TupleProcess, pageAddr: number, pages: number): void {
    const first = (pageAddr - WINDOW_START) / PAGE_BYTES;
    assert(made.busy[first] === 1, 'sim: pages of a process were given back twice');
    made.busy.fill(0, first, first + pages);
  }

  /** Pre: nothing is in flight. Throws when something is still held. */
  close(): void {
    for (const made of this.#alive.slice()) this.kill(made);
    this.memory[Symbol.dispose]();
  }
}
