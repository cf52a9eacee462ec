// A fault handler whose answers are a list, on a machine of one program and one page.

import assert from 'node:assert/strict';
import { PAGE_BYTES } from '../../base/units.ts';
import { Arena } from '../arena.ts';
import { refCount } from '../holds.ts';
import {
  type Area,
  type AreaOps,
  FaultFlag,
  type FaultRequest,
  FaultResult,
  Protection,
} from './area.ts';
import { UserMemory } from './user-memory.ts';
import type { UserSpace } from './user-space.ts';

const READ_WRITE = Protection.READ | Protection.WRITE;
/** Where the two pages of the area are mapped. */
export const ADDR = 0x20_0000;

interface Seen {
  readonly access: number;
  readonly flags: number;
  readonly index: number;
}

/** One page behind a handler whose answers are a list; the last one stays. */
export class ScriptedOps implements AreaOps {
  readonly name = 'scripted device';
  readonly tracksDirty = true;
  readonly seen: Seen[] = [];
  readonly mkwriteSeen: Seen[] = [];
  readonly waiting: (() => void)[] = [];
  readonly #answers: ((space: UserSpace, request: FaultRequest) => number)[];
  mkwrite: (space: UserSpace, request: FaultRequest) => number = () => 0;

  constructor(...answers: ((space: UserSpace, request: FaultRequest) => number)[]) {
    this.#answers = answers;
  }

  fault(space: UserSpace, _area: Area, request: FaultRequest): number {
    this.seen.push({ access: request.access, flags: request.flags, index: request.index });
    const answer = this.#answers[Math.min(this.seen.length, this.#answers.length) - 1];
    assert.ok(answer !== undefined && space.lockHeld, 'a handler is called under the lock');
    return answer(space, request);
  }

  pageMkwrite(space: UserSpace, _area: Area, request: FaultRequest): number {
    const { access, flags, index } = request;
    this.mkwriteSeen.push({ access, flags, index });
    return this.mkwrite(space, request);
  }

  readonly wait = {
    add: (wake: () => void): void => {
      this.waiting.push(wake);
    },
  };
}

export class ScriptedMachine {
  readonly arena = new Arena({ maxBytes: 64 * PAGE_BYTES });
  readonly memory = new UserMemory({ arena: this.arena });
  readonly space = this.memory.newSpace('program');
  readonly page = this.memory.allocPage({ zeroed: true, movable: true });

  /** Legal answers. */
  readonly done = (_space: UserSpace, request: FaultRequest): number => {
    this.memory.getPage(this.page);
    request.page = this.page;
    return FaultResult.DONE;
  };

  map(ops: AreaOps, shared = true, index = 7): void {
    const map = { addr: ADDR, bytes: 2 * PAGE_BYTES, protection: READ_WRITE, shared, ops, index };
    assert.equal(this.space.mmap(map), ADDR);
  }

  [Symbol.dispose](): void {
    this.space.exit();
    assert.equal(refCount(this.page), 1, 'no reference is left with an entry');
    this.memory.putPage(this.page);
    this.memory[Symbol.dispose]();
    this.arena.assertNothingOutstanding();
    this.arena[Symbol.dispose]();
  }
}

export function retry(ops: () => ScriptedOps) {
  return (space: UserSpace, request: FaultRequest): number => {
    if ((request.flags & FaultFlag.RETRY_NOWAIT) === 0) space.dropLock();
    request.wait = ops().wait;
    return FaultResult.RETRY;
  };
}
