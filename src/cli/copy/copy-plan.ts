import { assert } from '../../base/assert.ts';
import { MIB, roundDown, roundUp } from '../../base/units.ts';
import type { Extent } from '../../engine/contract.ts';

/** A piece of the work, in the order of positions. */
export interface Chunk {
  /** 0, 1, 2 … */
  readonly index: number;
  /** Bytes from the start. */
  readonly position: number;
  readonly bytes: number;
  /** Reads as zeros; nothing to read. */
  readonly isHole: boolean;
}

export interface PlanOptions {
  /** Bytes in all. */
  readonly size: number;
  /** Bytes of one request; data is cut at its multiples. */
  readonly requestBytes: number;
  /** A power of two. Data is rounded out to it, so that direct I/O starts and ends on blocks. */
  readonly alignBytes: number;
}

/** Bytes: a hole costs a step each, so that a copy of holes can be stopped too. */
const HOLE_BYTES_MAX = 64 * MIB;

/**
 * Extents become work. [data 0…5000, hole …1M, data …1M+9] with requests of 64K and blocks of 4096
 * gives data 0…8192, hole …1M, data …1M+9.
 */
export async function* planCopy(
  extents: AsyncIterable<Extent>,
  options: PlanOptions,
): AsyncGenerator<Chunk> {
  const { size, requestBytes, alignBytes } = options;
  assert(requestBytes > 0 && requestBytes % alignBytes === 0, 'plan: requests are no blocks');
  let index = 0;
  let at = 0;
  for await (const extent of extents) {
    if (extent.kind !== 'data') continue;
    const start = Math.max(roundDown(extent.start, alignBytes), at);
    const end = Math.min(roundUp(extent.end, alignBytes), size);
    while (at < start) {
      const bytes = Math.min(start - at, HOLE_BYTES_MAX);
      yield { index: index++, position: at, bytes, isHole: true };
      at += bytes;
    }
    while (at < end) {
      const bytes = Math.min(roundDown(at, requestBytes) + requestBytes, end) - at;
      yield { index: index++, position: at, bytes, isHole: false };
      at += bytes;
    }
  }
  while (at < size) {
    const bytes = Math.min(size - at, HOLE_BYTES_MAX);
    yield { index: index++, position: at, bytes, isHole: true };
    at += bytes;
  }
}

/** One extent of data: for a copy without holes. */
export async function* allData(size: number): AsyncGenerator<Extent> {
  if (size > 0) yield { start: 0, end: size, kind: 'data' };
}

/** Requests without an end: a stream says itself where it stops. */
export async function* planStream(requestBytes: number): AsyncGenerator<Chunk> {
  for (let index = 0; ; index++) {
    yield { index, position: index * requestBytes, bytes: requestBytes, isHole: false };
  }
}

/**
 * Gives the chunks of a plan to whoever asks, in the order of asking. A generator keeps those who
 * wait in a list that it walks for each new one: a chain of promises does not.
 */
export class ChunkFeed {
  readonly #plan: Pick<AsyncGenerator<Chunk>, 'next'>;
  #last: Promise<unknown> = Promise.resolve();

  constructor(plan: Pick<AsyncGenerator<Chunk>, 'next'>) {
    this.#plan = plan;
  }

  /** null: the plan is at its end. When it fails, one caller gets a rejection, the others null. */
  next(): Promise<Chunk | null> {
    const next = this.#last.then(async () => {
      const { value, done } = await this.#plan.next();
      return done === true ? null : value;
    });
    this.#last = next.catch(() => {});
    return next;
  }
}
