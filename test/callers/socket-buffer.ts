import { folioHead, HoldKind } from '../../src/memory/holds.ts';
import type { Entry, Sink } from './sink.ts';

const SKB_FRAGS_MAX = 17;
/** Message too long: more bytes than the fragments can name. */
export const EMSGSIZE = 90;

/** A head that is copied, and up to 17 fragments, each with one reference on its folio. */
export class SocketBuffer implements Sink {
  readonly hold = HoldKind.REFERENCED;
  readonly head: Uint8Array;
  readonly #frags: { page: number; offset: number; len: number }[] = [];

  readonly #used: number;

  /** `used` fragments were there before, and stay what they are. */
  constructor(headBytes: number, used: number) {
    this.head = new Uint8Array(headBytes);
    this.#used = used;
  }

  get room(): number {
    return SKB_FRAGS_MAX - this.#used - this.#frags.length;
  }

  get isFull(): boolean {
    return this.room === 0;
  }

  get entries(): readonly Entry[] {
    return this.#frags.map(({ page, offset, len }) => [page, offset, len]);
  }

  /** One reference a fragment, however many pages it grew to. */
  get held(): readonly Entry[] {
    return this.#frags.map(({ page, offset }) => [page, offset, 1]);
  }

  /** Grows the last fragment when this follows it in the same folio. */
  merge(page: number, offset: number, len: number): boolean {
    const last = this.#frags.at(-1);
    if (last === undefined || folioHead(last.page) !== folioHead(page)) return false;
    if (last.page * 4096 + last.offset + last.len !== page * 4096 + offset) return false;
    last.len += len;
    return true;
  }

  append(page: number, offset: number, len: number): void {
    this.#frags.push({ page, offset, len });
  }
}
