import assert from 'node:assert/strict';
import { PAGE_BYTES } from '../../src/base/units.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import type { TransferOptions } from '../../src/device/block-device.ts';
import type { Transfer } from '../../src/device/transfer.ts';
import { FaultSpace } from '../../src/iter/fault-space.fuzz.ts';
import { IovIter, IterDirection } from '../../src/iter/iov-iter.ts';
import { Iovec } from '../../src/iter/iovec.ts';
import type { AddressSpace } from '../../src/memory/address-space.ts';
import { copyIn, copyOut } from '../../src/memory/copy.ts';
import { UserMemory } from '../../src/memory/user/user-memory.ts';
import { PathRig, type RigOptions } from './path-rig.ts';

/** Where the program's memory begins in a rig with a scripted space. */
export const BASE = 0x40000;

/** What became of a transfer. */
export class Ending {
  transfer: Transfer | null = null;
  /** Null while it is on its way. */
  result: number | null = null;
}

/** A range of a program: address and bytes. */
export type UserRange = readonly [number, number];

/** Starts a transfer of `ranges` of `space`. */
export function userTransfer(
  rig: PathRig,
  space: AddressSpace,
  op: BioOp,
  position: number,
  ranges: readonly UserRange[],
  options: TransferOptions = {},
): Ending {
  const iovec = new Iovec();
  const bases = ranges.map(([base]) => base);
  const lens = ranges.map(([, len]) => len);
  const bytes = iovec.importRanges(bases, lens, ranges.length);
  const iter = new IovIter();
  const direction = op === BioOp.READ ? IterDirection.DEST : IterDirection.SOURCE;
  iter.initUser(direction, space, iovec);
  const ending = new Ending();
  ending.transfer = rig.device.transfer(op, position, iter, bytes, options, (_, result) => {
    assert.equal(ending.result, null, 'ended twice');
    ending.result = result;
  });
  return ending;
}

/** A rig whose programs have memory that a test scripts, page by page. */
export class UserRig extends PathRig {
  readonly space = new FaultSpace();
  readonly frames: number[] = [];
  readonly #isRandom: boolean;

  constructor(pages: number, options: RigOptions = {}) {
    super(options);
    this.#isRandom = options.random !== undefined;
    for (let i = 0; i < pages; i++) this.space.map(BASE + i * PAGE_BYTES, { frame: this.frame() });
  }

  /** Not beside another one. */
  frame(): number {
    const spare = this.arena.getFolio(0);
    const frame = this.arena.getFolio(0);
    assert.ok(spare >= 0 && frame >= 0);
    this.frames.push(spare, frame);
    return frame;
  }

  frameAt(page: number): number {
    return this.space.pages.get(BASE / PAGE_BYTES + page)?.frame ?? -1;
  }

  /** The page must be waited for until `space.ready()`. */
  makeWait(page: number): void {
    const frame = this.frameAt(page);
    this.space.map(BASE + page * PAGE_BYTES, { frame, waits: Number.POSITIVE_INFINITY });
  }

  start(op: BioOp, position: number, at: number, bytes: number, options?: TransferOptions): Ending {
    return userTransfer(this, this.space, op, position, [[BASE + at, bytes]], options);
  }

  /** An engine with a random source completes by itself. */
  override async finish(): Promise<void> {
    if (!this.#isRandom) return super.finish();
    do await this.settle();
    while (this.engine.holds > 0);
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    for (const frame of this.frames) this.arena.putFolio(frame);
    await super[Symbol.asyncDispose]();
  }
}

/** A rig beside a machine with processes. */
export class ProcessRig extends PathRig {
  readonly memory: UserMemory;

  constructor(options: RigOptions = {}) {
    super({ arenaBytes: 2 * 2 ** 20, ...options });
    this.memory = new UserMemory({ arena: this.arena, label: 'rig' });
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    for (const space of this.memory.spaces) space?.exit();
    this.memory[Symbol.dispose]();
    await super[Symbol.asyncDispose]();
  }
}

export function bytesOf(frame: number, offset = 0, bytes = PAGE_BYTES): Uint8Array {
  const out = new Uint8Array(bytes);
  copyOut(out, 0, frame, offset, bytes);
  return out;
}

export function fillFrame(frame: number, value: number): void {
  copyIn(frame, 0, new Uint8Array(PAGE_BYTES).fill(value), 0, PAGE_BYTES);
}
