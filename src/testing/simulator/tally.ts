/** Counts by name: operations, faults, wrong decisions. Merged over the worlds of a run. */
export class Tally {
  readonly #counts = new Map<string, number>();

  add(name: string, count = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + count);
  }

  of(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  merge(record: Readonly<Record<string, number>>): void {
    for (const [name, count] of Object.entries(record)) this.add(name, count);
  }

  toRecord(): Record<string, number> {
    return Object.fromEntries([...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}
