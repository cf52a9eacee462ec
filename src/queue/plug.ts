import type { Profile } from '../limits/profile.ts';
import type { Request } from './request.ts';

/** A plug with this many requests is issued (Linux: BLK_MAX_REQUEST_COUNT). */
export const PLUG_REQUESTS_MAX = 32;
/** A plug whose last request has this many bytes is issued (Linux: BLK_PLUG_FLUSH_SIZE). */
export const PLUG_FLUSH_BYTES = 128 * 1024;

/**
 * Requests that one submitter holds back for a moment, so that its next bio can join the last one
 * and all go to the engine in one call.
 */
export class Plug {
  first: Request | null = null;
  last: Request | null = null;
  count = 0;
  /** Depth of nested plugging; only the outermost issues. */
  depth = 0;

  /** True when the plug must be issued before one more request goes in. */
  mustFlush(merges: boolean): boolean {
    if (this.count >= PLUG_REQUESTS_MAX) return true;
    return merges && this.last !== null && this.last.bytes >= PLUG_FLUSH_BYTES;
  }

  add(request: Request): void {
    request.next = null;
    if (this.last === null) this.first = request;
    else this.last.next = request;
    this.last = request;
    this.count++;
  }

  /**
   * Empties the plug into `out` in issue order and returns the count. A sleeping submitter issues
   * in order; a plug that is full or at its end in the profile's (Linux 6.1: last in, first out).
   */
  drain(out: Request[], order: Profile['plugOrder'], sleeping: boolean): number {
    const count = this.count;
    const reverse = order === 'lifo' && !sleeping;
    let at = 0;
    for (let request = this.first; request !== null; at++) {
      const next: Request | null = request.next;
      request.next = null;
      out[reverse ? count - 1 - at : at] = request;
      request = next;
    }
    this.first = null;
    this.last = null;
    this.count = 0;
    return count;
  }
}
