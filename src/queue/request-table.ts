import { assert } from '../base/assert.ts';
import { Slots, slotOf, TAG_NONE } from '../base/slots.ts';
import { Request } from './request.ts';

// Row = one slot, indexed by slotOf(tag).   unit     invariant
//   status     Int32    0 or -errno   written by the engine at completion
//   bytesDone  Float64  bytes         written by the engine at completion; <= request.bytes

/** Requests by tag, and the columns in which an engine leaves their results. */
export class RequestTable {
  readonly depth: number;
  readonly status: Int32Array;
  readonly bytesDone: Float64Array;
  readonly #slots: Slots;
  readonly #requests: Request[] = [];

  constructor(depth: number) {
    this.depth = depth;
    this.status = new Int32Array(depth);
    this.bytesDone = new Float64Array(depth);
    this.#slots = new Slots(depth);
    for (let i = 0; i < depth; i++) this.#requests.push(new Request());
  }

  get busyCount(): number {
    return this.#slots.busyCount;
  }

  /** A tag, or TAG_NONE: every request is taken. */
  acquire(): number {
    const tag = this.#slots.acquire();
    if (tag !== TAG_NONE) {
      this.status[slotOf(tag)] = 0;
      this.bytesDone[slotOf(tag)] = 0;
    }
    return tag;
  }

  /** The request behind a living tag. A stale tag is a bug of the engine and fails loudly. */
  get(tag: number): Request {
    assert(this.#slots.isLive(tag), 'request: stale tag');
    return this.#requests[slotOf(tag)] as Request;
  }

  /** The request object of a slot that was just acquired. */
  at(tag: number): Request {
    return this.#requests[slotOf(tag)] as Request;
  }

  release(tag: number): void {
    const request = this.get(tag);
    assert(!request.inFlight, 'request: released in flight');
    request.bio = null;
    request.bioTail = null;
    this.#slots.release(tag);
  }
}
