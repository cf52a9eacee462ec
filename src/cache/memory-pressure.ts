import { assert } from '../base/assert.ts';
import type { CacheMemory } from './cache-memory.ts';

/**
 * Device transfers of all page caches of one memory. Whoever finds no free frame waits for the end
 * of one of them: a page that was read or written back can be dropped.
 */
export class MemoryPressure {
  #inFlight = 0;
  readonly #waiting: (() => void)[] = [];

  get inFlight(): number {
    return this.#inFlight;
  }

  started(): void {
    this.#inFlight++;
  }

  ended(): void {
    assert(this.#inFlight > 0, 'pressure: more ends than starts');
    this.#inFlight--;
    const count = this.#waiting.length;
    for (let i = 0; i < count; i++) (this.#waiting.shift() as () => void)();
  }

  /** Calls `wake` once, after the next end. Pre: something is in flight. */
  wait(wake: () => void): void {
    assert(this.#inFlight > 0, 'pressure: nothing to wait for');
    this.#waiting.push(wake);
  }
}

const pressures = new WeakMap<CacheMemory, MemoryPressure>();

export function pressureOf(memory: CacheMemory): MemoryPressure {
  let pressure = pressures.get(memory);
  if (pressure === undefined) {
    pressure = new MemoryPressure();
    pressures.set(memory, pressure);
  }
  return pressure;
}
