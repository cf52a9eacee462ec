import { assert } from '../../base/assert.ts';

/** What runs at a moment; the number is whatever the scheduler wants to hear again. */
export type SimEvent = (argument: number) => void;

// Row = one event, as a binary heap.   unit    invariant
//   time       number   ns      >= now; a parent is never later than its children
//   order      number   count   of scheduling: breaks ties, so that a run repeats exactly
//   event      function
//   argument   number

/**
 * The only time in a simulated world: it stands still until `step` jumps to the next event. Plain
 * columns, so that a request in flight costs no object.
 */
export class SimClock {
  nowNs = 0;
  readonly #time: number[] = [];
  readonly #order: number[] = [];
  readonly #event: SimEvent[] = [];
  readonly #argument: number[] = [];
  #count = 0;
  #scheduled = 0;

  /** Events that have not run. */
  get pending(): number {
    return this.#count;
  }

  schedule(delayNs: number, event: SimEvent, argument: number): void {
    assert(delayNs >= 0, 'sim clock: time does not run backwards');
    this.#put(this.#count, this.nowNs + delayNs, this.#scheduled, event, argument);
    this.#scheduled++;
    this.#count++;
    this.#up(this.#count - 1);
  }

  /** For engines and devices that want a callback later, from the loop. */
  readonly defer = (callback: () => void): void => {
    this.schedule(0, callback, 0);
  };

  /** Runs the next event. False when there is none. */
  step(): boolean {
    if (this.#count === 0) return false;
    const event = this.#event[0] as SimEvent;
    const argument = this.#argument[0] as number;
    this.nowNs = this.#time[0] as number;
    this.#count--;
    this.#move(0, this.#count);
    this.#down(0);
    event(argument);
    return true;
  }

  #put(at: number, time: number, order: number, event: SimEvent, argument: number): void {
    this.#time[at] = time;
    this.#order[at] = order;
    this.#event[at] = event;
    this.#argument[at] = argument;
  }

  #move(to: number, from: number): void {
    this.#put(
      to,
      this.#time[from] as number,
      this.#order[from] as number,
      this.#event[from] as SimEvent,
      this.#argument[from] as number,
    );
  }

  #swap(a: number, b: number): void {
    const scratch = this.#count; // The row behind the last one is free.
    this.#move(scratch, a);
    this.#move(a, b);
    this.#move(b, scratch);
  }

  #isBefore(a: number, b: number): boolean {
    const byTime = (this.#time[a] as number) - (this.#time[b] as number);
    if (byTime !== 0) return byTime < 0;
    return (this.#order[a] as number) < (this.#order[b] as number);
  }

  #up(from: number): void {
    for (let at = from; at > 0; ) {
      const parent = (at - 1) >> 1;
      if (!this.#isBefore(at, parent)) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #down(from: number): void {
    for (let at = from; ; ) {
      const left = 2 * at + 1;
      if (left >= this.#count) return;
      const right = left + 1;
      const least = right < this.#count && this.#isBefore(right, left) ? right : left;
      if (!this.#isBefore(least, at)) return;
      this.#swap(at, least);
      at = least;
    }
  }
}
