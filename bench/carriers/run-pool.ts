import { assert } from '../../src/base/assert.ts';

/** The slabs of bio_vec arrays, and as many rows as the caller needs where there are more. */
const CLASS_ROWS = [4, 16, 64, 128, 256];

/** Runs of rows of one table of columns, in sizes of 4, 16, 64, 128 and 256. */
export class RunPool {
  readonly rows: number;
  readonly #free: number[][] = CLASS_ROWS.map(() => []);
  #fresh = 0;
  #used = 0;

  constructor(rows: number) {
    this.rows = rows;
  }

  /** First row of a run for at least `rows` rows. */
  acquire(rows: number): number {
    const at = classOf(rows);
    this.#used++;
    const free = this.#free[at].pop();
    if (free !== undefined) return free;
    const first = this.#fresh;
    this.#fresh += CLASS_ROWS[at];
    assert(this.#fresh <= this.rows, 'runs: the pool is empty');
    return first;
  }

  release(first: number, rows: number): void {
    this.#free[classOf(rows)].push(first);
    this.#used--;
  }

  assertFull(): void {
    assert(this.#used === 0, 'runs: some are still out');
  }
}

function classOf(rows: number): number {
  for (let at = 0; at < CLASS_ROWS.length; at++) if (rows <= CLASS_ROWS[at]) return at;
  return assert(false, 'runs: more rows than the largest run has') as never;
}
