import { type IovIter, IterDirection } from '../../iter/iov-iter.ts';
import { Iovec } from '../../iter/iovec.ts';
import { copyIn } from '../../memory/copy.ts';
import { dataOf, patternBytes } from './case-data.ts';
import type { CaseMemory } from './case-memory.ts';
import type { IovRecord, ReplayableCase, TransferCase } from './schema.ts';
import { walkUser } from './user-bytes.ts';

/** Several iocbs of one case write on in this pattern, one after the other. */
const AIO_FILL = 0;

/** The program of one case: its memory, and in it what it writes, where that matters. */
export class CaseProgram {
  readonly memory: CaseMemory;
  /** What all writes of the case send, in order; null: their bytes are not known. */
  readonly #data: Uint8Array | null;
  #written = 0;

  constructor(one: ReplayableCase, memory: CaseMemory) {
    this.memory = memory;
    this.#data = writtenData(one);
  }

  /** Arms `iter` with `vectors`: bytes, or the errno with which a system call refuses them. */
  importUser(iter: IovIter, op: 'read' | 'write', vectors: readonly IovRecord[]): number {
    const iovec = new Iovec();
    const bytes = this.memory.mapVectors(vectors, iovec);
    if (bytes < 0) return bytes;
    if (op === 'write' && this.#data !== null) this.#fill(iovec, bytes, this.#data);
    iter.initUser(directionOf(op), this.memory.space, iovec);
    return bytes;
  }

  #fill(iovec: Iovec, bytes: number, data: Uint8Array): void {
    const from = this.#written;
    walkUser(this.memory, iovec, bytes, (page, offset, len, at) => {
      copyIn(page, offset, data, from + at, len);
    });
    this.#written += bytes;
  }
}

/** What a read finds on the disk, or a write sends; null: the record does not say. */
export function knownData(one: TransferCase): Uint8Array | null {
  return one.data === undefined ? null : dataOf(one.data, bytesOf(one.iov));
}

function writtenData(one: ReplayableCase): Uint8Array | null {
  if (one.op === 'write') return knownData(one);
  if (one.op !== 'aio') return null;
  const bytes = one.submits.map(({ op, iov }) => (op === 'write' ? bytesOf(iov) : 0));
  return patternBytes(AIO_FILL, sumOf(bytes));
}

function bytesOf(vectors: readonly IovRecord[]): number {
  return sumOf(vectors.map(({ length }) => length));
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}

export function directionOf(op: 'read' | 'write'): IterDirection {
  return op === 'read' ? IterDirection.DEST : IterDirection.SOURCE;
}
