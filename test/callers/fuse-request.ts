import { HoldKind } from '../../src/memory/holds.ts';
import type { Entry, Sink } from './sink.ts';

/** The page arrays of one fuse request. */
export class FuseRequest implements Sink {
  hold: HoldKind = HoldKind.BORROWED;
  readonly held: Entry[] = [];
  readonly bytesMax: number;
  readonly pagesMax: number;

  constructor(bytesMax: number, pagesMax: number) {
    this.bytesMax = bytesMax;
    this.pagesMax = pagesMax;
  }

  get isFull(): boolean {
    return this.held.length === this.pagesMax;
  }

  add(page: number, offset: number, len: number): void {
    this.held.push([page, offset, len]);
  }
}
