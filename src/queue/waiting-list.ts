import type { Request } from './request.ts';

/** Requests that the engine had no room for, in the order in which they go. */
export class WaitingList {
  first: Request | null = null;
  last: Request | null = null;

  append(request: Request): void {
    request.next = null;
    request.prev = this.last;
    if (this.last === null) this.first = request;
    else this.last.next = request;
    this.last = request;
  }

  /** Moves at most `max` requests from the front to `out`, and returns how many. */
  take(out: Request[], max: number): number {
    let count = 0;
    let request = this.first;
    while (request !== null && count < max) {
      const { next } = request;
      request.next = null;
      request.prev = null;
      out[count++] = request;
      request = next;
    }
    this.first = request;
    if (request === null) this.last = null;
    else request.prev = null;
    return count;
  }

  /** Puts `from[first … end)` back in front of the others. */
  putBack(from: readonly Request[], first: number, end: number): void {
    for (let i = end - 1; i >= first; i--) {
      const request = from[i] as Request;
      request.prev = null;
      request.next = this.first;
      if (this.first === null) this.last = request;
      else this.first.prev = request;
      this.first = request;
    }
  }
}
