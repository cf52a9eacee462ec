import { Errno } from '../../src/base/errno.ts';
import { HoldKind } from '../../src/memory/holds.ts';
import type { Entry, Sink } from './sink.ts';

/** The transport's answer to one write request. */
export const NfsAnswer = { SENT: 0, SOFT: -Errno.EAGAIN, FATAL: -Errno.EIO } as const;

/** One direct transfer: requests of at most a page, each with a reference of its own. */
export class NfsDirect implements Sink {
  /** Pages of one rsize or wsize. Whole pages: a limit in bytes would cut a page in two. */
  readonly pagesPerCall: number;
  readonly hold = HoldKind.REFERENCED;
  /** Requests that are out. */
  readonly entries: Entry[] = [];
  /** Requests that a soft error put aside; they go again later. */
  readonly deferred: Entry[] = [];
  readonly #failAt: number;
  readonly #failure: number;

  /** The request number `failAt` meets `failure`. */
  constructor(pagesPerCall: number, failAt: number, failure: number) {
    this.pagesPerCall = pagesPerCall;
    this.#failAt = failAt;
    this.#failure = failure;
  }

  get held(): readonly Entry[] {
    return [...this.entries, ...this.deferred];
  }

  /** 0, or an error, and then the request does not exist. */
  addRequest(page: number, offset: number, len: number): number {
    if (this.entries.length === this.#failAt) return -Errno.ENOMEM;
    this.entries.push([page, offset, len]);
    return 0;
  }

  /** The request is out, or put aside for a second try, or refused for good. */
  send(page: number, offset: number, len: number): number {
    const isFirst = this.deferred.length === 0;
    const answer = isFirst && this.entries.length !== this.#failAt ? 0 : this.#failure;
    if (answer === NfsAnswer.FATAL) return answer;
    (answer === NfsAnswer.SOFT ? this.deferred : this.entries).push([page, offset, len]);
    return 0;
  }
}
