import { assert } from '../base/assert.ts';
import {
  type Access,
  type AddressSpace,
  holdUserPages,
  UserHold,
} from '../memory/address-space.ts';
import { HoldKind, putList, unpinList } from '../memory/holds.ts';

/** Pages that are held in one step: one walk of the page table. */
const USER_BATCH_MAX = 256;
const BATCH_FRAMES = 1024;

/**
 * The frames of the batch in hand. A walk takes a batch, turns it into rows and is done with it;
 * but while one is being taken, a fault handler may walk an iterator of its own, which gets the
 * frames behind. No batch is more than a quarter of what is free, so nesting only makes them small.
 */
class UserBatch {
  readonly frames = new Uint32Array(BATCH_FRAMES);
  /** Where in `frames` the last batch starts. */
  first = 0;

  /**
   * Holds 1..count pages from the page of `addr` on, each once, and leaves them at `first`. A
   * negative errno when not even the first could be had. Fewer than `count` is no error: ask again.
   */
  take(space: AddressSpace, addr: number, count: number, access: Access, hold: HoldKind): number {
    assert(count > 0 && hold !== HoldKind.BORROWED, 'user batch: nothing to hold');
    const { first } = this;
    const room = Math.min(USER_BATCH_MAX, (BATCH_FRAMES - first) >>> 2);
    assert(room > 0, 'user batch: faults nested without end');
    const most = count < room ? count : room;
    const how = hold === HoldKind.PINNED ? UserHold.PIN : UserHold.GET;
    this.first = first + most;
    try {
      return holdUserPages(space, addr, most, access, how, this.frames, first);
    } finally {
      this.first = first;
    }
  }

  /** Lets frames at … at + count go: they were held, and nobody wants them. */
  release(at: number, count: number, hold: HoldKind): void {
    if (hold === HoldKind.PINNED) unpinList(this.frames, at, count);
    else putList(this.frames, at, count);
  }
}

export const userBatch = new UserBatch();
